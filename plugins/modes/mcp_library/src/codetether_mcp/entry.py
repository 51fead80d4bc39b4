"""One entry of `mcpServers`: checked, its variables filled in, every wrong value told."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from codetether.api import clean_env

STDIO = ("command", "args", "env", "cwd")
HTTP = ("url", "headers", "oauth")
OAUTH = ("clientId", "clientSecret", "callbackPort")
COMMON = (
    "type",
    "disabled",
    "startupTimeoutSec",
    "toolTimeoutSec",
    "includeTools",
    "excludeTools",
)
KEYS = (*STDIO, *HTTP, *COMMON)
KINDS = {
    "stdio": "stdio",
    "http": "http",
    "streamable-http": "http",
    "streamableHttp": "http",
    "streamable_http": "http",
}
LONGEST = 3600.0  # seconds a timeout may be
LONGEST_NAME = 64
VARIABLE = re.compile(r"\$\{([^}]*)\}")
NAMED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
# What may not be in the name and the value of a header, and of an environment variable.
_UNSENDABLE = re.compile(r"[^A-Za-z0-9!#$%&'*+.^_`|~-]"), re.compile(r"[\0\r\n]")
_UNSETTABLE = re.compile(r"[=\0]"), re.compile(r"\0")
REFERENCE = re.compile(r"vault:([A-Za-z0-9][A-Za-z0-9._-]*)(?:/([A-Za-z0-9_][A-Za-z0-9._-]*))?")


class Wrong(ValueError):
    """What is wrong with an entry or a file, for a person."""


def check_name(name: str) -> None:
    """Raises Wrong for a name that cannot be shown or typed."""
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise Wrong(f"a name has 1 to {LONGEST_NAME} characters that can be shown")


def read_entry(
    entry: object, base: Path, *, project: bool
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The fields of a Server, and the keys that have no meaning. `base`: where a relative `cwd` begins.

    A project's entry may use only those environment variables that any child process gets, and no secrets. Raises
    Wrong.
    """
    if not isinstance(entry, Mapping):
        raise Wrong("it is not an object")
    known = clean_env() if project else os.environ
    fields: dict[str, Any] = {"kind": _kind(entry)}
    wanted = STDIO if fields["kind"] == "stdio" else HTTP
    fill = _Fill(known, secrets=not project)
    for key in wanted:
        if key in entry:
            fields[key] = _FIELDS[key](key, entry[key], fill)
    if fields["kind"] == "stdio":
        fields["cwd"] = str(base / os.path.expanduser(fields["cwd"])) if fields.get("cwd") else ""
    else:
        check_address(fields["url"])
    fields |= _limits(entry)
    return fields, tuple(sorted(str(key) for key in entry if key not in (*wanted, *COMMON)))


def _kind(entry: Mapping[str, Any]) -> str:
    named = entry.get("type")
    if named == "sse":
        raise Wrong("type sse is the transport of 2024, not spoken here; try type http")
    if named is not None and named not in KINDS:
        raise Wrong(f"type {str(named)[:40]!r} is not one of stdio, http")
    kind = KINDS[named] if named else "stdio" if "command" in entry else "http"
    needed = "command" if kind == "stdio" else "url"
    if not entry.get(needed):
        raise Wrong(f"`{needed}` is missing")
    return kind


def _limits(entry: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, field in (("startupTimeoutSec", "start_timeout"), ("toolTimeoutSec", "call_timeout")):
        if key in entry:
            value = entry[key]
            right = isinstance(value, int | float) and not isinstance(value, bool)
            if not right or not 0 < value <= LONGEST:
                raise Wrong(f"`{key}` is not a number of seconds up to {LONGEST:g}")
            found[field] = float(value)
    for key, field in (("includeTools", "include"), ("excludeTools", "exclude")):
        if key in entry:
            found[field] = _words(key, entry[key], None)
    if not isinstance(entry.get("disabled", False), bool):
        raise Wrong("`disabled` is not true or false")
    return found | {"disabled": entry.get("disabled", False)}


class _Fill:
    """Puts in what `${NAME}` and `${NAME:-otherwise}` stand for; `${vault:...}` stays, where it may be."""

    def __init__(self, known: Mapping[str, str], *, secrets: bool) -> None:
        self._known = known
        self._secrets = secrets

    def text(self, key: str, text: str, *, secret: bool = False) -> str:
        """`text` filled in. Raises Wrong."""

        def put(match: re.Match[str]) -> str:
            inner = match[1]
            if inner.startswith("vault:"):
                if not secret or not self._secrets:
                    where = "`env`, `headers` and `oauth` of your own file"
                    raise Wrong(f"`{key}`: secrets of Vault can be named in {where} only")
                if not REFERENCE.fullmatch(inner):
                    raise Wrong(f"`{key}`: write ${{vault:NAME}} or ${{vault:NAME/FIELD}}")
                return match[0]
            named = NAMED.fullmatch(inner)
            if named is None:
                raise Wrong(f"`{key}`: {match[0][:60]!r} names no variable")
            value = self._known.get(named[1])
            if not value and named[2] is not None:
                value = named[2]
            if value is None:
                raise Wrong(f"`{key}`: the environment variable {named[1]} is not set")
            return value

        return VARIABLE.sub(put, text)


def _text(key: str, value: object, fill: _Fill) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise Wrong(f"`{key}` is not a text")
    return fill.text(key, value)


def _words(key: str, value: object, fill: _Fill | None) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise Wrong(f"`{key}` is not a list of texts")
    if any("\0" in each for each in value):
        raise Wrong(f"`{key}` holds a NUL")
    return tuple(fill.text(key, each) if fill else each for each in value)


def _pairs(key: str, value: object, fill: _Fill) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(each, str) for each in value.values()):
        raise Wrong(f"`{key}` is not an object of texts")
    found = {name: fill.text(f"{key}.{name}", each, secret=True) for name, each in value.items()}
    name_bad, value_bad = _UNSENDABLE if key == "headers" else _UNSETTABLE
    for name, each in found.items():
        if not name or name_bad.search(name) or value_bad.search(each):
            raise Wrong(f"`{key}.{name[:40]}` has a character that cannot be there")
    return found


def _oauth(key: str, value: object, fill: _Fill) -> dict[str, str]:
    """Who we are to the server's authorization server, when it registers nobody by itself."""
    if not isinstance(value, Mapping) or not set(value) <= set(OAUTH) or "clientId" not in value:
        raise Wrong(f"`{key}` holds clientId, and maybe {' and '.join(OAUTH[1:])}")
    port = value.get("callbackPort", 0)
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port < 65536:
        raise Wrong(f"`{key}.callbackPort` is not a port")
    texts = {name: each for name, each in value.items() if name != "callbackPort"}
    return {**_pairs(key, texts, fill), "callbackPort": str(port)}


_FIELDS = {
    "command": _text,
    "args": _words,
    "env": _pairs,
    "cwd": _text,
    "url": _text,
    "headers": _pairs,
    "oauth": _oauth,
}


def check_address(url: str, named_by: str = "") -> None:
    """Raises Wrong unless `url` is https, or http on this machine: headers and tokens must not travel in the clear.

    `named_by`: the address of who names it. One that is elsewhere names nothing on this machine: what listens here
    trusts who is here.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise Wrong("`url` is not an address") from None
    if parts.scheme not in ("http", "https") or not host:
        raise Wrong("`url` is not an http or https address")
    if parts.username is not None or parts.password is not None:
        raise Wrong("`url` holds a user name or password; use `headers`")
    if parts.scheme == "http" and not is_loopback(host):
        raise Wrong("`url` must be https, or http on this machine")
    if named_by and is_loopback(host) and not is_loopback(urlsplit(named_by).hostname or ""):
        raise Wrong("`url` is on this machine, and who names it is not")


def is_loopback(host: str) -> bool:
    """Whether a host name or address plainly means this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

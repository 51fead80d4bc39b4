"""Secrets of a server: what its entry refers to in Vault, and what a login brought."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
from codetether.api import CodetetherError, SecretMissing

from codetether_mcp.entry import REFERENCE, VARIABLE

if TYPE_CHECKING:
    from codetether.api import Kernel, Secrets

    from codetether_mcp.configuration import Server

NO_VAULT = "it needs Vault: codetether vault up"
# Names of headers and variables whose value is a secret, though it is written in the file.
_SECRET = re.compile(r"auth|token|secret|passw|key|cookie|credential", re.IGNORECASE)
_SCHEMES = ("bearer ", "basic ", "token ")


class LoginNeeded(CodetetherError):
    """A server wants a person to log in."""

    def __init__(self, server: Server) -> None:
        name = server.name
        if server.authorized:
            text, hint = (
                "refuses the Authorization in its headers",
                f"correct it in {server.origin}",
            )
        elif server.project:
            text = "wants a login, and a repository's server gets none of yours"
            hint = "name it in your own mcp.json"
        else:
            text, hint = "wants you to log in", f"log in with: codetether mcp login {name}"
        super().__init__(f"MCP server {name} {text}", hint)


def source(kernel: Kernel) -> Secrets:
    """Where secrets are kept. Raises CodetetherError when there is no such place."""
    secrets = kernel.secrets()
    if secrets is None:
        raise CodetetherError("no source of secrets is installed", NO_VAULT)
    return secrets


async def with_secrets(kernel: Kernel, server: Server) -> Server:
    """`server` with its references to Vault replaced by what is there; what is secret in it will be masked.

    Raises CodetetherError: SecretMissing, or the diagnosis of the source.
    """
    env, headers, oauth = [
        {name: await _value(kernel, server, text) for name, text in texts.items()}
        for texts in (server.env, server.headers, server.oauth)
    ]
    for name, value in (*env.items(), *headers.items(), *oauth.items()):
        if _SECRET.search(name):
            kernel.redact.add(_bare(value))
    return msgspec.structs.replace(server, env=env, headers=headers, oauth=oauth)


def _bare(value: str) -> str:
    scheme = next((each for each in _SCHEMES if value.lower().startswith(each)), "")
    return value[len(scheme) :]


async def _value(kernel: Kernel, server: Server, text: str) -> str:
    if server.project:  # a repository names no secrets, however it spells them
        return text
    filled, at = "", 0
    for match in VARIABLE.finditer(text):
        named = REFERENCE.fullmatch(match[1])
        if named is None:
            continue  # it came out of a variable, and is no reference
        filled += text[at : match.start()] + await _secret(kernel, server, named[1], named[2])
        at = match.end()
    return filled + text[at:]


async def _secret(kernel: Kernel, server: Server, name: str, field: str | None) -> str:
    field = field or "api_key"
    asked = "" if field == "api_key" else f" --field {field}"
    hint = f"store it with: codetether auth login {name} --force{asked}"
    try:
        document: Mapping[str, object] = await source(kernel).get(name)
    except SecretMissing as missing:
        raise SecretMissing(f"MCP server {server.name}: {missing.message}", hint) from None
    value = document.get(field)
    if not isinstance(value, str) or not value:
        raise SecretMissing(f"MCP server {server.name}: {name} in Vault has no {field}", hint)
    kernel.redact.add(value)
    return value

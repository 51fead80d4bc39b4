"""Where requests go and what proves who we are: read from the provider's secret document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from codetether.api import CodetetherError

_HIDDEN = ("authorization", "key", "token", "secret", "cookie", "password")


class Endpoint(msgspec.Struct, frozen=True):
    """A base address without trailing slash, and headers. Keys live in headers only, never in an address."""

    base_url: str
    headers: dict[str, str]

    def __repr__(self) -> str:
        return f"Endpoint({self.base_url!r}, headers=***)"


def endpoint_from_secret(
    secret: Mapping[str, Any],
    *,
    provider: str,
    base_url: str,
    auth: str = "Authorization: Bearer {key}",
    organization: str = "",
    redact: Any = None,
) -> Endpoint:
    """The endpoint a secret document describes: `api_key`, `base_url`, `organization` and `headers` are honoured.

    `auth` is the header line the key is put in, `organization` the header of the secret's ("": the vendor has none);
    `base_url` the vendor's own. Values that prove identity are given to
    `redact` (a Redactor). Raises CodetetherError when the key is missing or cannot be a header.
    """
    key = str(secret.get("api_key") or "").strip()
    hint = f"store it with: codetether auth login {provider}"
    if not key:
        raise CodetetherError(f"the secret of {provider} has no api_key", hint)
    name, _, template = auth.partition(": ")
    headers = {name: template.format(key=key)}
    if organization and (org := secret.get("organization")):
        headers[organization] = str(org)
    headers.update(extra_headers(secret.get("headers"), provider))
    if redact is not None:
        redact.add(key)
    check_headers(headers, provider, redact)
    try:
        return Endpoint(address(str(secret.get("base_url") or base_url)), headers)
    except CodetetherError as exc:
        raise CodetetherError(f"the base_url of {provider}: {exc.message}", exc.hint) from exc


def address(base_url: str) -> str:
    """`base_url` without white space and trailing slashes. Raises CodetetherError unless it is http or https."""
    url = base_url.strip().rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise CodetetherError(
            f"not an http address: {url[:100]!r}", "write it as https://host/path"
        )
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise CodetetherError(
            "an address must not hold a user name or password", "put the key in api_key"
        )
    return url


def is_loopback(base_url: str) -> bool:
    """Whether the address names this machine literally; no name is looked up."""
    host = base_url.partition("://")[2].partition("/")[0]
    host = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if host == "localhost" or host.endswith(".localhost"):
        return True
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_headers(headers: Mapping[str, str], provider: str, redact: Any = None) -> None:
    """Give the values that prove identity to `redact`. Raises CodetetherError for one that cannot be sent."""
    for field, value in headers.items():
        if not value.isascii() or not value.isprintable():
            raise CodetetherError(
                f"the secret of {provider} cannot be sent: {field} holds unprintable characters",
                f"store it with: codetether auth login {provider}",
            )
        if redact is not None and any(word in field.lower() for word in _HIDDEN):
            redact.add(value.removeprefix("Bearer ").strip())


def extra_headers(given: Any, provider: str) -> dict[str, str]:
    """The `headers` of a secret document: an object, or its JSON text. Raises CodetetherError for anything else."""
    if not given:
        return {}
    if isinstance(given, str):  # the original's users stored JSON text here
        try:
            given = msgspec.json.decode(given)
        except msgspec.DecodeError:
            given = None
    if not isinstance(given, Mapping):
        raise CodetetherError(
            f"the secret of {provider}: headers must be an object of names and texts"
        )
    return {str(name): str(value) for name, value in given.items()}

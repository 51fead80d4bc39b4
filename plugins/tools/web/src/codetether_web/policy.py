"""What a person allowed beyond the public web, and the check of one address before a connection is made."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING

import msgspec
import trio
from codetether.api import ToolError

from codetether_web.addresses import refusal

if TYPE_CHECKING:
    import httpx

USUAL_PORTS = (80, 443)
LONGEST_URL = 8_000
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")


class Policy(msgspec.Struct, frozen=True):
    """`private_hosts`: `host` or `host:port`, as written in addresses, whose network addresses are not checked; an
    entry with a port allows that port. `ports`: further ports allowed for every host.
    """

    private_hosts: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()

    def private(self, host: str, port: int) -> bool:
        """Whether this host may be on a private address."""
        return any(_covers(entry, host, port) for entry in self.private_hosts)

    def port(self, host: str, port: int) -> bool:
        """Whether this port of this host may be asked."""
        named = any(
            _entry(entry)[1] == port and _covers(entry, host, port) for entry in self.private_hosts
        )
        return port in (*USUAL_PORTS, *self.ports) or named


def _entry(entry: str) -> tuple[str, int | None]:
    host, _, port = entry.strip().lower().rpartition(":")
    if port.isdigit() and host and (":" not in host or host.startswith("[")):
        return host.strip("[]"), int(port)
    return entry.strip().lower().strip("[]"), None


def _covers(entry: str, host: str, port: int) -> bool:
    allowed, at = _entry(entry)
    return allowed == host.lower().rstrip(".") and at in (None, port)


def parse(url: str) -> httpx.URL:
    """The address in its parts. Raises ToolError: INVALID_ARGUMENT when it is no plain http or https address."""
    import httpx

    if len(url) > LONGEST_URL:
        raise ToolError(f"The URL is longer than {LONGEST_URL} characters.", "INVALID_ARGUMENT")
    try:
        parsed = httpx.URL(url.strip())
        host = parsed.raw_host.decode("ascii")
    except (httpx.InvalidURL, UnicodeError, TypeError, ValueError):
        raise ToolError("That is not a URL.", "INVALID_ARGUMENT") from None
    if parsed.scheme not in ("http", "https") or not _HOST.fullmatch(host):
        raise ToolError("Give a full http:// or https:// URL.", "INVALID_ARGUMENT")
    if not 0 < port_of(parsed) < 65536:
        raise ToolError("There is no such port.", "INVALID_ARGUMENT")
    if parsed.userinfo:
        raise ToolError("A URL with a user name or password is not fetched.", "INVALID_ARGUMENT")
    return parsed


def port_of(url: httpx.URL) -> int:
    """The port a connection goes to."""
    return url.port or (443 if url.scheme == "https" else 80)


async def checked(url: httpx.URL, policy: Policy) -> list[str]:
    """The network addresses of the host, resolved once, each of them allowed. Raises ToolError: DENIED, NOT_FOUND."""
    host, port = url.raw_host.decode("ascii"), port_of(url)
    if not policy.port(host, port):
        raise ToolError(
            f"Port {port} is not fetched, only 80 and 443. A person can allow it: setting ports.",
            "DENIED",
        )
    try:
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise ToolError(
            f"{host} has no address: it is misspelt, or there is no network.", "NOT_FOUND"
        ) from None
    addresses = list(dict.fromkeys(str(row[4][0]) for row in found))
    if not policy.private(host, port):
        for address in addresses:
            if why := refusal(address):
                raise ToolError(
                    f"{host} is at a {why} address; only public ones are fetched. "
                    "A person can allow it: setting private_hosts.",
                    "DENIED",
                )
    if not addresses:
        raise ToolError(f"{host} has no address.", "NOT_FOUND")
    return addresses

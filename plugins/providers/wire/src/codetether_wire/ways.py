"""How a server is reached: straight, over a Unix socket, or by way of the environment's proxy."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

import trio

from codetether_wire.connection import Broken, Connection, NotReached, in_time, words
from codetether_wire.place import Place, place_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping


class Way(NamedTuple):
    """What a connection has in common with the next to the same server. `path`: of a Unix socket."""

    secure: bool
    host: str
    port: int
    path: str
    trust_env: bool


class Proxy(NamedTuple):
    """A proxy, and the header line with the name and password that open it."""

    place: Place
    account: bytes


async def connected(
    way: Way, proxy: Proxy | None, tls: ssl.SSLContext | None, seconds: float
) -> Connection:
    """A new connection; each of TCP, TLS and the proxy's consent may take so many seconds. Raises NetworkError."""
    if proxy is None:
        plain = await (_local(way.path) if way.path else _tcp(way.host, way.port, seconds))
        return await _encrypted(plain, tls, way.host, seconds) if way.secure else plain
    place = proxy.place
    hop = await _tcp(place.host, place.port, seconds)
    if place.secure:
        hop = await _encrypted(hop, tls, place.host, seconds)
    name = f"[{way.host}]" if ":" in way.host else way.host
    if not way.secure:
        hop.prefix = f"http://{name}" if way.port == 80 else f"http://{name}:{way.port}"
        hop.also = proxy.account
        return hop
    await _through(hop, f"{name}:{way.port}", proxy.account, seconds)
    return await _encrypted(hop, tls, way.host, seconds)


async def _local(path: str) -> Connection:
    """Over a Unix socket, which is there at once or not at all."""
    try:
        stream = await trio.open_unix_socket(path)
    except OSError as error:
        raise NotReached(words(error)) from None
    return Connection(stream, stream.socket)


async def _tcp(host: str, port: int, seconds: float) -> Connection:
    try:
        with in_time(seconds):
            if family := _family(host):
                stream = await _straight(family, host, port)
            else:
                stream = await trio.open_tcp_stream(host, port)
    except OSError as error:
        raise NotReached(words(error)) from None
    return Connection(stream, stream.socket)


async def _straight(family: int, host: str, port: int) -> trio.SocketStream:
    """To the one address there is: nothing to look up, and nobody to race (RFC 8305) against."""
    one = trio.socket.socket(family)
    try:
        await one.connect((host, port))
    except BaseException:
        one.close()
        raise
    return trio.SocketStream(one)


def _family(host: str) -> int:
    """Of an address in numbers; 0 for a name."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError):
            socket.inet_pton(family, host)
            return family
    return 0


async def _encrypted(
    plain: Connection, tls: ssl.SSLContext | None, host: str, seconds: float
) -> Connection:
    from codetether_wire.tls import encrypted

    assert tls is not None
    return await encrypted(plain, tls, host, seconds)


async def _through(hop: Connection, target: str, account: bytes, seconds: float) -> None:
    """Have the proxy pass on all that follows (RFC 9110, 9.3.6)."""
    try:
        with in_time(seconds):
            answer = await hop.ask("CONNECT", target, f"Host: {target}\r\n".encode() + account)
        if answer.status // 100 != 2:
            said = answer.reason.decode("latin-1")
            raise NotReached(f"the proxy says {answer.status} {said}".rstrip())
    except BaseException as error:
        await hop.aclose()
        if isinstance(error, Broken):
            raise NotReached(f"{error}") from None
        raise


def proxy_for(way: Way) -> Proxy | None:
    """The proxy that the environment names for a server. Raises NotReached for one that cannot be used."""
    import base64
    from urllib.request import getproxies, proxy_bypass

    proxies: Mapping[str, str] = getproxies()
    url = proxies.get("https" if way.secure else "http") or proxies.get("all", "")
    if not url or proxy_bypass(f"{way.host}:{way.port}"):
        return None
    url = url if "://" in url else f"http://{url}"
    try:
        at = place_of(url)
    except ValueError:
        raise NotReached("the environment's proxy is none of HTTP") from None
    split = urlsplit(url)
    if not split.username:
        return Proxy(at, b"")
    key = base64.b64encode(f"{unquote(split.username)}:{unquote(split.password or '')}".encode())
    return Proxy(at, b"Proxy-Authorization: Basic %s\r\n" % key)

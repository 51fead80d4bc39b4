"""How a server is reached: straight, over a Unix socket, or by way of the environment's proxy; whom TLS believes."""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import trio

from codetether_wire.connection import GONE, Broken, Connection, NotReached, send, words
from codetether_wire.place import Place, place_of


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


class _UnderTls(trio.abc.Stream):
    """What TLS is spoken over. A send that failed would have it read no more. `only_here`: nothing is waited for."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.only_here = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await send(self._stream, data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self.only_here:
            raise trio.WouldBlock
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Encrypted(Connection):
    """A connection over TLS, which reads from its socket what it does not hand out yet."""

    def __init__(self, plain: Connection, tls: ssl.SSLContext, host: str) -> None:
        self._under = _UnderTls(plain.stream)
        self.tls = trio.SSLStream(self._under, tls, server_hostname=host, https_compatible=True)
        super().__init__(self.tls, plain.socket)

    async def has_more(self) -> bool:
        """Whether TLS holds something."""
        self._under.only_here = True
        with trio.CancelScope(shield=True), suppress(*GONE):
            try:
                await self.stream.receive_some(1)
            except trio.WouldBlock:
                self._under.only_here = False
                return False
        return True


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
        with trio.fail_after(seconds):
            stream = await trio.open_tcp_stream(host, port)
    except trio.TooSlowError:
        raise NotReached("it took too long", late=True) from None
    except OSError as error:
        raise NotReached(words(error)) from None
    return Connection(stream, stream.socket)


async def _encrypted(
    plain: Connection, tls: ssl.SSLContext | None, host: str, seconds: float
) -> Connection:
    assert tls is not None
    secure = _Encrypted(plain, tls, host)
    try:
        with trio.fail_after(seconds):
            await secure.tls.do_handshake()
    except BaseException as error:
        await plain.aclose()
        if isinstance(error, trio.TooSlowError):
            raise NotReached("it took too long", late=True) from None
        if isinstance(error, trio.BrokenResourceError):
            raise NotReached(words(error)) from None
        raise
    return secure


async def _through(hop: Connection, target: str, account: bytes, seconds: float) -> None:
    """Have the proxy pass on all that follows (RFC 9110, 9.3.6)."""
    try:
        with trio.fail_after(seconds):
            answer = await hop.ask("CONNECT", target, f"Host: {target}\r\n".encode() + account)
        if answer.status // 100 != 2:
            said = answer.reason.decode("latin-1")
            raise NotReached(f"the proxy says {answer.status} {said}".rstrip())
    except BaseException as error:
        await hop.aclose()
        if isinstance(error, trio.TooSlowError):
            raise NotReached("it took too long", late=True) from None
        if isinstance(error, Broken):
            raise NotReached(f"{error}") from None
        raise


def proxy_for(way: Way) -> Proxy | None:
    """The proxy that the environment names for a server. Raises NotReached for one that cannot be used."""
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


async def trust(trust_env: bool) -> ssl.SSLContext:
    """Whom to believe: the authorities certifi knows; with `trust_env` those that SSL_CERT_FILE or SSL_CERT_DIR names.
    Raises NotReached when these cannot be read.
    """
    return await trio.to_thread.run_sync(_trust, trust_env)


def _trust(trust_env: bool) -> ssl.SSLContext:
    import certifi

    file = os.environ.get("SSL_CERT_FILE") if trust_env else None
    folder = os.environ.get("SSL_CERT_DIR") if trust_env else None
    if not file and not folder:
        file = certifi.where()
    try:
        context = ssl.create_default_context(cafile=file or None, capath=None if file else folder)
    except OSError as error:
        raise NotReached(
            f"the certificates of {file or folder} cannot be read: {words(error)}"
        ) from None
    context.set_alpn_protocols(["http/1.1"])
    return context

"""Making a connection: straight, over a Unix socket, or by way of the environment's proxy; with TLS where it is asked for."""

from __future__ import annotations

import os
import ssl
from base64 import b64encode
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

import h11
import trio

from codetether_wire.connection import Broken, Connection, NotReached, words
from codetether_wire.place import Place, place_of

if TYPE_CHECKING:
    from collections.abc import Mapping


class Proxy(NamedTuple):
    """A proxy, and the headers that open it."""

    place: Place
    headers: Mapping[str, str]


async def dial(
    place: Place, tls: ssl.SSLContext | None, proxy: Proxy | None, path: str, seconds: float
) -> Connection:
    """A connection to `place`, or to the Unix socket at `path`. Raises NotReached."""
    try:
        with trio.fail_after(seconds):
            return await _dialled(place, tls, proxy, path)
    except trio.TooSlowError:
        raise NotReached("it took too long", late=True) from None
    except (OSError, ssl.SSLError, trio.BrokenResourceError, Broken) as error:
        raise NotReached(words(error)) from None


async def _dialled(
    place: Place, tls: ssl.SSLContext | None, proxy: Proxy | None, path: str
) -> Connection:
    if path:
        over = await trio.open_unix_socket(path)
        return Connection(over, over.socket)
    first = place if proxy is None else proxy.place
    tcp = await trio.open_tcp_stream(first.host, first.port)
    try:
        stream: trio.abc.Stream = tcp
        if proxy is not None:
            if proxy.place.secure:
                stream = await _encrypted(stream, proxy.place.host, tls)
            if not place.secure:
                return Connection(stream, tcp.socket, proxy.headers)
            await _tunnel(stream, place, proxy)
        if place.secure:
            stream = await _encrypted(stream, place.host, tls)
        return Connection(stream, tcp.socket)
    except BaseException:
        tcp.socket.close()
        raise


async def _encrypted(
    stream: trio.abc.Stream, host: str, tls: ssl.SSLContext | None
) -> trio.abc.Stream:
    assert tls is not None
    encrypted = trio.SSLStream(stream, tls, server_hostname=host, https_compatible=True)
    await encrypted.do_handshake()
    return encrypted


async def _tunnel(stream: trio.abc.Stream, place: Place, proxy: Proxy) -> None:
    """Have the proxy connect `stream` to `place`."""
    http = h11.Connection(h11.CLIENT)
    name = f"{place.name.removesuffix(f':{place.port}')}:{place.port}"
    headers = [("Host", name), *proxy.headers.items()]
    await stream.send_all(
        http.send(h11.Request(method="CONNECT", target=name, headers=headers)) or b""
    )
    http.send(h11.EndOfMessage())
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(bytes(await stream.receive_some(4096)))
        elif isinstance(event, h11.Response):
            break
    if not 200 <= event.status_code < 300:
        raise Broken(f"the proxy answered with {event.status_code}")


def proxy_for(place: Place) -> Proxy | None:
    """The proxy that the environment names for `place`. Raises NotReached for one that cannot be used."""
    from urllib.request import getproxies, proxy_bypass

    proxies = getproxies()
    url = proxies.get("https" if place.secure else "http") or proxies.get("all", "")
    if not url or proxy_bypass(f"{place.host}:{place.port}"):
        return None
    url = url if "://" in url else f"http://{url}"
    try:
        at = place_of(url)
    except ValueError:
        raise NotReached("the environment's proxy is none of HTTP") from None
    split = urlsplit(url)
    headers = {}
    if split.username:
        who = f"{unquote(split.username)}:{unquote(split.password or '')}"
        headers["Proxy-Authorization"] = f"Basic {b64encode(who.encode()).decode()}"
    return Proxy(at, headers)


def trust(trust_env: bool) -> ssl.SSLContext:
    """Whom to believe: the authorities certifi knows; with `trust_env` those that SSL_CERT_FILE or SSL_CERT_DIR names.
    Blocks for tens of milliseconds.
    """
    import certifi

    file = os.environ.get("SSL_CERT_FILE") if trust_env else None
    folder = os.environ.get("SSL_CERT_DIR") if trust_env else None
    if not file and not folder:
        file = certifi.where()
    context = ssl.create_default_context(cafile=file or None, capath=None if file else folder)
    context.set_alpn_protocols(["http/1.1"])
    return context

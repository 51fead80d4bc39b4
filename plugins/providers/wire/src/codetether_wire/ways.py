"""How a server is reached: straight, over a Unix socket, or by way of the environment's proxy; whom TLS believes."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

import httpcore
import trio

from codetether_wire.connection import NotReached
from codetether_wire.place import Place, place_of
from codetether_wire.streams import Backend

if TYPE_CHECKING:
    from collections.abc import Mapping

BACKEND = Backend()


class Way(NamedTuple):
    """What a connection has in common with the next to the same server. `path`: of a Unix socket."""

    secure: bool
    host: str
    port: int
    path: str
    trust_env: bool

    @property
    def origin(self) -> httpcore.Origin:
        """The server, as httpcore names it."""
        return httpcore.Origin(b"https" if self.secure else b"http", self.host.encode(), self.port)


class Proxy(NamedTuple):
    """A proxy, and the name and password that open it."""

    place: Place
    account: tuple[str, str] | None


def connection(
    way: Way, proxy: Proxy | None, tls: ssl.SSLContext | None
) -> httpcore.AsyncConnectionInterface:
    """A connection that will be made when it is first used."""
    if proxy is None:
        return httpcore.AsyncHTTPConnection(
            way.origin, tls, uds=way.path or None, network_backend=BACKEND
        )
    place = proxy.place
    pool = httpcore.AsyncHTTPProxy(
        httpcore.URL(
            scheme=b"https" if place.secure else b"http",
            host=place.host.encode(),
            port=place.port,
            target=b"/",
        ),
        proxy_auth=proxy.account,
        ssl_context=tls,
        proxy_ssl_context=tls if place.secure else None,
        network_backend=BACKEND,
    )
    return pool.create_connection(way.origin)


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
    account = (unquote(split.username), unquote(split.password or "")) if split.username else None
    return Proxy(at, account)


async def trust(trust_env: bool) -> ssl.SSLContext:
    """Whom to believe: the authorities certifi knows; with `trust_env` those that SSL_CERT_FILE or SSL_CERT_DIR names."""
    return await trio.to_thread.run_sync(_trust, trust_env)


def _trust(trust_env: bool) -> ssl.SSLContext:
    import certifi

    file = os.environ.get("SSL_CERT_FILE") if trust_env else None
    folder = os.environ.get("SSL_CERT_DIR") if trust_env else None
    if not file and not folder:
        file = certifi.where()
    return ssl.create_default_context(cafile=file or None, capath=None if file else folder)

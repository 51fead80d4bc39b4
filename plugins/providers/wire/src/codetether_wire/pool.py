"""Connections for all providers of one kernel, spread over several httpx clients.

One httpx client is quadratic in its open connections (64 calls at once: 35-84 calls a second against 256-496 with
8-16 clients), so a client serves about eight and the next one is made when they are busy.
"""

from __future__ import annotations

import logging
import sys
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    import ssl

    import httpx

PER_CLIENT = 8
MOST_CLIENTS = 64


class _Shard:
    __slots__ = ("busy", "client")

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.busy = 0


class Pool:
    """Lends a client for one call. Clients follow no redirects and read no environment unless told to."""

    def __init__(self) -> None:
        self._shards: dict[tuple[bool, bool, str], list[_Shard]] = {}
        self._sockets: dict[str, str] = {}
        self._tls: dict[bool, ssl.SSLContext] = {}

    @asynccontextmanager
    async def client(
        self, url: str, *, trust_env: bool = False
    ) -> AsyncIterator[httpx.AsyncClient]:
        """A client for `url`, counted as busy until the context ends. No connection is opened by this."""
        secure = not url.startswith("http://")
        if secure and trust_env not in self._tls:
            self._tls[trust_env] = await trio.to_thread.run_sync(_trust_store, trust_env)
        shard = self._shard(secure, trust_env, self._sockets.get(url, ""))
        shard.busy += 1
        try:
            yield shard.client
        finally:
            shard.busy -= 1

    async def aclose(self) -> None:
        """Close every connection. The pool can be used again afterwards."""
        shards = [shard for shards in self._shards.values() for shard in shards]
        self._shards.clear()
        for shard in shards:
            await shard.client.aclose()

    def over_socket(self, url: str, path: str) -> None:
        """Whoever asks for a client for exactly `url` gets one that speaks over the Unix socket at `path`."""
        old = self._sockets.get(url, path)
        if old != path:  # their connections were closed with each call, so the clients hold nothing
            self._shards = {key: kept for key, kept in self._shards.items() if key[2] != old}
        self._sockets[url] = path

    def _shard(self, secure: bool, trust_env: bool, path: str) -> _Shard:
        shards = self._shards.setdefault((secure, trust_env, path), [])
        for shard in shards:
            if shard.busy < PER_CLIENT:
                return shard
        if len(shards) >= MOST_CLIENTS:
            return min(shards, key=lambda shard: shard.busy)
        shards.append(
            _Shard(_client(self._tls.get(trust_env) if secure else None, trust_env, path))
        )
        return shards[-1]


def load_httpx() -> None:
    """Load httpx without what is not used here and comes where it is installed: its command line with click and rich
    (50 ms, 6 MB), and HTTP/2 (40 ms).
    """
    if "httpx" not in sys.modules:
        left_out = [name for name in ("httpx._main", "h2") if name not in sys.modules]
        for name in left_out:
            sys.modules[name] = None  # type: ignore[assignment]  # so Python is told that it cannot be had
        try:
            import httpcore  # noqa: F401 - httpx would load it with the first client
            import httpx  # noqa: F401
        finally:
            for name in left_out:
                sys.modules.pop(name, None)


def _client(tls: ssl.SSLContext | None, trust_env: bool, path: str) -> httpx.AsyncClient:
    load_httpx()
    import httpx

    for name in ("httpx", "httpcore"):  # at INFO they write whole addresses
        logger = logging.getLogger(name)
        if logger.level < logging.WARNING:
            logger.setLevel(logging.WARNING)
    if path:  # the server here is our own child, and opening a socket costs nothing: none is kept
        limits = httpx.Limits(max_keepalive_connections=0)
        over = httpx.AsyncHTTPTransport(uds=path, verify=_no_trust(), limits=limits)
        return httpx.AsyncClient(transport=over, trust_env=False, follow_redirects=False)
    return httpx.AsyncClient(
        verify=tls or _no_trust(),
        trust_env=trust_env,
        follow_redirects=False,
        limits=httpx.Limits(
            max_connections=None, max_keepalive_connections=PER_CLIENT, keepalive_expiry=30.0
        ),
    )


def _no_trust() -> ssl.SSLContext:
    """A context that trusts nobody: for plain addresses, where loading the trust store is wasted start-up time."""
    import ssl

    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _trust_store(trust_env: bool) -> ssl.SSLContext:
    load_httpx()
    import httpx

    return httpx.create_ssl_context(trust_env=trust_env)


_pools: weakref.WeakKeyDictionary[Any, Pool] = weakref.WeakKeyDictionary()


def pool_of(kernel: Any) -> Pool:
    """The one pool of a kernel, made at first use."""
    pool = _pools.get(kernel)
    if pool is None:
        pool = _pools[kernel] = Pool()
    return pool

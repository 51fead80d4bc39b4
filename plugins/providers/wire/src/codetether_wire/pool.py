"""The connections of one kernel: one that has served is kept for the next request to the same server."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import trio

from codetether_wire.place import Place, place_of

if TYPE_CHECKING:
    import ssl

    from codetether_wire.connection import Connection, Response

KEPT = 512  # connections in all
KEPT_SECONDS = 30.0


class _Way(NamedTuple):
    """What the connection of a request must have. `path`: of a Unix socket; then none is kept."""

    secure: bool
    host: str
    port: int
    path: str
    trust_env: bool


class Pool:
    """Sends requests. It follows no redirects, and reads no environment unless told to."""

    def __init__(self) -> None:
        self._free: dict[_Way, deque[Connection]] = {}
        self._sockets: dict[tuple[str, int], str] = {}
        self._tls: dict[bool, ssl.SSLContext] = {}

    @property
    def kept(self) -> int:
        """How many connections wait for a request."""
        return sum(map(len, self._free.values()))

    async def ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        *,
        connect: float,
        trust_env: bool = False,
    ) -> Response:
        """The answer once its head is here; close it in any case. `connect`: seconds to reach the server; nothing else is
        limited here. Raises NetworkError.

        A kept connection that turns out to be dead before it answered says nothing about the server: many close theirs
        after each answer (llama.cpp). So the request goes out once more at once, over a new one, and nobody is told.
        """
        from codetether_wire.connection import Broken, Unsendable

        try:
            place = place_of(url)
        except ValueError as error:
            raise Unsendable(f"{error}") from None
        path = self._sockets.get((place.host, place.port), "")
        way = _Way(place.secure, place.host, place.port, path, trust_env)
        if (kept := self._take(way)) is not None:
            try:
                return await self._asked(kept, way, method, place, headers, body)
            except Broken:
                pass
        fresh = await self._dial(way, place, connect)
        return await self._asked(fresh, way, method, place, headers, body)

    async def _asked(  # noqa: PLR0917 - what a request is, and over what
        self,
        connection: Connection,
        way: _Way,
        method: str,
        place: Place,
        headers: Mapping[str, str],
        body: bytes,
    ) -> Response:
        from codetether_wire.connection import Response

        try:
            head = await connection.ask(method, place, headers, body)
        except BaseException:
            connection.close()
            raise
        return Response(connection, head, partial(self._keep, way))

    async def _dial(self, way: _Way, place: Place, seconds: float) -> Connection:
        from codetether_wire.dialling import dial, proxy_for, trust

        proxy = proxy_for(place) if way.trust_env else None
        secure = place.secure or (proxy is not None and proxy.place.secure)
        if secure and way.trust_env not in self._tls:
            self._tls[way.trust_env] = await trio.to_thread.run_sync(trust, way.trust_env)
        tls = self._tls[way.trust_env] if secure else None
        return await dial(place, tls, proxy, way.path, seconds)

    # --- those that are kept ---
    def _take(self, way: _Way) -> Connection | None:
        self._sweep()
        free = self._free.get(way, ())
        while free:
            connection = free.pop()
            if connection.lives:
                return connection
            connection.close()
        return None

    def _keep(self, way: _Way, connection: Connection) -> None:
        self._sweep()
        if way.path or self.kept >= KEPT or not connection.renew():
            connection.close()
            return
        connection.free_since = trio.current_time()
        self._free.setdefault(way, deque()).append(connection)

    def _sweep(self) -> None:
        """Close those that nobody wanted for long."""
        before = trio.current_time() - KEPT_SECONDS
        for free in self._free.values():
            while free and free[0].free_since < before:
                free.popleft().close()

    def over_socket(self, url: str, path: str) -> None:
        """What is sent to the host of `url` goes over the Unix socket at `path`, of a child of ours."""
        place = place_of(url)
        self._sockets[place.host, place.port] = path

    async def aclose(self) -> None:
        """Close the kept connections. The pool can be used again afterwards."""
        for free in self._free.values():
            while free:
                free.pop().close()
        await trio.lowlevel.checkpoint()


_pools: weakref.WeakKeyDictionary[Any, Pool] = weakref.WeakKeyDictionary()


def pool_of(kernel: Any) -> Pool:
    """The one pool of a kernel, made at first use."""
    pool = _pools.get(kernel)
    if pool is None:
        pool = _pools[kernel] = Pool()
    return pool

"""The connections of one kernel: one that has served is kept for the next request to the same server."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import trio

from codetether_wire.place import place_of

if TYPE_CHECKING:
    import ssl

    from codetether_wire.connection import Connection, Response
    from codetether_wire.ways import Way

KEPT = 512  # connections in all
KEPT_SECONDS = 30.0


class _Kept(NamedTuple):
    connection: Connection
    since: float


class Pool:
    """Sends requests. It follows no redirects, and reads no environment unless told to."""

    def __init__(self) -> None:
        self._free: dict[Way, deque[_Kept]] = {}
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
        """The answer once its head is here; close it in any case. `connect`: seconds each of TCP and TLS may take to reach
        the server; nothing else is limited here. Raises NetworkError.

        A kept connection that turns out to be dead before it answered says nothing about the server: many close theirs
        after each answer (llama.cpp). So the request goes out once more at once, over a new one, and nobody is told.
        """
        from codetether_wire.connection import Broken, Unsendable
        from codetether_wire.request import fields_of
        from codetether_wire.ways import Way

        try:
            place = place_of(url)
        except ValueError as error:
            raise Unsendable(f"{error}") from None
        path = self._sockets.get((place.host, place.port), "")
        way = Way(place.secure, place.host, place.port, path, trust_env)
        request = (method, place.target, fields_of(place, method, headers, len(body)), body)
        if (kept := await self._take(way)) is not None:
            try:
                return await self._asked(kept, way, request)
            except Broken:
                pass
        return await self._asked(await self._fresh(way, connect), way, request)

    async def _asked(
        self, connection: Connection, way: Way, request: tuple[str, str, bytes, bytes]
    ) -> Response:
        from codetether_wire.connection import Response

        try:
            incoming = await connection.ask(*request)
        except BaseException:
            await connection.aclose()
            raise
        return Response(connection, incoming, partial(self._keep, way, connection))

    async def _fresh(self, way: Way, seconds: float) -> Connection:
        from codetether_wire.ways import connected, proxy_for

        proxy = proxy_for(way) if way.trust_env else None
        secure = way.secure or (proxy is not None and proxy.place.secure)
        if secure and way.trust_env not in self._tls:
            from codetether_wire.tls import trust

            self._tls[way.trust_env] = await trust(way.trust_env)
        return await connected(way, proxy, self._tls[way.trust_env] if secure else None, seconds)

    # --- those that are kept ---
    async def _take(self, way: Way) -> Connection | None:
        await self._sweep()
        free = self._free.get(way, ())
        while free:
            connection = free.pop().connection
            if not connection.is_dead:
                return connection
            await connection.aclose()
        return None

    async def _keep(self, way: Way, connection: Connection) -> None:
        await self._sweep()
        if way.path or self.kept >= KEPT:
            await connection.aclose()
        else:
            free = self._free.setdefault(way, deque())
            free.append(_Kept(connection, trio.current_time()))

    async def _sweep(self) -> None:
        """Close those that nobody wanted for long."""
        before = trio.current_time() - KEPT_SECONDS
        unwanted: list[_Kept] = []
        for free in self._free.values():
            while free and free[0].since < before:
                unwanted.append(free.popleft())
        for each in unwanted:
            await each.connection.aclose()

    def over_socket(self, url: str, path: str) -> None:
        """What is sent to the host of `url` goes over the Unix socket at `path`, of a child of ours; none is kept."""
        place = place_of(url)
        self._sockets[place.host, place.port] = path

    async def aclose(self) -> None:
        """Close the kept connections. The pool can be used again afterwards."""
        unwanted, self._free = self._free, {}
        for free in unwanted.values():
            while free:
                await free.pop().connection.aclose()


_pools: weakref.WeakKeyDictionary[Any, Pool] = weakref.WeakKeyDictionary()


def pool_of(kernel: Any) -> Pool:
    """The one pool of a kernel, made at first use."""
    pool = _pools.get(kernel)
    if pool is None:
        pool = _pools[kernel] = Pool()
    return pool

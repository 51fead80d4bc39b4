"""The sockets that httpcore speaks over. Its own set a timer for each read and write, also where there is no time limit,
and send the head of a request and its body apart: a third of what a call costs.
"""

# ruff: noqa: ASYNC109 - the interface is httpcore's

from __future__ import annotations

import math
import ssl
from collections.abc import Iterable
from typing import Any

import httpcore
import trio

TOGETHER = 64 << 10
_GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


class Stream(httpcore.AsyncNetworkStream):
    """A stream of trio over `socket`. What is written waits until something is read, which HTTP/1.1 does after each
    request, or until there are more than 64 KiB of it. Reading and writing know no time limits: requests have none.
    """

    def __init__(self, stream: trio.abc.Stream, socket: trio.socket.SocketType) -> None:
        self._stream = stream
        self._socket = socket
        self._waiting = b""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """At most so many bytes; b"" at the end. Raises httpcore.ReadError."""
        assert timeout is None
        try:
            if self._waiting:
                await self._flush(b"")
            return bytes(await self._stream.receive_some(max_bytes))
        except _GONE as error:
            raise httpcore.ReadError(f"{error}") from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of it, now or before the next `read`."""
        assert timeout is None
        if len(self._waiting) + len(buffer) <= TOGETHER:
            self._waiting += buffer
        else:
            await self._flush(buffer)

    async def _flush(self, more: bytes) -> None:
        """A server may answer and close before it has read all: what it said can be read all the same."""
        data, self._waiting = self._waiting + more, b""
        try:
            await self._stream.send_all(data)
        except _GONE:
            await trio.lowlevel.checkpoint_if_cancelled()

    async def aclose(self) -> None:
        """Close it; what was written and not sent goes with it."""
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> Stream:
        """The same, encrypted. Raises httpcore.ConnectError, ConnectTimeout."""
        secure = trio.SSLStream(
            self._stream, ssl_context, server_hostname=server_hostname, https_compatible=True
        )
        try:
            with trio.fail_after(_seconds(timeout)):
                await secure.do_handshake()
        except BaseException as error:
            self._socket.close()
            if isinstance(error, trio.TooSlowError):
                raise httpcore.ConnectTimeout from error
            if isinstance(error, trio.BrokenResourceError):
                raise httpcore.ConnectError(f"{error}") from error
            raise
        return Stream(secure, self._socket)

    def get_extra_info(self, info: str) -> Any:
        """What httpcore asks for."""
        return self._socket.is_readable() if info == "is_readable" else None


class Backend(httpcore.AsyncNetworkBackend):
    """Makes them."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> Stream:
        """Over TCP. Raises httpcore.ConnectError, ConnectTimeout."""
        try:
            with trio.fail_after(_seconds(timeout)):
                tcp = await trio.open_tcp_stream(host, port, local_address=local_address)
        except trio.TooSlowError as error:
            raise httpcore.ConnectTimeout from error
        except OSError as error:
            raise httpcore.ConnectError(f"{error}") from error
        return Stream(tcp, tcp.socket)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> Stream:
        """Over a Unix socket, which is there at once or not at all. Raises httpcore.ConnectError."""
        try:
            over = await trio.open_unix_socket(path)
        except OSError as error:
            raise httpcore.ConnectError(f"{error}") from error
        return Stream(over, over.socket)


def _seconds(timeout: float | None) -> float:
    return math.inf if timeout is None else timeout

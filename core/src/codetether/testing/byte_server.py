"""A loopback server that does to a client exactly what a script says, byte by byte."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from types import TracebackType
from typing import NamedTuple, Self

import trio

from codetether.testing.http import Received, receive, response


class Pause(NamedTuple):
    """Wait this many seconds of trio's time."""

    seconds: float


class Fin(NamedTuple):
    """End the connection in good order, whatever was promised."""


class Reset(NamedTuple):
    """Break the connection: the client sees ECONNRESET."""


class Stall(NamedTuple):
    """Send nothing more, and keep the connection open until the client or the server leaves."""


Step = bytes | Pause | Fin | Reset | Stall
Steps = Iterable[Step]
Script = Sequence[Steps] | Callable[[Received], Steps]


class ByteServer:
    """`async with ByteServer(script) as server:` answers at `server.url` and records in `server.requests`.

    `script` is a list with the steps for each request, in the order they arrive, or a function from the request to
    its steps. Steps are bytes to send, `Pause`, `Fin`, `Reset`, `Stall`; after the last one the connection ends with
    FIN. One request a connection. A request more than a list has is answered with 500, and leaving the context raises
    AssertionError; so does a request that is not HTTP, or a script function that raises.
    """

    def __init__(self, script: Script = ()) -> None:
        self.url = ""
        self.requests: list[Received] = []
        self.surprises: list[str] = []
        self._script = script
        self._scope = trio.CancelScope()
        self._running = trio.open_nursery()

    async def __aenter__(self) -> Self:
        nursery = await self._running.__aenter__()
        serve = partial(trio.serve_tcp, self._serve, 0, host="127.0.0.1")
        listeners: list[trio.SocketListener] = await nursery.start(serve)
        self.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        self._scope = nursery.cancel_scope
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        self._scope.cancel()
        try:
            swallowed = await self._running.__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:
            if group.exceptions == (error,):
                return False  # the test's own error, as it is: the nursery is our affair
            raise
        if error is None and self.surprises:
            raise AssertionError("; ".join(self.surprises))
        return swallowed

    def steps(self, request: Received) -> Steps:
        """The steps for a request. A server that answers by other rules overrides this."""
        if callable(self._script):
            return self._script(request)
        if len(self.requests) <= len(self._script):
            return self._script[len(self.requests) - 1]
        self.surprises.append(
            f"{request.method} {request.path} came after the script's last answer"
        )
        return [response("the script has no more answers", status=500, content_type="text/plain")]

    async def _serve(self, stream: trio.SocketStream) -> None:
        try:
            request = await receive(stream)
            if request is not None:
                self.requests.append(request)
                await self._play(stream, self.steps(request))
        except trio.BrokenResourceError:
            return  # the client left first, which is its right
        except Exception as error:
            self.surprises.append(f"{type(error).__name__}: {error}")

    async def _play(self, stream: trio.SocketStream, steps: Steps) -> None:
        for step in steps:
            match step:
                case Pause(seconds):
                    await trio.sleep(seconds)
                case Fin():
                    return
                case Reset():
                    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    await trio.aclose_forcefully(stream)
                    return
                case Stall():
                    await stream.receive_some(1)  # the client's own end, or our cancellation
                    return
                case _:
                    await stream.send_all(step)

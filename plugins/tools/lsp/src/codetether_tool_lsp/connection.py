"""JSON-RPC with one server: requests with a time limit, answers to what it asks, and an end that says why."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import trio

from codetether_tool_lsp.framing import BrokenProtocol, Reader, framed

if TYPE_CHECKING:
    from codetether.api import PipedChild

WAITING = 64  # messages on their way to a server that does not read
FLOOD = 256 << 20  # bytes it may send while nobody asks it anything
HUNG = 3  # requests in a row without an answer in time

METHOD_NOT_FOUND = -32601
INTERNAL_ERROR = -32603
CONTENT_MODIFIED = -32801
SERVER_CANCELLED = -32802
AGAIN = (CONTENT_MODIFIED, SERVER_CANCELLED)
RETRIES = 4
ENDING = 5.0


class ServerGone(Exception):
    """The server is no longer there; `why` is one line."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class ServerError(Exception):
    """The server's answer is an error, or there was none in time."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class Unknown(Exception):
    """The server asked for something we do not have."""


class Connection:
    """Talks to one child. `on_request` answers what the server asks (Unknown: we do not have that); `on_notification`
    takes what it tells. Neither may wait long.
    """

    def __init__(
        self,
        child: PipedChild,
        on_request: Callable[[str, Any], Awaitable[Any]],
        on_notification: Callable[[str, Any], None],
    ) -> None:
        self._child = child
        self._on_request = on_request
        self._on_notification = on_notification
        self._ids = itertools.count(1)
        self._pending: dict[int, tuple[trio.Event, list[Any]]] = {}
        self._out, self._outgoing = trio.open_memory_channel[bytes](WAITING)
        self._unanswered = 0
        self._reader = Reader(child.output)
        self._quiet_from = 0
        self._scope = trio.CancelScope()
        self.why = ""
        self.over = trio.Event()

    # --- its life ---
    async def run(self) -> None:
        """Read and write until the server ends or breaks the protocol; afterwards `why` says which."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    await self._read()
                    nursery.cancel_scope.cancel()
        except* (BrokenProtocol, trio.BrokenResourceError, trio.ClosedResourceError) as group:
            self.why = self.why or _first(group)
        finally:
            self.over.set()
            self._out.close()
            self._outgoing.close()
            for event, _ in self._pending.values():
                event.set()

    async def _write(self) -> None:
        async for data in self._outgoing:
            try:
                await self._child.input.send_all(data)
            except trio.BrokenResourceError:
                await trio.sleep_forever()  # it no longer reads: the reader will see why

    async def _read(self) -> None:
        while (message := await self._reader.message()) is not None:
            self._child.let_go()
            if self._reader.taken - self._quiet_from > FLOOD:
                raise BrokenProtocol(f"it sent {FLOOD >> 20} MB that nobody asked for")
            await self._take(message)

    async def _take(self, message: dict[str, Any]) -> None:
        method, number = message.get("method"), message.get("id")
        if isinstance(method, str):
            if number is None:
                self._on_notification(method, message.get("params"))
            else:
                await self._answer(number, method, message.get("params"))
            return
        pending = self._pending.get(number) if isinstance(number, int) else None
        if pending is not None:
            pending[1].append(message)
            pending[0].set()

    async def _answer(self, number: Any, method: str, params: Any) -> None:
        reply: dict[str, Any] = {"jsonrpc": "2.0", "id": number}
        try:
            reply["result"] = await self._on_request(method, params)
        except Unknown:
            reply["error"] = {"code": METHOD_NOT_FOUND, "message": f"no {method} here"}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reply["error"] = {"code": INTERNAL_ERROR, "message": f"cannot read that: {error!r}"}
        await self._out.send(framed(reply))

    # --- our side ---
    async def notify(self, method: str, params: Any) -> None:
        """Tell it something. Raises ServerGone."""
        await self._send({"jsonrpc": "2.0", "method": method, "params": params})

    async def request(self, method: str, params: Any, seconds: float) -> Any:
        """Its result. Told that it changed meanwhile, it is asked again. Cancelling tells the server so.

        Raises ServerGone, and ServerError also when there is no answer within `seconds`.
        """
        deadline = trio.current_time() + seconds
        for attempt in range(RETRIES):
            try:
                return await self._once(method, params, deadline - trio.current_time(), seconds)
            except ServerError as error:
                if error.code not in AGAIN or attempt == RETRIES - 1:
                    raise
                await trio.sleep(0.05 * 2**attempt)
        raise AssertionError("unreachable")

    async def _once(self, method: str, params: Any, seconds: float, whole: float) -> Any:
        number = next(self._ids)
        event, got = trio.Event(), list[Any]()
        self._pending[number] = (event, got)
        self._quiet_from = self._reader.taken
        message = {"jsonrpc": "2.0", "id": number, "method": method}
        if params is not None:
            message["params"] = params
        try:
            with trio.move_on_after(max(seconds, 0)) as scope:
                await self._send(message)
                await event.wait()
        finally:
            del self._pending[number]
            if not got and not self.over.is_set():
                self._forget(number)
        if scope.cancelled_caught and not got:
            self._unanswered += 1
            if self._unanswered >= HUNG:
                self.why = f"it did not answer {HUNG} times in a row"
                self.stop()
            raise ServerError(f"no answer within {whole:g} s")
        if not got:
            raise ServerGone(await self.reason())
        self._unanswered = 0
        return _result(got[0])

    def _forget(self, number: int) -> None:
        try:
            self._out.send_nowait(
                framed({"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": number}})
            )
        except (trio.WouldBlock, trio.ClosedResourceError, trio.BrokenResourceError):
            return  # it does not read, or is gone

    async def _send(self, message: dict[str, Any]) -> None:
        try:
            await self._out.send(framed(message))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise ServerGone(await self.reason()) from None

    async def reason(self) -> str:
        """Why it is gone, once it is."""
        if not self.why:
            with trio.move_on_after(ENDING):
                await self._child.ended.wait()
        return self.why or self._child.why or "it closed the connection"

    def stop(self) -> None:
        """Take nothing more from it; who started it ends it."""
        self._scope.cancel()


def _result(message: dict[str, Any]) -> Any:
    error = message.get("error")
    if error is None:
        return message.get("result")
    if not isinstance(error, dict):
        raise ServerError(str(error)[:300])
    code = error.get("code")
    text = str(error.get("message", "")).strip()[:500] or "it gave no reason"
    raise ServerError(text, code if isinstance(code, int) else 0)


def _first(group: BaseExceptionGroup[Exception]) -> str:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) if isinstance(error, BrokenProtocol) else ""

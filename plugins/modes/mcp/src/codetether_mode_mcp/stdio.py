"""The protocol over standard input and output: one JSON message a line, and nothing else on standard output.

Whatever else writes to standard output goes to standard error meanwhile. The end of the input is the client's way to
leave: answers that are on their way get `GRACE` seconds, then all ends.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import mcp_types as types
import trio
from mcp.server.runner import serve_dual_era_loop
from mcp.shared.message import SessionMessage

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server

LONGEST_LINE = 8 * 1024 * 1024
PIECE = 65536
GRACE = 2.0
MOST_UNANSWERED = 256  # then nothing more is read until one is answered
CANCELLED = "notifications/cancelled"
BAD_LINE = (
    b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"not a JSON-RPC message"}}\n'
)
LONG_LINE = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"message too long"}}\n'


async def serve_stdio(server: Server[Any], source: int, target: int) -> None:
    """Serve one client until its input ends, or nobody reads the output any more; by `standard_streams`."""
    wire = _Wire(source, target)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wire.read)
        nursery.start_soon(wire.write, nursery.cancel_scope)
        await serve_dual_era_loop(server, wire.incoming, wire.outgoing, lifespan_state=None)
        nursery.cancel_scope.cancel()


class Lines:
    """Bytes as they come, in lines. One that is longer than `longest` is told of once, and skipped."""

    def __init__(self, longest: int = LONGEST_LINE) -> None:
        self._longest = longest
        self._begun: list[bytes] = []
        self._size = 0

    def take(self, piece: bytes) -> list[bytes | None]:
        """The lines that `piece` completes, without their ends; None for one that is too long."""
        found: list[bytes | None] = []
        *ends, rest = piece.split(b"\n")
        for end in ends:
            self._add(end)
            found.append(self._line())
        self._add(rest)
        return found

    def rest(self) -> list[bytes | None]:
        """What came after the last end of a line."""
        return [self._line()] if self._size else []

    def _add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size <= self._longest:
            self._begun.append(piece)
        else:
            self._begun.clear()

    def _line(self) -> bytes | None:
        line = b"".join(self._begun) if self._size <= self._longest else None
        self._begun.clear()
        self._size = 0
        return line


class _Wire:
    def __init__(self, source: int, target: int) -> None:
        self._source = source
        self._target = target
        self._from_client, self.incoming = anyio.create_memory_object_stream[
            SessionMessage | Exception
        ](0)
        self.outgoing, self._to_client = anyio.create_memory_object_stream[SessionMessage](0)
        self._unanswered: set[types.RequestId] = set()
        self._answered = trio.Event()
        self._writing = trio.Lock()

    # --- from the client ---
    async def read(self) -> None:
        """Hand on messages until the input ends; a line that is none is answered, and costs nothing else."""
        lines = Lines()
        async with self._from_client:
            while piece := await trio.to_thread.run_sync(
                os.read, self._source, PIECE, abandon_on_cancel=True
            ):
                for line in lines.take(piece):
                    await self._take(line)
            for line in lines.rest():
                await self._take(line)
            with trio.move_on_after(GRACE):
                await self._until_answered(1)

    async def _take(self, line: bytes | None) -> None:
        if line is None:
            await self._send(LONG_LINE)
            return
        if not line.strip():
            return
        try:
            message = types.jsonrpc_message_adapter.validate_json(line, by_name=False)
        except (ValueError, RecursionError):
            await self._send(BAD_LINE)
            return
        if isinstance(message, types.JSONRPCRequest):
            await self._until_answered(MOST_UNANSWERED)
            self._unanswered.add(message.id)
        elif isinstance(message, types.JSONRPCNotification) and message.method == CANCELLED:
            self._unanswered.discard((message.params or {}).get("requestId", ""))
        await self._from_client.send(SessionMessage(message))

    async def _until_answered(self, most: int) -> None:
        """Wait until fewer than `most` requests have no answer."""
        while len(self._unanswered) >= most:
            self._answered = trio.Event()
            await self._answered.wait()

    # --- to the client ---
    async def write(self, scope: trio.CancelScope) -> None:
        """Write messages until there are no more; `scope` ends when nobody reads them."""
        async for message in self._to_client:
            text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
            try:
                await self._send(text.encode() + b"\n")
            except OSError:
                scope.cancel()
                return
            if isinstance(message.message, types.JSONRPCResponse | types.JSONRPCError):
                self._unanswered.discard(message.message.id or "")
                self._answered.set()

    async def _send(self, data: bytes) -> None:
        async with self._writing:
            await trio.to_thread.run_sync(_write_all, self._target, data, abandon_on_cancel=True)


def _write_all(target: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]


@contextmanager
def standard_streams() -> Iterator[tuple[int, int]]:
    """Descriptors for the client alone: until the end, what else reads 0 finds nothing, what else writes 1 goes to 2."""
    source, target = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    try:
        yield source, target
    finally:
        os.dup2(source, 0)
        os.dup2(target, 1)  # both stay open: a thread may still wait on them

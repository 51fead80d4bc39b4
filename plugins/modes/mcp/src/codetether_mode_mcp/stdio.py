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
BAD_LINE = (
    b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"not a JSON-RPC message"}}\n'
)
LONG_LINE = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"message too long"}}\n'


async def serve_stdio(server: Server[Any]) -> None:
    """Serve one client until its input ends, or nobody reads the output any more."""
    with _standard_streams() as (source, target):
        wire = _Wire(source, target)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wire.read)
            nursery.start_soon(wire.write, nursery.cancel_scope)
            await serve_dual_era_loop(server, wire.incoming, wire.outgoing, lifespan_state=None)
            nursery.cancel_scope.cancel()


class _Wire:
    def __init__(self, source: int, target: int) -> None:
        self._source = source
        self._target = target
        self._from_client, self.incoming = anyio.create_memory_object_stream[
            SessionMessage | Exception
        ](0)
        self.outgoing, self._to_client = anyio.create_memory_object_stream[SessionMessage](0)
        self._unanswered = 0
        self._answered = trio.Event()
        self._writing = trio.Lock()

    # --- from the client ---
    async def read(self) -> None:
        """Hand on messages until the input ends; a line that is none is answered, and costs nothing else."""
        async with self._from_client:
            async for line in _lines(self._source):
                if line is None:
                    await self._send(LONG_LINE)
                elif line.strip():
                    await self._take(line)
            with trio.move_on_after(GRACE):
                while self._unanswered > 0:
                    self._answered = trio.Event()
                    await self._answered.wait()

    async def _take(self, line: bytes) -> None:
        try:
            message = types.jsonrpc_message_adapter.validate_json(line, by_name=False)
        except (ValueError, RecursionError):
            await self._send(BAD_LINE)
            return
        self._unanswered += isinstance(message, types.JSONRPCRequest)
        await self._from_client.send(SessionMessage(message))

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
                self._unanswered -= 1
                self._answered.set()

    async def _send(self, data: bytes) -> None:
        async with self._writing:
            await trio.to_thread.run_sync(_write_all, self._target, data, abandon_on_cancel=True)


def _write_all(target: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]


async def _lines(source: int) -> Any:
    """Each line without its end; None for one that is too long, which is skipped."""
    rest, skipping = b"", False
    while piece := await trio.to_thread.run_sync(os.read, source, PIECE, abandon_on_cancel=True):
        *lines, rest = (rest + piece).split(b"\n") if b"\n" in piece else [rest + piece]
        for line in lines:
            if not skipping:
                yield line
            skipping = False
        if len(rest) > LONGEST_LINE:
            if not skipping:
                yield None
            rest, skipping = b"", True
    if rest and not skipping:
        yield rest


@contextmanager
def _standard_streams() -> Iterator[tuple[int, int]]:
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

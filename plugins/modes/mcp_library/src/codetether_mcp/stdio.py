"""A server as a child process: JSON lines over two pipes, its last words kept, nothing left behind."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import trio
from codetether.api import CodetetherError, Launch, PipedChild, clean_env
from mcp.shared.message import SessionMessage
from mcp_types import (
    JSONRPCError,
    JSONRPCRequest,
    JSONRPCResponse,
    jsonrpc_message_adapter,
)

from codetether_mcp.pace import Pace

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
    from codetether.api import Kernel

    from codetether_mcp.configuration import Server

LONGEST_LINE = 16_000_000  # bytes of one message: about ten screenshots
ASKING = 100  # requests of the server's own that may wait for an answer
LEAVING = 0.5  # seconds from the end of its input until it is told to end


class Child(PipedChild):
    """The process and its pipes. `asking`: requests of its own that have no answer yet."""

    def __init__(self, argv: tuple[str, ...], cwd: Path, env: Mapping[str, str]) -> None:
        super().__init__()
        self.launch = Launch(self.connected(argv), str(cwd), dict(env), self.fds)
        self.asking = 0


def child_of(server: Server, directory: Path) -> Child:
    """The child for a server of a session in `directory`, not yet started. Raises CodetetherError."""
    env = clean_env(server.env)
    cwd = Path(server.cwd) if server.cwd else directory
    command = os.path.expanduser(server.command)
    if "/" in command and not os.path.isabs(command):
        command = str(cwd / command)
    found = shutil.which(command, path=env.get("PATH"))
    if found is None:
        raise CodetetherError(
            f"MCP server {server.name}: cannot run {server.command!r}: not installed or not in PATH",
            f"install it, or correct {server.origin}",
        )
    return Child((found, *server.args), cwd, env)


@asynccontextmanager
async def stdio(kernel: Kernel, child: Child) -> AsyncIterator[tuple[Any, Any]]:
    """The child's two streams of messages, as the SDK's transports give them. Leaving ends the child."""
    await kernel.sweep()
    to_us, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outgoing, from_us = anyio.create_memory_object_stream[SessionMessage](0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(child.run, child.launch)
        nursery.start_soon(_read, child, to_us)
        nursery.start_soon(_write, child, from_us, to_us)
        try:
            yield incoming, outgoing
        finally:
            with trio.CancelScope(shield=True):
                incoming.close()
                outgoing.close()
                await child.input.aclose()
                with trio.move_on_after(LEAVING):
                    await child.ended.wait()
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await child.ended.wait()  # run_process ends a cancelled tree within a second
                await child.aclose()


async def _read(child: Child, to_us: MemoryObjectSendStream[SessionMessage | Exception]) -> None:
    """Pass on each message. The end of its output is the end of the connection."""
    async with to_us:
        rest = bytearray()
        searched = 0
        pace = Pace()
        with contextlib.suppress(
            trio.ClosedResourceError, anyio.BrokenResourceError, anyio.ClosedResourceError
        ):
            while data := await child.output.receive_some(65536):
                rest += data
                while (end := rest.find(b"\n", searched)) >= 0:
                    line = bytes(rest[:end])
                    del rest[: end + 1]
                    searched = 0
                    if not line.strip():
                        continue
                    await pace.take(1)
                    message = _message(line)
                    if _asks(message):
                        child.asking += 1
                        if child.asking > ASKING:
                            child.why = f"it asked more than {ASKING} things at once"
                            return
                    await to_us.send(message)
                searched = len(rest)
                if searched > LONGEST_LINE:
                    child.why = f"it sent a message of more than {LONGEST_LINE} bytes"
                    return


def _message(line: bytes) -> SessionMessage | Exception:
    """What a line says. One that is no message is passed on as the error it is: servers print on their output."""
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except (ValueError, RecursionError) as error:
        return ValueError(f"not a message: {type(error).__name__}")


def _asks(message: SessionMessage | Exception) -> bool:
    return isinstance(message, SessionMessage) and isinstance(message.message, JSONRPCRequest)


async def _write(
    child: Child,
    from_us: MemoryObjectReceiveStream[SessionMessage],
    to_us: MemoryObjectSendStream[SessionMessage | Exception],
) -> None:
    """Send each message. One that reads no more cannot answer: that, too, is the end of the connection."""
    async with from_us:
        try:
            async for each in from_us:
                text = each.message.model_dump_json(by_alias=True, exclude_unset=True)
                await child.input.send_all(text.encode() + b"\n")
                if isinstance(each.message, JSONRPCResponse | JSONRPCError):
                    child.asking -= 1
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            to_us.close()

"""A mode that runs beside the conversation: our own program as a child, its events read line by line."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from subprocess import PIPE
from typing import Any

import msgspec
import trio

from codetether_conversation.words import ModeEnded, ModeEvent, ModeStarted, Told

LINE = 4_000_000  # bytes of one event
KEPT = 4_000  # bytes kept of what it wrote for people
GRACE = 10.0  # seconds to end by itself after being stopped


class ModeRun:
    """One run of `codetether NAME WORDS`; `words` ask for `--format stream-json`."""

    def __init__(self, name: str, words: Sequence[str], directory: Path) -> None:
        self.name = name
        self.words = tuple(words)
        self._directory = directory
        self._process: trio.Process | None = None
        self._stopped = 0

    def stop(self) -> None:
        """Ask it to stop; the second time, harder."""
        self._stopped += 1
        self._signal(signal.SIGINT if self._stopped == 1 else signal.SIGTERM)

    async def run(self, tell: Callable[[Told], Awaitable[None]]) -> None:
        """From its start to its end, whatever happens to it."""
        await tell(ModeStarted(self.name, self.words))
        argv = [*ourselves(), self.name, *self.words]
        said = b""
        self._process = process = await trio.lowlevel.open_process(
            argv, stdout=PIPE, stderr=PIPE, cwd=self._directory, start_new_session=True
        )
        assert process.stdout is not None
        assert process.stderr is not None

        async def listen() -> None:
            nonlocal said
            async for piece in process.stderr:  # type: ignore[union-attr]
                said = (said + piece)[-KEPT:]

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(listen)
                async for event in events(process.stdout):
                    await tell(ModeEvent(self.name, event))
                await process.wait()
        finally:
            with trio.CancelScope(shield=True):
                await self._end(process)
        code = process.returncode or 0
        await tell(ModeEnded(self.name, code, said.decode("utf-8", "replace").strip()))

    async def _end(self, process: trio.Process) -> None:
        if process.returncode is None:
            self._signal(signal.SIGTERM)
            with trio.move_on_after(GRACE):
                await process.wait()
        self._signal(signal.SIGKILL)  # whoever of the group is left
        await process.wait()

    def _signal(self, number: int) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)


def ourselves() -> list[str]:
    """How this program is started again."""
    return [sys.executable, "-m", "codetether"]


async def events(stream: trio.abc.ReceiveStream) -> Any:
    """The JSON objects of `stream`, one a line; lines that are none, or too long, are passed over."""
    rest = b""
    async for piece in stream:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            with contextlib.suppress(msgspec.DecodeError):
                found = msgspec.json.decode(line)
                if isinstance(found, dict):
                    yield found
        if len(rest) > LINE:
            rest = b""

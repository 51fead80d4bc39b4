"""Two streams that may be one terminal: the answer on one, everything else on the other, and a spinner in between."""

from __future__ import annotations

from typing import TextIO

import trio
from codetether.api import Output, Style, can_move, cells, columns, one_line, wants_colour


class Screen:
    """Keeps lines whole. `out` gets the answer only, `err` everything else; the spinner lives on `err`, only when it
    is a terminal, and is gone before anything else is written.
    """

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self.out = Output(out)
        self.err = Output(err)
        self.style = Style(wants_colour(err))
        self.live = self.err.terminal and can_move()
        self._unfinished: Output | None = None
        self._painted = 0
        self._lock = trio.Lock()

    async def say(self, output: Output, text: str, shown: str = "") -> None:
        """Text that may end in the middle of a line. `shown` is `text` with colours, if it has any."""
        if not text:
            return
        async with self._lock:
            if self._unfinished not in (None, output):
                await self._finish()
            await self._unpaint()
            await output.write(shown or text)
            self._unfinished = None if text.endswith("\n") else output

    async def line(self, text: str) -> None:
        """A whole line, or several, on `err`."""
        async with self._lock:
            await self._finish()
            await self._unpaint()
            await self.err.write(text + "\n")

    async def finish(self) -> None:
        """End the line somebody is in the middle of."""
        async with self._lock:
            await self._finish()

    async def paint(self, text: str) -> None:
        """Show `text` as the spinner, unless somebody is in the middle of a line or of an answer."""
        if not self.live or self._unfinished is not None or self._lock.locked():
            return
        async with self._lock:
            shown = one_line(text, max(columns(self.err.stream) - 1, 1))
            await self.err.write(self._erase() + self.style.dim(shown))
            self._painted = cells(shown)

    async def alone(self) -> trio.Lock:
        """Hold `err` for a question: nothing else is written until the lock is released."""
        await self._lock.acquire()
        await self._finish()
        await self._unpaint()
        return self._lock

    def leave(self) -> None:
        """Take the spinner away on the way out, whatever the way is."""
        if self._painted:
            self.err.write_now(self._erase())
            self._painted = 0

    async def _finish(self) -> None:
        if self._unfinished is not None:
            await self._unfinished.write("\n")
            self._unfinished = None

    async def _unpaint(self) -> None:
        if self._painted:
            await self.err.write(self._erase())
            self._painted = 0

    def _erase(self) -> str:
        """A narrower window has wrapped the spinner over several rows: start at its first."""
        if not self._painted:
            return ""
        rows = (self._painted - 1) // max(columns(self.err.stream), 1)
        return "\r" + (f"\x1b[{rows}A" if rows else "") + "\x1b[J"

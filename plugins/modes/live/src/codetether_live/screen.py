"""Showing a board: redrawn in place on a terminal whatever size it takes, line by line anywhere else."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

import trio
from codetether.api import CodetetherError, Output, Style, can_move, cells, wants_colour

from codetether_live.drawing import clock, picture, summary

if TYPE_CHECKING:
    from codetether_live.board import Board

EVERY = 0.2  # seconds between two pictures
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"
LAST_SECONDS = 1.0


@asynccontextmanager
async def showing(board: Board, stream: TextIO | None = None) -> AsyncIterator[None]:
    """Show `board` on `stream` (standard error unless given) while the block runs; the last picture stays.

    A stream that breaks ends the showing, not the work.
    """
    output = Output(stream or sys.stderr)
    show = _Terminal(board, output) if output.terminal and can_move() else _Lines(board, output)
    with only():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_refresh, show)
            try:
                yield
            finally:
                nursery.cancel_scope.cancel()
                with trio.move_on_after(LAST_SECONDS, shield=True), suppress(OSError):
                    await show.end()


@contextmanager
def only() -> Iterator[None]:
    """An error that comes out of nurseries alone comes out as it is; one of ours before others."""
    try:
        yield
    except BaseExceptionGroup as group:
        leaves = _leaves(group)
        ours = [each for each in leaves if isinstance(each, CodetetherError)]
        if ours or len(leaves) == 1:
            raise (ours or leaves)[0] from None
        raise


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for each in group.exceptions:
        found += _leaves(each) if isinstance(each, BaseExceptionGroup) else [each]
    return found


async def _refresh(show: _Terminal | _Lines) -> None:
    with suppress(OSError):
        while True:
            await show.refresh()
            await trio.sleep(EVERY)


class _Lines:
    """A line for each change, with the time: for a pipe, a file, a terminal that cannot move."""

    def __init__(self, board: Board, output: Output) -> None:
        self.board = board
        self.output = output

    async def refresh(self) -> None:
        now = clock(trio.current_time() - self.board.started)
        lines = self.board.lines(brief=True)
        if lines:
            await self.output.write("".join(f"[{now}] {line}\n" for line in lines))

    async def end(self) -> None:
        await self.refresh()
        await self.output.write(f"{summary(self.board, trio.current_time())}\n")


class _Terminal:
    """The board below what was said. Each picture erases the one before: it is known how many rows that takes now,
    even when the terminal has another width since and has wrapped its lines. What that pushed off the top stays there.
    """

    def __init__(self, board: Board, output: Output) -> None:
        self.board = board
        self.output = output
        self.style = Style(wants_colour(output.stream))
        self._drawn: list[int] = []  # the width of each line on the screen
        self._seen: tuple[int, int, int, int] | None = None

    async def refresh(self) -> None:
        width, height = self._size()
        now = trio.current_time()
        working = bool(self.board.phase or self.board.count("running"))
        seen = (self.board.version, width, height, int(now) if working else 0)
        if seen == self._seen:
            return
        self._seen = seen
        await self._draw(width, height, now)

    async def end(self) -> None:
        width, _ = self._size()
        await self._draw(width, len(self.board.rows) + 2, trio.current_time())
        await self.output.write(SHOW)

    async def _draw(self, width: int, height: int, now: float) -> None:
        said = self.board.lines(brief=False)
        lines = picture(self.board, now, width, height, self.style, unicode=self.output.unicode)
        above = "".join(f"{line}\n" for line in said)
        below = "\n".join(lines)
        text = f"{HIDE}{self._erase(width)}{above}{below}\n"
        self._drawn = [_visible(line) for line in lines]
        await self.output.write(text)

    def _erase(self, width: int) -> str:
        rows = sum(max(1, -(-drawn // width)) for drawn in self._drawn)
        return f"\r\x1b[{rows}A\x1b[J" if rows else ""

    def _size(self) -> tuple[int, int]:
        try:
            size = os.get_terminal_size(self.output.stream.fileno())
        except (OSError, ValueError):
            return 80, 24
        # A terminal that was never told its size says 0.
        return size.columns or 80, max((size.lines or 24) - 1, 1)


def _visible(line: str) -> int:
    return cells(re.sub(r"\x1b\[[0-9;]*m", "", line))

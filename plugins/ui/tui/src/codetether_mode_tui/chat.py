"""The scrollback: only what is in sight is painted, however long the conversation is.

The place is an item and a line of it, not a number of lines from the top, so nothing above or below it is measured.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from codetether_mode_tui.lines import Line
from codetether_mode_tui.paint import Painter

if TYPE_CHECKING:
    from codetether_mode_tui.state import State


class Scrollback:
    """What part of `state.items` is in sight. At the end it follows what comes; scrolled up it stays."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.painter = Painter(state)
        self.width = 80
        self.height = 24
        self.top: tuple[int, int] | None = (
            None  # item and line of the first row; None: follow the end
        )
        self._generation = state.generation
        self.shown: list[int] = []  # the item of each row in sight, for the mouse
        self.last = 0

    def rows(self, width: int, height: int) -> list[Line]:
        """The rows in sight."""
        state = self.state
        if state.generation != self._generation:
            self._generation = state.generation
            self.top = None
        self.width, self.height = width, max(height, 1)
        if self.top is not None:
            self.top = self._bounded(*self.top)
        at, skip = self.top if self.top is not None else self._end()
        rows: list[Line] = []
        self.shown = []
        while at < len(state.items) and len(rows) < self.height:
            lines = self.painter.lines(at, width)[skip:]
            rows += lines
            self.shown += [at] * len(lines)
            at, skip = at + 1, 0
        self.last = at
        del rows[self.height :]
        del self.shown[self.height :]
        return rows

    @property
    def following(self) -> bool:
        """Whether the end is in sight and followed."""
        return self.top is None

    def _count(self, at: int) -> int:
        return len(self.painter.lines(at, self.width))

    def _end(self) -> tuple[int, int]:
        """The place from which the rest just fills the height."""
        left = self.height
        for at in range(len(self.state.items) - 1, -1, -1):
            count = self._count(at)
            if count >= left:
                return at, count - left
            left -= count
        return 0, 0

    def _bounded(self, at: int, line: int) -> tuple[int, int] | None:
        if at >= len(self.state.items):
            return None
        return at, min(line, self._count(at) - 1)

    def scroll(self, lines: int) -> None:
        """Up (negative) or down; at the end it follows again."""
        if not self.state.items:
            return
        at, line = self.top if self.top is not None else self._end()
        line += lines
        while line < 0 and at > 0:
            at -= 1
            line += self._count(at)
        line = max(line, 0)
        while at < len(self.state.items) - 1 and line >= self._count(at):
            line -= self._count(at)
            at += 1
        end = self._end()
        self.top = None if (at, line) >= end else (at, line)

    def to_top(self) -> None:
        """The first line."""
        self.top = (0, 0) if self.state.items and self._end() > (0, 0) else None

    def to_end(self) -> None:
        """The end, and follow it."""
        self.top = None

    def stay(self, change: Callable[[], None]) -> None:
        """Make a change of items in sight without moving what stands above them."""
        if self.state.items:
            self.top = self.top if self.top is not None else self._end()
        change()
        if self.top is not None and self.top >= self._end():
            self.top = None

    def reveal(self, at: int) -> None:
        """Bring item `at` into sight."""
        if at not in self.shown:
            end = self._end()
            self.top = None if (at, 0) >= end else (at, 0)

    def share(self) -> tuple[float, float]:
        """Where the part in sight begins and ends, from 0 to 1, counted in items: for the scroll bar."""
        count = len(self.state.items)
        if not count or not self.shown:
            return 0.0, 1.0
        return self.shown[0] / count, min(self.last / count, 1.0)

"""How far it is: one line that is written anew on a terminal, a line at each tenth elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from codetether.api import clean, is_terminal

EVERY = 0.2


class Progress:
    """Tells on standard error. Nothing of it is on standard output."""

    def __init__(self, name: str, stream: TextIO | None = None) -> None:
        self._name = clean(name)
        self._stream = stream or sys.stderr
        self._terminal = is_terminal(self._stream)
        self._total: int | None = None
        self._from = 0
        self._since = self._told = time.monotonic()
        self._tenth = 0
        self._open = False
        self.word = ""

    def start(self, done: int, total: int | None) -> None:
        """A transfer begins, or goes on, at `done` of `total` bytes."""
        self._from, self._total = done, total
        self._since, self._told = time.monotonic(), 0.0
        self._tenth = done * 10 // total if total else 0
        if done:
            self.note(f"going on at {_size(done)}")

    def at(self, done: int) -> None:
        """`done` bytes are there."""
        now = time.monotonic()
        if self._terminal and (now - self._told >= EVERY or done == self._total):
            self._told = now
            self._write(f"\r\x1b[K{self._line(done, now)}")
            self._open = True
        elif not self._terminal and self._total and done * 10 // self._total > self._tenth:
            self._tenth = done * 10 // self._total
            self._write(f"{self._line(done, now)}\n")

    def note(self, text: str) -> None:
        """A line of its own."""
        self.close()
        self._write(f"{self._name}: {clean(text)}\n")

    def close(self) -> None:
        """End the line that is being written."""
        if self._open:
            self._write("\n")
            self._open = False

    def _line(self, done: int, now: float) -> str:
        rate = (done - self._from) / max(now - self._since, 0.001)
        head = f"{self._name}: {self.word}{_size(done)}"
        if not self._total:
            return f"{head}, {_size(rate)}/s"
        left = (self._total - done) / rate if rate else 0.0
        rest = f", {_time(left)} left" if left >= 1 else ""
        return (
            f"{head} of {_size(self._total)}, {done * 100 // self._total}%, {_size(rate)}/s{rest}"
        )

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _size(count: float) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _time(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"

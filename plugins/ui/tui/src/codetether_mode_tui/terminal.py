"""Asking the terminal for its background colour before the screen opens (OSC 11, as xterm documents it)."""

from __future__ import annotations

import os
import re
import select
import termios
import time
import tty
from typing import Any, Self

QUESTION = b"\x1b]11;?\x1b\\\x1b[c"  # and, since every terminal answers that, what it is
_COLOUR = re.compile(rb"\x1b\]11;(rgb:[0-9a-fA-F/]{5,20})(?:\x07|\x1b\\)")
_WHAT = re.compile(rb"\x1b\[\?[0-9;]*c")


class Background:
    """Asks when it is entered and waits in `colour`, so that what is done between costs no time: an answer may come from
    far away. The terminal is as before afterwards; what is typed meanwhile is lost. Without a `terminal` nothing is asked.
    """

    def __init__(self, terminal: int | None, patience: float = 0.2) -> None:
        self._terminal, self._patience = terminal, patience
        self._before: list[Any] | None = None
        self._until = 0.0

    def __enter__(self) -> Self:
        if self._terminal is not None:
            try:
                before = termios.tcgetattr(self._terminal)
                tty.setcbreak(self._terminal, termios.TCSANOW)
                self._before = before
                os.write(self._terminal, QUESTION)
            except (OSError, termios.error):
                pass
        self._until = time.monotonic() + self._patience
        return self

    def colour(self) -> str | None:
        """`rgb:rrrr/gggg/bbbb`, or None when it does not say within `patience` seconds of the question."""
        if self._terminal is None or self._before is None:
            return None
        said = b""
        try:
            while not _WHAT.search(said):
                left = max(self._until - time.monotonic(), 0)
                if not select.select([self._terminal], [], [], left)[0]:
                    break
                said += os.read(self._terminal, 1024)
        except OSError:
            return None
        found = _COLOUR.search(said)
        return found[1].decode() if found else None

    def __exit__(self, *_: object) -> None:
        if self._terminal is not None and self._before is not None:
            termios.tcsetattr(self._terminal, termios.TCSANOW, self._before)

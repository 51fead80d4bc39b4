"""Asking the terminal for its background colour before the screen opens (OSC 11, as xterm documents it)."""

from __future__ import annotations

import os
import re
import select
import termios
import time
import tty

QUESTION = b"\x1b]11;?\x1b\\\x1b[c"  # and, since every terminal answers that, what it is
_COLOUR = re.compile(rb"\x1b\]11;(rgb:[0-9a-fA-F/]{5,20})(?:\x07|\x1b\\)")
_WHAT = re.compile(rb"\x1b\[\?[0-9;]*c")


def background(terminal: int, patience: float = 0.2) -> str | None:
    """`rgb:rrrr/gggg/bbbb`, or None when it does not say within `patience` seconds. What else was typed is lost."""
    try:
        before = termios.tcgetattr(terminal)
        tty.setcbreak(terminal, termios.TCSANOW)
    except (OSError, termios.error):
        return None
    try:
        os.write(terminal, QUESTION)
        said = b""
        until = time.monotonic() + patience
        while (left := until - time.monotonic()) > 0 and not _WHAT.search(said):
            if select.select([terminal], [], [], left)[0]:
                said += os.read(terminal, 1024)
        found = _COLOUR.search(said)
        return found[1].decode() if found else None
    except OSError:
        return None
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)

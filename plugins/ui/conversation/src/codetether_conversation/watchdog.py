"""Gives the terminal back, whatever ends this process: a shell waits on a pipe and resets what it finds.

prompt_toolkit restores the terminal when it ends by itself. A signal that kills, or a crash of the interpreter, leaves
raw mode and the alternate screen on; then the pipe closes without a word, and the shell acts.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import termios
from types import TracebackType
from typing import Self

# Bracketed paste off, cursor shown and of the usual shape, colours reset; and of a full screen: mouse off, main screen.
LINE = r"\033[?2004l\033[?25h\033[0 q\033[0m"
FULL = r"\033[?1000l\033[?1002l\033[?1003l\033[?1006l\033[?1004l" + LINE + r"\033[?1049l\r"
SCRIPT = (
    "trap '' HUP INT TERM TTOU TSTP; IFS= read -r word; "
    '[ "$word" = ok ] || { stty "$1" <"$2"; printf "$3" >"$2"; } 2>/dev/null'
)


class Watchdog:
    """Hold it open while the terminal is not as it was."""

    def __init__(self, terminal: int, *, full_screen: bool) -> None:
        self._terminal = terminal
        self._reset = FULL if full_screen else LINE
        self._shell: subprocess.Popen[bytes] | None = None
        self._before: list[object] | None = None

    def __enter__(self) -> Self:
        with contextlib.suppress(OSError, termios.error):
            self._before = termios.tcgetattr(self._terminal)
            name = os.ttyname(self._terminal)
            saved = subprocess.run(
                ["stty", "-g"],
                stdin=self._terminal,
                capture_output=True,
                text=True,
                check=True,
                timeout=5,
            ).stdout.strip()
            self._shell = subprocess.Popen(
                ["sh", "-c", SCRIPT, "codetether-watchdog", saved, name, self._reset],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                process_group=0,  # what is sent to our group must not reach it
                env={"PATH": os.environ.get("PATH", os.defpath)},
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before is not None:
            with contextlib.suppress(OSError, termios.error):
                termios.tcsetattr(self._terminal, termios.TCSADRAIN, self._before)  # type: ignore[arg-type]
        if self._shell is not None:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                self._shell.communicate(b"ok\n", timeout=5)

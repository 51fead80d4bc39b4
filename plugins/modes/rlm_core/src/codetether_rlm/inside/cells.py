"""Running cells: Python or commands over the same variables, within the limits, its output kept short."""

from __future__ import annotations

import ast
import gc
import io
import signal
import sys
import types
import warnings

from codetether_rlm.inside.commands import Commands, NotUnderstood
from codetether_rlm.inside.functions import Final, Functions, shown
from codetether_rlm.inside.keeping import Keeping
from codetether_rlm.inside.link import Link, TooLong, plain
from codetether_rlm.inside.texts import Seen, sources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

AGAIN = 0.25  # seconds from one interruption to the next, for a cell that catches it
KEEPING_SECONDS = 5.0
FINAL = 1 << 20  # characters of an answer
ERROR = 2_000
EMPTY = "an empty answer is none: say what you found, and what not"
DEEPEST = 3  # lines of a cell told of an error


class Output(io.TextIOBase):
    """What is printed: its beginning and its end."""

    def __init__(self, limit: int) -> None:
        self._head, self._tail = limit * 3 // 4, limit // 4
        self._first: list[str] = []
        self._room = self._head
        self._last = ""
        self.total = 0

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, text: str) -> int:
        """Take more."""
        self.total += len(text)
        taken = text[: self._room]
        if taken:
            self._first.append(taken)
            self._room -= len(taken)
        if len(taken) < len(text):
            self._last = (self._last + text[len(taken) :][-self._tail - 1 :])[-self._tail - 1 :]
        return len(text)

    def text(self) -> tuple[str, bool]:
        """All of it, and whether the middle is missing."""
        first = "".join(self._first)
        if self.total <= self._head + self._tail:
            return plain(first + self._last), False
        left_out = self.total - self._head - self._tail
        return plain(
            f"{first}\n[... {left_out:,} characters left out ...]\n{self._last[-self._tail :]}"
        ), True


class Cells:
    """The variables and what may be done with them."""

    def __init__(self, link: Link, seen: Seen, limits: dict[str, Any]) -> None:
        self._limits = limits
        self._seen = seen
        module = types.ModuleType("cell")
        sys.modules["cell"] = module
        self._variables = module.__dict__
        self._output = Output(limits["output_bytes"])
        self._functions = Functions(link, self._seen, self._print, self._variables)
        self._own = {**self._functions.table(), "sources": sources}
        if len(sources) == 1:
            self._own["context"] = next(iter(sources.values()))
        self._variables.update(self._own)
        self._commands = Commands(self._functions.table(), self._variables)
        self._keeping = Keeping(self._variables, self._own, limits["snapshot_bytes"])
        self._number = 0
        warnings.simplefilter("ignore", SyntaxWarning)  # "\d" is one, in every other pattern
        signal.signal(signal.SIGALRM, _interrupted)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _print(self, text: str) -> None:
        self._output.write(text)

    def command(self, text: str) -> dict[str, Any]:
        """Run commands."""
        return self._guarded(lambda: self._commands.run(text))

    def python(self, text: str) -> dict[str, Any]:
        """Run a cell; the value of a last expression is printed."""
        return self._guarded(lambda: self._python(text))

    def restore(self, written: list[str], values: dict[str, str]) -> list[str]:
        """Put kept variables back, within a time; the names that are lost."""
        seconds = min(KEEPING_SECONDS, self._limits["cell_seconds"])
        self._attempt(lambda: self._keeping.restore(written, values), seconds)
        return [plain(name) for name in self._keeping.lost]

    def _python(self, text: str) -> None:
        self._number += 1
        name = f"<cell {self._number}>"
        tree = ast.parse(text, name)
        last = tree.body[-1] if tree.body else None
        if isinstance(last, ast.Expr):
            body, value = ast.Module(tree.body[:-1], []), ast.Expression(last.value)
        else:
            body, value = tree, None
        try:
            exec(compile(body, name, "exec"), self._variables)  # noqa: S102 - this process is there for that
            if value is not None:
                result = eval(compile(value, name, "eval"), self._variables)  # noqa: S307 - the same
                if result is not None:
                    print(shown(result))
        finally:
            self._keeping.note(tree, text)

    def _guarded(self, run: Callable[[], None]) -> dict[str, Any]:
        self._output = Output(self._limits["output_bytes"])
        self._functions.asked = self._functions.failed = 0
        sys.stdout = sys.stderr = self._output
        final, error = self._attempt(run, self._limits["cell_seconds"])
        kept: dict[str, Any] = {"values": {}, "gone": [], "unsaved": None, "written": []}
        seconds = min(KEEPING_SECONDS, self._limits["cell_seconds"])
        _, kept_error = self._attempt(lambda: kept.update(self._keeping.changes()), seconds)
        sys.stdout = sys.stderr = io.StringIO()
        if error is not None and "MemoryError" in error:
            gc.collect()
        text, truncated = self._output.text()
        return {
            "output": text,
            "truncated": truncated,
            "final": None if final is None else plain(_bounded(final)),
            "error": error,
            **self._seen.take(),
            "queries": self._functions.asked,
            "failed": self._functions.failed,
            "kept": kept if kept_error is None else None,
        }

    def _attempt(self, run: Callable[[], object], seconds: float) -> tuple[str | None, str | None]:
        """Run within the time: the answer, and the error, in words for the model."""
        try:
            try:
                signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
                run()
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except Final as final:
            signal.setitimer(signal.ITIMER_REAL, 0)
            return (final.text, None) if final.text.strip() else (None, EMPTY)
        except TooLong:
            signal.setitimer(signal.ITIMER_REAL, 0)
            return None, f"stopped after {seconds:g} s; variables are kept. Do less in one cell"
        except NotUnderstood as error:
            return None, plain(str(error))
        except BaseException as error:  # whatever a cell raises is told
            return None, plain(_told(error))[:ERROR]
        return None, None


def _bounded(answer: str) -> str:
    if len(answer) <= FINAL:
        return answer
    return f"{answer[:FINAL]}\n[the answer is cut here: it has {len(answer):,} characters]"


def _interrupted(*_: object) -> None:
    raise TooLong


def _told(error: BaseException) -> str:
    """The error in a line, and where in the cell it was."""
    if isinstance(error, SyntaxError):
        return f"SyntaxError: {error.msg} (line {error.lineno})"
    try:
        words = f"{type(error).__name__}: {error}"
    except BaseException:  # its own code runs
        words = type(error).__name__
    if isinstance(error, MemoryError):
        words = "MemoryError: the cell wanted more memory than it may have; variables are kept"
    lines = []
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.startswith("<cell"):
            lines.append(str(trace.tb_lineno))
        trace = trace.tb_next
    return f"{words} (line {', '.join(lines[-DEEPEST:])})" if lines else words

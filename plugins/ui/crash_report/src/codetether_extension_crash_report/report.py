"""What a report holds: where the program broke, and no word of what was worked on that could be left out."""

from __future__ import annotations

import os
import platform
import re
import sys
import time
import uuid
from collections.abc import Callable
from traceback import FrameSummary, TracebackException

import msgspec

MESSAGE = 2_048
TRACE = 32_000
FRAMES = 60


class Report(msgspec.Struct, frozen=True):
    """One crash. Times are UTC; `command` is the command and its options, without any of their values."""

    report_id: str
    occurred_at: str
    app_version: str
    command: str
    os: str
    arch: str
    python: str
    error: str
    message: str
    location: str
    backtrace: str
    report_version: int = 1

    @property
    def name(self) -> str:
        """The file it is kept in, in order of time."""
        return f"{re.sub('[-:]', '', self.occurred_at)}-{self.report_id}"


def report_of(error: BaseException, redact: Callable[[str], str]) -> Report:
    """The report of `error`, without secrets and without the user's home directory."""
    from importlib.metadata import version

    told = TracebackException.from_exception(error, limit=-FRAMES, compact=True)
    last = _deepest(told)
    return Report(
        report_id=str(uuid.uuid4()),
        occurred_at=now(),
        app_version=version("codetether-core"),
        command=_command(sys.argv[1:]),
        os=f"{platform.system()} {platform.release()}",
        arch=platform.machine(),
        python=platform.python_version(),
        error=f"{type(error).__module__}.{type(error).__qualname__}",
        message=_safe(_message(error), MESSAGE, redact),
        location=_safe(f"{last.filename}:{last.lineno}" if last else "", 400, redact),
        backtrace=_safe("".join(told.format()), TRACE, redact),
    )


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as failure:
        return f"its text cannot be made ({type(failure).__name__})"


def _deepest(told: TracebackException) -> FrameSummary | None:
    while told.exceptions:
        told = told.exceptions[0]
    return told.stack[-1] if told.stack else None


def now() -> str:
    """The time in UTC, to the millisecond."""
    at = time.time()
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(at))}.{int(at % 1 * 1000):03}Z"


def _command(words: list[str]) -> str:
    """The first word when it is a command's name, and the names of options; what people wrote stays here."""
    found = [word for word in words[:1] if re.fullmatch(r"[a-z][a-z-]{0,30}", word)]
    found += [
        name[0] for word in words[1:] if (name := re.match(r"--?[a-z][a-z-]{0,30}(?==|$)", word))
    ]
    return " ".join(["codetether", *found[:20]])


def _safe(text: str, limit: int, redact: Callable[[str], str]) -> str:
    text = redact(text)
    home = os.path.expanduser("~")
    if len(home) > 1:
        text = text.replace(home, "~")
    return text if len(text) <= limit else text[: limit // 2] + "..." + text[-limit // 2 :]

"""The hook for uncaught exceptions: Python's own first, then the report. Whatever goes wrong here stays here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from codetether_extension_crash_report import CrashReport

Hook = Callable[[type[BaseException], BaseException, TracebackType | None], object]


class Watch:
    """Stands before the hook that was there."""

    def __init__(self, before: Hook, plugin: CrashReport) -> None:
        self.before = before
        self._plugin = plugin

    def __call__(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        self.before(kind, error, trace)
        if not issubclass(kind, Exception):
            return  # Ctrl-C and its like
        try:
            self._report(error)
        except BaseException as failure:  # the crash itself must be what is seen
            _say(f"the crash report could not be written: {type(failure).__name__}")

    def _report(self, error: BaseException) -> None:
        import msgspec

        from codetether_extension_crash_report.report import report_of

        report = report_of(error, self._plugin.kernel.redact.text)
        data = msgspec.json.format(msgspec.json.encode(report))
        path = self._plugin.spool.keep(report.name, data)
        _say(f"codetether: a crash report is in {path}\n  {self._plugin.note()}")


def watch(plugin: CrashReport) -> None:
    """Report uncaught exceptions of this process from now on; only the latest kernel's settings count."""
    before: Hook = sys.excepthook
    if isinstance(before, Watch):
        before = before.before
    sys.excepthook = Watch(before, plugin)


def _say(text: str) -> None:
    try:
        print(text, file=sys.stderr)
    except (OSError, ValueError, AttributeError):
        return  # nobody listens

"""Noticing a sub-agent that gets nowhere: the same calls again and again, or nothing at all."""

from __future__ import annotations

import hashlib
import math
from collections import deque

import msgspec
import trio
from codetether.api import (
    SessionEvent,
    Spending,
    Spent,
    StepFinished,
    StepStarted,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)

PROGRESS = (
    StepStarted, StepFinished, Spending, Spent, ToolStarted, ToolFinished, ToolProgress,
)  # fmt: skip
SAME = 6  # the same call with the same result so often in a row
WINDOW = 16  # calls looked back at
FEW = 2  # so few different ones among them
SLACK = 0.05  # of the seconds without progress, and 1 s at most: so much later it may be ended


class Watch:
    """Ends `scope` when the sub-agent is stuck; `why` then says how. `seconds`: how long it may go without an event that
    is progress. `queued`: it may have to wait for its turn first, for as long as that takes.
    """

    def __init__(self, scope: trio.CancelScope, seconds: float, *, queued: bool = False) -> None:
        self.scope = scope
        self.seconds = seconds
        self.why = ""
        self._slack = min(SLACK * seconds, 1.0)
        self._set_at = -math.inf
        self._calls: deque[bytes] = deque(maxlen=WINDOW)
        self._open: dict[str, bytes] = {}
        if not queued:
            self._progress()

    def see(self, event: SessionEvent) -> None:
        """Take note of an event of its session."""
        if isinstance(event, PROGRESS):
            self._progress()
        if isinstance(event, ToolStarted):
            arguments = msgspec.json.encode(event.arguments, order="sorted")
            self._open[event.call_id] = event.name.encode() + arguments
        elif isinstance(event, ToolFinished):
            call = self._open.pop(event.call_id, event.name.encode())
            self._calls.append(
                hashlib.sha256(call + event.text.encode("utf-8", "replace")).digest()
            )
            self._look(event.name)

    def _look(self, name: str) -> None:
        last = list(self._calls)
        if len(last) >= SAME and len(set(last[-SAME:])) == 1:
            self.why = (
                f"stuck: it called {name} {SAME} times in a row with the same arguments and result"
            )
        elif len(last) == WINDOW and len(set(last)) <= FEW:
            self.why = f"stuck: its last {WINDOW} tool calls were {FEW} calls over and over"
        if self.why:
            self.scope.cancel()

    def end(self, why: str) -> None:
        """End it for another reason."""
        self.why = self.why or why
        self.scope.cancel()

    def _progress(self) -> None:
        """Let it go on for `seconds` from now, or for a little longer: the timer is not set anew with every event."""
        now = trio.current_time()
        if self.seconds and now >= self._set_at + self._slack:
            self._set_at = now
            self.scope.deadline = now + self.seconds + self._slack

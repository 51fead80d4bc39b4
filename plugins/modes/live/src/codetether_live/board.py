"""What there is to show: a board with a row for each part of the work. It knows no terminal."""

from __future__ import annotations

import trio
from codetether.api import (
    Notice,
    Retrying,
    SessionEvent,
    Spent,
    StepFinished,
    StepStarted,
    ToolFinished,
    ToolStarted,
    Usage,
    one_line,
)

STATES = ("waiting", "running", "done", "failed", "skipped")
DETAIL = 200


class Row:
    """One part: `state` of STATES, `detail` what it does or why it ended, `stage` from 0, tokens and cost so far."""

    def __init__(self, key: str, name: str, stage: int = 0) -> None:
        self.key = key
        self.name = one_line(name, 40)
        self.stage = stage
        self.state = "waiting"
        self.detail = ""
        self.steps = 0
        self.usage = Usage()
        self.started: float | None = None
        self.ended: float | None = None

    def seconds(self, now: float) -> float | None:
        """How long it has been at work, or was."""
        return None if self.started is None else (self.ended or now) - self.started


class Board:
    """The parts, in the order they were added. `changed` is called with a row whose state changed, `told` with a line
    for a person; both by whoever shows the board.
    """

    def __init__(self, title: str) -> None:
        self.title = one_line(title, 60)
        self.rows: dict[str, Row] = {}
        self.started = trio.current_time()
        self.other = Usage()  # spent by what has no row
        self.version = 0
        self.phase = ""  # what goes on beside the parts, such as planning; one word
        self._lines: list[str] = []

    def add(self, key: str, name: str, stage: int = 0) -> Row:
        """A part that waits."""
        self.version += 1
        return self.rows.setdefault(key, Row(key, name, stage))

    def enter(self, key: str, state: str, detail: str = "") -> None:
        """A part is in another state now; `detail` says what it does, or why."""
        row = self.rows[key]
        row.state, row.detail = state, one_line(detail, DETAIL)
        now = trio.current_time()
        if state == "running":
            row.started, row.ended = (now if row.started is None else row.started), None
        elif row.started is not None and row.ended is None:
            row.ended = now
        why = f", {row.detail}" if row.detail else ""
        self.say(f"{row.name}: {state}{why}", brief=True)

    def doing(self, key: str, detail: str) -> None:
        """What a running part does now."""
        self.version += 1
        self.rows[key].detail = one_line(detail, DETAIL)

    def spent(self, key: str, usage: Usage | None, steps: int = 0) -> None:
        """Tokens, money and steps a part has used; with an unknown part they count in the sum only."""
        self.version += 1
        row = self.rows.get(key)
        if row is None:
            self.other += usage or Usage()
            return
        row.steps += steps
        row.usage += usage or Usage()

    def say(self, text: str, *, brief: bool = False) -> None:
        """A line that stays; `brief` ones are shown in a pipe only, where there is no board."""
        self.version += 1
        self._lines.append(("\0" if brief else "") + one_line(text, 400))

    def lines(self, *, brief: bool) -> list[str]:
        """The lines said since the last call."""
        lines, self._lines = self._lines, []
        return [line.lstrip("\0") for line in lines if brief or not line.startswith("\0")]

    def heard(self, key: str, event: SessionEvent) -> None:
        """What a part's session tells of itself."""
        match event:
            case ToolStarted():
                self.doing(key, event.title)
            case ToolFinished() if not event.ok:
                self.doing(key, f"{event.name} failed: {event.summary}")
            case StepStarted():
                self.doing(key, "thinking")
            case StepFinished():
                self.spent(key, event.usage, steps=1)
            case Spent():
                self.spent(key, event.usage)
            case Retrying():
                self.doing(key, f"again in {event.wait:.0f} s: {event.why}")
            case Notice(level="error" | "warning"):
                self.say(f"{self.rows[key].name}: {event.text}")

    @property
    def usage(self) -> Usage:
        """What all parts used."""
        total = self.other
        for row in self.rows.values():
            total += row.usage
        return total

    def count(self, state: str) -> int:
        """How many parts are in a state."""
        return sum(row.state == state for row in self.rows.values())

"""Where each sub-task stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codetether_crew import Attempt, total

if TYPE_CHECKING:
    from codetether.api import Usage

    from codetether_mode_swarm.graph import SubTask

ENDED = frozenset({"completed", "failed", "cancelled", "timed_out", "conflict"})
SHOWN = {
    "pending": "waiting", "running": "running", "worked": "running", "completed": "done", "failed": "failed",
    "cancelled": "skipped", "timed_out": "failed", "conflict": "failed",
}  # fmt: skip


class Part:
    """A sub-task and what became of it. `commit`: its changes, on `branch`; `base`: the commit it started from; `kept`:
    the branch is needed, since its commits are nowhere else. `earlier`: how many of its attempts an earlier process made.
    """

    def __init__(self, task: SubTask) -> None:
        self.task = task
        self.state = "pending"
        self.why = ""
        self.attempts: list[Attempt] = []
        self.base = ""
        self.branch = ""
        self.commit = ""
        self.kept = False
        self.files: tuple[str, ...] = ()
        self.conflicts: tuple[str, ...] = ()
        self.resolved = False
        self.earlier = 0

    @property
    def over(self) -> bool:
        """Whether nothing more happens to it."""
        return self.state in ENDED

    @property
    def last(self) -> Attempt | None:
        """The last attempt."""
        return self.attempts[-1] if self.attempts else None

    @property
    def text(self) -> str:
        """Its report."""
        return self.last.text if self.last is not None else ""

    @property
    def remark(self) -> str:
        """What there is to say of it when it succeeded."""
        return "" if self.text else "it reported nothing"

    @property
    def steps(self) -> int:
        """Model calls of all attempts."""
        return sum(each.steps for each in self.attempts)

    @property
    def seconds(self) -> float:
        """Time at work, in all attempts."""
        return sum(each.seconds for each in self.attempts)

    @property
    def usage(self) -> Usage:
        """Tokens and money of all attempts."""
        return total(self.attempts)

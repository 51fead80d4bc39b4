"""When a run is not worth going on: agents that change nothing, and the same failure again and again."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from codetether_mode_ralph.course import Course

IDLE = 2  # attempts in a row that changed nothing
SAME = 3  # times a story fails in the same way, whatever its agents try
SPREAD = 2  # stories that were given up for the same failures


class Breakers:
    """Counts over all stories of a run."""

    def __init__(self) -> None:
        self._idle = 0
        self._given_up: Counter[str] = Counter()

    def attempted(self, one: Course, *, changed: bool, error: str = "") -> str:
        """An attempt is over, with `error` if its agent did not come to an end: why the run should stop, "" when it should
        not.
        """
        self._idle = 0 if changed else self._idle + 1
        if self._idle < IDLE:
            return ""
        told = f"no progress: {IDLE} attempts in a row changed nothing, the last at {one.id}"
        if error:
            return f"{told}: {error}"
        return (
            f"{told}. Is it done already? Give it verification_steps, or mark it as passed. Is it unclear? Say in its "
            "description what to change"
        )

    @staticmethod
    def stubborn(one: Course, failing: str) -> bool:
        """Whether a story has failed in the same way so often that another attempt is no use."""
        one.failings.append(failing)
        last = one.failings[-SAME:]
        return len(last) == SAME and len(set(last)) == 1

    def gave_up(self, one: Course, failing: str) -> str:
        """A story is given up: why the run should stop, "" when it should not."""
        if not failing:
            return ""
        self._given_up[failing] += 1
        if self._given_up[failing] < SPREAD:
            return ""
        return f"story after story fails in the same way, the last {one.id}: {one.mark.why}"

"""The course of a story: where it stands, and what was done for it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from graphlib import TopologicalSorter

import msgspec
from codetether.api import Usage
from codetether_crew import Attempt, total
from codetether_prd import Story

# working: an agent is at it, or it waits to be tried again. judging: its work is committed, the gates decide.
# merging: they let it pass. The others are ends.
ENDED = frozenset({"passed", "unverified", "failed", "blocked", "conflict", "skipped"})
GOOD = frozenset({"passed", "unverified"})
SHOWN = {
    "pending": "waiting", "working": "running", "judging": "running", "merging": "running", "passed": "done",
    "unverified": "done", "failed": "failed", "blocked": "failed", "conflict": "failed", "skipped": "skipped",
}  # fmt: skip
DOING = {"judging": "its checks run", "merging": "it waits to be merged"}


class Check(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one gate or verification step said of a story. `log`: the file with all of its output."""

    kind: str
    command: str
    ok: bool
    blocks: bool
    seconds: float
    why: str = ""
    log: str = ""
    flaky: bool = False


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file that a story changed: lines added and removed; `how`: A, M, D or T, as git names it. `raw`: the bytes of a
    path that is no UTF-8, which `path` shows.
    """

    path: str
    how: str = "M"
    added: int = 0
    removed: int = 0
    raw: bytes = b""

    @property
    def name(self) -> str:
        """The path for git."""
        return os.fsdecode(self.raw) if self.raw else self.path


class Mark(msgspec.Struct, frozen=True, omit_defaults=True):
    """All that the journal must know of a course. `commit`: its work as one commit on `base`, on `branch`; `kept`: the
    branch is needed, since its commit is nowhere else. `feedback`: what the next attempt is told. `notes`: what its
    agents want later ones to know. `touched`: tests and check settings among its changes. `told`: the document says that
    it passes, and the notes do; what the document says after that is the user's word.
    """

    state: str = "pending"
    why: str = ""
    base: str = ""
    branch: str = ""
    commit: str = ""
    kept: bool = False
    feedback: str = ""
    notes: str = ""
    checks: tuple[Check, ...] = ()
    changes: tuple[Change, ...] = ()
    touched: tuple[str, ...] = ()
    verified: bool = False
    told: bool = False


class Course:
    """A story and its mark, attempts and tries. `tries`: attempts of this process; `begins`: another one may begin; `idle`: the
    last one changed nothing.
    """

    def __init__(
        self, story: Story, order: int, mark: Mark | None = None, attempts: Iterable[Attempt] = ()
    ) -> None:
        self.story = story
        self.order = order
        self.mark = mark or Mark(state="passed" if story.passes else "pending")
        self.attempts = list(attempts)
        self.tries = 0
        self.begins = False
        self.idle = False
        self.interrupted = self.mark.state == "working"
        self.failings: list[str] = []
        self.iteration = 0

    @property
    def id(self) -> str:
        """The story's id."""
        return self.story.id

    @property
    def state(self) -> str:
        """Its state."""
        return self.mark.state

    @property
    def over(self) -> bool:
        """Whether nothing more happens to it."""
        return self.mark.state in ENDED

    @property
    def done(self) -> bool:
        """Whether those that depend on it may start."""
        return self.mark.state in GOOD

    @property
    def usage(self) -> Usage:
        """Tokens and money of all attempts."""
        return total(self.attempts)

    @property
    def seconds(self) -> float:
        """Time of agents at work."""
        return sum(each.seconds for each in self.attempts)

    @property
    def before(self) -> Attempt | None:
        """The last attempt."""
        return self.attempts[-1] if self.attempts else None


def ready(courses: Mapping[str, Course]) -> list[Course]:
    """Those that may start now, the first one first: by priority, then complexity, then place in the document."""
    return sorted(
        (
            each
            for each in courses.values()
            if not each.over and all(courses[other].done for other in each.story.depends_on)
        ),
        key=lambda each: (each.story.priority, each.story.complexity, each.order),
    )


def stages(courses: Mapping[str, Course]) -> dict[str, int]:
    """For each story, how many others stand one behind the other before it."""
    found: dict[str, int] = {}
    needs = {name: each.story.depends_on for name, each in courses.items()}
    for name in TopologicalSorter(needs).static_order():
        found[name] = max((found[other] + 1 for other in needs[name]), default=0)
    return found

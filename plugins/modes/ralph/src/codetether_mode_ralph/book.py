"""Where every story stands: written to the journal first, then shown and told."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import trio
from codetether.api import SessionEvent, Usage
from codetether_crew import DELTAS, Attempt, Journal, Work, total
from codetether_live import Board, observer

from codetether_mode_ralph.course import SHOWN, Course, Mark
from codetether_mode_ralph.events import (
    RalphEvent,
    RalphNotice,
    StoryAttempted,
    StoryChanged,
    StoryChecked,
    StoryEvent,
)
from codetether_mode_ralph.records import Entered, Logged, Past, Record, Spent

if TYPE_CHECKING:
    from codetether_gates import Verdict

Tell = Callable[[RalphEvent], Awaitable[None]]


class Book:
    """The courses of a run, what else it spent, and who hears of it. `past`: what the journal of earlier processes says."""

    def __init__(self, folder: Path, tell: Tell, past: Past | None = None) -> None:
        self.courses: dict[str, Course] = {}
        self.other: list[Attempt] = list(past.other) if past else []
        self.log: list[Logged] = list(past.log) if past else []
        self.earlier = past.attempts if past else {}
        self.board = Board("ralph")
        self.tell = tell
        self.iteration = max((each.iteration for each in self.log), default=0)
        self._journal = Journal(folder)

    @property
    def spent(self) -> Usage:
        """Tokens and money so far, in earlier processes too."""
        return total([*self.other, *(each.attempt for each in self.log)])

    async def write(self, record: Record) -> None:
        """A record for the journal."""
        await self._journal.write(record)

    def close(self) -> None:
        """Nothing more is written."""
        self._journal.close()

    def show(self, courses: Iterable[Course], stages: dict[str, int]) -> None:
        """Take the stories in, and put them on the board."""
        for each in courses:
            self.courses[each.id] = each
            self.board.add(each.id, f"{each.id} {each.story.title}", stages.get(each.id, 0))
            for attempt in each.attempts:
                self.board.spent(each.id, attempt.usage, attempt.steps)
            if each.over:
                self.board.enter(each.id, SHOWN[each.state], each.mark.why)

    async def enter(
        self, one: Course, state: str, why: str = "", attempt: Attempt | None = None, **more: object
    ) -> None:
        """A story is in another state; `attempt`, when one ended with it; `more`: other fields of its mark."""
        one.mark = msgspec.structs.replace(one.mark, state=state, why=why, **more)
        if attempt is not None:
            one.attempts.append(attempt)
            self.log.append(Logged(one.iteration, one.id, attempt, time.time()))
        iteration = one.iteration if attempt else 0
        await self.write(Entered(one.id, one.mark, attempt, iteration, time.time()))
        if attempt is not None:
            await self.tell(_attempted(one, attempt))
        self.board.enter(one.id, SHOWN[state], why or ("" if state in SHOWN else state))
        mark = one.mark
        branch = mark.branch if mark.kept else ""
        await self.tell(StoryChanged(one.id, one.story.title, state, why, mark.commit, branch))

    async def keep(self, one: Course, mark: Mark) -> None:
        """What is known of a story changed, and its state did not."""
        one.mark = mark
        await self.write(Entered(one.id, mark))

    async def spend(self, why: str, attempt: Attempt) -> None:
        """An attempt that belongs to no iteration."""
        self.other.append(attempt)
        self.board.spent("", attempt.usage)
        await self.write(Spent(why, attempt))

    async def notice(self, level: str, text: str) -> None:
        """Tell a person something."""
        self.board.say(text)
        await self.tell(RalphNotice(level, text))

    async def checked(self, story: str, verdicts: Sequence[Verdict]) -> None:
        """Tell what gates said."""
        for each in verdicts:
            if story in self.board.rows:
                word = "ok" if each.ok else "fails" if each.blocks else "fails as before"
                self.board.doing(story, f"{each.gate.kind} {word}")
            await self.tell(
                StoryChecked(
                    story, each.gate.kind, each.gate.command, each.ok, each.blocks, each.seconds, each.why, each.log
                )
            )  # fmt: skip

    async def see(self, work: Work, event: SessionEvent) -> None:
        """Show and tell what an agent does."""
        if work.key in self.board.rows:
            await observer(self.board, work.key)(event)
        else:
            await trio.lowlevel.checkpoint()
        if not isinstance(event, DELTAS):
            await self.tell(StoryEvent(work.key, msgspec.to_builtins(event)))


def _attempted(one: Course, attempt: Attempt) -> StoryAttempted:
    usage = attempt.usage
    return StoryAttempted(
        one.id, one.iteration, attempt.ok, attempt.text, attempt.steps, attempt.seconds, usage.input + usage.output,
        usage.cost, attempt.error,
    )  # fmt: skip

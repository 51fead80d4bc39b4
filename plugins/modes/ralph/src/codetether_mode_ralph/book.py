"""Where every story stands: written to the journal first, then shown and told."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import codetether_crew as crew
import msgspec
import trio
from codetether.api import SessionEvent, SessionStarted, StepFinished
from codetether_crew import Attempt, Tell, Work

from codetether_mode_ralph.course import DOING, SHOWN, Course, Mark
from codetether_mode_ralph.events import (
    RalphNotice,
    StoryAttempted,
    StoryChanged,
    StoryChecked,
    StoryEvent,
)
from codetether_mode_ralph.records import Entered, Logged, Past

if TYPE_CHECKING:
    from codetether_gates import Verdict


class Book(crew.Book):
    """The courses of a run, what else it spent, and who hears of it. `past`: what the journal of earlier processes says."""

    def __init__(self, folder: Path, tell: Tell, past: Past | None = None) -> None:
        other = past.other if past else ()
        super().__init__(folder, "ralph", tell, other, notice=RalphNotice, heard=StoryEvent)
        self.courses: dict[str, Course] = {}
        self.log: list[Logged] = list(past.log) if past else []
        self.earlier = past.attempts if past else {}
        self.iteration = max((each.iteration for each in self.log), default=0)
        self._at_work: dict[str, tuple[float, Attempt]] = {}

    async def see(self, work: Work, event: SessionEvent) -> None:
        """As every book does. It counts what an agent takes, in case that it does not live to report."""
        if isinstance(event, SessionStarted):
            now = Attempt(False, error="interrupted", session=event.session)
            self._at_work[work.key] = (trio.current_time(), now)
        elif (usage := crew.used(event)) is not None and work.key in self._at_work:
            began, now = self._at_work[work.key]
            steps = now.steps + isinstance(event, StepFinished)
            now = msgspec.structs.replace(now, usage=now.usage + usage, steps=steps)
            self._at_work[work.key] = (began, now)
        await super().see(work, event)

    def cut_short(self, story: str) -> Attempt | None:
        """What the agent took that is at a story now, and is seen no more; None when there is none."""
        if story not in self._at_work:
            return None
        began, now = self._at_work.pop(story)
        return msgspec.structs.replace(now, seconds=trio.current_time() - began)

    @property
    def attempts(self) -> list[Attempt]:
        """All that was asked, in earlier processes too."""
        return [*self.other, *(each.attempt for each in self.log)]

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
            self._at_work.pop(one.id, None)
            one.attempts.append(attempt)
            self.log.append(Logged(one.iteration, one.id, attempt, time.time()))
        iteration = one.iteration if attempt else 0
        await self.write(Entered(one.id, one.mark, attempt, iteration, time.time()))
        if attempt is not None:
            await self.tell(_attempted(one, attempt))
        self.board.enter(one.id, SHOWN[state], why or DOING.get(state, ""))
        mark = one.mark
        branch = mark.branch if mark.kept else ""
        await self.tell(StoryChanged(one.id, one.story.title, state, why, mark.commit, branch))

    async def keep(self, one: Course, mark: Mark) -> None:
        """What is known of a story changed, and its state did not."""
        one.mark = mark
        await self.write(Entered(one.id, mark))

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


def _attempted(one: Course, attempt: Attempt) -> StoryAttempted:
    usage = attempt.usage
    return StoryAttempted(
        one.id, one.iteration, attempt.ok, attempt.text, attempt.steps, attempt.seconds, usage.input + usage.output,
        usage.cost, attempt.error,
    )  # fmt: skip

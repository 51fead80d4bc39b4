"""Where everything stands: written to the journal first, then shown and told."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import codetether_crew as crew
import msgspec
from codetether.api import Usage
from codetether_crew import Attempt, Tell

from codetether_mode_swarm.events import (
    StageFinished,
    SubagentEvent,
    SubtaskChanged,
    SubtaskResult,
    SwarmNotice,
    SwarmPlanned,
)
from codetether_mode_swarm.journal import Changed, Past, Planned, changed
from codetether_mode_swarm.parts import ENDED, SHOWN, Part

if TYPE_CHECKING:
    from codetether_mode_swarm.graph import Plan


class Book(crew.Book):
    """The parts of a run, what else it spent, and who hears of it. `past`: what the journal of earlier processes says."""

    def __init__(self, folder: Path, tell: Tell, past: Past | None = None) -> None:
        other = past.other if past else ()
        super().__init__(folder, "swarm", tell, other, notice=SwarmNotice, heard=SubagentEvent)
        self.parts: dict[str, Part] = dict(past.parts) if past else {}
        self.plan: Plan | None = past.plan if past else None
        self.planned = past.planned if past else None
        self._left: dict[int, int] = {}  # of each stage, how many are not over

    @property
    def attempts(self) -> list[Attempt]:
        """All that was asked, in earlier processes too."""
        of_parts = [each for part in self.parts.values() for each in part.attempts]
        made_by = self.planned.session if self.planned else ""
        return [*of_parts, *self.other, Attempt(True, usage=self._planning, session=made_by)]

    @property
    def _planning(self) -> Usage:
        planned = self.planned
        return Usage(planned.input, planned.output, cost=planned.cost) if planned else Usage()

    async def settle(self, plan: Plan, attempt: Attempt) -> None:
        """The plan stands; `attempt` is what it took."""
        usage = attempt.usage
        self.plan = plan
        self.parts = {each.id: Part(each) for each in plan.subtasks}
        self.planned = Planned(
            plan, attempt.steps, usage.input, usage.output, usage.cost, attempt.session
        )
        await self.write(self.planned)

    async def show(self) -> None:
        """Show and tell the plan, and how far it is."""
        assert self.plan is not None
        self.board.spent("", self._planning)
        for part in self.parts.values():
            self._left.setdefault(part.task.stage, 0)
            self._left[part.task.stage] += not part.over
            self.board.add(part.task.id, part.task.name, part.task.stage)
            for attempt in part.attempts:
                self.board.spent(part.task.id, attempt.usage, attempt.steps)
            if part.over:
                self.board.enter(part.task.id, SHOWN[part.state], part.why)
        for note in self.plan.notes:
            self.board.say(note)
        plain = tuple(msgspec.to_builtins(each) for each in self.plan.subtasks)
        await self.tell(SwarmPlanned(plain, self.plan.stages, self.plan.width, self.plan.notes))

    async def enter(self, part: Part, state: str, why: str, attempt: Attempt | None = None) -> None:
        """A part is in another state; `attempt`, when one ended with it."""
        await self.write(_entered(part, state, why, attempt))
        await self._told(part, state, why, attempt)

    async def end(self, part: Part, attempt: Attempt) -> None:
        """A part has worked, and is completed with that: it has no branch that would have to be merged."""
        worked = _entered(part, "worked", "", attempt)
        await self.write(worked, _entered(part, "completed", part.remark))
        await self._told(part, "worked", "", attempt)
        await self._told(part, "completed", part.why)

    async def _told(self, part: Part, state: str, why: str, attempt: Attempt | None = None) -> None:
        if attempt is not None:
            await self.tell(_result(part, attempt))
        self.board.enter(
            part.task.id, SHOWN[state], "waits to be merged" if state == "worked" else why
        )
        task, branch = part.task, part.branch if part.kept else ""
        tried = max(len(part.attempts), 1)
        await self.tell(SubtaskChanged(task.id, task.name, state, task.stage, tried, why, branch))
        if state in ENDED:
            self._left[task.stage] -= 1
            if not self._left[task.stage]:
                await self._stage_over(task.stage)

    async def _stage_over(self, stage: int) -> None:
        parts = [part for part in self.parts.values() if part.task.stage == stage]
        good = sum(part.state == "completed" for part in parts)
        await self.tell(StageFinished(stage, good, len(parts) - good))


def _entered(part: Part, state: str, why: str, attempt: Attempt | None = None) -> Changed:
    part.state, part.why = state, why
    if attempt is not None:
        part.attempts.append(attempt)
    return changed(part, attempt)


def _result(part: Part, attempt: Attempt) -> SubtaskResult:
    usage = attempt.usage
    return SubtaskResult(
        part.task.id, attempt.ok, attempt.text, attempt.steps, attempt.seconds, usage.input + usage.output, usage.cost,
        attempt.error,
    )  # fmt: skip

"""One sub-task: its attempts, each a sub-agent, until one is good or no further one is worth it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import trio
from codetether.api import (
    AgentResult,
    AgentTask,
    CodetetherError,
    Effect,
    SessionEvent,
    StepFinished,
    TextDelta,
    ThoughtDelta,
    ToolFinished,
    ToolProgress,
    Usage,
)

from codetether_mode_swarm.events import SubagentEvent
from codetether_mode_swarm.parts import Attempt
from codetether_mode_swarm.stuck import Watch

if TYPE_CHECKING:
    from codetether.api import Executor, Kernel

    from codetether_mode_swarm.book import Book
    from codetether_mode_swarm.budget import Budget
    from codetether_mode_swarm.options import Options

LONGEST = 24 * 3600.0  # seconds of one attempt, however much progress it makes
LOOKS = frozenset({Effect.READ, Effect.NETWORK})
DELTAS = (TextDelta, ThoughtDelta, ToolProgress)


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What one sub-agent is to do: `key` names it in events; `branch` and `base` are for an executor that works elsewhere."""

    key: str
    id: str
    prompt: str
    directory: Path
    access: str
    writes: bool = True
    base: str = ""
    branch: str = ""
    max_steps: int = 0


class Hands:
    """Starts sub-agents, watches them, and tells the book what they do."""

    def __init__(self, kernel: Kernel, options: Options, budget: Budget, book: Book) -> None:
        self._kernel = kernel
        self.options = options
        self._budget = budget
        self._book = book
        self.model = ""
        self.started_by = ""

    @property
    def executor(self) -> Executor:
        """Where they run."""
        return self._kernel.executor(self.options.executor)

    async def do(self, work: Work) -> Attempt:
        """One attempt to its end. Cancelling ends the sub-agent."""
        if why := self._budget.used_up:
            return Attempt(False, error=why, final=True)
        began = trio.current_time()
        seen = _Seen()
        with trio.CancelScope() as scope:
            watch = Watch(scope, self.options.timeout)

            async def observe(event: SessionEvent) -> None:
                watch.see(event)
                seen.note(event)
                if self.executor.elsewhere:
                    self._budget.allows(event)
                await self._book.see(work.key, event)
                if not isinstance(event, DELTAS):
                    await self._book.tell(SubagentEvent(work.key, msgspec.to_builtins(event)))

            try:
                result = await self.executor.run(self._task(work), observe)
            except CodetetherError as error:
                return Attempt(False, error=error.message, seconds=trio.current_time() - began)
        seconds = trio.current_time() - began
        if scope.cancelled_caught:
            why = watch.why or f"no progress for {self.options.timeout:g} s"
            return seen.attempt(False, why, seconds, timed_out=not watch.why)
        return self._attempt(result, seen, seconds)

    def _task(self, work: Work) -> AgentTask:
        options = self.options
        left = self._budget.left_usd
        return AgentTask(
            id=work.id,
            prompt=work.prompt,
            directory=str(work.directory),
            model=self.model,
            access=work.access,
            max_steps=work.max_steps or options.max_steps,
            budget_usd=left if self.executor.elsewhere else None,
            timeout=LONGEST,
            started_by=self.started_by,
            within=None if work.writes else LOOKS,
            depth=options.depth + 1,
            base=work.base,
            branch=work.branch,
        )

    def _attempt(self, result: AgentResult, seen: _Seen, seconds: float) -> Attempt:
        error = result.error or ("" if result.ok else result.reason)
        final = result.reason in ("denied", "budget") or bool(self._budget.used_up)
        if result.reason == "cancelled" and self._budget.used_up:
            error = self._budget.used_up
        return Attempt(
            result.ok, result.text, error, max(result.steps, seen.steps), seen.calls, seconds,
            Usage(result.input_tokens, result.output_tokens, cost=result.cost) if result.steps else seen.usage,
            result.session, "longer than" in error and result.reason == "error", final and not result.ok,
        )  # fmt: skip


class _Seen:
    """What a sub-agent's events tell, for when it does not live to report."""

    def __init__(self) -> None:
        self.steps = 0
        self.calls = 0
        self.usage = Usage()

    def note(self, event: SessionEvent) -> None:
        if isinstance(event, StepFinished):
            self.steps += 1
            self.usage += event.usage or Usage()
        elif isinstance(event, ToolFinished):
            self.calls += 1

    def attempt(self, ok: bool, error: str, seconds: float, *, timed_out: bool) -> Attempt:
        return Attempt(ok, "", error, self.steps, self.calls, seconds, self.usage, "", timed_out)


def again(before: Attempt | None, *, interrupted: bool) -> str:
    """What a further attempt is told of the one before."""
    if interrupted:
        return "An earlier attempt was interrupted. What it changed so far is in the directory: look before you go on."
    if before is None:
        return ""
    said = f" It said last: {before.text[:2000]}" if before.text else ""
    return (
        f"An earlier attempt failed: {before.error}.{said}\n"
        "What it changed is in the directory: look before you go on, and do it another way."
    )

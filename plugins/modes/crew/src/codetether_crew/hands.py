"""Starting a sub-agent, watching it, and telling what it does, to the end of one attempt."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
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
    SessionStarted,
    StepFinished,
    TextDelta,
    ThoughtDelta,
    ToolFinished,
    ToolProgress,
    Usage,
)

from codetether_crew.attempt import Attempt
from codetether_crew.budget import used
from codetether_crew.stuck import Watch

if TYPE_CHECKING:
    from codetether.api import Executor, Kernel, Session

    from codetether_crew.account import Account
    from codetether_crew.budget import Budget

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
    """Does work with sub-agents, each of the executor that `executor` says. `see` is given every event; `timeout`: seconds without
    progress before one is ended; `max_steps`: model calls of one that says no other number; `depth`: how many sub-agents
    stand between it and a person, itself not counted. `model` and `started_by` are set before the first work, and so is
    `account`, of the session that it is all for.
    """

    def __init__(
        self,
        executor: Callable[[Work], Executor],
        budget: Budget,
        see: Callable[[Work, SessionEvent], Awaitable[None]],
        *,
        timeout: float,
        max_steps: int,
        depth: int = 0,
    ) -> None:
        self._executor = executor
        self._budget = budget
        self._see = see
        self._timeout = timeout
        self._max_steps = max_steps
        self._depth = depth
        self.model = ""
        self.started_by = ""
        self.account: Account | None = None

    async def do(self, work: Work) -> Attempt:
        """One attempt to its end. Cancelling ends the sub-agent."""
        if why := self._budget.used_up:
            return Attempt(False, error=why, final=True)
        began = trio.current_time()
        seen = _Seen()
        executor = self._executor(work)
        with trio.CancelScope() as scope:
            watch = Watch(scope, self._timeout, queued=executor.elsewhere)

            async def observe(event: SessionEvent) -> None:
                watch.see(event)
                seen.note(event)
                if executor.elsewhere:
                    await self._pay(event, watch)
                await self._see(work, event)

            try:
                result = await executor.run(self._task(work, executor), observe)
            except CodetetherError as error:
                return seen.attempt(error.message, trio.current_time() - began)
        seconds = trio.current_time() - began
        if scope.cancelled_caught:
            why = watch.why or f"no progress for {self._timeout:g} s"
            return seen.attempt(why, seconds, timed_out=not watch.why)
        return self._attempt(result, seen, seconds)

    async def _pay(self, event: SessionEvent, watch: Watch) -> None:
        """Count what an agent on another machine tells of."""
        if not self._budget.allows(event, elsewhere=True):
            watch.end(self._budget.used_up)
        if self.account is not None:
            await self.account.hear(event, self.model)

    def _task(self, work: Work, executor: Executor) -> AgentTask:
        left = self._budget.left_usd
        return AgentTask(
            id=work.id,
            prompt=work.prompt,
            directory=str(work.directory),
            model=self.model,
            access=work.access,
            max_steps=work.max_steps or self._max_steps,
            budget_usd=left if executor.elsewhere else None,
            timeout=LONGEST,
            started_by=self.started_by,
            within=None if work.writes else LOOKS,
            depth=self._depth + 1,
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
            result.session or seen.session, "longer than" in error and result.reason == "error", final and not result.ok,
            result.reason == "unreachable",
        )  # fmt: skip


def belongs(session: Session, mark: str) -> bool:
    """Whether a session, or one that it works for, was started by `mark`."""
    here: Session | None = session
    while here is not None:
        if here.started_by == mark:
            return True
        here = here.parent
    return False


async def choose_model(kernel: Kernel, wanted: str, budget_usd: float | None) -> str:
    """The model that agents are to use, as PROVIDER/MODEL; `wanted` "" is the one of the settings. Raises CodetetherError,
    also when a budget in dollars is set and its price is not known.
    """
    provider, model = await kernel.resolve_model(wanted or None)
    name = f"{provider.name}/{model.id}"
    if budget_usd is not None and not model.priced:
        raise CodetetherError(
            f"a budget in dollars is set, and the price of {name} is unknown",
            "use --budget-tokens, or give the price in your settings",
        )
    return name


class _Seen:
    """What a sub-agent's events tell, for when it does not live to report."""

    def __init__(self) -> None:
        self.steps = 0
        self.calls = 0
        self.usage = Usage()
        self.session = ""

    def note(self, event: SessionEvent) -> None:
        if isinstance(event, SessionStarted):
            self.session = event.session
        if (usage := used(event)) is not None:
            self.usage += usage
            self.steps += isinstance(event, StepFinished)
        elif isinstance(event, ToolFinished):
            self.calls += 1

    def attempt(self, error: str, seconds: float, *, timed_out: bool = False) -> Attempt:
        return Attempt(
            False, "", error, self.steps, self.calls, seconds, self.usage, self.session, timed_out
        )  # fmt: skip

"""The tool `task`: a sub-agent with a session of its own does a piece of work and reports.

Bounded on every side: how deep sub-agents nest and what they may do is the kernel's to enforce (Session.effects); how
many there are, how long they take and what they spend is limited here.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import trio
from codetether.api import (
    AgentResult,
    AgentTask,
    CodetetherError,
    Effect,
    Session,
    SessionEvent,
    Tool,
    ToolContext,
    ToolError,
    ToolOutput,
    ToolStarted,
    Usage,
    one_line,
)
from msgspec import Meta, Struct, field

SHARE = 0.5  # of the money left: calls side by side can never spend more than there is


class TaskSettings(Struct, frozen=True):
    """Limits."""

    at_once: Annotated[
        int, Meta(ge=1, le=32, description="Sub-agents of a session at one time")
    ] = 4
    per_turn: Annotated[int, Meta(ge=1, le=200, description="Sub-agents a turn may start")] = 20
    seconds: Annotated[float, Meta(gt=0, description="Seconds a sub-agent may take")] = 600.0


class Params(Struct):
    """The work."""

    description: Annotated[str, Meta(description="The work in three to six words", max_length=200)]
    prompt: Annotated[str, Meta(description="All the sub-agent needs to know", max_length=100_000)]
    agent: Annotated[str, Meta(description="explore, plan, build or another agent")] = "explore"


class _Running(Struct):
    """What a session has started."""

    room: trio.CapacityLimiter
    turn: int = 0
    started: int = 0
    reserved: dict[str, float] = field(default_factory=dict)


class Task(Tool[Params]):
    """Starts one, shows what it does, and gives its report back. Cancelling the call ends the sub-agent."""

    api = 1
    params = Params
    effect = Effect.AGENT
    needs_model = True
    Settings: ClassVar[type[Struct]] = TaskSettings

    def title(self, params: Params) -> str:
        """Who does what."""
        return f"{self.name} {params.agent}: {one_line(params.description)}"

    async def run(self, params: Params, ctx: ToolContext) -> ToolOutput:
        """The report. Raises ToolError: INVALID_ARGUMENT for an unknown agent, DENIED beyond a limit."""
        session = ctx.session
        if not params.prompt.strip():
            raise ToolError("The prompt is empty.", "INVALID_ARGUMENT")
        agents = self.kernel.agents(session.directory)
        if params.agent not in agents:
            names = ", ".join(sorted(agents))
            text = f"There is no agent {params.agent!r}. Agents: {names}."
            raise ToolError(text, "INVALID_ARGUMENT")
        await self._check_price(session, self._model(session, params.agent))
        running = self._counted(session)
        async with running.room:
            budget = _share(session, running, ctx.call_id)
            try:
                result = await self._work(params, ctx, budget)
            finally:
                running.reserved.pop(ctx.call_id, None)
        return _report(params, result)

    async def _check_price(self, session: Session, name: str) -> None:
        if session.budget_usd is None or name == session.model_ref:
            return
        try:
            _, model = await self.kernel.resolve_model(name)
        except CodetetherError as error:
            raise ToolError(f"{error.message}.") from None
        if not model.priced:
            text = f"A budget in dollars is set, and the price of {name} is unknown."
            raise ToolError(f"{text} Use another agent, or do it yourself.", "DENIED")

    def _counted(self, session: Session) -> _Running:
        limits = self.settings
        running: _Running = session.state.setdefault(
            self.key, _Running(trio.CapacityLimiter(limits.at_once))
        )
        if running.turn != session.turns:
            running.turn, running.started = session.turns, 0
        if running.started >= limits.per_turn:
            text = f"This turn has started {limits.per_turn} sub-agents; do the rest yourself."
            raise ToolError(text, "DENIED")
        running.started += 1
        return running

    async def _work(self, params: Params, ctx: ToolContext, budget: float | None) -> AgentResult:
        session = ctx.session

        async def observe(event: SessionEvent) -> None:
            if isinstance(event, ToolStarted):
                await ctx.progress(f"{event.title}\n")

        task = AgentTask(
            id=ctx.call_id,
            prompt=params.prompt,
            directory=str(session.directory),
            agent=params.agent,
            model=self._model(session, params.agent),
            access=session.access,
            budget_usd=budget,
            timeout=self.settings.seconds,
            started_by=session.id,
            within=session.effects,
            depth=session.depth + 1,
        )
        executor = self.kernel.executor()
        result = await executor.run(task, observe)
        spent = Usage(result.input_tokens, result.output_tokens, cost=result.cost)
        if spent != Usage():
            why, told = f"sub-agent {result.session}", not executor.elsewhere
            await session.spent(spent, why, task.model, told=told)
        return result

    def _model(self, session: Session, agent: str) -> str:
        """The agent's own model, else that of the session that asks."""
        return self.kernel.agents(session.directory)[agent].model or session.model_ref


def _share(session: Session, running: _Running, call_id: str) -> float | None:
    """What this sub-agent may spend in USD: a share of what neither was spent nor promised. None: no budget is set."""
    if session.budget_usd is None:
        return None
    left = session.budget_usd - (session.usage.cost or 0.0) - sum(running.reserved.values())
    if left <= 0:
        raise ToolError("The budget is used up; answer with what you know.", "DENIED")
    running.reserved[call_id] = left * SHARE
    return running.reserved[call_id]


def _report(params: Params, result: AgentResult) -> ToolOutput:
    meta = {
        "session": result.session,
        "agent": params.agent,
        "reason": result.reason,
        "steps": result.steps,
        "cost": result.cost,
    }
    steps = f"{result.steps} step{'' if result.steps == 1 else 's'}"
    if result.ok:
        text = result.text.strip() or "It ended without a report."
        return ToolOutput(text, summary=f"{params.agent}, {steps}", meta=meta)
    why = result.error or result.reason
    said = f"\nWhat it said last:\n{result.text.strip()}" if result.text.strip() else ""
    text = f"The sub-agent did not finish ({result.reason}): {why}{said}"
    return ToolOutput(text, ok=False, summary=one_line(why, 100), meta=meta)

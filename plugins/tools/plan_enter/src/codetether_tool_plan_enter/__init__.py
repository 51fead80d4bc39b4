"""The tool `plan_enter`: from now on this session may only look, and the kernel sees to it."""

from __future__ import annotations

from typing import Annotated

from codetether.api import Effect, Tool, ToolContext, ToolError, ToolOutput
from msgspec import Meta, Struct


class Params(Struct):
    """What to plan."""

    goal: Annotated[str, Meta(description="What is to be planned, in one line", max_length=500)]


class PlanEnter(Tool[Params]):
    """Narrows what the session may do; only plan_exit widens it again."""

    api = 1
    params = Params
    effect = Effect.READ
    alone = True

    def title(self, params: Params) -> str:
        """The goal."""
        return f"{self.name} {params.goal}"

    async def run(self, params: Params, ctx: ToolContext) -> ToolOutput:
        """Begin. Raises ToolError: NO_OP when planning already, INVALID_ARGUMENT for an empty goal."""
        session = ctx.session
        goal = session.redact(" ".join(params.goal.split()))
        if not goal:
            raise ToolError("Say what is to be planned.", "INVALID_ARGUMENT")
        if session.planning:
            raise ToolError(f"You are planning already: {session.planning}", "NO_OP")
        session.plan(goal)
        return ToolOutput(
            "Planning: read-only until the plan is approved. Explore, then call plan_exit with the whole plan.",
            summary=goal,
            meta={"planning": goal},
        )

"""The tool `plan_exit`: the plan is shown, and planning ends when the person approves it."""

from __future__ import annotations

from typing import Annotated

from codetether.api import (
    Answer,
    Choice,
    Effect,
    Question,
    Tool,
    ToolContext,
    ToolError,
    ToolOutput,
)
from msgspec import Meta, Struct

APPROVE = Choice("approve", "Carry out this plan")
REVISE = Choice("revise", "Keep planning (say what to change after it)")
NOBODY = (
    "Nobody is there to approve the plan, so planning goes on and nothing can be changed. "
    "Give the plan as your final answer."
)


class Params(Struct):
    """The plan."""

    plan: Annotated[
        str,
        Meta(
            description="The whole plan, Markdown: steps in order, files each touches, how it is checked",
            max_length=50_000,
        ),
    ]


class PlanExit(Tool[Params]):
    """Leaves planning. With access full and nobody there the approval was given beforehand."""

    api = 1
    params = Params
    effect = Effect.READ
    alone = True

    def title(self, params: Params) -> str:
        """Its first line says enough."""
        return f"{self.name} {params.plan.strip().partition(chr(10))[0]}"

    async def run(self, params: Params, ctx: ToolContext) -> ToolOutput:
        """Ask. Raises ToolError: NO_OP when not planning, INVALID_ARGUMENT, DENIED when nobody is there."""
        session = ctx.session
        if not session.planning:
            raise ToolError("You are not planning; there is nothing to leave.", "NO_OP")
        if not params.plan.strip():
            raise ToolError("The plan is empty.", "INVALID_ARGUMENT")
        answer = await ctx.ask(
            Question(
                session.new_id("ask"),
                "choice",
                f"Carry out this plan? ({session.planning})",
                detail=params.plan,
                choices=(APPROVE, REVISE),
                call_id=ctx.call_id,
            )
        )
        if answer is None and session.access == "full":
            answer = Answer("approve", "nobody is there to ask, and access is full")
        if answer is None:
            raise ToolError(NOBODY, "DENIED")
        said = answer.text.strip()
        if answer.key != "approve":
            text = f"Not approved{f': {said}' if said else ''}. You are still planning."
            return ToolOutput(text, summary="not approved", meta={"approved": False})
        session.plan("")
        text = f"Approved{f': {said}' if said else ''}. Planning is over: carry out the plan."
        return ToolOutput(text, summary="approved", meta={"approved": True})

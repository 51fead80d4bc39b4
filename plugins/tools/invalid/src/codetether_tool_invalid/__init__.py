"""The tool `invalid`: what a call of an unknown tool gets. Models are not told of it; some call it by themselves."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from codetether.api import Effect, Tool, ToolContext, ToolError, ToolOutput
from msgspec import Meta, Struct


class Params(Struct):
    """The call that was meant."""

    requested_tool: Annotated[str, Meta(description="The name that was called")]
    args: Annotated[
        Any,  # whatever it was
        Meta(description="What it was called with, JSON", extra_json_schema={"type": "string"}),
    ] = None


class Invalid(Tool[Params]):
    """Always fails, with the nearest tools and what they take."""

    api = 1
    params = Params
    effect = Effect.READ
    advertised: ClassVar[bool] = False

    async def run(self, params: Params, ctx: ToolContext) -> ToolOutput:
        """Raises ToolError NOT_FOUND, or INVALID_ARGUMENT when there is such a tool."""
        toolbox = ctx.session.toolbox
        tool = toolbox.find(params.requested_tool)
        if tool is not None and tool.advertised:
            raise ToolError(f"Call {tool.name} itself.", "INVALID_ARGUMENT")
        raise ToolError(toolbox.unknown(params.requested_tool), "NOT_FOUND")

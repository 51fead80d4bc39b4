"""The tool `swarm`: the mode of that name, for a session's model. What it may do is what the session may."""

from __future__ import annotations

from typing import Annotated, Any

from codetether.api import (
    CodetetherError,
    Effect,
    PluginError,
    Tool,
    ToolContext,
    ToolError,
    ToolOutput,
)
from msgspec import Meta, Struct

WORDS = ("auto", "domain", "data", "stage")


class Params(Struct):
    """The task."""

    task: Annotated[str, Meta(description="All that is to be done", max_length=100_000)]
    strategy: Annotated[
        str, Meta(description="How to split it", extra_json_schema={"enum": list(WORDS)})
    ] = "auto"
    max_subagents: Annotated[int, Meta(ge=1, le=100, description="Parts at most")] = 10


class SwarmTool(Tool[Params]):
    """Asks the mode `swarm` to carry the task out, shows how far it is, and gives its report back."""

    api = 1
    params = Params
    effect = Effect.AGENT
    needs_model = True
    alone = True

    async def run(self, params: Params, ctx: ToolContext) -> ToolOutput:
        """The report. Raises ToolError when there is no plan, or the mode is not installed."""
        session = ctx.session
        if not params.task.strip():
            raise ToolError("The task is empty.", "INVALID_ARGUMENT")
        if params.strategy not in WORDS:
            raise ToolError(f"strategy is one of {', '.join(WORDS)}.", "INVALID_ARGUMENT")
        # Moving the user's branch is writing in their tree: as free as any other write of this session.
        may_write = session.access != "ask" and Effect.WRITE in session.effects
        wanted = {
            "task": params.task,
            "strategy": params.strategy,
            "max_subagents": params.max_subagents,
            "merge": may_write,
        }
        try:
            mode: Any = self.kernel.mode("swarm")
            data: dict[str, Any] = await mode.work(wanted, session, ctx.progress)
        except PluginError as error:
            raise ToolError(f"No swarm here: {error.message}. Use task.", "NOT_FOUND") from None
        except CodetetherError as error:
            raise ToolError(f"{error.message}. Do it with task, or yourself.") from None
        return _output(data)


def _output(data: dict[str, Any]) -> ToolOutput:
    stats, branches = data["stats"], data["branches"]
    lines = [data["result"], "", f"Swarm {data['id']}: {data['status']}."]
    if data.get("error"):
        lines.append(f"Why: {data['error']}")
    if branches["merged_into"]:
        lines.append(f"Merged into {branches['merged_into']}: the files here are changed.")
    elif branches["result"]:
        lines.append(f"The result is on branch {branches['result']} and not in the files here.")
    lines += [f"Unmerged work: branch {name}" for name in branches["unmerged"]]
    if touched := data["gates"]["touched"]:
        lines.append(f"Tests or checks were changed: {', '.join(touched[:10])}")
    summary = f"{stats['subagents_completed']} of {len(data['subtask_results'])} parts"
    meta = {"id": data["id"], "stats": stats, "branches": branches, "cost": data["cost"]}
    return ToolOutput("\n".join(lines), ok=data["success"], summary=summary, meta=meta)

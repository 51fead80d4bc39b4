"""The tool `bash_output`: what a background command of bash says, and its end."""

from __future__ import annotations

from typing import Annotated

from codetether.api import Effect, Tool, ToolContext, ToolError, ToolOutput, one_line
from msgspec import Meta, Struct


class Params(Struct):
    """Which command, and what with it."""

    id: Annotated[str, Meta(description="As bash gave it; empty: list all")] = ""
    wait: Annotated[int, Meta(ge=0, le=600, description="Seconds to wait for its end")] = 0
    kill: Annotated[bool, Meta(description="End it")] = False


class BashOutput(Tool[Params]):
    """Looks at, waits for and ends what bash left running; all of it was permitted when it was started."""

    api = 1
    params = Params
    effect = Effect.READ

    def title(self, params: Params) -> str:
        """Which command."""
        return f"{self.name} {'kill ' * params.kill}{params.id}".rstrip()

    async def run(self, params: Params, ctx: ToolContext) -> ToolOutput:
        """What is new. Raises ToolError NOT_FOUND for an id that is none."""
        from codetether_background import jobs_of, look

        jobs = jobs_of(ctx.session)
        if not params.id:
            lines = [
                f"{job.name}: {job.state}: {one_line(job.command, 80)}" for job in jobs.all.values()
            ]
            text = "\n".join(lines) or "No background commands."
            return ToolOutput(text, summary=f"{len(jobs.running)} running")
        job = jobs.all.get(params.id)
        if job is None:
            names = ", ".join(jobs.all) or "none"
            raise ToolError(f"There is no background command {params.id!r}: {names}.", "NOT_FOUND")
        if params.kill and not job.over.is_set():
            job.killed = True
            job.scope.cancel()
            await job.over.wait()
        elif params.wait:
            await job.ended(params.wait)
        return look(job)

"""The tool `ralph`: the mode of that name, for a session's model. What it may do is what the session may."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from codetether.api import (
    CodetetherError,
    Effect,
    PluginError,
    Subject,
    Tool,
    ToolContext,
    ToolError,
    ToolOutput,
    Usage,
)
from msgspec import Meta, Struct


class Params(Struct):
    """What to do with which document."""

    action: Annotated[Literal["run", "status", "create-prd"], Meta(description="What to do")]
    prd_path: Annotated[str, Meta(description="The document")] = "prd.json"
    feature: Annotated[str, Meta(description="What is wanted, for create-prd")] = ""
    project: Annotated[str, Meta(description="Its name, for create-prd")] = ""
    max_iterations: Annotated[int, Meta(ge=1, le=200, description="Attempts, for run")] = 10


class RalphTool(Tool[Params]):
    """Asks the mode `ralph` to draft a document, to work through it, or where it stands."""

    api = 1
    params = Params
    effect = Effect.AGENT
    needs_model = True
    alone = True

    def subject(self, params: Params) -> Subject:
        """The document."""
        return Subject(paths=(params.prd_path,))

    async def run(self, params: Params, ctx: ToolContext) -> ToolOutput:
        """The report. Raises ToolError when there is no document, no repository, or no mode."""
        path = str(ctx.workspace.root / ctx.workspace.relative(params.prd_path))
        try:
            mode: Any = self.kernel.mode("ralph")
            if params.action == "status":
                return _status(mode.status(path))
            if params.action == "create-prd":
                return await self._create(mode, params, ctx)
            return await self._work(mode, path, params, ctx)
        except PluginError as error:
            raise ToolError(f"No ralph here: {error.message}. Use task.", "NOT_FOUND") from None
        except CodetetherError as error:
            raise ToolError(f"{error.message}. {error.hint}".strip()) from None

    async def _create(self, mode: Any, params: Params, ctx: ToolContext) -> ToolOutput:
        if not params.feature.strip():
            raise ToolError("feature is empty: say what is wanted.", "INVALID_ARGUMENT")
        text, usage = await mode.draft(ctx.session, params.project, params.feature)
        await _pay(ctx, usage, "ralph create-prd")
        done = await ctx.call("write_file", {"path": params.prd_path, "content": text})
        # A file that was there is not replaced unread: write_file says so, and the draft is not lost.
        told = done.text if done.ok else f"{done.text}\nThe draft:\n{text}"
        known = {name: fact for name, fact in done.meta.items() if name != "diff"}  # that is shown
        return ToolOutput(told, done.ok, summary=params.prd_path, meta=known)

    async def _work(self, mode: Any, path: str, params: Params, ctx: ToolContext) -> ToolOutput:
        session = ctx.session
        # Moving a branch that is checked out is writing in the user's tree, and so is the document.
        if session.access == "ask" or Effect.WRITE not in session.effects:
            raise ToolError("This session may not write, so ralph cannot run.", "DENIED")
        wanted = {"prd": path, "max_iterations": params.max_iterations}
        data: dict[str, Any] = await mode.work(wanted, session, ctx.progress)
        return _report(data)


async def _pay(ctx: ToolContext, usage: Usage, why: str) -> None:
    if usage != Usage():
        await ctx.session.spent(usage, why, told=True)


def _status(data: dict[str, Any]) -> ToolOutput:
    lines = [f"{data['passed']} of {data['total']} stories pass.", *_lines(data["stories"])]
    lines += [f"Error in the document: {each}" for each in data["errors"]]
    return ToolOutput("\n".join(lines), summary=f"{data['passed']}/{data['total']}")


def _report(data: dict[str, Any]) -> ToolOutput:
    branches = data["branches"]
    lines = [f"Ralph {data['id']}: {data['status']}.", *_lines(data["stories"])]
    if data.get("error"):
        lines.append(f"Why: {data['error']}")
    if branches["landed_on"]:
        lines.append(f"The result is on {branches['landed_on']}.")
    elif branches["result"]:
        lines.append(f"The result is on branch {branches['result']} only.")
    if not data["success"]:
        lines.append(f"A person can go on with: codetether ralph resume {data['id']}")
    meta = {name: data[name] for name in ("id", "status", "passed", "total", "branches", "cost")}
    meta |= {"all_passed": data["success"], "feature_branch": branches["feature"]}
    summary = f"{data['passed']} of {data['total']} stories"
    return ToolOutput("\n".join(lines), ok=data["success"], summary=summary, meta=meta)


def _lines(stories: list[dict[str, Any]]) -> list[str]:
    lines = []
    for each in stories:
        why = f": {each['why'][:300]}" if each["why"] else ""
        branch = f" (branch {each['branch']})" if each["branch"] else ""
        touched = f" [changed {', '.join(each['touched'][:5])}]" if each["touched"] else ""
        lines.append(f"- {each['id']} {each['title']}: {each['state']}{why}{branch}{touched}")
    return lines

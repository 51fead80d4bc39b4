"""The tool `prd`: a product requirements document, asked for, made, checked, and stored through `write_file`.

Its effect is READ: storing is a call of `write_file`, with that tool's permission, diff and care.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from codetether.api import Effect, Subject, Tool, ToolContext, ToolError, ToolOutput
from msgspec import Meta, Struct, field

if TYPE_CHECKING:
    from codetether_prd import Document


class Story(Struct, omit_defaults=False):
    """One piece of work."""

    id: Annotated[str, Meta(description="Such as US-001")] = ""
    title: Annotated[str, Meta(description="In a few words")] = ""
    description: Annotated[str, Meta(description="What and why")] = ""
    acceptance_criteria: Annotated[list[str], Meta(description="What must be true, checkable")] = (
        field(default_factory=list)
    )
    priority: Annotated[int, Meta(description="1 comes first")] = 1
    depends_on: Annotated[list[str], Meta(description="Ids to do before")] = field(
        default_factory=list
    )
    complexity: Annotated[int, Meta(description="1 (small) to 5")] = 3


class Checks(Struct):
    """Shell commands, empty for none."""

    typecheck: Annotated[str, Meta(description="Checks the types")] = ""
    test: Annotated[str, Meta(description="Runs the tests")] = ""
    lint: Annotated[str, Meta(description="Checks the style")] = ""
    build: Annotated[str, Meta(description="Builds")] = ""


class Params(Struct):
    """What to do, and the document or its parts."""

    action: Annotated[
        Literal["analyze", "generate", "validate", "save"], Meta(description="What to do")
    ]
    task_description: Annotated[str, Meta(description="The work, for analyze")] = ""
    project: Annotated[str, Meta(description="Name of the project")] = ""
    feature: Annotated[str, Meta(description="Name of the feature")] = ""
    stories: Annotated[list[Story], Meta(description="All stories", max_length=200)] = []
    quality_checks: Annotated[Checks | None, Meta(description="Commands each story must pass")] = (
        None
    )
    prd_path: Annotated[str, Meta(description="The file")] = "prd.json"
    prd_json: Annotated[str, Meta(description="The whole document, JSON")] = ""


class Prd(Tool[Params]):
    """Makes no model call: the model that calls it does the thinking."""

    api = 1
    params = Params
    effect = Effect.READ
    alone = True

    def subject(self, params: Params) -> Subject:
        """The file, where it is looked at."""
        looked_at = params.action == "save" or (
            params.action == "validate" and not params.prd_json and not params.stories
        )
        return Subject(paths=(params.prd_path,) if looked_at else ())

    def title(self, params: Params) -> str:
        """What is done to which."""
        what = params.prd_path if params.action == "save" else params.feature
        return f"{self.name} {params.action} {what}".rstrip()

    async def run(self, params: Params, ctx: ToolContext) -> ToolOutput:
        """Raises ToolError: INVALID_ARGUMENT for what is no document, NOT_FOUND for an absent file."""
        import codetether_prd as prd

        try:
            return await _act(params, ctx)
        except prd.PrdError as error:
            text = f"{error.message[0].upper()}{error.message[1:]}."
            raise ToolError(text, "INVALID_ARGUMENT") from None


async def _act(params: Params, ctx: ToolContext) -> ToolOutput:
    import codetether_prd as prd

    match params.action:
        case "analyze":
            return ToolOutput(_questions(params.task_description))
        case "generate":
            made = _made(params)
            return ToolOutput(
                f"{made.text()}\n{prd.report(made)}",
                ok=not prd.check(made).errors,
                meta={"prd": made.raw},
            )
        case "validate":
            given = await _given(params, ctx)
            found = prd.check(given)
            summary = "failed" if found.errors else "passed"
            return ToolOutput(prd.report(given), ok=not found.errors, summary=summary)
    return await _save(params, ctx)


def _questions(task: str) -> str:
    """What to find out before writing requirements for `task`."""
    about = f": {' '.join(task.split())}" if task.strip() else ""
    return (
        Path(__file__)
        .with_name("questions.md")
        .read_text("utf-8")
        .strip()
        .replace("{about}", about)
    )


def _made(params: Params) -> Document:
    import codetether_prd as prd
    import msgspec

    checks = msgspec.to_builtins(params.quality_checks or Checks())
    stories = [msgspec.to_builtins(story) for story in params.stories]
    return prd.from_parts(params.project, params.feature, stories, checks)


async def _given(params: Params, ctx: ToolContext) -> Document:
    """The document in `prd_json`, else of the parts, else of the file."""
    import codetether_prd as prd

    if params.prd_json:
        return prd.parse(params.prd_json)
    if params.stories:
        return _made(params)
    return prd.parse(await ctx.workspace.read(params.prd_path))


async def _save(params: Params, ctx: ToolContext) -> ToolOutput:
    import codetether_prd as prd

    if not params.prd_json and not params.stories:
        raise ToolError("Give stories or prd_json to save.", "INVALID_ARGUMENT")
    before = await _stored(params.prd_path, ctx)
    made = prd.updated(before, await _given(params, ctx))
    if prd.check(made).errors:
        text = f"Not saved.\n{prd.report(made)}"
        return ToolOutput(text, ok=False, summary="not saved")
    done = await ctx.call("write_file", {"path": params.prd_path, "content": made.text()})
    text = f"{done.text}\n{prd.report(made)}" if done.ok else done.text
    known = {name: fact for name, fact in done.meta.items() if name != "diff"}  # that is shown
    return ToolOutput(text, done.ok, summary=params.prd_path, meta={**known, "prd": made.raw})


async def _stored(path: str, ctx: ToolContext) -> Document | None:
    """The file as it is, which the new one is made from: so it counts as read. None when there is none."""
    import codetether_prd as prd

    try:
        data = await ctx.workspace.read(path)
    except ToolError as error:
        if error.code == "NOT_FOUND":
            return None
        raise
    stored = prd.parse(data)
    ctx.workspace.saw(path, ctx.workspace.digest(data))
    return stored

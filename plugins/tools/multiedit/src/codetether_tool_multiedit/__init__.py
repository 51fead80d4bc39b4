"""The tool `multiedit`: pieces of text replaced in several files, all of them or none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codetether.api import Effect, Subject, Tool, ToolContext, ToolError, ToolOutput
from codetether_editing import Edits, OneEdit

if TYPE_CHECKING:
    from codetether_editing import Draft

SHOWN = 4000  # characters of diff shown to the model when a match was not exact


class MultiEdit(Tool[Edits]):
    """Replaces text by the engine in codetether_editing; several edits of one file build on each other."""

    api = 1
    params = Edits
    effect = Effect.WRITE

    def subject(self, params: Edits) -> Subject:
        """Every file once."""
        return Subject(paths=params.paths)

    async def preview(self, params: Edits, ctx: ToolContext) -> str:
        """The diff that `run` would make. Raises ToolError as `run`."""
        from codetether_editing import diff_of, drafts_of

        return diff_of(await drafts_of(_some(params), ctx.workspace)).text

    async def run(self, params: Edits, ctx: ToolContext) -> ToolOutput:
        """Replace. Raises ToolError: as codetether_editing.apply_edit, and CONFLICT, NOT_FOUND, DENIED."""
        from codetether_editing import commit, drafts_of, locked

        edits = _some(params)
        async with locked(ctx.workspace, params.paths):
            drafts = await drafts_of(edits, ctx.workspace)
            if not drafts:
                raise ToolError("The edits undo each other: nothing to change.", "NO_OP")
            await commit(drafts, ctx.workspace)
        return _output(drafts, len(edits))


def _some(params: Edits) -> list[OneEdit]:
    if not params.edits:
        raise ToolError("No edits given.", "INVALID_ARGUMENT")
    return params.edits


def _output(drafts: list[Draft], count: int) -> ToolOutput:
    from codetether_editing import diff_of

    diff = diff_of(drafts)
    files = f"{len(drafts)} file{'s' * (len(drafts) != 1)}"
    names = ", ".join(draft.path for draft in drafts)
    text = (
        f"Made {count} edit{'s' * (count != 1)} in {files} (+{diff.added} -{diff.removed}): {names}"
    )
    if stale := [draft.path for draft in drafts if draft.changed]:
        text += f"\nChanged since you read them, read again to see the rest: {', '.join(stale)}"
    if loose := [f"{draft.path} {how}" for draft in drafts for how in draft.loose]:
        shown = diff.text if len(diff.text) <= SHOWN else diff.text[:SHOWN] + "\n..."
        text += f"\nNot found as written: {'; '.join(loose)}. Check the result:\n{shown}"
    meta = {
        "diff": diff.text,
        "added": diff.added,
        "removed": diff.removed,
        "paths": [draft.path for draft in drafts],
        "count": count,
    }
    return ToolOutput(text, summary=f"{files}, +{diff.added} -{diff.removed}", meta=meta)

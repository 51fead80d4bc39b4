"""The tool `apply_patch`: a patch put into the workspace, all of it or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from codetether.api import Effect, Subject, Tool, ToolContext, ToolError, ToolOutput
from msgspec import Meta, Struct

if TYPE_CHECKING:
    from codetether_editing import Draft

TOLD = 20  # notes and files named in the result


class Params(Struct):
    """The patch."""

    patch: Annotated[str, Meta(description="Unified diff, or *** Begin Patch ... *** End Patch")]
    dry_run: Annotated[bool, Meta(description="Only show what would change")] = False


class ApplyPatch(Tool[Params]):
    """Applies patches by the engine in codetether_editing: unified diffs of git, GNU diff and models, and the envelope
    of `*** Begin Patch`. Lines of context keep the file's own bytes.
    """

    api = 1
    params = Params
    effect = Effect.WRITE
    aliases: ClassVar[tuple[str, ...]] = ("patch",)

    def subject(self, params: Params) -> Subject:
        """Every file the patch names; none when it cannot be understood, and then it does nothing."""
        return Subject(paths=_paths(params.patch))

    async def preview(self, params: Params, ctx: ToolContext) -> str:
        """The diff that `run` would make. Raises ToolError as `run`."""
        from codetether_editing import diff_of, parse, patched

        drafts, _ = await patched(parse(params.patch), ctx.workspace)
        return diff_of(drafts).text

    async def run(self, params: Params, ctx: ToolContext) -> ToolOutput:
        """Apply. Raises ToolError: INVALID_ARGUMENT, NOT_FOUND, AMBIGUOUS_MATCH, CONFLICT, NO_OP, DENIED."""
        from codetether_editing import commit, locked, parse, patched

        files = parse(params.patch)
        async with locked(ctx.workspace, _paths(params.patch)):
            drafts, notes = await patched(files, ctx.workspace)
            if not drafts:
                raise ToolError("The files already read so: nothing to change.", "NO_OP")
            if not params.dry_run:
                await commit(drafts, ctx.workspace)
        return _output(drafts, notes, dry=params.dry_run)


def _paths(patch: str) -> tuple[str, ...]:
    from codetether_editing import parse

    try:
        files = parse(patch)
    except ToolError:
        return ()
    return tuple(dict.fromkeys(path for file in files for path in file.paths))


def _output(drafts: list[Draft], notes: list[str], *, dry: bool) -> ToolOutput:
    from codetether_editing import diff_of

    diff = diff_of(drafts)
    done = [_line(draft) for draft in drafts if not (draft.moved and draft.after is None)]
    head = "Would change" if dry else "Changed"
    size = f"{len(done)} file{'s' * (len(done) != 1)}"
    text = f"{head} {size} (+{diff.added} -{diff.removed}): {_some(done)}"
    if notes:
        text += f"\nNot just as written: {_some(notes)}"
    if dry:
        text += f"\n{diff.text}"
    meta = {
        "diff": diff.text,
        "added": diff.added,
        "removed": diff.removed,
        "paths": [draft.path for draft in drafts],
        "notes": notes,
        "applied": not dry,
    }
    return ToolOutput(text, summary=f"{size}, +{diff.added} -{diff.removed}", meta=meta)


def _line(draft: Draft) -> str:
    if draft.origin is not None:
        return f"{draft.origin[0]} -> {draft.path}"
    how = "added " if draft.before is None else "removed " if draft.after is None else ""
    return how + draft.path


def _some(items: list[str]) -> str:
    more = f"; and {len(items) - TOLD} more" if len(items) > TOLD else ""
    return "; ".join(items[:TOLD]) + more

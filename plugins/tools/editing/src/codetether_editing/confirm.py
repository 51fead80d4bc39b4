"""Changes that a person approves, each time, whatever the model or the settings say."""

from __future__ import annotations

from collections.abc import Sequence

from codetether.api import Choice, Question, ToolContext, ToolError, ToolOutput

from codetether_editing.several import Draft, commit, diff_of, locked

NOBODY = "Nobody is there to approve this; nothing was changed. Use {0}, if you are allowed to change the files unasked."


async def confirm(drafts: Sequence[Draft], ctx: ToolContext, otherwise: str) -> ToolOutput:
    """Show the diff, and write all drafts when a person approves; what they said when they do not.

    `otherwise` is the tool that does the same unasked. Raises ToolError: DENIED when nobody can be asked, CONFLICT when
    a file changed while the person thought.
    """
    diff = diff_of(drafts)
    paths = [draft.path for draft in drafts]
    names = ", ".join(paths)
    answer = await ctx.ask(
        Question(
            ctx.session.new_id("ask"),
            "approval",
            f"Apply this change to {names}?",
            detail=f"+{diff.added} -{diff.removed}",
            diff=diff.text,
            choices=(Choice("once", "Apply"), Choice("deny", "Do not apply")),
            default="deny",
            call_id=ctx.call_id,
        )
    )
    if answer is None:
        raise ToolError(NOBODY.format(otherwise), "DENIED", nobody=True)
    meta = {"diff": diff.text, "added": diff.added, "removed": diff.removed, "paths": paths}
    if answer.key != "once":
        said = f" They said: {answer.text.strip()}" if answer.text.strip() else ""
        return ToolOutput(
            f"The person did not approve this change; nothing was changed.{said}",
            ok=False,
            summary="not approved",
            meta={**meta, "applied": False},
        )
    async with locked(ctx.workspace, paths):
        await commit(drafts, ctx.workspace)
    size = f"+{diff.added} -{diff.removed}"
    return ToolOutput(
        f"Approved and applied ({size}): {names}", summary=size, meta={**meta, "applied": True}
    )

"""The tool `confirm_multiedit`: edits of several files that a person sees and approves first, all of them or none."""

from __future__ import annotations

from codetether.api import Effect, Subject, Tool, ToolContext, ToolError, ToolOutput
from codetether_editing import Edits


class ConfirmMultiEdit(Tool[Edits]):
    """Edits by the engine in codetether_editing, once a person has approved the diff. A parameter cannot approve."""

    api = 1
    params = Edits
    effect = Effect.WRITE

    def subject(self, params: Edits) -> Subject:
        """Every file once."""
        return Subject(paths=params.paths)

    async def preview(self, params: Edits, ctx: ToolContext) -> str:
        """The diff that `run` would ask about. Raises ToolError as `run`."""
        from codetether_editing import diff_of, drafts_of

        return diff_of(await drafts_of(params.edits, ctx.workspace)).text

    async def run(self, params: Edits, ctx: ToolContext) -> ToolOutput:
        """Ask, then replace. Raises ToolError: as codetether_editing.apply_edit, CONFLICT, DENIED (nobody is there)."""
        from codetether_editing import confirm, drafts_of

        if not params.edits:
            raise ToolError("No edits given.", "INVALID_ARGUMENT")
        drafts = await drafts_of(params.edits, ctx.workspace)
        if not drafts:
            raise ToolError("The edits undo each other: nothing to change.", "NO_OP")
        return await confirm(drafts, ctx, "multiedit")

"""The tool `confirm_edit`: an edit that a person sees and approves first, whatever the settings allow."""

from __future__ import annotations

from codetether.api import Effect, Tool, ToolContext, ToolOutput
from codetether_editing import OneEdit


class ConfirmEdit(Tool[OneEdit]):
    """Edits by the engine in codetether_editing, once a person has approved the diff. A parameter cannot approve."""

    api = 1
    params = OneEdit
    effect = Effect.WRITE

    async def preview(self, params: OneEdit, ctx: ToolContext) -> str:
        """The diff that `run` would ask about. Raises ToolError as `run`."""
        from codetether_editing import diff_of, drafts_of

        return diff_of(await drafts_of([params], ctx.workspace)).text

    async def run(self, params: OneEdit, ctx: ToolContext) -> ToolOutput:
        """Ask, then replace. Raises ToolError: as codetether_editing.apply_edit, CONFLICT, DENIED (nobody is there)."""
        from codetether_editing import confirm, drafts_of

        return await confirm(await drafts_of([params], ctx.workspace), ctx, "edit")

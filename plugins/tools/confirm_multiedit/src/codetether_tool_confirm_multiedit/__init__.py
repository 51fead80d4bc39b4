"""The tool `confirm_multiedit`: edits of several files that a person sees and approves first, all of them or none."""

from __future__ import annotations

from typing import Annotated

from codetether.api import Effect, Subject, Tool, ToolContext, ToolError, ToolOutput
from msgspec import Meta, Struct


class OneEdit(Struct, frozen=True):
    """One replacement."""

    path: Annotated[str, Meta(description="File, relative to the workspace root")]
    old_string: Annotated[str, Meta(description="Text to replace, as it is in the file")]
    new_string: Annotated[str, Meta(description="Text to put there; empty removes")]
    replace_all: Annotated[bool, Meta(description="Replace every occurrence")] = False


class Params(Struct):
    """What to replace, and by what."""

    edits: Annotated[list[OneEdit], Meta(description="Replacements, made in this order")]


class ConfirmMultiEdit(Tool[Params]):
    """Edits by the engine in codetether_editing, once a person has approved the diff. A parameter cannot approve."""

    api = 1
    params = Params
    effect = Effect.WRITE

    def subject(self, params: Params) -> Subject:
        """Every file once."""
        return Subject(paths=tuple(dict.fromkeys(edit.path for edit in params.edits)))

    async def preview(self, params: Params, ctx: ToolContext) -> str:
        """The diff that `run` would ask about. Raises ToolError as `run`."""
        from codetether_editing import diff_of, drafts_of

        return diff_of(await drafts_of(params.edits, ctx.workspace)).text

    async def run(self, params: Params, ctx: ToolContext) -> ToolOutput:
        """Ask, then replace. Raises ToolError: as codetether_editing.apply_edit, CONFLICT, DENIED (nobody is there)."""
        from codetether_editing import confirm, drafts_of

        if not params.edits:
            raise ToolError("No edits given.", "INVALID_ARGUMENT")
        drafts = await drafts_of(params.edits, ctx.workspace)
        if not drafts:
            raise ToolError("The edits undo each other: nothing to change.", "NO_OP")
        return await confirm(drafts, ctx, "multiedit")

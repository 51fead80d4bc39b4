"""The tool `edit`: one piece of text replaced, every other byte of the file kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from codetether.api import Effect, Tool, ToolContext, ToolError, ToolOutput
from codetether_editing import OneEdit

if TYPE_CHECKING:
    from codetether_editing import EditOutcome

SHOWN = 4000  # characters of diff shown to the model when the match was not exact


class _Change(msgspec.Struct, frozen=True):
    """The file before and what the engine made of it; `changed`: someone else changed it since the agent read it."""

    before: bytes
    outcome: EditOutcome
    digest: str
    known: bool
    changed: bool
    links: int


class Edit(Tool[OneEdit]):
    """Replaces text by the engine in codetether_editing."""

    api = 1
    params = OneEdit
    effect = Effect.WRITE

    async def preview(self, params: OneEdit, ctx: ToolContext) -> str:
        """The diff that `run` would make. Raises ToolError as `run`."""
        from codetether_editing import unified_diff

        change = await _prepare(params, ctx)
        return unified_diff(
            change.before, change.outcome.data, ctx.workspace.relative(params.path)
        ).text

    async def run(self, params: OneEdit, ctx: ToolContext) -> ToolOutput:
        """Replace. Raises ToolError: as codetether_editing.apply_edit, and CONFLICT, NOT_FOUND, DENIED."""
        async with ctx.workspace.lock(params.path):
            change = await _prepare(params, ctx)
            await ctx.workspace.write(
                params.path, change.outcome.data, expect=change.digest, seen=change.known
            )
        return _output(ctx.workspace.relative(params.path), change)


async def _prepare(params: OneEdit, ctx: ToolContext) -> _Change:
    from codetether_editing import apply_edit

    before = await ctx.workspace.read(params.path)
    digest, seen = ctx.workspace.digest(before), ctx.workspace.last_seen(params.path)
    changed = seen is not None and seen != digest
    outcome = apply_edit(before, params.old_string, params.new_string, params.replace_all)
    if changed and (outcome.strategy != "exact" or len(outcome.lines) != 1):
        raise ToolError(
            f"{params.path} has changed since you read it. Read it again, then edit.", "CONFLICT"
        )
    links = ctx.workspace.stat(params.path).st_nlink
    return _Change(before, outcome, digest, seen == digest, changed, links)


def _output(path: str, change: _Change) -> ToolOutput:
    from codetether_editing import unified_diff

    outcome = change.outcome
    diff = unified_diff(change.before, outcome.data, path)
    count = len(outcome.lines)
    where = f"line {outcome.lines[0]}" if count == 1 else f"{count} places"
    text = f"Edited {path} at {where} (+{diff.added} -{diff.removed})."
    if change.links > 1:
        text += f" The file had {change.links} hard links; this name now is a file of its own."
    if change.changed:
        text += " It had changed since you read it, but old_string still was there once; read it again to see the rest."
    if outcome.strategy != "exact":
        shown = diff.text if len(diff.text) <= SHOWN else diff.text[:SHOWN] + "\n..."
        text += f" Not found as written; matched {outcome.strategy}. Check the result:\n{shown}"
    meta = {
        "diff": diff.text,
        "added": diff.added,
        "removed": diff.removed,
        "path": path,
        "strategy": outcome.strategy,
        "count": count,
        "links": change.links,
    }
    return ToolOutput(text, summary=f"+{diff.added} -{diff.removed}", meta=meta)

"""The tool `write_file`: a whole file, replaced in one step, never over something the agent has not seen."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from codetether.api import Effect, Tool, ToolContext, ToolError, ToolOutput
from msgspec import Meta, Struct


class Params(Struct):
    """What to write."""

    path: Annotated[str, Meta(description="File to write")]
    content: Annotated[str, Meta(description="All of the file's new text")]


class _Change(msgspec.Struct, frozen=True):
    """The bytes before (None: no file) and after; `expect` as Workspace.write; `links`: names of the old file."""

    before: bytes | None
    after: bytes
    expect: str
    links: int = 1


class WriteFile(Tool[Params]):
    """Writes a file in the style of the one it replaces."""

    api = 1
    params = Params
    effect = Effect.WRITE
    aliases: ClassVar[tuple[str, ...]] = ("write",)

    async def preview(self, params: Params, ctx: ToolContext) -> str:
        """The diff that `run` would make. Raises ToolError as `run`."""
        from codetether_editing import unified_diff

        change = await _prepare(params, ctx)
        return unified_diff(change.before, change.after, ctx.workspace.relative(params.path)).text

    async def run(self, params: Params, ctx: ToolContext) -> ToolOutput:
        """Write. Raises ToolError: CONFLICT for a file not read or changed since, DENIED, INVALID_ARGUMENT."""
        async with ctx.workspace.lock(params.path):
            change = await _prepare(params, ctx)
            if change.before == change.after:
                return ToolOutput(f"{params.path} holds exactly this already.", summary="unchanged")
            await ctx.workspace.write(params.path, change.after, expect=change.expect)
        return _output(ctx.workspace.relative(params.path), change)


async def _prepare(params: Params, ctx: ToolContext) -> _Change:
    from codetether_editing import NotText, decode, render

    before = await _existing(params.path, ctx)
    if before is None:
        return _Change(None, render(params.content, None), "")
    digest = ctx.workspace.digest(before)
    _known(params.path, before, digest, ctx)
    try:
        like = decode(before)
    except NotText:
        like = None
    links = ctx.workspace.stat(params.path).st_nlink
    return _Change(before, render(params.content, like), digest, links)


async def _existing(path: str, ctx: ToolContext) -> bytes | None:
    try:
        return await ctx.workspace.read(path)
    except ToolError as error:
        if error.code == "NOT_FOUND":
            return None
        raise


def _known(path: str, before: bytes, digest: str, ctx: ToolContext) -> None:
    seen = ctx.workspace.last_seen(path)
    if seen is None and before:
        raise ToolError(
            f"{path} exists and was not read in this session. Read it first, or change a part of it with edit.",
            "CONFLICT",
        )
    if seen is not None and seen != digest:
        raise ToolError(
            f"{path} has changed since you read it. Read it again, then decide.", "CONFLICT"
        )


def _output(path: str, change: _Change) -> ToolOutput:
    from codetether_editing import unified_diff

    diff = unified_diff(change.before, change.after, path)
    did = "Created" if change.before is None else "Wrote"
    size = len(change.after)
    text = f"{did} {path}: {_count_lines(change.after)} lines, {size} bytes (+{diff.added} -{diff.removed})."
    if change.links > 1:
        text += f" The file had {change.links} hard links; this name now is a file of its own."
    meta = {
        "diff": diff.text,
        "added": diff.added,
        "removed": diff.removed,
        "path": path,
        "bytes": size,
        "created": change.before is None,
        "links": change.links,
    }
    return ToolOutput(text, summary=f"{did.lower()}, +{diff.added} -{diff.removed}", meta=meta)


def _count_lines(data: bytes) -> int:
    from codetether_editing import NotText, decode

    try:
        text = decode(data).text
    except NotText:
        text = data.decode("utf-8", "replace")
    return text.count("\n") + (text != "" and not text.endswith("\n"))

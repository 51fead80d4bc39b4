"""The tool `glob`: files by name pattern.

ripgrep lists what is not ignored, then picks from that list by a regular expression made from the pattern. Its own
`--glob` would bring ignored files back, and `fnmatch` has no `**` and runs on `re`, which a pattern can make slow.
"""

from __future__ import annotations

import os
import stat
from typing import Annotated

from codetether.api import Effect, Tool, ToolContext, ToolError, ToolOutput
from msgspec import Meta, Struct

SECONDS = 30
COLLECTED = 32_000_000  # bytes of names listed at most


class Params(Struct):
    """What to find, and where."""

    pattern: Annotated[str, Meta(description="Name pattern, relative to path")]
    path: Annotated[str, Meta(description="Directory inside the workspace")] = "."
    limit: Annotated[int, Meta(ge=1, le=1000, description="Paths shown at most")] = 100
    dirs: Annotated[
        bool, Meta(description="Find directories too, shown with a slash at the end")
    ] = False


class Glob(Tool[Params]):
    """Lists names; it opens no file but ignore files."""

    api = 1
    params = Params
    effect = Effect.READ

    async def run(self, params: Params, ctx: ToolContext) -> ToolOutput:
        """The paths. Raises ToolError: INVALID_ARGUMENT, NOT_FOUND, DENIED, TIMEOUT."""
        base, wanted = _where(params, ctx)
        names, partial = await _list(str(ctx.workspace.root), base) if base else ([], False)
        if params.dirs:
            names = [*_directories(names), *names]
        picked = await _pick(names, wanted)
        paths = sorted((_joined(base, name) for name in picked), key=lambda path: path.split("/"))
        return _told(paths, params, partial=partial)


def _where(params: Params, ctx: ToolContext) -> tuple[str, str]:
    """The directory to list, relative to the root ("" when there is none), and the pattern below it."""
    from codetether_tool_glob.pattern import split_literal

    if not params.pattern or "\0" in params.pattern or "\n" in params.pattern:
        raise ToolError("The pattern must be one line of text.", "INVALID_ARGUMENT")
    if not stat.S_ISDIR(ctx.workspace.stat(params.path).st_mode):
        raise ToolError(f"{params.path} is no directory.", "INVALID_ARGUMENT")
    literal, wanted = split_literal(params.pattern)
    base = ctx.workspace.real(os.path.join(params.path, literal))
    if ".git" in base.split("/"):
        raise ToolError("The inside of .git is not listed. Use git commands.", "INVALID_ARGUMENT")
    try:
        is_directory = stat.S_ISDIR(ctx.workspace.stat(base).st_mode)
    except ToolError as error:
        if error.code != "NOT_FOUND":
            raise
        is_directory = False
    return base if is_directory else "", wanted


async def _list(root: str, base: str) -> tuple[list[str], bool]:
    from codetether.api import ripgrep

    done = await ripgrep(
        ["--files"],
        cwd=os.path.join(root, base),
        timeout=SECONDS,
        head=COLLECTED,
        tail=0,
        spill_limit=COLLECTED,
    )
    partial = done.killed_for_output or done.timed_out
    names = done.output.split("\n")
    return [name for name in (names[:-3] if done.truncated else names[:-1]) if name], partial


def _directories(names: list[str]) -> list[str]:
    found: set[str] = set()
    for name in names:
        at = name.rfind("/")
        while at > 0 and name[: at + 1] not in found:
            found.add(name[: at + 1])
            at = name.rfind("/", 0, at)
    return sorted(found)


def _joined(base: str, name: str) -> str:
    """`name` as a path from the root; a directory keeps its slash."""
    return os.path.normpath(os.path.join(base, name)) + "/" * name.endswith("/")


async def _pick(names: list[str], wanted: str) -> list[str]:
    """Those of `names` that the pattern covers. The expression is linear in ripgrep, whatever the pattern."""
    if not names:
        return []
    from codetether.api import ripgrep

    from codetether_tool_glob.pattern import regex

    done = await ripgrep(
        ["--no-line-number", "--no-filename"],
        ["-"],
        cwd="/",
        pattern=regex(wanted),
        stdin="\n".join(names).encode(),
        timeout=SECONDS,
        head=2 * COLLECTED,
        tail=0,
        kill_at_limit=False,
    )
    if done.code == 2:
        raise ToolError(f"The pattern {wanted!r} is not understood.", "INVALID_ARGUMENT")
    if done.timed_out:
        raise ToolError(f"Not done within {SECONDS} s. Narrow it with path.", "TIMEOUT")
    return [name for name in done.output.split("\n") if name]


def _told(paths: list[str], params: Params, *, partial: bool) -> ToolOutput:
    shown = paths[: params.limit]
    cut = partial or len(shown) < len(paths)
    text = "\n".join(shown) or f"No files match {params.pattern!r} in {params.path}." + _hint(
        params
    )
    if cut:
        at_least = "at least " * partial
        text += f"\n[{len(shown)} of {at_least}{len(paths)} shown; narrow the pattern or the path]"
    count = f"{len(paths)} {'path' if len(paths) == 1 else 'paths'}"
    return ToolOutput(
        text, summary=count, meta={"count": len(shown), "found": len(paths), "truncated": cut}
    )


def _hint(params: Params) -> str:
    if "**" not in params.pattern:
        return f" To look at every depth use **/{params.pattern.rpartition('/')[2]}."
    return " Ignored files are found only when path is inside the ignored directory."

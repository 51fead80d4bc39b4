"""The tool `glob`: files by name pattern.

ripgrep lists what is not ignored. Most patterns it can apply itself, as a file type; for others a regular expression
made from the pattern picks from the list. Its `--glob` would bring ignored files back, and `fnmatch` has no `**` and
runs on `re`, which a pattern can make slow.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from typing import Annotated, Any, Literal

from codetether.api import Effect, Tool, ToolContext, ToolError, ToolOutput
from msgspec import Meta, Struct

SECONDS = 30
COLLECTED = 32_000_000  # bytes of names listed at most

_KINDS = {"files": "files", "dirs": "directories", "all": "paths"}


class Params(Struct):
    """What to find, and where."""

    pattern: Annotated[str, Meta(description="Name pattern, relative to path")]
    path: Annotated[str, Meta(description="Directory")] = "."
    kind: Annotated[
        Literal["files", "dirs", "all"], Meta(description="What to find; dirs are shown as `name/`")
    ] = "files"
    sort: Annotated[
        Literal["path", "modified"], Meta(description="Order; modified is newest first")
    ] = "path"
    no_ignore: Annotated[bool, Meta(description="Find ignored files too")] = False
    limit: Annotated[int, Meta(ge=0, le=1000, description="Paths shown at most; 0 only counts")] = (
        100
    )
    offset: Annotated[int, Meta(ge=0, description="Paths to skip")] = 0


class Glob(Tool[Params]):
    """Lists names; it opens no file but ignore files."""

    api = 1
    params = Params
    effect = Effect.READ

    def title(self, params: Params) -> str:
        """The pattern, and where."""
        where = "" if params.path == "." else f" {params.path}"
        return f"{self.name} {params.pattern[:100]}{where}"

    async def run(self, params: Params, ctx: ToolContext) -> ToolOutput:
        """The paths. Raises ToolError: INVALID_ARGUMENT, NOT_FOUND, DENIED, TIMEOUT."""
        base, wanted = _where(params, ctx)
        root = str(ctx.workspace.root)
        names, partial = await _find(root, base, wanted, params) if base else ([], False)
        part = await _page(os.path.join(root, base), names, params)
        return _told([_joined(base, name) for name in part], len(names), params, partial=partial)


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


async def _find(root: str, base: str, wanted: str, params: Params) -> tuple[list[str], bool]:
    """The names below `base` that `wanted` covers, in no order, and whether there may be more."""
    from codetether_tool_glob.pattern import listing_options, regex

    expression = regex(wanted)
    options, exact = listing_options(wanted) if params.kind == "files" else ([], False)
    names, partial = await _list(os.path.join(root, base), options, ignored=params.no_ignore)
    if params.kind != "files":
        names = [*_directories(names), *(names if params.kind == "all" else ())]
    return names if exact else await _pick(names, wanted, expression), partial


async def _list(where: str, options: list[str], *, ignored: bool) -> tuple[list[str], bool]:
    from codetether.api import ripgrep

    done = await ripgrep(
        ["--files", *("--no-ignore",) * ignored, *options],
        cwd=where,
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
    return list(found)


async def _page(where: str, names: list[str], params: Params) -> list[str]:
    """The names to show. Only as many as needed are put in order."""
    import heapq

    if not params.limit:
        return []
    key: Callable[[str], Any] = _by_directory
    if params.sort == "modified":
        import trio

        ages = await trio.to_thread.run_sync(_ages, where, names, abandon_on_cancel=True)
        key = lambda name: (ages[name], _by_directory(name))  # noqa: E731
    return heapq.nsmallest(params.offset + params.limit, names, key)[params.offset :]


def _by_directory(name: str) -> str:
    """What puts a directory's files together, each directory in the order of its own name."""
    return name.replace("/", "\0")


def _ages(where: str, names: list[str]) -> dict[str, int]:
    """Per name a number that is the smaller the later it was modified; 0 when it is gone."""
    ages = dict.fromkeys(names, 0)
    for name in names:
        with contextlib.suppress(OSError, ValueError):
            ages[name] = -os.stat(f"{where}/{name}", follow_symlinks=False).st_mtime_ns
    return ages


def _joined(base: str, name: str) -> str:
    """`name` as a path from the root; a directory keeps its slash."""
    return os.path.normpath(os.path.join(base, name)) + "/" * name.endswith("/")


async def _pick(names: list[str], wanted: str, expression: str) -> list[str]:
    """Those of `names` that the pattern covers. The expression is linear in ripgrep, whatever the pattern."""
    if not names:
        return []
    from codetether.api import ripgrep

    done = await ripgrep(
        ["--no-line-number", "--no-filename"],
        ["-"],
        cwd="/",
        pattern=expression,
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


def _told(shown: list[str], found: int, params: Params, *, partial: bool) -> ToolOutput:
    last = params.offset + len(shown)
    cut = partial or last < found
    count = f"{'at least ' * partial}{found} {'path' if found == 1 else 'paths'}"
    lines = list(shown)
    if not found:
        lines.append(
            f"No {_KINDS[params.kind]} match {params.pattern!r} in {params.path}.{_hint(params)}"
        )
    elif not params.limit:
        lines.append(f"{count} match {params.pattern!r} in {params.path}.")
    elif not shown:
        lines.append(f"[nothing at offset {params.offset}: {count}]")
    elif cut or params.offset:
        more = f"; more with offset {last}, or narrow it" if last < found else ""
        lines.append(f"[{params.offset + 1}-{last} of {count}{more}]")
    meta = {"count": len(shown), "found": found, "truncated": cut}
    return ToolOutput("\n".join(lines), summary=count, meta=meta)


def _hint(params: Params) -> str:
    if "**" not in params.pattern:
        return f" To look at every depth use **/{params.pattern.rpartition('/')[2]}."
    return "" if params.no_ignore else " Ignored files are found with no_ignore."

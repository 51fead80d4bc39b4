"""The tool `list_dir`: the names in a directory, up to three levels deep."""

from __future__ import annotations

from typing import Annotated, ClassVar

import trio
from codetether.api import Effect, Tool, ToolContext, ToolOutput, Workspace
from msgspec import Meta, Struct

NOISE = frozenset(
    {
        ".git", ".hg", ".svn", "node_modules", "__pycache__", ".venv", "venv", "target", ".tox", ".mypy_cache",
        ".ruff_cache", ".pytest_cache", ".gradle", ".terraform", ".next", "bower_components",
    }
)  # fmt: skip
_UNITS = ("", "K", "M", "G", "T")


class Params(Struct):
    """What to list."""

    path: Annotated[str, Meta(description="Directory; left out, the workspace root")] = ""
    depth: Annotated[int, Meta(ge=1, le=3, description="Levels of directories to list")] = 1
    limit: Annotated[int, Meta(ge=1, le=2000, description="Names to list at most")] = 500


class ListDir(Tool[Params]):
    """Lists names; it opens no file."""

    api = 1
    params = Params
    effect = Effect.READ
    aliases: ClassVar[tuple[str, ...]] = ("list",)

    async def run(self, params: Params, ctx: ToolContext) -> ToolOutput:
        """The listing. Raises ToolError: NOT_FOUND, DENIED, INVALID_ARGUMENT for a file."""
        listing = _Listing(ctx.workspace, params.depth, params.limit)
        await trio.to_thread.run_sync(listing.walk, params.path, 0)
        counts = f"{_many(listing.directories, 'directory', 'directories')}, {_many(listing.files, 'file', 'files')}"
        lines = listing.lines or ["[empty directory]"]
        if listing.left_out:
            lines.append(f"[{listing.left_out} more not shown; list a subdirectory or use glob]")
        return ToolOutput(
            "\n".join([f"{ctx.workspace.relative(params.path)}: {counts}", *lines]),
            summary=counts,
            meta={
                "count": listing.shown,
                "truncated": listing.left_out > 0,
                "path": ctx.workspace.relative(params.path),
            },
        )


class _Listing:
    """Lines as they are collected, and what was counted."""

    def __init__(self, workspace: Workspace, depth: int, limit: int) -> None:
        self.lines: list[str] = []
        self.shown = self.directories = self.files = self.left_out = 0
        self._workspace = workspace
        self._depth = depth
        self._limit = limit

    def walk(self, path: str, level: int) -> None:
        """List `path`, indented by `level`, and what is inside as deep as asked."""
        entries = sorted(self._workspace.scan(path), key=lambda entry: entry.name)
        for entry in entries:
            directory = entry.kind == "directory"
            self.directories += directory
            self.files += not directory
            if self.shown >= self._limit:
                self.left_out += 1
                continue
            self.shown += 1
            name, noise = shown_name(entry.name), entry.name in NOISE
            tail = {
                "directory": "/ [not listed]" if noise and level + 1 < self._depth else "/",
                "link": f"@ -> {shown_name(entry.target)}",
                "file": f"  {_size(entry.size)}",
            }.get(entry.kind, "  [device, pipe or socket]")
            self.lines.append(f"{'  ' * level}{name}{tail}")
            if directory and not noise and level + 1 < self._depth:
                self._inside(f"{path or '.'}/{entry.name}", level + 1)

    def _inside(self, path: str, level: int) -> None:
        from codetether.api import ToolError

        try:
            self.walk(path, level)
        except (
            ToolError
        ) as error:  # no permission, or gone meanwhile: the rest is still worth having
            self.lines.append(f"{'  ' * level}[{error.text}]")


def shown_name(name: str) -> str:
    """A file name on one line: what cannot be printed, line ends included, as an escape."""
    if name.isprintable():
        return name
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def _many(count: int, one: str, more: str) -> str:
    return f"{count} {one if count == 1 else more}"


def _size(size: int) -> str:
    amount = float(size)
    for unit in _UNITS:
        if amount < 1000 or unit == _UNITS[-1]:
            return (
                f"{amount:.0f}{unit or 'B'}" if not unit or amount >= 10 else f"{amount:.1f}{unit}"
            )
        amount /= 1024
    raise AssertionError("unreachable")

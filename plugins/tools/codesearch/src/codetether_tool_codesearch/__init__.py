"""The tool `codesearch`: code by what it does. A child process keeps an index of symbols, their words and meaning."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Annotated, Any, Literal

import trio
from codetether.api import Effect, Tool, ToolContext, ToolError, ToolOutput
from msgspec import Meta, Struct

if TYPE_CHECKING:
    from codetether.api import Kernel

    from codetether_tool_codesearch.workers import Workers

LISTING_SECONDS = 30
LISTED = 16_000_000  # bytes of file names
QUERY = 2_000


class Settings(Struct, frozen=True):
    """How much is indexed, and how long a call waits for it."""

    wait_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=300,
            description="Seconds a call waits for the index before it answers from a part",
        ),
    ] = 10.0
    meaning: Annotated[
        bool, Meta(description="Rank by meaning too, when the package for it is installed")
    ] = True
    files: Annotated[int, Meta(ge=1, description="Files indexed at most, in path order")] = 50_000
    lines: Annotated[int, Meta(ge=0, le=40, description="Lines shown of each result")] = 4


class Params(Struct):
    """What to look for, and where."""

    query: Annotated[str, Meta(description="What the code does, in words, or a symbol's name")]
    path: Annotated[str, Meta(description="File or directory")] = "."
    include: Annotated[str, Meta(description="Only files with this name pattern, such as *.py")] = (
        ""
    )
    language: Annotated[
        Literal["", "python", "javascript", "typescript", "rust", "go", "java", "c", "cpp", "ruby"],
        Meta(description="Only this language"),
    ] = ""
    limit: Annotated[int, Meta(ge=1, le=50, description="Results at most")] = 8


class CodeSearch(Tool[Params]):
    """Asks the index of the workspace."""

    api = 1
    params = Params
    effect = Effect.READ
    Settings = Settings

    def __init__(self, kernel: Kernel, key: str) -> None:
        super().__init__(kernel, key)
        self._workers: Workers | None = None

    def title(self, params: Params) -> str:
        """The question."""
        return f"{self.name} {params.query[:100]}"

    async def run(self, params: Params, ctx: ToolContext) -> ToolOutput:
        """The symbols that fit best. Raises ToolError: INVALID_ARGUMENT, NOT_FOUND, DENIED, TIMEOUT."""
        from codetether_tool_codesearch.workers import Workers

        if not params.query.strip() or len(params.query) > QUERY or "\0" in params.query:
            raise ToolError(f"query must be 1 to {QUERY} characters of text.", "INVALID_ARGUMENT")
        within = _within(params, ctx)
        paths, left_out = await self._paths(ctx)
        if self._workers is None:
            self._workers = Workers(self.kernel.dirs.cache, by_meaning=self.settings.meaning)
        worker = await self._workers.of(str(ctx.workspace.root))
        question = {
            "query": params.query,
            "paths": paths,
            "within": within,
            "include": [each for each in params.include.replace(",", " ").split() if each],
            "language": params.language,
            "limit": params.limit,
            "seconds": self.settings.wait_seconds,
            "lines": self.settings.lines,
        }
        answer = await worker.ask(ctx.session, question, ctx.progress)
        from codetether_tool_codesearch.telling import told

        first = ctx.session.state.setdefault(self.key, {"told": False})
        output = told(params.query, answer, left_out, without_model=not first["told"])
        first["told"] = True
        return output

    async def _paths(self, ctx: ToolContext) -> tuple[list[str], int]:
        """The files that are not ignored and that no rule denies, in order, and how many were too many."""
        from codetether.api import ripgrep

        done = await ripgrep(
            ["--files"],
            cwd=str(ctx.workspace.root),
            timeout=LISTING_SECONDS,
            head=LISTED,
            tail=0,
            spill_limit=LISTED,
        )
        listed = done.output.split("\n")[: -3 if done.truncated else None]

        def allowed() -> list[str]:
            hidden = set(ctx.session.permissions.hidden(filter(None, listed), self.name))
            return sorted(each for each in listed if each and each not in hidden)

        paths = await trio.to_thread.run_sync(allowed)
        most: int = self.settings.files
        return paths[:most], len(paths[most:])

    async def aclose(self) -> None:
        """End the children; what they have indexed is kept."""
        if self._workers is not None:
            await self._workers.aclose()


def _within(params: Params, ctx: ToolContext) -> str:
    mode = ctx.workspace.stat(params.path).st_mode
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise ToolError(f"{params.path} is no file and no directory.", "INVALID_ARGUMENT")
    real: Any = ctx.workspace.real(params.path)
    return "" if real == "." else str(real)

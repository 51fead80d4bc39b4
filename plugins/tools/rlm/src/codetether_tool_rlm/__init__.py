"""The tool `rlm`: the mode of that name, for a session's model, on files the session may read."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from codetether.api import (
    CodetetherError,
    Effect,
    PluginError,
    Subject,
    Tool,
    ToolContext,
    ToolError,
    ToolOutput,
)
from msgspec import Meta, Struct

if TYPE_CHECKING:
    from codetether_rlm.sources import Source

QUERY = 4_000


class Settings(Struct, frozen=True):
    """How far one call may go; what is not here is as the mode's settings say."""

    max_iterations: Annotated[int, Meta(ge=1, le=100, description="Replies of the model")] = 8
    max_subcalls: Annotated[int, Meta(ge=0, le=10_000, description="Sub-calls at most")] = 32
    budget_tokens: Annotated[int, Meta(ge=1_000, description="Tokens of one call at most")] = (
        1_000_000
    )
    timeout: Annotated[float, Meta(gt=0, le=3_600, description="Seconds one call may take")] = 300.0


class Params(Struct):
    """What to find out, and where."""

    query: Annotated[str, Meta(description="What to find out; say all that is needed")]
    paths: Annotated[
        list[str], Meta(description="Files or directories", min_length=1, max_length=50)
    ]
    content_type: Annotated[
        Literal["auto", "code", "logs", "conversation", "documents"],
        Meta(description="What kind of text it is"),
    ] = "auto"


class RlmTool(Tool[Params]):
    """Asks the mode `rlm`, shows how far it is, and gives its answer back."""

    api = 1
    params = Params
    effect = Effect.READ
    needs_model = True
    Settings = Settings

    def subject(self, params: Params) -> Subject:
        """Every path: rules see them all."""
        return Subject(paths=tuple(params.paths))

    async def run(self, params: Params, ctx: ToolContext) -> ToolOutput:
        """The answer. Raises ToolError: INVALID_ARGUMENT, NOT_FOUND, DENIED, or when there can be no answer."""
        if not params.query.strip() or len(params.query) > QUERY:
            raise ToolError(f"query must be 1 to {QUERY} characters.", "INVALID_ARGUMENT")
        settings = self.settings
        try:
            mode: Any = self.kernel.mode("rlm")
            with ExitStack() as stack:
                sources: list[Source] = []
                for path in dict.fromkeys(params.paths):
                    sources += await self._sources(path, ctx, stack)
                wanted = {
                    "query": params.query,
                    "content_type": params.content_type,
                    "sources": [*{each.name: each for each in sources}.values()],
                    "max_iterations": settings.max_iterations,
                    "max_subcalls": settings.max_subcalls,
                    "budget_tokens": settings.budget_tokens,
                    "timeout": settings.timeout,
                }
                data: dict[str, Any] = await mode.work(wanted, ctx.session, ctx.progress)
        except PluginError as error:
            raise ToolError(f"No rlm here: {error.message}. Use grep and read_file.", "NOT_FOUND") from None  # fmt: skip
        except ToolError:
            raise
        except CodetetherError as error:
            raise ToolError(f"{error.message}. Use grep and read_file.") from None
        return _output(data)

    async def _sources(self, path: str, ctx: ToolContext, stack: ExitStack) -> list[Source]:
        from codetether_rlm.sources import Source, from_directory

        workspace, permissions = ctx.workspace, ctx.session.permissions
        if stat.S_ISREG(workspace.stat(path).st_mode):
            return [Source(path, file=stack.enter_context(workspace.open(path)))]
        real = workspace.real(path)
        if ".git" in real.split("/"):
            raise ToolError("The inside of .git is not read. Use git commands.", "INVALID_ARGUMENT")
        below = "" if real == "." else f"{real}/"

        def denied(names: list[str]) -> Iterator[str]:
            full = [below + name for name in names]
            for tool in (self.name, "read_file"):  # what may not be read may not be read this way
                for name in permissions.hidden(full, tool):
                    yield name.removeprefix(below)

        found = await from_directory(
            workspace.root / real, denied=lambda names: list(denied(names))
        )
        return [
            Source(below + each.name, Path(below + each.name), root=workspace.root)
            for each in found
        ]


def _output(data: dict[str, Any]) -> ToolOutput:
    ranges = data["ranges"]
    lines = []
    if not data["success"]:
        state = "This answer is partial" if data["answer"] else "There is no answer"
        lines.append(f"[{state}: {data['error']}]")
    lines.append(data["answer"])
    if data["footnote"]:
        lines.append(data["footnote"])
    summary = f"{data['iterations']} replies, {data['sub_queries']} sub-calls"
    meta = {
        "id": data["id"], "ranges": ranges, "stats": data["stats"], "cost": data["cost"], "ended": data["ended"],
    }  # fmt: skip
    return ToolOutput(
        "\n\n".join(filter(None, lines)), ok=bool(data["answer"]), summary=summary, meta=meta
    )

"""`mcp_tools`: finds tools of servers by words or names, and offers those it finds from the next step on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
from codetether.api import Effect, Tool, ToolContext, ToolOutput, one_line
from msgspec import Meta

if TYPE_CHECKING:
    from codetether_extension_mcp_client.remote import RemoteTool

LOADED = 5  # by one search for words
NAMED = 20  # by one search for names
LISTED = 60
WIDTH = 100


class Params(msgspec.Struct):
    """What the model gives."""

    query: Annotated[
        str, Meta(description="What it should do, or exact names; empty lists all", max_length=500)
    ] = ""


class Finder(Tool[Params]):
    """Looks in what is known of the servers; nothing is started or asked."""

    api = 1
    params = Params
    effect = Effect.READ

    def __init__(self, kernel: object, key: str) -> None:
        super().__init__(kernel, key)  # type: ignore[arg-type]
        self.name = "mcp_tools"

    async def run(self, params: Params, ctx: ToolContext) -> ToolOutput:
        """The tools found, loaded."""
        from codetether_extension_mcp_client.desk import Desk

        desk = Desk.of(ctx.session)
        tools = desk.all()
        best, most = named(params.query, tools), NAMED
        if not best:
            best, most = ranked(params.query, tools), LOADED
        if not best:
            rows = [_row(name, tool) for name, tool in list(tools.items())[:LISTED]]
            more = len(tools) - len(rows)
            head = "No tool matches. All:" if params.query.strip() else "All tools, none loaded:"
            tail = [f"... and {more} more: search for what you need"] if more > 0 else []
            return ToolOutput("\n".join([head, *rows, *tail]), summary=f"{len(tools)} tools")
        chosen, others = best[:most], best[most : most + 15]
        desk.load(chosen)
        rows = ["Loaded, call them now:", *(_row(name, tools[name]) for name in chosen)]
        if others:
            rows += ["Also matching, not loaded:", *others]
        return ToolOutput("\n".join(rows), summary=f"loaded {', '.join(chosen)}")


def _words(query: str) -> list[str]:
    return query.lower().replace(",", " ").split()


def named(query: str, tools: dict[str, RemoteTool]) -> list[str]:
    """The tools that the query names, ours or the servers' names; none when it holds other words, too."""
    words = set(_words(query))
    found = {name: {name.lower(), tool.remote.name.lower()} & words for name, tool in tools.items()}
    whole = words == set().union(*found.values())
    return [name for name, meant in found.items() if meant] if whole else []


def ranked(query: str, tools: dict[str, RemoteTool]) -> list[str]:
    """The tools that match, best first: by how many of the words are in name and description."""
    words = _words(query)
    scored = []
    for name, tool in tools.items():
        said = tool.remote.description.lower()
        score = sum(3 * (word in name.lower()) + (word in said) for word in words)
        if score:
            scored.append((-score, name))
    return [name for _, name in sorted(scored)]


def _row(name: str, tool: RemoteTool) -> str:
    return f"- {name}: {one_line(tool.remote.description, WIDTH)}"

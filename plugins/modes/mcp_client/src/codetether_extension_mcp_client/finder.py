"""`mcp_tools`: finds tools of servers by words or names, and offers those it finds from the next step on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
from codetether.api import Effect, Tool, ToolContext, ToolOutput, one_line
from msgspec import Meta

if TYPE_CHECKING:
    from codetether_extension_mcp_client.remote import RemoteTool

LOADED = 5  # by one search
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
        best = ranked(params.query, tools)
        if not best:
            rows = [_row(name, tool) for name, tool in list(tools.items())[:LISTED]]
            more = len(tools) - len(rows)
            head = "No tool matches. All:" if params.query.strip() else "All tools, none loaded:"
            tail = [f"... and {more} more: search for what you need"] if more > 0 else []
            return ToolOutput("\n".join([head, *rows, *tail]), summary=f"{len(tools)} tools")
        chosen, others = best[:LOADED], best[LOADED : LOADED + 15]
        desk.load(chosen)
        rows = ["Loaded, call them now:", *(_row(name, tools[name]) for name in chosen)]
        if others:
            rows += ["Also matching, not loaded:", *others]
        return ToolOutput("\n".join(rows), summary=f"loaded {', '.join(chosen)}")


def ranked(query: str, tools: dict[str, RemoteTool]) -> list[str]:
    """Names of the tools that match, best first: exact names, then by how many words are in name and description."""
    words = [word for word in query.lower().replace(",", " ").split() if word]
    exact = [
        name for name in tools if name.lower() in words or tools[name].remote.name.lower() in words
    ]
    if exact:
        return exact
    scored = []
    for name, tool in tools.items():
        said = tool.remote.description.lower()
        score = sum(3 * (word in name.lower()) + (word in said) for word in words)
        if score:
            scored.append((-score, name))
    return [name for _, name in sorted(scored)]


def _row(name: str, tool: RemoteTool) -> str:
    return f"- {name}: {one_line(tool.remote.description, WIDTH)}"

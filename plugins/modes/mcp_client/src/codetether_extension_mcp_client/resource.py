"""`mcp_resource`: what servers have to read, and reading it."""

from __future__ import annotations

from typing import Annotated

import msgspec
from codetether.api import (
    CodetetherError,
    Effect,
    Subject,
    Tool,
    ToolContext,
    ToolError,
    ToolOutput,
    one_line,
)
from msgspec import Meta

LISTED = 200


class Params(msgspec.Struct):
    """What the model gives."""

    server: Annotated[str, Meta(description="Name of the server; empty lists servers")] = ""
    uri: Annotated[
        str, Meta(description="What to read; empty lists what there is", max_length=4000)
    ] = ""


class Resource(Tool[Params]):
    """A server that reads for us does it outside of our sandbox, and may be far away: as any other of its tools."""

    api = 1
    params = Params
    effect = Effect.NETWORK
    foreign = True

    def __init__(self, kernel: object, key: str) -> None:
        super().__init__(kernel, key)  # type: ignore[arg-type]
        self.name = "mcp_resource"

    def subject(self, params: Params) -> Subject:
        """Unknown: what an address means is the server's business."""
        return Subject()

    def title(self, params: Params) -> str:
        """Which server, and what of it."""
        return one_line(f"{self.name} {params.server} {params.uri}", 160).rstrip()

    async def run(self, params: Params, ctx: ToolContext) -> ToolOutput:
        """The servers, a list, or a resource. Raises ToolError."""
        from codetether_extension_mcp_client.desk import Desk

        desk = Desk.of(ctx.session)
        having = [
            name for name, link in desk.each.items() if link.listing and link.listing.resources
        ]
        if not params.server:
            return ToolOutput("Servers with resources: " + ", ".join(having))
        link = desk.each.get(params.server)
        if link is None or params.server not in having:
            raise ToolError(f"No such server. There are: {', '.join(having)}", "NOT_FOUND")
        from codetether_extension_mcp_client.remote import answer

        link.calling.append(ctx.session)
        try:
            connection = await desk.links.connect(link)
            if params.uri:
                from codetether_extension_mcp_client.results import read_output

                found = await connection.read(params.uri)
                desk.links.worked(link)
                return read_output(found.contents, f"read {params.uri}")
            rows = [_row(str(each.uri), each.name) for each in await connection.resources()]
            rows += [_row(each.uri_template, each.name) for each in await connection.templates()]
        except CodetetherError as error:
            raise answer(desk.links, link, error) from None
        finally:
            link.calling.remove(ctx.session)
        desk.links.worked(link)
        tail = [f"... and {len(rows) - LISTED} more"] if len(rows) > LISTED else []
        return ToolOutput(
            "\n".join([*rows[:LISTED], *tail]) or "It has none.", summary=f"{len(rows)} resources"
        )


def _row(uri: str, name: str) -> str:
    return f"- {one_line(uri, 300)}: {one_line(name, 100)}"

"""A tool of a server, as a tool of the session."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
import trio
from codetether.api import (
    CodetetherError,
    Effect,
    Subject,
    Tool,
    ToolContext,
    ToolError,
    ToolOutput,
    ToolSchema,
    one_line,
)

from codetether_extension_mcp_client.shaping import Shape, shape

if TYPE_CHECKING:
    from codetether.api import Kernel

    from codetether_extension_mcp_client.links import Link, Links
    from codetether_extension_mcp_client.listing import Remote

PROGRESS = 0.1  # seconds from one sign of progress that is shown to the next
CHANGED = "{name} is not what it was when it was offered, so it was not called. Read its description again first."
GONE = "{name} is no longer offered by its server."
UNSURE = "It may or may not have been done: look before you call it again."


class RemoteTool(Tool[Any]):
    """One tool of one server. What it does is unknown to us, whatever the server says, so it counts as a command that
    no sandbox holds.
    """

    api = 1
    effect = Effect.EXECUTE
    foreign = True

    def __init__(self, kernel: Kernel, key: str, name: str, link: Link, remote: Remote) -> None:
        super().__init__(kernel, key)
        self.name = name
        self.link = link
        self.remote = remote
        self._shape: Shape = shape(remote.schema)
        self.params = self._shape.params  # type: ignore[misc]
        self._schema = ToolSchema(name, self.description, self._shape.parameters)

    @property
    def description(self) -> str:
        """What the server says, and whose it is."""
        said = self.remote.description or "It says nothing of itself."
        return f"{said}\n(MCP server {one_line(self.link.server.name, 60)})"

    def schema(self) -> ToolSchema:
        """What providers are told."""
        return self._schema

    def subject(self, params: Any) -> Subject:
        """Unknown."""
        return Subject()

    def title(self, params: Any) -> str:
        """The server, its tool, and the beginning of what it is given."""
        given = msgspec.json.encode(self._shape.arguments(params)).decode()
        name = f"{self.link.server.name}: {self.remote.name}"
        return one_line(f"{name} {given}" if given != "{}" else name, 160)

    async def run(self, params: Any, ctx: ToolContext) -> ToolOutput:
        """Call it. Raises ToolError when it cannot be called, is another tool now, or the connection broke."""
        links = found(ctx)
        link, name = self.link, self.name
        link.calling.append(ctx.session)
        try:
            connection = await links.connect(link)
            self._still_same()
            result = await connection.call(
                self.remote.name, self._shape.arguments(params), _teller(ctx)
            )
        except CodetetherError as error:
            raise answer(links, link, error) from None
        finally:
            link.calling.remove(ctx.session)
        links.worked(link)
        from codetether_extension_mcp_client.results import output

        return output(result, name)

    def _still_same(self) -> None:
        """A server may describe a tool harmlessly until it is allowed: only what was described is called."""
        listing = self.link.listing
        now = (
            next((each for each in listing.tools if each.name == self.remote.name), None)
            if listing
            else None
        )
        if now is None:
            raise ToolError(GONE.format(name=self.name), "NOT_FOUND")
        if now != self.remote:
            raise ToolError(CHANGED.format(name=self.name), "CONFLICT")


def found(ctx: ToolContext) -> Links:
    """The connections of the session's kernel."""
    from codetether_extension_mcp_client.desk import Desk

    return Desk.of(ctx.session).links


def answer(links: Links, link: Link, error: CodetetherError) -> ToolError:
    """What the model is told; a dead connection is let go."""
    from codetether_mcp.connection import Lost

    text = f"{error.message}\n{error.hint}".rstrip()
    if isinstance(error, Lost):
        links.drop(link, error)
        return ToolError(f"{text}\n{UNSURE}")
    return ToolError(text)


def _teller(ctx: ToolContext) -> Callable[..., Any]:
    last = -math.inf

    async def tell(done: float, total: float | None, message: str | None) -> None:
        nonlocal last
        now = trio.current_time()
        if now - last < PROGRESS:
            return
        last = now
        share = f"{done:g} of {total:g}" if total else f"{done:g}"
        text = one_line(message, 200) if message else ""
        await ctx.progress(f"{share}: {text}\n" if text else f"{share}\n")

    return tell

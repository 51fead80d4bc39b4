"""Our tools and results in the words of the protocol."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

import mcp_types as types
from codetether.api import Effect

if TYPE_CHECKING:
    from codetether.api import Session, Tool, ToolSchema

    from codetether_mode_mcp.call import Done

OUTSIDE = frozenset({Effect.NETWORK, Effect.EXECUTE, Effect.AGENT})
LOOKS = frozenset({Effect.READ, Effect.NETWORK})


def tools(session: Session) -> list[types.Tool]:
    """The tools a session offers, in the order of their names."""
    toolbox = session.toolbox
    return [_tool(schema, toolbox.tools[schema.name]) for schema in toolbox.schemas]


def _tool(schema: ToolSchema, tool: Tool[Any]) -> types.Tool:
    looks = tool.effect in LOOKS and not tool.alone
    return types.Tool(
        name=schema.name,
        description=schema.description,
        input_schema=schema.parameters,
        annotations=types.ToolAnnotations(
            read_only_hint=looks,
            destructive_hint=not looks,
            open_world_hint=tool.effect in OUTSIDE or tool.alone,
        ),
    )


def result(done: Done) -> types.CallToolResult:
    """What became of a call, with what the session had to say meanwhile behind it."""
    given = done.result
    content: list[types.ContentBlock] = [types.TextContent(text=_sound(given.text))]
    content += [
        types.ImageContent(data=b64encode(image.data).decode(), mime_type=image.mime)
        for image in given.images
    ]
    if done.news:
        content.append(types.TextContent(text=_sound(done.news)))
    return types.CallToolResult(content=content, is_error=not given.ok)


def refusal(text: str) -> types.CallToolResult:
    """A call that was not even begun."""
    return types.CallToolResult(content=[types.TextContent(text=text)], is_error=True)


def _sound(text: str) -> str:
    """Text that JSON can hold: a name of a file may be in no encoding."""
    return text.encode("utf-8", "replace").decode()

"""What a model may have meant by the name of a tool that does not exist."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codetether.ports import Tool

MOST = 3


def nearest(name: str, tools: Sequence[Tool[Any]]) -> list[str]:
    """Up to three of `tools` whose name or alias is like `name`, the likeliest first, each as `name(parameters)`."""
    asked = name[:100].lower().replace("-", "_")
    known = {word: tool for tool in tools for word in (tool.name, *tool.aliases)}
    words = get_close_matches(asked, known, MOST, 0.5)
    words += [word for word in known if len(word) > 2 and (word in asked or asked in word)]
    found = {known[word].name: known[word] for word in words} if asked else {}
    return [_signature(tool) for tool in list(found.values())[:MOST]]


def _signature(tool: Tool[Any]) -> str:
    parameters = tool.schema().parameters
    required = parameters.get("required", ())
    takes = (
        f"{name}{'' if name in required else '?'}: {schema.get('type', 'any')}"
        for name, schema in parameters["properties"].items()
    )
    return f"{tool.name}({', '.join(takes)})"

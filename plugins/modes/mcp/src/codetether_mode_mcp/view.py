"""Servers, their tools and what they answer, as text for a person. What a server says is cleaned by who prints it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from codetether.api import cells, one_line
from codetether_mcp.configuration import entries_in, read_file
from codetether_mcp.entry import Wrong

if TYPE_CHECKING:
    import mcp_types as types
    from codetether_mcp import Configured

HEADS = ("NAME", "KIND", "STATE", "PLACE", "FROM")
ABOUT = 100  # characters of a tool's description


def rows(configured: Configured) -> list[dict[str, str]]:
    """One for each server, also for those that cannot be used."""
    found = [
        _row(
            server.name,
            "off" if server.disabled else "on",
            server.origin,
            server.kind,
            server.place,
        )
        for server in configured.servers
    ]
    known = {"", *(server.name for server in configured.servers)}
    wrong = dict.fromkeys(trouble.server for trouble in configured.troubles)
    found += [_row(name, "wrong") for name in wrong if name not in known]
    if configured.withheld:
        names = _names(configured.withheld)
        found += [_row(name, "not trusted", configured.withheld) for name in names]
    return found


def _row(
    name: str, state: str, origin: str = "", kind: str = "", place: str = ""
) -> dict[str, str]:
    return {"name": name, "kind": kind, "state": state, "place": place, "from": origin}


def _names(path: str) -> list[str]:
    try:
        return sorted(entries_in(read_file(Path(path)) or b"{}"))
    except Wrong:
        return []


def table(found: list[dict[str, str]]) -> str:
    """The rows in columns."""
    lines = [HEADS, *(tuple(one_line(value) for value in row.values()) for row in found)]
    widths = [max(cells(line[column]) for line in lines) for column in range(len(HEADS))]
    return "\n".join(
        "  ".join(
            text + " " * (width - cells(text)) for text, width in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def tools(found: list[types.Tool]) -> str:
    """A tool a line, with the beginning of what it says it does, and whether it says that it only looks."""
    width = max(cells(one_line(tool.name)) for tool in found)
    lines = []
    for tool in found:
        name = one_line(tool.name)
        looks = tool.annotations is not None and tool.annotations.read_only_hint
        about = one_line(tool.description or "")[:ABOUT]
        lines.append(
            f"{name}{' ' * (width - cells(name))}  {'[looks] ' if looks else ''}{about}".rstrip()
        )
    return "\n".join(lines)


def content(result: types.CallToolResult) -> str:
    """What a tool answered: its texts, and a line for everything else."""
    return "\n".join(_part(part) for part in result.content)


def _part(part: Any) -> str:
    if part.type == "text":
        return str(part.text)
    if part.type in ("image", "audio"):
        return f"[{part.type}: {part.mime_type}, {len(part.data) * 3 // 4} bytes]"
    if part.type == "resource_link":
        return f"[resource: {part.uri}]"
    resource = part.resource
    return str(getattr(resource, "text", "")) or f"[resource: {resource.uri}]"

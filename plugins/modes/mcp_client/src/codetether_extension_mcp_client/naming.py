"""The names models call the servers' tools by: `mcp__<server>__<tool>`, at most 64 characters, each its own.

A name depends on what is configured and offered, not on the order in which servers answer. Two underscores part the
two names and occur in neither, so that a rule for `mcp__github__*` is about that server and no other.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable

LONGEST = 64
PREFIX = "mcp__"
_OTHER = re.compile(r"[^A-Za-z0-9-]+")


def slug(name: str) -> str:
    """`name` with what vendors refuse in names made one underscore."""
    return _OTHER.sub("_", name).strip("_-") or "x"


def server_slugs(names: Iterable[str]) -> dict[str, str]:
    """A slug of its own for each server; those that would share one get a mark of their whole name."""
    names = list(names)
    count = Counter(slug(name).lower() for name in names)
    return {
        name: slug(name) if count[slug(name).lower()] == 1 else f"{slug(name)}_{_mark(name)}"
        for name in names
    }


def tool_names(server: str, tools: Iterable[str]) -> dict[str, str]:
    """What each tool of the server with the slug `server` is called; those that would share a name get a mark.

    Tools that a server has named so that even their marks are the same are left out, but for one.
    """
    tools = sorted(set(tools))
    marked = {tool for tool in tools if not _fits(server, tool)}
    names: dict[str, str] = {}
    for _ in range(len(tools) + 1):
        names = {
            tool: _join(server, slug(tool), _mark(tool) if tool in marked else "") for tool in tools
        }
        count = Counter(name.lower() for name in names.values())
        more = {tool for tool in tools if count[names[tool].lower()] > 1} - marked
        if not more:
            break
        marked |= more
    first = {name.lower(): tool for tool, name in reversed(names.items())}
    return {tool: name for tool, name in names.items() if first[name.lower()] == tool}


def _fits(server: str, tool: str) -> bool:
    return len(f"{PREFIX}{server}__{slug(tool)}") <= LONGEST


def _join(server: str, tool: str, mark: str) -> str:
    """The whole name; what is too long is cut, the server's part to a third at most, and the mark stays."""
    tail = f"_{mark}" if mark else ""
    most = LONGEST - len(PREFIX) - 2 - len(tail)
    if len(server) + len(tool) > most:
        server = server[: max(most // 3, most - len(tool))].rstrip("_-")
        tool = tool[: most - len(server)].rstrip("_-")
    return f"{PREFIX}{server}__{tool}{tail}"


def _mark(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:6]

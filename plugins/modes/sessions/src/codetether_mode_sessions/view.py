"""Sessions as text for a terminal, and as JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from codetether.api import (
    Image,
    Loaded,
    Message,
    Summary,
    Text,
    Thought,
    ToolCall,
    ToolResult,
    Usage,
    cells,
    clean,
    one_line,
)

SHOWN_LINES = 12  # of a tool's result in `show`; `export` has all of it
_CONTROLS = re.compile("[\x7f-\x9f]")


def as_json(value: Any) -> str:
    """Indented JSON without any character a terminal obeys."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


def session_json(loaded: Loaded) -> str:
    """A whole session: header, settings, usage and messages, as docs/sessions.md says."""
    return as_json(
        {
            "session": loaded.header,
            "title": loaded.title,
            "settings": loaded.settings,
            "usage": loaded.usage,
            "repairs": loaded.repairs,
            "messages": loaded.messages,
        }
    )


def entry(summary: Summary) -> dict[str, Any]:
    """One session of a list; null: unknown."""
    header, usage = summary.header, summary.usage
    return {
        "id": header.id,
        "title": summary.title,
        "directory": header.directory,
        "branch": header.git.branch if header.git else None,
        "created": header.created,
        "updated": summary.updated,
        "model": summary.settings.get("model"),
        "agent": summary.settings.get("agent"),
        "messages": summary.messages,
        "input_tokens": usage.input,
        "output_tokens": usage.output,
        "cost_usd": usage.cost,
        "parent": header.parent or None,
        "started_by": header.started_by or None,
    }


def table(summaries: Sequence[Summary], *, with_directory: bool) -> str:
    """One line a session under a line of titles."""
    rows = [
        [
            "ID",
            "UPDATED (UTC)",
            "MESSAGES",
            "COST",
            *(["DIRECTORY"] if with_directory else []),
            "TITLE",
        ]
    ]
    for summary in summaries:
        updated = summary.updated[:16].replace("T", " ")
        where = [one_line(summary.header.directory)] if with_directory else []
        title = one_line(summary.title) or "(no title)"
        rows.append(
            [summary.id, updated, str(summary.messages), money(summary.usage), *where, title]
        )
    widths = [max(cells(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return "".join(
        "  ".join(
            [
                *(
                    word + " " * (width - cells(word))
                    for word, width in zip(row, widths, strict=False)
                ),
                row[-1],
            ]
        )
        + "\n"
        for row in rows
    )


def money(usage: Usage) -> str:
    """What it cost, `?` when that is unknown."""
    return "?" if usage.cost is None else f"${usage.cost:.4f}"


def facts(loaded: Loaded) -> list[tuple[str, str]]:
    """What is to be said about a session before its messages."""
    header, usage = loaded.header, loaded.usage
    git = f"{header.git.branch or '(detached)'} {header.git.commit[:12]}" if header.git else ""
    rows = [
        ("Session", header.id),
        ("Title", loaded.title),
        ("Directory", header.directory),
        ("Git", git),
        ("Created", header.created),
        ("Model", loaded.settings.get("model", "")),
        ("Agent", loaded.settings.get("agent", "")),
        ("Fork of", header.parent),
        ("Started by", header.started_by),
        ("Tokens", f"{usage.input} in, {usage.output} out"),
        ("Cost", money(usage)),
    ]
    return [(name, one_line(value)) for name, value in rows if value]


def text(loaded: Loaded) -> str:
    """A conversation to read on a terminal; long results are shortened."""
    lines = [f"{name}: {value}" for name, value in facts(loaded)]
    for message in loaded.messages:
        lines += [
            "",
            f"== {message.role} {one_line(message.id)}{' (interrupted)' if message.interrupted else ''}",
        ]
        lines += _lines(message)
    return "\n".join(lines) + "\n"


def _lines(message: Message) -> Iterator[str]:
    for part in message.parts:
        if isinstance(part, Text):
            yield clean(part.text)
        elif isinstance(part, Thought):
            yield f"(thought) {clean(part.text)}"
        elif isinstance(part, Image):
            yield picture(part)
        elif isinstance(part, ToolCall):
            yield f"-> {one_line(part.name)} {clean(part.arguments)}"
        elif isinstance(part, ToolResult):
            yield f"<- {one_line(part.name)}{'' if part.ok else ' failed'}"
            shown = clean(part.text).rstrip("\n").split("\n")
            yield from (f"   {line}" for line in shown[:SHOWN_LINES])
            if len(shown) > SHOWN_LINES:
                yield f"   ... {len(shown) - SHOWN_LINES} more lines"
            yield from (f"   {picture(image)}" for image in part.images)


def picture(image: Image) -> str:
    """A picture in words."""
    return f"[{one_line(image.mime)}, {len(image.data)} bytes]"

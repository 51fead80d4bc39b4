"""Pieces of text that is no code we can parse: prose, settings, scripts. They begin at headings or after blank lines."""

from __future__ import annotations

from collections.abc import Iterator

from codetether_tool_codesearch.entries import Symbol

LINES = 40
MOST = 200  # pieces of one file
TEXT = 4_000


def windows(
    path: str, text: str, *, kind: str = "text", lines: int = LINES, most: int = MOST
) -> Iterator[Symbol]:
    """Entries of about `lines` lines, at most `most`; blank ones are left out."""
    every = [line.rstrip() for line in text.split("\n")]
    start = given = 0
    while start < len(every) and given < most:
        end = _end(every, start, lines)
        piece = "\n".join(every[start:end]).strip()
        if piece:
            head = next(line for line in every[start:end] if line.strip())
            name = head.strip("# =-*") if head.startswith("#") else _stem(path)
            doc = clip(piece, 400)
            first = start + next(at for at, line in enumerate(every[start:end]) if line.strip()) + 1
            last = end - next(
                at for at, line in enumerate(reversed(every[start:end])) if line.strip()
            )
            yield Symbol(kind, clip(name, 80), "", "", doc, clip(piece, TEXT), first, last)
            given += 1
        start = end


def clip(text: str, most: int) -> str:
    """At most `most` characters of `text`, to the end of a word where there is one."""
    if len(text) <= most:
        return text
    cut = text[:most]
    return cut[: max(cut.rfind(" "), cut.rfind("\n"), most // 2)]


def _end(every: list[str], start: int, lines: int) -> int:
    """Where the piece from `start` ends: before a heading, after a blank line, or when it is long enough."""
    for at in range(start + 1, min(start + 2 * lines, len(every))):
        if (
            every[at].startswith("#")
            and " " in every[at]
            and at - start > 2
            and not every[at - 1].strip()
        ):
            return at
        if at - start >= lines and not every[at - 1].strip():
            return at
    return min(start + 2 * lines, len(every))


def _stem(path: str) -> str:
    name = path.rpartition("/")[2]
    return name.partition(".")[0] or name

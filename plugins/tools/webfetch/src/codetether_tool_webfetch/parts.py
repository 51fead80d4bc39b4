"""Parts of a long page: from a character on, or below one heading."""

from __future__ import annotations

import re

from codetether.api import ToolError, one_line

_HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]+(.+?)[ \t#]*$")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
_LINK = re.compile(r"\[([^\]\n]*)\]\([^)\n]*\)")
SHOWN = 40


def part(text: str, offset: int, limit: int) -> tuple[str, int]:
    """At most `limit` characters from `offset`, ended at a line where one ends in their last fifth; where it ended.

    Raises ToolError: INVALID_ARGUMENT for an offset beyond the end.
    """
    if offset and offset >= len(text):
        raise ToolError(f"The page has {len(text)} characters.", "INVALID_ARGUMENT")
    end = min(offset + limit, len(text))
    if end < len(text):
        line = text.rfind("\n", offset + limit * 4 // 5, end)
        end = line + 1 if line > 0 else end
    return text[offset:end], end


def section_of(text: str, wanted: str) -> str | None:
    """From the heading that says `wanted` to the next one of its rank; None when no heading says it."""
    lines = text.split("\n")
    found = _headings(lines)
    key = _plain(wanted.strip().lstrip("#"))
    ranks = (
        [at for at, _, words in found if words == key],
        [at for at, _, words in found if key and key in words],
    )
    start = next((places[0] for places in ranks if places), None)
    if start is None:
        return None
    depth = next(depth for at, depth, _ in found if at == start)
    end = next((at for at, rank, _ in found if at > start and rank <= depth), len(lines))
    return "\n".join(lines[start:end])


def headings(text: str) -> str:
    """The first headings of the page, one a line."""
    lines = text.split("\n")
    names = [one_line(lines[at].strip(), 80) for at, _, _ in _headings(lines)[:SHOWN]]
    return "\n".join(names) if names else "(none)"


def _headings(lines: list[str]) -> list[tuple[int, int, str]]:
    """Line, rank and plain words of each heading outside of code."""
    found: list[tuple[int, int, str]] = []
    fence = ""
    for at, line in enumerate(lines):
        mark = _FENCE.match(line)
        if mark and not fence:
            fence = mark.group(1)
        elif fence:
            if mark and mark.group(1).startswith(fence):
                fence = ""
        elif heading := _HEADING.match(line[:500]):
            found.append((at, len(heading.group(1)), _plain(heading.group(2))))
    return found


def _plain(words: str) -> str:
    words = _LINK.sub(r"\1", words)
    return " ".join(re.sub(r"[*_`\\]", "", words).casefold().split())

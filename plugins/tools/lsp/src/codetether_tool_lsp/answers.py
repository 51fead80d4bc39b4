"""Answers as the model reads them: grouped by file, bounded, no word too many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from codetether_tool_lsp.desk import Desk
    from codetether_tool_lsp.reading import Call, Spot, Symbol

MOST_PLACES = 100
MOST_SYMBOLS = 300
MOST_FOUND = 60


def counted(count: int, word: str) -> str:
    """`3 references`."""
    return f"{count} {word}{'s' * (count != 1)}"


async def places(found: Sequence[Spot], word: str, desk: Desk, encoding: str) -> str:
    """Places by file, with the text of their lines."""
    by_file: dict[str, list[tuple[int, str, str]]] = {}
    for spot in found[:MOST_PLACES]:
        file, at, text = await desk.where(spot, encoding)
        by_file.setdefault(file, []).append((spot.start["line"], at, text))
    if len(found) == 1:
        ((file, [(_, at, text)]),) = by_file.items()
        return f"{file}:{at} {text}".rstrip()
    lines = [f"{counted(len(found), word)} in {counted(len({s.uri for s in found}), 'file')}"]
    for file, items in by_file.items():
        lines.append(file)
        lines += [f"  {at} {text}".rstrip() for _, at, text in sorted(items)]
    return "\n".join(lines + _more(len(found) - MOST_PLACES))


def outline(found: Sequence[Symbol]) -> str:
    """The symbols of one file, nested, with their lines."""
    lines = []
    for symbol in found[:MOST_SYMBOLS]:
        first, last = symbol.whole
        area = f"{first + 1}" if first == last else f"{first + 1}-{last + 1}"
        detail = f" {symbol.detail}" if symbol.detail else ""
        lines.append(f"{'  ' * symbol.depth}{symbol.kind} {symbol.name}{detail} {area}")
    return "\n".join(lines + _more(len(found) - MOST_SYMBOLS))


def found_symbols(found: Sequence[Symbol], desk: Desk) -> str:
    """Symbols of the whole workspace with their places."""
    lines = []
    for symbol in found[:MOST_FOUND]:
        spot = symbol.spot
        file = desk.name(spot.path) if spot.path is not None else spot.uri
        inside = f" in {symbol.inside}" if symbol.inside else ""
        lines.append(f"{symbol.kind} {symbol.name}{inside} {file}:{spot.start['line'] + 1}")
    return "\n".join(lines + _more(len(found) - MOST_FOUND))


def call_list(found: Sequence[Call], desk: Desk) -> str:
    """The other ends of calls, each with the lines of its calls."""
    lines = []
    for call in found[:MOST_PLACES]:
        spot = call.spot
        file = desk.name(spot.path) if spot.path is not None else spot.uri
        at = ", ".join(str(line + 1) for line in call.lines[:10])
        calls = f" (call on line {at})" if len(call.lines) == 1 else f" (calls on lines {at})"
        lines.append(f"{call.kind} {call.name} {file}:{spot.start['line'] + 1}{calls}")
    return "\n".join(lines + _more(len(found) - MOST_PLACES))


def _more(count: int) -> list[str]:
    return [f"... {count} more"] if count > 0 else []

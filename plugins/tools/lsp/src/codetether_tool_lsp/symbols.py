"""Where a call points: by line and column, by a name on a line, or by a name alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from codetether.api import ToolError

from codetether_tool_lsp.connection import ServerError, ServerGone
from codetether_tool_lsp.positions import characters
from codetether_tool_lsp.reading import Symbol, symbols

if TYPE_CHECKING:
    from codetether_tool_lsp import Params
    from codetether_tool_lsp.desk import Shown

NAMED = 8


async def place(params: Params, shown: list[Shown]) -> tuple[int, int]:
    """Line and column, counted from 0 in characters. Raises ToolError."""
    lines = shown[0].opened.places
    if params.line is not None and params.line > len(lines):
        raise ToolError(f"{params.path} has {len(lines)} lines.", "INVALID_ARGUMENT")
    if params.line is not None and params.column is not None and not params.symbol:
        return params.line - 1, params.column - 1
    if params.line is None and not params.symbol:
        raise ToolError("Say where: symbol, or line with symbol or column.", "INVALID_ARGUMENT")
    if params.line is not None and params.symbol:
        return params.line - 1, _on_line(params, lines.line(params.line - 1))
    known = await _known(shown)
    if params.line is not None:
        return _named_on(params.line - 1, known, lines.line(params.line - 1))
    return _named(params, known, shown)


def _on_line(params: Params, line: str) -> int:
    name = params.symbol.rpartition(".")[2] or params.symbol
    found = [match.start() for match in re.finditer(_word(name), line)]
    if not found:
        raise ToolError(
            f"Line {params.line} holds no {name!r}; it reads: {line.strip()[:200]}", "NOT_FOUND"
        )
    if (column := params.column) is not None:
        return min(found, key=lambda at: abs(at + 1 - column))
    return found[0]


def _named_on(line: int, known: list[tuple[Symbol, int]], text: str) -> tuple[int, int]:
    for symbol, column in known:
        if symbol.spot.start["line"] == line:
            return line, column
    raise ToolError(
        f"Nothing is defined on line {line + 1}; give symbol or column. It reads: {text.strip()[:200]}",
        "INVALID_ARGUMENT",
    )


def _named(params: Params, known: list[tuple[Symbol, int]], shown: list[Shown]) -> tuple[int, int]:
    wanted = re.split(r"::|\.", params.symbol)
    found = {
        (symbol.spot.start["line"], column): symbol
        for symbol, column in known
        if _fits(symbol, wanted)
    }
    if len(found) == 1:
        return next(iter(found))
    if found:
        told = ", ".join(
            f"{line + 1} ({symbol.kind})" for (line, _), symbol in [*found.items()][:NAMED]
        )
        raise ToolError(
            f"{params.symbol} is defined on several lines: {told}. Give line too.",
            "AMBIGUOUS_MATCH",
        )
    text = shown[0].opened.places
    match = re.search(_word(wanted[-1]), text.text)
    if match is None:
        raise ToolError(f"{params.path} holds no {params.symbol!r}.", "NOT_FOUND")
    return text.place(match.start())


def _fits(symbol: Symbol, wanted: list[str]) -> bool:
    name = re.split(r"::|\.", symbol.name.partition("(")[0])
    whole = [*filter(None, re.split(r"::|\.", symbol.inside)), *name]
    return whole[-len(wanted) :] == wanted


async def _known(shown: list[Shown]) -> list[tuple[Symbol, int]]:
    """The symbols of the file with their columns in characters; none when no server can tell."""
    for server, opened in shown:
        if not server.can("textDocument/documentSymbol"):
            continue
        params = {"textDocument": {"uri": opened.path.as_uri()}}
        try:
            found = symbols(await server.ask("textDocument/documentSymbol", params), opened.path)
        except (ServerError, ServerGone, ValueError):
            continue
        places = opened.places
        return [
            (symbol, _column(symbol, places.line(symbol.spot.start["line"]), places.encoding))
            for symbol in found
        ]
    return []


def _column(symbol: Symbol, line: str, encoding: str) -> int:
    """Where the name stands; servers without nested symbols tell only where the whole begins."""
    start = characters(line, symbol.spot.start["character"], encoding)
    name = symbol.name.partition("(")[0]
    match = re.compile(_word(name)).search(line, start) if name else None
    return match.start() if match else start


def _word(name: str) -> str:
    return rf"(?<!\w){re.escape(name)}(?!\w)"

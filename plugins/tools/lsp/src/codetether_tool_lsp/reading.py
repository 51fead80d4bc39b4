"""What servers answer, as the few shapes that are shown. Everything is read by the protocol's types, and bounded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from codetether_tool_lsp.document import path_of
from codetether_tool_lsp.protocol import read, types

MOST = 2_000  # items of one answer that are looked at


class Spot(NamedTuple):
    """A place in a file, in the server's own counting. `path` None: not a file; then `uri` says where."""

    path: Path | None
    uri: str
    start: dict[str, int]
    end: dict[str, int]


class Symbol(NamedTuple):
    """A named thing in a file; `depth` is how deep it lies in others, `inside` their names."""

    name: str
    kind: str
    detail: str
    spot: Spot
    whole: tuple[int, int]
    depth: int = 0
    inside: str = ""


class Call(NamedTuple):
    """One end of calls: who, and the lines (from 0) of the calls in the caller's file."""

    name: str
    kind: str
    spot: Spot
    lines: tuple[int, ...]


def _items(raw: Any) -> list[Any]:
    if raw is None:
        return []
    return raw[:MOST] if isinstance(raw, list) else [raw]


def _spot(uri: str, area: types.Range) -> Spot:
    start, end = area.start, area.end
    return Spot(
        path_of(uri),
        uri,
        {"line": start.line, "character": start.character},
        {"line": end.line, "character": end.character},
    )


def spots(raw: Any) -> list[Spot]:
    """Locations, or links to them, each once. Raises ValueError."""
    found = []
    for item in _items(raw):
        if isinstance(item, dict) and "targetUri" in item:
            link: types.LocationLink = read(item, types.LocationLink)
            found.append(_spot(link.target_uri, link.target_selection_range))
        else:
            location: types.Location = read(item, types.Location)
            found.append(_spot(location.uri, location.range))
    return list({(spot.uri, str(spot.start)): spot for spot in found}.values())


def kind_name(kind: Any) -> str:
    """The word for a kind of symbol or completion; nothing for one the protocol does not know."""
    if isinstance(kind, int) and not hasattr(kind, "name"):
        kinds = {each.value: each for each in types.CompletionItemKind}
        kind = kinds.get(kind)
    return str(getattr(kind, "name", "")).lower()


def symbols(raw: Any, path: Path) -> list[Symbol]:
    """The symbols of one file, each after the one it lies in. Raises ValueError."""
    found: list[Symbol] = []
    for item in _items(raw):
        if isinstance(item, dict) and "location" in item:
            found.append(_information(read(item, types.SymbolInformation)))
        else:
            found += _nested(read(item, types.DocumentSymbol), path.as_uri(), 0, "")
    return found[:MOST]


def _nested(symbol: types.DocumentSymbol, uri: str, depth: int, inside: str) -> Iterator[Symbol]:
    area = symbol.range
    yield Symbol(
        symbol.name,
        kind_name(symbol.kind),
        " ".join((symbol.detail or "").split())[:120],
        _spot(uri, symbol.selection_range),
        (area.start.line, area.end.line),
        depth,
        inside,
    )
    name = f"{inside}.{symbol.name}" if inside else symbol.name
    for child in symbol.children or () if depth < 20 else ():
        yield from _nested(child, uri, depth + 1, name)


def _information(symbol: types.SymbolInformation) -> Symbol:
    spot = _spot(symbol.location.uri, symbol.location.range)
    whole = (spot.start["line"], spot.end["line"])
    inside = symbol.container_name or ""
    return Symbol(symbol.name, kind_name(symbol.kind), "", spot, whole, int(bool(inside)), inside)


def workspace_symbols(raw: Any) -> list[Symbol]:
    """The symbols found in a whole workspace; those without a place in their file are left out. Raises ValueError."""
    return [
        _information(
            read({**item, "containerName": item.get("containerName")}, types.SymbolInformation)
        )
        for item in _items(raw)
        if isinstance(item, dict) and "range" in (item.get("location") or {})
    ]


def hover(raw: Any) -> str:
    """The words of a hover. Raises ValueError."""
    if not raw:
        return ""
    contents = read(raw, types.Hover).contents
    parts = contents if isinstance(contents, list | tuple) else [contents]
    return "\n\n".join(
        (part if isinstance(part, str) else str(part.value)).strip() for part in parts
    ).strip()


def completions(raw: Any) -> tuple[list[types.CompletionItem], bool]:
    """Completions in the server's order, and whether there are more. Raises ValueError."""
    more = bool(isinstance(raw, dict) and raw.get("isIncomplete"))
    items = raw.get("items") if isinstance(raw, dict) else raw
    plain = [each for each in _items(items) if isinstance(each, dict)]
    plain.sort(key=lambda each: str(each.get("sortText") or each.get("label")))
    count = len(items) if isinstance(items, list) else 0
    return [read(each, types.CompletionItem) for each in plain[:200]], more or count > 200


def calls(raw: Any, *, incoming: bool) -> list[Call]:
    """Who calls, or what is called. Raises ValueError."""
    found = []
    for item in _items(raw):
        if incoming:
            came: types.CallHierarchyIncomingCall = read(item, types.CallHierarchyIncomingCall)
            other, ranges = came.from_, came.from_ranges
        else:
            went: types.CallHierarchyOutgoingCall = read(item, types.CallHierarchyOutgoingCall)
            other, ranges = went.to, went.from_ranges
        lines = tuple(sorted({area.start.line for area in ranges}))
        spot = _spot(other.uri, other.selection_range)
        found.append(Call(other.name, kind_name(other.kind), spot, lines))
    return found

"""The symbols of a source file, by tree-sitter. A file with syntax errors gives what can still be made out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

import tree_sitter as ts

from codetether_tool_codesearch import languages
from codetether_tool_codesearch.entries import Symbol
from codetether_tool_codesearch.windows import clip, windows

PARSE_SECONDS = 3.0
CHUNK = 1 << 16
BODY, SIGNATURE, DOC = 4_000, 300, 1_200
MATCHES_AT_ONCE = 10_000  # states the query may keep; hostile nesting needs more
MOST = 5_000  # symbols of one file
HOLDERS = frozenset({"class", "struct", "interface", "trait", "enum", "container"})
# Around a definition, and belonging to it: decorators, `export`, `template<...>`, the `const` of `const f = () => 1`.
_WRAPPERS = frozenset(
    {
        *("decorated_definition", "export_statement", "template_declaration", "type_declaration"),
        *(
            "lexical_declaration",
            "variable_declaration",
            "expression_statement",
            "ambient_declaration",
        ),
        *("const_declaration", "var_declaration"),
    }
)
_LINES = frozenset(
    {"method", "singleton_method", "class", "module"}
)  # Ruby: nothing marks where the body begins
_SIGNS = "/*#!-; \t"
_BLANK = bytes(byte if byte == 10 else 32 for byte in range(256))
SCRAP = (
    20  # characters outside definitions that are not worth an entry: closing braces and the like
)


class TooSlow(Exception):
    """Parsing took longer than PARSE_SECONDS."""


class _Found(NamedTuple):
    kind: str
    name: str
    container: str
    node: ts.Node
    outer: ts.Node


def symbols(path: str, source: bytes, language: str) -> list[Symbol]:
    """Every definition, and the rest of the file as entries of kind `file`. Raises TooSlow."""
    grammar = languages.load(language)
    found = _definitions(grammar, _parse(grammar.parser, source))
    entries = list(_described(found, source))
    return [*entries, *_rest(path, source, found)]


def _parse(parser: ts.Parser, source: bytes) -> ts.Node:
    deadline = time.monotonic() + PARSE_SECONDS

    def piece(at: int, _point: object) -> bytes:
        return source[at : at + CHUNK]

    def late(_at: int, _error: bool) -> bool:
        return time.monotonic() > deadline

    try:
        tree = parser.parse(piece, progress_callback=late)
    except ValueError:
        tree = None
    if tree is None:
        parser.reset()
        raise TooSlow
    return tree.root_node


def _definitions(grammar: languages.Language, root: ts.Node) -> list[_Found]:
    """In order of their start, outer before inner, each node once."""
    cursor = ts.QueryCursor(grammar.query, match_limit=MATCHES_AT_ONCE)
    seen: dict[tuple[int, int], tuple[str, ts.Node, str]] = {}
    # No progress_callback here: with one, tree-sitter 0.26 crashes. The limit on matches bounds the time.
    for _, captures in cursor.matches(root):
        named = captures.pop("name", None)
        kind, nodes = next(iter(captures.items()))
        node = nodes[0]
        name = _text(named[0]) if named else _declared(node)
        if name and (node.start_byte, node.end_byte) not in seen:
            seen[node.start_byte, node.end_byte] = kind, node, name
    ordered = sorted(seen.values(), key=lambda each: (each[1].start_byte, -each[1].end_byte))
    return list(_placed(ordered[:MOST]))


def _placed(ordered: list[tuple[str, ts.Node, str]]) -> Iterator[_Found]:
    """With the name of what each is nested in."""
    around: list[tuple[int, str, str]] = []
    for kind, node, full in ordered:
        while around and around[-1][0] <= node.start_byte:
            around.pop()
        scope, _, name = full.rpartition("::")
        receiver = _receiver(node) if kind == "method" else ""
        container = scope or receiver or ".".join(each[1] for each in around)
        inside = around[-1][2] if around else ""
        if kind == "function" and (inside in HOLDERS or "::" in full):
            kind = "method"  # noqa: PLW2901 - the grammar calls both a function
        yield _Found(kind, name, container, node, _outer(node))
        around.append((node.end_byte, name, kind))


def _declared(node: ts.Node) -> str:
    """The name in a C declarator, behind pointers and parameters."""
    at: ts.Node | None = node.child_by_field_name("declarator")
    while at is not None:
        inner = at.child_by_field_name("declarator")
        if inner is None and at.type == "reference_declarator":
            inner = at.named_children[-1] if at.named_children else None
        if inner is None:
            return _text(at)
        at = inner
    return ""


def _receiver(node: ts.Node) -> str:
    """The type a Go method belongs to."""
    receiver = node.child_by_field_name("receiver")
    if receiver is None:
        return ""
    words = _text(receiver).strip("()").replace("*", " ").partition("[")[0].split()
    return words[-1] if words else ""


def _outer(node: ts.Node) -> ts.Node:
    while node.parent is not None and node.parent.type in _WRAPPERS:
        parent = node.parent
        if parent.type.endswith("_declaration") and parent.named_child_count > 1:
            break  # one of several in a group
        node = parent
    return node


def _described(found: list[_Found], source: bytes) -> Iterator[Symbol]:
    for at, each in enumerate(found):
        if each.kind == "container":
            continue
        node = each.node
        body = node.child_by_field_name("body")
        if body is None:
            value = node.child_by_field_name("value") or node.child_by_field_name("right")
            body = value.child_by_field_name("body") if value is not None else None
        until = body.start_byte if body is not None else node.end_byte
        signature = _decoded(source[each.outer.start_byte : until])
        if node.type in _LINES:
            signature = signature.partition("\n")[0]
        yield Symbol(
            each.kind,
            each.name,
            each.container,
            " ".join(signature.split())[:SIGNATURE].rstrip(" {:="),
            _doc(each.outer, body),
            _own_text(found, at, source, until),
            each.outer.start_point[0] + 1,
            node.end_point[0] + (node.end_point[1] > 0 or node.start_point == node.end_point),
        )


def _own_text(found: list[_Found], at: int, source: bytes, start: int) -> str:
    """The text of a definition's body without the definitions in it."""
    end = found[at].node.end_byte
    pieces, size = [], 0
    for inner in found[at + 1 :]:
        if inner.node.start_byte >= end or size > BODY:
            break
        if inner.outer.start_byte >= start:
            pieces.append(source[start : inner.outer.start_byte])
            size += len(pieces[-1])
        start = max(start, inner.node.end_byte)
    pieces.append(source[start:end])
    return _decoded(b"\n".join(pieces)[:BODY])


def _doc(outer: ts.Node, body: ts.Node | None) -> str:
    """The comment before a definition, or the string its body begins with."""
    if body is not None and body.type == "block" and body.named_children:
        text = _docstring(body.named_children[0])
        if text:
            return text
    lines: list[str] = []
    below = outer.start_point[0]
    before = outer.prev_named_sibling
    while before is not None and below - before.end_point[0] <= 1:
        if "comment" in before.type:
            lines.insert(0, _text(before))
        elif before.type != "attribute_item":
            break
        below = before.start_point[0]
        before = before.prev_named_sibling
    return bare("\n".join(lines))


def _docstring(node: ts.Node) -> str:
    if node.type == "expression_statement" and node.named_children:
        node = node.named_children[0]
    return clip(_text(node).strip("rRuUbB\"' \n"), DOC) if node.type == "string" else ""


def bare(comment: str) -> str:
    """A comment without its signs."""
    lines = (line.strip().strip(_SIGNS) for line in comment.splitlines())
    return clip("\n".join(line for line in lines if line), DOC)


def _rest(path: str, source: bytes, found: list[_Found]) -> Iterator[Symbol]:
    """What of a file is in no definition: its head, its imports, the code that runs when it loads."""
    kept = bytearray(source)
    for each in found:
        if each.kind != "container":
            begin, end = each.outer.start_byte, each.node.end_byte
            kept[begin:end] = source[begin:end].translate(_BLANK)
    rest = windows(path, _decoded(bytes(kept)), kind="file", lines=80, most=20)
    return (each for each in rest if len(each.body) > SCRAP)


def _text(node: ts.Node) -> str:
    return _decoded(node.text or b"")


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "replace")

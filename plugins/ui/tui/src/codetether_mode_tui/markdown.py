"""Markdown as lines of styled text. CommonMark, tables and strikethrough by markdown-it; code coloured by Pygments."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from codetether.api import cells

from codetether_mode_tui.lines import Fragment, Line, fitted, wrapped

if TYPE_CHECKING:
    from markdown_it.token import Token

LONGEST = 20_000  # characters of code that are coloured: the lexers are Python
_INLINE = {"strong": "bold", "em": "italic", "s": "strike", "link": "class:md.link"}


def markdown(text: str, width: int) -> list[Line]:
    """`text`, already clean, as lines of at most `width` cells."""
    return _Writer(max(width, 10)).write(_parser().parse(text))


@functools.cache
def _parser() -> Any:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


class _Writer:
    """Walks the tokens; `_first` and `_rest` are what stands before the first and the other lines of a block."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.lines: list[Line] = []
        self._first: Line = []
        self._rest: Line = []
        self._lists: list[int | None] = []
        self._tight = False
        self._style = ""

    def write(self, tokens: Sequence[Token]) -> list[Line]:
        """All lines; blocks are parted by an empty one."""
        at = 0
        while at < len(tokens):
            token = tokens[at]
            if token.type == "table_open":
                end = next(i for i in range(at, len(tokens)) if tokens[i].type == "table_close")
                self._table(tokens[at:end])
                at = end
            else:
                self._token(token)
            at += 1
        while self.lines and not self.lines[-1]:
            self.lines.pop()
        return self.lines

    def _token(self, token: Token) -> None:
        match token.type:
            case "inline":
                for spoken in _inline(token.children or [], self._style):
                    self._put(spoken)
            case "paragraph_close":
                if not token.hidden:
                    self._gap()
            case "heading_open":
                self._style = f"class:md.heading class:md.{token.tag}"
            case "heading_close":
                self._style = ""
                self._gap()
            case "fence" | "code_block":
                self._code(token.content, token.info.strip().partition(" ")[0])
            case "hr":
                self._put([("class:md.rule", "─" * min(self.width - _size(self._rest), 40))])
                self._gap()
            case "html_block":
                for row in token.content.rstrip("\n").split("\n"):
                    self._put([("", row)])
                self._gap()
            case _:
                self._nesting(token)

    def _nesting(self, token: Token) -> None:
        match token.type:
            case "bullet_list_open":
                self._lists.append(None)
            case "ordered_list_open":
                self._lists.append(int(token.attrGet("start") or 1))
            case "bullet_list_close" | "ordered_list_close":
                self._lists.pop()
                if not self._lists:
                    self._gap()
            case "list_item_open":
                self._item()
            case "list_item_close":
                self._rest.pop()
                self._first = list(self._rest)
            case "blockquote_open":
                self._first.append(("class:md.quote", "│ "))
                self._rest.append(("class:md.quote", "│ "))
            case "blockquote_close":
                self._drop_gap()
                self._rest.pop()
                self._first = list(self._rest)
                self._gap()

    def _item(self) -> None:
        number = self._lists[-1]
        if number is None:
            mark = "• "
        else:
            mark = f"{number}. "
            self._lists[-1] = number + 1
        self._first = [*self._rest, ("class:md.bullet", mark)]
        self._rest.append(("", " " * len(mark)))

    def _put(self, line: Line, *, words: bool = True) -> None:
        room = self.width - _size(self._rest)
        for piece in wrapped(line, room, words=words):
            self.lines.append([*self._first, *piece])
            self._first = list(self._rest)

    def _gap(self) -> None:
        if self.lines and self.lines[-1]:
            self.lines.append([fragment for fragment in self._rest if fragment[1].strip()])

    def _drop_gap(self) -> None:
        while self.lines and not "".join(text for _, text in self.lines[-1]).strip("│ "):
            self.lines.pop()

    def _code(self, text: str, language: str) -> None:
        room = self.width - _size(self._rest)
        label = f" {language} " if language else ""
        edge = "class:md.code.edge"
        self._put([(edge, "╭─" + label + "─" * max(room - len(label) - 2, 0))], words=False)
        before = self._first, self._rest
        bar = (edge, "│ ")
        self._first, self._rest = [*self._rest, bar], [*self._rest, bar]
        for line in highlighted(text.rstrip("\n").expandtabs(4), language):
            self._put(line, words=False)
        self._first, self._rest = list(before[1]), before[1]
        self._put([(edge, "╰" + "─" * max(room - 1, 0))], words=False)
        self._gap()

    def _table(self, tokens: Sequence[Token]) -> None:
        rows: list[list[Line]] = []
        right: set[int] = set()
        for token in tokens:
            if token.type == "tr_open":
                rows.append([])
            elif token.type in ("th_open", "td_open") and "right" in str(token.attrGet("style")):
                right.add(len(rows[-1]))
            elif token.type == "inline":
                cell = [part for line in _inline(token.children or [], "") for part in line]
                rows[-1].append(cell)
        if not rows:
            return
        room = self.width - _size(self._rest)
        widths = _column_widths(rows, room)
        for number, row in enumerate(rows):
            line: Line = []
            for column, width in enumerate(widths):
                cell = row[column] if column < len(row) else []
                if number == 0:
                    cell = [(f"{style} class:md.th", text) for style, text in cell]
                gap = [("class:md.rule", " │ ")] if column else []
                cell = fitted(cell, width)
                blank = " " * (width - _size(cell))
                line += (
                    [*gap, ("", blank), *cell] if column in right else [*gap, *cell, ("", blank)]
                )
            self._put(fitted(line, room))
            if number == 0:
                rule = "─┼─".join("─" * width for width in widths)
                self._put(fitted([("class:md.rule", rule)], room))
        self._gap()


def _column_widths(rows: Sequence[Sequence[Line]], room: int) -> list[int]:
    count = max(len(row) for row in rows)
    widths = [
        max((_size(row[column]) for row in rows if column < len(row)), default=1)
        for column in range(count)
    ]
    room -= 3 * (count - 1)
    while sum(widths) > room and max(widths) > 3:
        widest = widths.index(max(widths))
        widths[widest] -= max(1, min(widths[widest] - 3, (sum(widths) - room) // 2))
    return widths


def _inline(tokens: Sequence[Token], base: str) -> Iterator[Line]:
    line: Line = []
    styles = [base]
    links: list[tuple[str, str]] = []
    for token in tokens:
        style = " ".join(filter(None, styles))
        name = token.type.removesuffix("_open").removesuffix("_close")
        if token.type.endswith("_open") and name in _INLINE:
            styles.append(_INLINE[name])
            if name == "link":
                links.append((str(token.attrGet("href") or ""), ""))
        elif token.type.endswith("_close") and name in _INLINE:
            styles.pop()
            if name == "link":
                address = links.pop()[0]
                if address and address not in "".join(text for _, text in line):
                    line.append(("class:md.address", f" ({address})"))
        elif token.type in ("softbreak", "hardbreak"):
            yield line
            line = []
        elif token.type == "code_inline":
            line.append((f"{style} class:md.code", token.content))
        elif token.type == "image":
            line.append(("class:md.link", f"[picture {token.content or token.attrGet('src')}]"))
        elif token.content:
            line.append((style, token.content))
    yield line


def highlighted(text: str, language: str) -> list[Line]:
    """Code as lines, coloured when its language is known and it is not huge."""
    if not language or len(text) > LONGEST:
        return [[("class:md.code.text", line)] for line in text.split("\n")]
    return list(_lexed(text, language))


@functools.lru_cache(maxsize=512)
def _lexed(text: str, language: str) -> tuple[Line, ...]:
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        lexer = get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return tuple([("class:md.code.text", line)] for line in text.split("\n"))
    lines: list[Line] = [[]]
    for kind, value in lexer.get_tokens(text):
        style = "class:md.code.text " + _class_of(kind)
        first, *others = value.split("\n")
        if first:
            lines[-1].append((style, first))
        lines.extend([(style, other)] if other else [] for other in others)
    return tuple(lines)


def _class_of(kind: Any) -> str:
    return "class:pygments." + ".".join(kind).lower() if kind else ""


def _size(line: Sequence[Fragment]) -> int:
    return sum(cells(text) for _, text in line)

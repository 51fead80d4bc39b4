"""Lines of styled text: wrapping, padding and cutting by terminal cells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from codetether.api import cells

Fragment = tuple[str, str]  # style, text without a newline
Line = list[Fragment]


def width_of(line: Iterable[Fragment]) -> int:
    """How many cells a line takes."""
    return sum(cells(text) for _, text in line)


def plain(line: Iterable[Fragment]) -> str:
    """The text of a line."""
    return "".join(text for _, text in line)


def fitted(line: Sequence[Fragment], width: int) -> Line:
    """`line` cut to `width` cells, with an ellipsis where something was cut."""
    if width_of(line) <= width:
        return list(line)
    done: Line = []
    left = width - 1
    for style, text in line:
        taken = head(text, left)
        done.append((style, taken))
        left -= cells(taken)
        if taken != text:
            done.append((style, "…" if width > 0 else ""))
            break
    return done


def padded(line: Sequence[Fragment], width: int, style: str = "") -> Line:
    """`line` with blanks up to `width` cells."""
    missing = width - width_of(line)
    return [*line, (style, " " * missing)] if missing > 0 else list(line)


def beside(columns: Sequence[Sequence[Line]], widths: Sequence[int], height: int) -> Iterable[Line]:
    """Columns beside each other with a rule between them, `height` lines; each is cut or padded to its width, a blank at
    either side included.
    """
    for at in range(height):
        line: Line = []
        for column, width in zip(columns, widths, strict=True):
            if line:
                line.append(("class:border", "│"))
            line += inset(column[at] if at < len(column) else [], width)
        yield line


def rule(widths: Sequence[int]) -> Line:
    """The line above columns beside each other."""
    return [("class:border", "┬".join("─" * width for width in widths))]


def inset(line: Sequence[Fragment], width: int) -> Line:
    """`line` between blanks, exactly `width` cells together."""
    room = max(width - 2, 0)
    size = width_of(line)
    if size > room:
        line = fitted(line, room)
        size = width_of(line)
    return [("", " "), *line, ("", " " * (room - size + 1))]


def head(text: str, width: int) -> str:
    """As much of `text` as fits in `width` cells."""
    if text.isascii():
        return text[: max(width, 0)]
    used = 0
    for at, character in enumerate(text):
        used += cells(character)
        if used > width:
            return text[:at]
    return text


def wrapped(line: Sequence[Fragment], width: int, *, words: bool = True) -> list[Line]:
    """`line` as lines of at most `width` cells; broken between words where that is possible, unless told not to."""
    width = max(width, 1)
    if width_of(line) <= width:
        return [list(line)]
    done = _Wrap(width, words=words)
    for style, piece in _pieces(line, words=words):
        done.add(style, piece)
    return done.lines or [[]]


class _Wrap:
    """Lines as they fill."""

    def __init__(self, width: int, *, words: bool) -> None:
        self._width = width
        self._words = words
        self._used = 0
        self.lines: list[Line] = []

    def add(self, style: str, piece: str) -> None:
        """A word or a gap; a gap at a break is left out, a word longer than a line is cut."""
        size = cells(piece)
        if not self.lines or (self._used and self._used + size > self._width):
            if self.lines and self._words:
                _strip(self.lines[-1])
                if piece.isspace():
                    self._used = self._width
                    return
            self._break()
        while self._used + size > self._width:
            taken = head(piece, self._width - self._used) or piece[:1]
            self.lines[-1].append((style, taken))
            piece = piece[len(taken) :]
            size = cells(piece)
            if not piece:
                return
            self._break()
        self.lines[-1].append((style, piece))
        self._used += size

    def _break(self) -> None:
        self.lines.append([])
        self._used = 0


def _strip(line: Line) -> None:
    while line and line[-1][1].isspace():
        line.pop()


def _pieces(line: Sequence[Fragment], *, words: bool) -> Iterable[Fragment]:
    for style, text in line:
        if not words:
            yield style, text
            continue
        start = 0
        for at in range(1, len(text)):
            if text[at].isspace() != text[at - 1].isspace():
                yield style, text[start:at]
                start = at
        if start < len(text):
            yield style, text[start:]

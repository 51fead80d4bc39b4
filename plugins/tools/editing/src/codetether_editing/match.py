"""Where the text to replace is. Strategies from strict to loose; the first that finds anything decides.

1. exact: the very characters.
2. line-trimmed: whole lines, equal but for blanks at their ends.
3. indentation-flexible: whole lines, indented by the same amount more or less; the replacement is indented likewise.
4. whitespace-normalised: whole lines, equal when runs of blanks count as one; the replacement is indented likewise.
5. block-anchor: three lines or more whose first and last are in the file, with at most a quarter more or fewer lines
   between, and those at least 70 % alike. Of several, the best if it is ahead by 10 %.
6. trimmed-boundary: the text without blanks and newlines at its two ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import SequenceMatcher

import msgspec

from codetether_editing.document import Span
from codetether_editing.indent import reindented

ALIKE = 0.7
AHEAD = 0.1
ANCHORS = 20
COMPARED_LINES = 100
COMPARED_WIDTH = 120


class Found(msgspec.Struct, frozen=True):
    """What a strategy found: every place, with its replacement."""

    strategy: str
    spans: tuple[Span, ...]


class Lines:
    """A text as lines, and the lines' places; `keys` are the lines without blanks at both ends."""

    def __init__(self, text: str) -> None:
        self.all = text.split("\n")
        self.keys = [line.strip() for line in self.all]
        self._starts: list[int] = []

    def span(self, first: int, count: int, new: str) -> Span:
        """Replace `count` lines from `first`, without the last one's newline."""
        if not self._starts:
            place = 0
            for line in self.all:
                self._starts.append(place)
                place += len(line) + 1
        last = first + count - 1
        return Span(self._starts[first], self._starts[last] + len(self.all[last]), new)


def find(text: str, old: str, new: str, lines: Callable[[], Lines]) -> Found | None:
    """Where `old` is in `text`, by the first strategy that finds anything; None when all fail.

    `lines` gives `text` as lines; it is called only when the exact search failed.
    """
    exact = _occurrences(text, old, new)
    if exact:
        return Found("exact", exact)
    for strategy, search in _BY_LINES:
        spans = search(_Search(lines(), old, new))
        if spans:
            return Found(strategy, spans)
    inner = old.strip()
    if inner and inner != old:
        spans = _occurrences(text, inner, _without_boundary(old, new))
        if spans:
            return Found("trimmed-boundary", spans)
    return None


def _occurrences(text: str, old: str, new: str) -> tuple[Span, ...]:
    spans: list[Span] = []
    start = text.find(old)
    while start >= 0:
        spans.append(Span(start, start + len(old), new))
        start = text.find(old, start + len(old))
    return tuple(spans)


def _without_boundary(old: str, new: str) -> str:
    lead, trail = old[: len(old) - len(old.lstrip())], old[len(old.rstrip()) :]
    return new.removeprefix(lead).removesuffix(trail)


class _Search:
    """One search by lines. A newline that ends `old` is not a line of its own; it is dropped from `new` as well."""

    def __init__(self, lines: Lines, old: str, new: str) -> None:
        self.lines = lines
        if old.endswith("\n"):
            self.whole_lines = not new  # then removing the text removes its line end, too
            old, new = old[:-1], new.removesuffix("\n")
        else:
            self.whole_lines = False
        self.old = old.split("\n")
        self.keys = [line.strip() for line in self.old]
        self.new = new

    def blocks(self, keys: Sequence[str], wanted: Sequence[str]) -> list[int]:
        """The lines at which the lines `wanted` begin, not overlapping."""
        if not any(wanted):
            return []
        pivot = max(range(len(wanted)), key=lambda number: len(wanted[number]))
        found: list[int] = []
        place = -1
        while True:
            try:
                place = keys.index(wanted[pivot], place + 1)
            except ValueError:
                return found
            first = place - pivot
            free = first >= (found[-1] + len(wanted) if found else 0)
            if free and keys[first : first + len(wanted)] == wanted:
                found.append(first)

    def at(self, first: int, count: int | None = None, *, indent: bool = True) -> Span:
        """The span of the block at line `first`, its replacement indented as the file is."""
        count = len(self.old) if count is None else count
        theirs = self.lines.all[first : first + count]
        span = self.lines.span(
            first, count, reindented(self.new, self.old, theirs) if indent else self.new
        )
        if self.whole_lines and first + count < len(self.lines.all):
            return Span(span.start, span.end + 1, span.new)
        return span


def _line_trimmed(search: _Search) -> tuple[Span, ...]:
    old = [line.rstrip() for line in search.old]
    return tuple(
        search.at(first, indent=False)
        for first in search.blocks(search.lines.keys, search.keys)
        if [line.rstrip() for line in search.lines.all[first : first + len(old)]] == old
    )


def _indentation_flexible(search: _Search) -> tuple[Span, ...]:
    old = _dedented(search.old)
    return tuple(
        search.at(first)
        for first in search.blocks(search.lines.keys, search.keys)
        if _dedented(search.lines.all[first : first + len(old)]) == old
    )


def _dedented(lines: Sequence[str]) -> list[str]:
    filled = [line for line in lines if line.strip()]
    indent = min((line[: len(line) - len(line.lstrip())] for line in filled), key=len, default="")
    return [line.removeprefix(indent).rstrip() for line in lines]


def _whitespace_normalised(search: _Search) -> tuple[Span, ...]:
    wanted = [" ".join(line.split()) for line in search.old]
    keys = [
        " ".join(key.split()) if "  " in key or "\t" in key else key for key in search.lines.keys
    ]
    return tuple(search.at(first) for first in search.blocks(keys, wanted))


def _block_anchor(search: _Search) -> tuple[Span, ...]:
    size = len(search.keys)
    if size < 3 or not search.keys[0] or not search.keys[-1]:
        return ()
    keys = search.lines.keys
    firsts = [place for place, key in enumerate(keys) if key == search.keys[0]]
    if len(firsts) > ANCHORS:
        return ()
    slack = max(1, size // 4)
    blocks = [
        (first, count)
        for first in firsts
        for count in range(max(3, size - slack), size + slack + 1)
        if keys[first + count - 1 : first + count] == [search.keys[-1]]
    ]
    if len(blocks) > ANCHORS:
        return ()
    ranked = [(_alike(search.keys, keys[at : at + count]), at, count) for at, count in blocks]
    ranked.sort(reverse=True)
    ranked = [found for found in ranked if found[0] >= ALIKE and found[0] > ranked[0][0] - AHEAD]
    distinct: dict[int, Span] = {}
    for _, first, count in ranked:
        distinct.setdefault(first, search.at(first, count))
    return tuple(distinct[first] for first in sorted(distinct))


def _alike(one: Sequence[str], other: Sequence[str]) -> float:
    """How alike two blocks are between their first and last lines, 0 to 1: the mean over the lines, by their order."""
    one, other = one[1:-1][:COMPARED_LINES], other[1:-1][:COMPARED_LINES]
    longer = max(len(one), len(other))
    if longer == 0:
        return 1.0
    return sum(likeness(a, b) for a, b in zip(one, other, strict=False)) / longer


def likeness(one: str, other: str) -> float:
    """How alike two lines are, 0 to 1; only their first 120 characters are compared."""
    if one == other:
        return 1.0
    return SequenceMatcher(
        None, one[:COMPARED_WIDTH], other[:COMPARED_WIDTH], autojunk=False
    ).ratio()


_BY_LINES: tuple[tuple[str, Callable[[_Search], tuple[Span, ...]]], ...] = (
    ("line-trimmed", _line_trimmed),
    ("indentation-flexible", _indentation_flexible),
    ("whitespace-normalised", _whitespace_normalised),
    ("block-anchor", _block_anchor),
)

"""A unified diff as a person reads it: numbered lines, what was added and removed on grounds of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from codetether.api import clean

from codetether_mode_tui.lines import Fragment, Line, fitted, padded, wrapped

# Compiled (and kept, by re) when first needed.
_HUNK = r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@ ?(.*)"
_STYLES = {"+": "class:diff.add", "-": "class:diff.remove", " ": "class:diff.same"}
Row = tuple[int | None, str, str]  # line number, sign, text


def diff_lines(diff: str, width: int, known: str = "") -> Iterator[Line]:
    """Lines of at most `width` cells; what is in no hunk stands as it is. A name that is a word of `known`, the text
    above, is not said again.
    """
    rows = clean(diff, exact=True).expandtabs(4).rstrip("\n").split("\n")
    size = len(str(max((_last(row) for row in rows), default=0)))
    old = new = old_left = new_left = 0
    block: list[Row] = []
    first = ""  # the row with the first name of a file, until its second came
    between = False
    for row in rows:
        sign = row[:1] or " "
        if (old_left or new_left) and sign in "+- ":
            block.append((old if sign == "-" else new, sign, row[1:]))
            old, old_left = (old + 1, old_left - 1) if sign in "- " else (old, old_left)
            new, new_left = (new + 1, new_left - 1) if sign in "+ " else (new, new_left)
            continue
        yield from _block(block, size, width)
        block = []
        if first:
            name = _name(first, row)
            if name not in known.split():
                yield from wrapped([("class:diff.file", name)], width, words=False)
            first, between = "", False
            if row.startswith("+++ "):
                continue
        if found := re.fullmatch(_HUNK, row):
            old, new = int(found[1]), int(found[3])
            old_left, new_left = int(found[2] or 1), int(found[4] or 1)
            if between or found[5]:
                yield fitted([("class:diff.hunk", f"{'⋯':>{size}}   {found[5]}".rstrip())], width)
            between = True
        elif row.startswith("--- "):
            first = row
        else:
            yield from wrapped([(_STYLES.get(sign, "class:diff.same"), row)], width, words=False)
    yield from _block(block, size, width)


def _name(first: str, second: str) -> str:
    """The name of a file, and what becomes of it."""
    if not second.startswith("+++ "):
        return first
    before, after = first[4:].removeprefix("a/"), second[4:].removeprefix("b/")
    if after == "/dev/null":
        return f"{before}  is deleted"
    if before == "/dev/null":
        return f"{after}  is new"
    return after if before == after else f"{before} → {after}"


def _last(row: str) -> int:
    """The highest line number of a hunk."""
    found = re.fullmatch(_HUNK, row)
    if found is None:
        return 0
    return max(int(found[1]) + int(found[2] or 1), int(found[3]) + int(found[4] or 1))


def _block(rows: Sequence[Row], size: int, width: int) -> Iterator[Line]:
    at = 0
    while at < len(rows):
        removed = _run(rows, at, "-")
        added = _run(rows, at + removed, "+")
        if removed == added and removed:  # line for line: what differs within them is marked
            pairs = [(rows[at + i], rows[at + removed + i]) for i in range(removed)]
            marks = [_differing(one[2], other[2]) for one, other in pairs]
            for (one, _), (cut, _) in zip(pairs, marks, strict=True):
                yield from _row(one, size, width, cut)
            for (_, other), (_, cut) in zip(pairs, marks, strict=True):
                yield from _row(other, size, width, cut)
        else:
            for row in rows[at : at + max(removed + added, 1)]:
                yield from _row(row, size, width)
        at += max(removed + added, 1)


def _run(rows: Sequence[Row], at: int, sign: str) -> int:
    count = 0
    while at + count < len(rows) and rows[at + count][1] == sign:
        count += 1
    return count


def _differing(one: str, other: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """Where two lines differ; nowhere when they have little in common."""
    head = _common(one, other)
    tail = _common(one[head:][::-1], other[head:][::-1])
    if head + tail < max(len(one), len(other)) / 3:
        return (0, 0), (0, 0)
    return (head, len(one) - tail), (head, len(other) - tail)


def _common(one: str, other: str) -> int:
    """How many characters both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def _row(row: Row, size: int, width: int, marked: tuple[int, int] = (0, 0)) -> Iterator[Line]:
    number, sign, text = row
    style = _STYLES[sign]
    begin, end = marked
    parts: list[Fragment] = [
        (style, text[:begin]), (f"{style}.word", text[begin:end]), (style, text[end:]),
    ]  # fmt: skip
    gutter = f"{number:>{size}} {sign} "
    room = max(width - len(gutter), 1)
    for line in wrapped([part for part in parts if part[1]] or [(style, "")], room, words=False):
        yield padded([(f"{style}.number", gutter), *line], width, style if sign != " " else "")
        gutter = " " * len(gutter)

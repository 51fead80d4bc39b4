"""Hunks put into a file's bytes: where each belongs, and the lines it leaves.

Lines of context keep the file's own bytes, whatever the patch says of blanks and line ends. A hunk is looked for as
written, then with other line ends, then with other blanks at the ends of lines, then with other indentation, and last
without up to two lines of its context (fuzz); always nearest to the line it names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import msgspec
from codetether.api import ToolError

from codetether_editing.document import Document, NotText, decode
from codetether_editing.kinds import kind_of
from codetether_editing.match import Lines
from codetether_editing.near import closest
from codetether_editing.patch import Hunk

FUZZ = 2
_INVALID = re.compile("[\udc80-\udcff]")


def _plain(line: str) -> str:
    return _INVALID.sub("\ufffd", line.rstrip("\r\n").removeprefix("\ufeff"))


_LEVELS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("", lambda line: line),
    ("line ends differ", _plain),
    ("blanks at line ends differ", lambda line: _plain(line).rstrip()),
    ("indentation differs", lambda line: _plain(line).strip()),
)


class _Spot(msgspec.Struct, frozen=True):
    """Where a hunk belongs: the line (from 0) of its first kept line, the level, and what of its context is left out."""

    at: int
    level: int
    head: int = 0
    tail: int = 0


def patch_bytes(data: bytes, hunks: Sequence[Hunk], *, exact: bool) -> tuple[bytes, list[str]]:
    """`data` with `hunks` put in, in their order, and for each that is not just where and as it says, how it was.

    `exact`: the patch tells which files end without newline. Raises ToolError: INVALID_ARGUMENT (binary), NOT_FOUND
    with the closest lines, AMBIGUOUS_MATCH for a hunk without line number that fits in several places.
    """
    document = _document(data)
    file = _File(document, exact)
    for number, hunk in enumerate(hunks, 1):
        file.put(number, hunk)
    return file.encoded(), file.notes


def _document(data: bytes) -> Document:
    try:
        return decode(data)
    except NotText:
        raise ToolError(
            f"The file is no text ({kind_of(data[:512])}): it cannot be patched.",
            "INVALID_ARGUMENT",
        ) from None


class _File:
    """A file's lines, with what was put in so far. `cursor`: no hunk may begin before it."""

    def __init__(self, document: Document, exact: bool) -> None:
        self._document = document
        self._mark = "\ufeff" if document.mark and document.encoding == "utf-8" else ""
        self.lines = _split(self._mark + document.raw)
        self._exact = exact
        self._cursor = 0
        self._shift = 0  # how far from where the patch says, from hunks before
        self.notes: list[str] = []

    def put(self, number: int, hunk: Hunk) -> None:
        """Find the hunk's place and replace the lines there."""
        spot = self._find(number, hunk)
        self._note(number, hunk, spot)
        body = hunk.lines[spot.head : len(hunk.lines) - spot.tail]
        old = sum(sign != "+" for sign, _ in body)
        self._replace(spot, body, old)
        if hunk.start is not None:
            self._shift = spot.at - spot.head - self._said(hunk) + self._shift
            self._shift += hunk.added

    def encoded(self) -> bytes:
        """All lines as bytes."""
        text = "".join(self.lines)
        if self._mark:
            text = text if text.startswith(self._mark) or not text else self._mark + text
        document = self._document
        if document.encoding != "utf-8":
            return document.mark + document.encode(text)
        try:
            return text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise ToolError(
                "The patch holds half of a surrogate pair.", "INVALID_ARGUMENT"
            ) from None

    # --- where ---
    def _said(self, hunk: Hunk) -> int:
        """The line (from 0) where the hunk says it is, after the hunks before it."""
        return max((hunk.start or 1) - 1, 0) + self._shift

    def _find(self, number: int, hunk: Hunk) -> _Spot:
        cursor = self._after_hints(number, hunk)
        if not hunk.old:
            return self._insertion(number, hunk, cursor)
        for level in range(len(_LEVELS)):
            if spots := self._spots(hunk.old, level, cursor):
                return _Spot(self._choose(number, hunk, spots), level)
        if hunk.start is not None:
            for fuzz in range(1, FUZZ + 1):
                head, tail = (min(fuzz, edge) for edge in _context(hunk))
                kept = hunk.old[head : len(hunk.old) - tail]
                for level in range(len(_LEVELS) - 1):
                    if kept and (head or tail) and (found := self._spots(kept, level, cursor)):
                        near = min(found, key=lambda at: abs(at - head - self._said(hunk)))
                        return _Spot(near, level, head, tail)
        text = "".join(map(_plain_line, self.lines))
        raise ToolError(
            f"Hunk {number} does not fit: its lines are not in the file"
            f"{' after the hunk before it' if self._cursor else ''}. "
            f"{closest(Lines(text), ''.join(hunk.old))}",
            "NOT_FOUND",
        )

    def _spots(self, old: Sequence[str], level: int, cursor: int) -> list[int]:
        same = _LEVELS[level][1]
        wanted = [same(line) for line in old]
        have = [same(line) for line in self.lines] if level else self.lines
        first, count = wanted[0], len(wanted)
        return [
            at
            for at in range(cursor, len(have) - count + 1)
            if have[at] == first and have[at : at + count] == wanted
        ]

    def _choose(self, number: int, hunk: Hunk, spots: list[int]) -> int:
        last = len(self.lines) - len(hunk.old)
        if hunk.end and last in spots:
            return last
        if hunk.start is None:
            if len(spots) > 1 and not hunk.hints:
                places = ", ".join(str(at + 1) for at in spots[:10])
                raise ToolError(
                    f"Hunk {number} fits in {len(spots)} places: lines {places}. Add lines of context, or an @@ line.",
                    "AMBIGUOUS_MATCH",
                    matches_found=len(spots),
                )
            return spots[0]
        said = self._said(hunk)
        if said in spots:
            return said
        head, tail = _context(hunk)
        if tail < head and last in spots:
            return last  # it says that the file ends there
        if head < tail and hunk.start <= 1 and 0 in spots:
            return 0
        return min(spots, key=lambda at: (abs(at - said), at < said))

    def _after_hints(self, number: int, hunk: Hunk) -> int:
        """The first line the hunk may begin at: after the lines its `@@` names, when they are there."""
        cursor = self._cursor
        for hint in hunk.hints:
            for same in (str.__eq__, str.startswith, str.__contains__):
                at = next(
                    (
                        place
                        for place in range(cursor, len(self.lines))
                        if same(self.lines[place].strip(), hint)
                    ),
                    None,
                )
                if at is not None:
                    # The line itself may be repeated as context.
                    cursor = at if hunk.old and hunk.old[0].strip() == hint else at + 1
                    break
            else:
                raise ToolError(
                    f"Hunk {number}: the line of its @@ is not in the file: {hint[:80]!r}.",
                    "NOT_FOUND",
                )
        return cursor

    def _insertion(self, number: int, hunk: Hunk, cursor: int) -> _Spot:
        if hunk.start is None:
            return _Spot(cursor if hunk.hints and not hunk.end else len(self.lines), 0)
        at = self._said(hunk)
        if at > len(self.lines):
            raise ToolError(
                f"Hunk {number} has no line to find its place by, and the file is another than it says.",
                "CONFLICT",
            )
        return _Spot(at, 0)

    def _note(self, number: int, hunk: Hunk, spot: _Spot) -> None:
        told = []
        if hunk.start is not None and (offset := spot.at - spot.head - self._said(hunk)):
            told.append(f"offset {offset:+d} line{'s' * (abs(offset) != 1)}")
        if spot.head or spot.tail:
            told.append(f"fuzz {max(spot.head, spot.tail)}")
        if spot.level:
            told.append(_LEVELS[spot.level][0])
        if told:
            self.notes.append(f"hunk {number} at line {spot.at + 1}: {', '.join(told)}")

    # --- what ---
    def _replace(self, spot: _Spot, body: Sequence[tuple[str, str]], old: int) -> None:
        here = self.lines[spot.at : spot.at + old]
        at_end = spot.at + old == len(self.lines)
        loose = spot.level > 0 or not self._exact
        bare = bool(self.lines) and not self.lines[-1].endswith("\n")
        new, place = [], 0
        for sign, text in body:
            if sign == "+":
                new.append(self._adapted(text, here, place) if loose else text)
                continue
            if sign == " ":
                new.append(here[place])
            place += 1
        self.lines[spot.at : spot.at + old] = new
        self._cursor = spot.at + len(new)
        end = "\r\n" if self._document.newline == "\r\n" else "\n"
        for number in range(max(spot.at - 1, 0), min(self._cursor + 1, len(self.lines) - 1)):
            if not self.lines[number].endswith("\n"):
                self.lines[number] += end
        if loose and at_end and bare and self.lines:
            self.lines[-1] = self.lines[-1].rstrip("\r\n")

    def _adapted(self, text: str, here: Sequence[str], place: int) -> str:
        """An added line with the line end of the lines around it."""
        if not text.endswith("\n"):
            return text
        near = here[min(place, len(here) - 1)] if here else ""
        if not near.endswith("\n"):
            ended = (line for line in reversed(here[:place]) if line.endswith("\n"))
            near = next(ended, self._document.newline)
        return text.rstrip("\r\n") + ("\r\n" if near.endswith("\r\n") else "\n")


def _context(hunk: Hunk) -> tuple[int, int]:
    """How many lines of context it begins and ends with."""
    signs = [sign for sign, _ in hunk.lines]
    head = next((n for n, sign in enumerate(signs) if sign != " "), len(signs))
    tail = next((n for n, sign in enumerate(reversed(signs)) if sign != " "), len(signs))
    return head, tail


def _split(text: str) -> list[str]:
    lines = [line + "\n" for line in text.split("\n")]
    lines[-1] = lines[-1].removesuffix("\n")
    return lines if lines[-1] else lines[:-1]


def _plain_line(line: str) -> str:
    return _plain(line) + "\n"

"""Unified diffs in bounded time: what both files begin and end with is skipped, the rest is cut at lines that are
unique on both sides (patience), and each remainder is compared by Myers' method up to a number of steps. What is still
undecided then is shown as removed and added: correct, though longer than it need be.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

import msgspec

from codetether_editing.document import NotText, common_prefix, decode

CONTEXT = 3
LARGEST = 64 * 1024
STEPS = 200_000
Range = tuple[int, int, int, int]


class Diff(msgspec.Struct, frozen=True):
    """A unified diff without colours, cut at 64 KiB; `added` and `removed` count lines and are exact."""

    text: str
    added: int
    removed: int


def unified_diff(
    before: bytes | None, after: bytes | None, path: str, largest: int = LARGEST
) -> Diff:
    """What changes `before` to `after` (None: no such file), cut at `largest` characters. Line ends are not shown when
    both have the same.
    """
    try:
        old, new = decode(before or b""), decode(after or b"")
    except NotText:
        return Diff(
            f"Binary file {path} changed: {len(before or b'')} to {len(after or b'')} bytes\n", 0, 0
        )
    a, b = old.text, new.text
    ends = {old.newline, new.newline} - {""}
    if len(ends) > 1 or old.mixed or new.mixed or a == b:
        a, b = old.raw, new.raw
    a, b, skipped = _without_ends(a, b)
    left, right = _lines(a), _lines(b)
    changes = list(_changes(left, right))
    name = path.lstrip("/")
    out = [
        f"--- {'/dev/null' if before is None else 'a/' + name}\n",
        f"+++ {'/dev/null' if after is None else 'b/' + name}\n",
    ]
    if changes:
        out += _hunks(left, right, changes, skipped)
    text = "".join(out) if changes else ""
    added, removed = sum(c[3] - c[2] for c in changes), sum(c[1] - c[0] for c in changes)
    return Diff(_cut(text, largest), added, removed)


def _without_ends(a: str, b: str) -> tuple[str, str, int]:
    """Both without the lines they begin and end with in common but `CONTEXT` of them; how many lines were skipped."""
    head = common_prefix(a, b)
    for _ in range(CONTEXT + 1):
        head = a.rfind("\n", 0, head)
        if head < 0:
            break
    head += 1
    skipped = a.count("\n", 0, head)
    a, b = a[head:], b[head:]
    tail = common_prefix(a[::-1], b[::-1])
    place = len(a) - tail
    for _ in range(CONTEXT + 1):
        place = a.find("\n", place)
        if place < 0:
            return a, b, skipped
        place += 1
    return a[:place], b[: len(b) - (len(a) - place)], skipped


def _lines(text: str) -> list[str]:
    """Lines with their ends; only a newline ends one."""
    lines = text.split("\n")
    last = lines.pop()
    return [line + "\n" for line in lines] + ([last] if last else [])


def _changes(a: list[str], b: list[str]) -> Iterator[Range]:
    """The ranges that differ, in order: a[i:j] became b[k:l]. Neighbours are joined."""
    joined: Range | None = None
    for i, j, k, m in _compare(a, b):
        if joined is not None and joined[1] == i and joined[3] == k:
            joined = (joined[0], j, joined[2], m)
            continue
        if joined is not None:
            yield joined
        joined = (i, j, k, m)
    if joined is not None:
        yield joined


def _compare(a: list[str], b: list[str]) -> Iterator[Range]:
    left = STEPS
    i = k = 0
    for next_i, next_k in [*_anchors(a, b), (len(a), len(b))]:
        part = _Myers(a, b, (i, next_i, k, next_k), left)
        yield from part.ranges()
        left -= part.steps
        i, k = next_i + 1, next_k + 1


def _anchors(a: list[str], b: list[str]) -> list[tuple[int, int]]:
    """Pairs of lines that are unique on both sides, as many as can be had in the same order."""
    once_a, once_b = _unique(a), _unique(b)
    pairs = [(place, once_b[line]) for line, place in once_a.items() if line in once_b]
    tails: list[int] = []
    chain: list[int] = []
    before: list[int] = []
    for number, (_, k) in enumerate(pairs):
        where = bisect_left(tails, k)
        if where == len(tails):
            tails.append(k)
            chain.append(number)
        else:
            tails[where] = k
            chain[where] = number
        before.append(chain[where - 1] if where else -1)
    found: list[tuple[int, int]] = []
    number = chain[-1] if chain else -1
    while number >= 0:
        found.append(pairs[number])
        number = before[number]
    return found[::-1]


def _unique(lines: list[str]) -> dict[str, int]:
    places: dict[str, int] = {}
    for place, line in enumerate(lines):
        places[line] = -1 if line in places else place
    return {line: place for line, place in places.items() if place >= 0}


class _Myers:
    """The shortest change of a[i:j] to b[k:l], found within `limit` steps or given up."""

    def __init__(self, a: list[str], b: list[str], box: Range, limit: int) -> None:
        i, j, k, m = box
        self._a, self._b = a, b
        while i < j and k < m and a[i] == b[k]:
            i, k = i + 1, k + 1
        while i < j and k < m and a[j - 1] == b[m - 1]:
            j, m = j - 1, m - 1
        self._box: Range = (i, j, k, m)
        self._limit = limit
        self.steps = 0

    def ranges(self) -> list[Range]:
        """What differs, in order."""
        i, j, k, m = self._box
        if i == j and k == m:
            return []
        if i == j or k == m:
            return [self._box]
        trace = self._search()
        return self._back(trace) if trace is not None else [self._box]

    def _search(self) -> list[dict[int, int]] | None:
        i, j, k, m = self._box
        height, width = j - i, m - k
        furthest = {1: 0}
        trace = []
        for distance in range(height + width + 1):
            trace.append(dict(furthest))
            for diagonal in range(-distance, distance + 1, 2):
                down = diagonal == -distance or (
                    diagonal != distance and furthest[diagonal - 1] < furthest[diagonal + 1]
                )
                x = furthest[diagonal + 1] if down else furthest[diagonal - 1] + 1
                y = x - diagonal
                while x < height and y < width and self._a[i + x] == self._b[k + y]:
                    x, y = x + 1, y + 1
                    self.steps += 1
                furthest[diagonal] = x
                self.steps += 1
                if x >= height and y >= width:
                    return trace
            self.steps += distance
            if self.steps > self._limit:
                return None
        return None

    def _back(self, trace: list[dict[int, int]]) -> list[Range]:
        i, j, k, m = self._box
        x, y = j - i, m - k
        found: list[Range] = []
        for distance in range(len(trace) - 1, 0, -1):
            furthest, diagonal = trace[distance], x - y
            down = diagonal == -distance or (
                diagonal != distance and furthest[diagonal - 1] < furthest[diagonal + 1]
            )
            start = furthest[diagonal + 1 if down else diagonal - 1]
            x, y = start, start - (diagonal + 1 if down else diagonal - 1)
            found.append((i + x, i + x + (not down), k + y, k + y + down))
        return found[::-1]


def _hunks(a: list[str], b: list[str], changes: list[Range], skipped: int) -> Iterator[str]:
    group = [changes[0]]
    for change in changes[1:]:
        if change[0] - group[-1][1] > 2 * CONTEXT:
            yield from _hunk(a, b, group, skipped)
            group = []
        group.append(change)
    yield from _hunk(a, b, group, skipped)


def _hunk(a: list[str], b: list[str], group: list[Range], skipped: int) -> Iterator[str]:
    lead = min(CONTEXT, group[0][0])
    trail = min(CONTEXT, len(a) - group[-1][1])
    i, k = group[0][0] - lead, group[0][2] - lead
    j, m = group[-1][1] + trail, group[-1][3] + trail
    yield f"@@ -{_range(i + skipped, j - i)} +{_range(k + skipped, m - k)} @@\n"
    for start, end, new_start, new_end in group:
        yield from _marked(" ", a[i:start])
        yield from _marked("-", a[start:end])
        yield from _marked("+", b[new_start:new_end])
        i = end
    yield from _marked(" ", a[i:j])


def _marked(sign: str, lines: list[str]) -> Iterator[str]:
    for line in lines:
        yield (
            sign + line if line.endswith("\n") else f"{sign}{line}\n\\ No newline at end of file\n"
        )


def _range(start: int, count: int) -> str:
    return f"{start + 1 if count else start},{count}" if count != 1 else str(start + 1)


def _cut(text: str, largest: int) -> str:
    if len(text) <= largest:
        return text
    kept = text[: text.rfind("\n", 0, largest) + 1] or text[:largest] + "\n"
    return f"{kept}[{text.count(chr(10)) - kept.count(chr(10))} more lines of diff]\n"

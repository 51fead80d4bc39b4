"""A source inside the worker: mapped bytes, a sparse index of its lines, and what of it was shown."""

from __future__ import annotations

TYPE_CHECKING = False  # typing would take as long to import as all of this
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from mmap import mmap

BLOCK = 1 << 20  # bytes for each entry of a line index
READ = 16 << 20  # bytes given at once
SOON = 64 << 20  # bytes of a source whose lines are counted without being asked
MOST = 2_000  # ranges kept of one source
ALL = 100_000  # of all together: one of each of the most sources there can be, and as many again


class Text:
    """One source. `len` and positions are bytes; a part is a str, cut between characters: `text[1000:2000]`.

    Iterating gives its lines. `raw`: its bytes for `re` and others, not copied. `str(text)` and what needs all of it at
    once are for at most 16 MB.
    """

    def __init__(  # noqa: PLR0917
        self, name: str, mapped: mmap | bytes, start: int, size: int, kind: str, seen: Seen
    ) -> None:
        self.name = name
        self.kind = kind
        self._mapped = mapped
        self._from = start
        self._size = size
        self._seen = seen
        self._index = [0]  # newlines before each whole block

    # --- as a sequence ---
    def __len__(self) -> int:
        return self._size

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<source {self.name!r}, {self._size:,} bytes>"

    def __reduce__(self) -> tuple[object, ...]:
        return _known, (self.name,)

    def __getitem__(self, part: int | slice) -> str:
        if isinstance(part, int):
            part = slice(part, part + 1 or None)
        start, end, step = part.indices(self._size)
        if step != 1:
            raise ValueError("a source has no steps: text[start:end]")
        return self.between(start, max(start, end))

    def __contains__(self, words: str | bytes) -> bool:
        return self.find(words) >= 0

    def __iter__(self) -> Iterator[str]:
        at = 0
        while at < self._size:
            end = self._mapped.rfind(
                b"\n", self._from + at, self._from + min(at + BLOCK, self._size)
            )
            if end < 0:  # the last line, or one that is longer
                end = self._after_newline(at)
                yield self.between(at, end).removesuffix("\n").removesuffix("\r")
                at = end
                continue
            for line in self._mapped[self._from + at : end].split(b"\n"):
                self._seen.add_bytes(self, at, at + len(line) + 1)
                at += len(line) + 1
                yield line.removesuffix(b"\r").decode("utf-8", "replace")

    def __str__(self) -> str:
        if self._size > READ:
            raise ValueError(f"{self.name} is too large to be one str; use slices, grep or chunks")
        return self.between(0, self._size)

    @property
    def raw(self) -> memoryview:
        """Its bytes."""
        return memoryview(self._mapped)[self._from : self._from + self._size]

    def find(self, words: str | bytes, start: int = 0) -> int:
        """Where `words` begin, at or after byte `start`; -1 when nowhere."""
        wanted = words.encode() if isinstance(words, str) else words
        found = self._mapped.find(wanted, self._from + start, self._from + self._size)
        return found - self._from if found >= 0 else -1

    def rfind(self, words: bytes, start: int, end: int) -> int:
        """The last place of `words` between two bytes; -1 when nowhere."""
        found = self._mapped.rfind(words, self._from + start, self._from + end)
        return found - self._from if found >= 0 else -1

    def split(self, separator: str | None = None) -> list[str]:
        """As str.split, for a source that is not too large."""
        return str(self).split(separator)

    def splitlines(self) -> list[str]:
        """As str.splitlines, for a source that is not too large."""
        return str(self).splitlines()

    def bytes_of(self, start: int, end: int) -> bytes:
        """A copy of some of its bytes."""
        return bytes(self._mapped[self._from + start : self._from + min(end, self._size)])

    def between(self, start: int, end: int) -> str:
        """From one byte to another as text, which counts as seen."""
        if end - start > READ:
            raise ValueError(f"at most {READ >> 20} MB are read at once")
        data = self.bytes_of(start, end)
        if data and end < self._size:
            data += self._rest_of_character(end)
        begun = 0
        while start and begun < min(3, len(data)) and data[begun] & 0xC0 == 0x80:
            begun += 1
        if data:
            self._seen.add_bytes(self, start, start + len(data))
        return data[begun:].decode("utf-8", "replace")

    def _rest_of_character(self, end: int) -> bytes:
        rest = self.bytes_of(end, end + 3)
        length = 0
        while length < len(rest) and rest[length] & 0xC0 == 0x80:
            length += 1
        return rest[:length]

    # --- lines ---
    def lines(self) -> int:
        """How many lines it has."""
        if not self._size:
            return 0
        return self._newlines_before(self._size) + (
            self.bytes_of(self._size - 1, self._size) != b"\n"
        )

    def line_at(self, at: int) -> int:
        """The number of the line that byte `at` is in, from 1."""
        return self._newlines_before(at) + 1

    def start_of(self, line: int) -> int:
        """Where a line begins; the size when there is no such line."""
        wanted = line - 1
        if wanted <= 0:
            return 0
        while self._index[-1] < wanted and self._indexed < self._size:
            self._grow()
        from bisect import bisect_left

        block = bisect_left(self._index, wanted) - 1
        data = self.bytes_of(block * BLOCK, (block + 1) * BLOCK)
        pieces = data.split(b"\n", wanted - self._index[block])
        if len(pieces) <= wanted - self._index[block]:
            return self._size
        return block * BLOCK + len(data) - len(pieces[-1])

    def knows_line_at(self, at: int) -> bool:
        """Whether the line of byte `at` is known, or known at once."""
        return self._size <= SOON or at <= self._indexed + BLOCK

    @property
    def _indexed(self) -> int:
        return (len(self._index) - 1) * BLOCK

    def _grow(self) -> None:
        at = self._indexed
        self._index.append(self._index[-1] + self.bytes_of(at, at + BLOCK).count(b"\n"))

    def _newlines_before(self, at: int) -> int:
        block = at // BLOCK
        while len(self._index) <= block:
            self._grow()
        return self._index[block] + self.bytes_of(block * BLOCK, at).count(b"\n")

    def _after_newline(self, at: int) -> int:
        end = min(at + READ, self._size)
        found = self._mapped.find(b"\n", self._from + at, self._from + end)
        return end if found < 0 else found - self._from + 1

    def first(self, count: int) -> str:
        """Its first lines."""
        end = self.start_of(count + 1) if count > 0 else 0
        return self.between(0, min(end, READ))

    def last(self, count: int) -> str:
        """Its last lines, found from the end."""
        at = self._size
        if count <= 0 or not at:
            return ""
        if self.bytes_of(at - 1, at) == b"\n":
            at -= 1
        for _ in range(count):
            at = self.rfind(b"\n", max(0, self._size - READ), at)
            if at < 0:
                break
        start = at + 1 if at >= 0 else max(0, self._size - READ)
        return self.between(start, self._size)

    def between_lines(self, first: int, last: int) -> str:
        """Lines `first` to `last`, both included."""
        start = self.start_of(max(first, 1))
        return self.between(start, max(start, self.start_of(last + 1)))


sources: dict[str, Text] = {}
"""All sources by name, in their order."""


def _known(name: str) -> Text:
    return sources[name]


class Seen:
    """Which lines were shown since that was last told."""

    def __init__(self) -> None:
        self._lines: dict[str, list[tuple[int, int]]] = {}
        self._bytes: dict[str, list[tuple[int, int]]] = {}

    def add_lines(self, name: str, first: int, last: int) -> None:
        """Lines `first` to `last` of a source."""
        self._lines.setdefault(name, []).append((first, last))
        if len(self._lines[name]) > 2 * MOST:
            self._lines[name] = merged(self._lines[name], MOST)

    def add_bytes(self, text: Text, start: int, end: int) -> None:
        """Bytes `start` to `end` (not included) of a source, as far as it has them."""
        end = min(end, len(text))
        if start >= end:
            return
        parts = self._bytes.setdefault(text.name, [])
        if parts and parts[-1][1] == start:  # lines read one after the other
            parts[-1] = (parts[-1][0], end)
            return
        parts.append((start, end))
        if len(parts) > 2 * MOST:
            self._bytes[text.name] = merged(parts, MOST)

    def take(self) -> dict[str, list[tuple[str, int, int]]]:
        """`ranges` (source, first line, last line), and `bytes` (source, start, end) whose lines would cost to know."""
        later: list[tuple[str, int, int]] = []
        for name, parts in self._bytes.items():
            text = sources[name]
            for start, end in merged(parts, MOST):
                if text.knows_line_at(end):
                    self.add_lines(name, text.line_at(start), text.line_at(max(start, end - 1)))
                else:
                    later.append((name, start, end))
        found = [
            (name, *each) for name, parts in self._lines.items() for each in merged(parts, MOST)
        ]
        self._lines, self._bytes = {}, {}
        return {"ranges": found[:ALL], "bytes": later[:ALL]}


def merged(parts: Iterable[tuple[int, int]], most: int) -> list[tuple[int, int]]:
    """Sorted, those that touch joined; when there are more than `most`, those with the smallest gaps joined too."""
    gap = 1
    found = sorted(parts)
    while True:
        joined: list[tuple[int, int]] = []
        for first, last in found:
            if joined and first <= joined[-1][1] + gap:
                joined[-1] = (joined[-1][0], max(joined[-1][1], last))
            else:
                joined.append((first, last))
        if len(joined) <= most:
            return joined
        found, gap = joined, gap * 4

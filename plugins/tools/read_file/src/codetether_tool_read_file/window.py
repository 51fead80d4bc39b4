"""A window of lines, bounded in lines, in characters a line and in all, with a note on how to go on."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from codetether.api import Workspace

LINES = 2000
WIDTH = 2000
BUDGET = 48 * 1024  # UTF-8 bytes; the toolbox would cut the middle out of more than 64 KiB
END = 20  # lines shown for an offset past the end
CHUNK = 4 * 1024 * 1024


class Window(msgspec.Struct, frozen=True):
    """Lines `first` to `last` (from 1; `last` is smaller when there are none) of `total`, None when not counted."""

    text: str
    note: str
    first: int
    last: int
    total: int | None


def of_text(text: str, offset: int, limit: int) -> Window:
    """The window of a whole text."""
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    total = len(lines)
    first = max(1, offset)
    said = ""
    if first > total > 0:
        first = max(1, total - min(limit, END) + 1)
        said = f"offset {offset} is past the end; "
    shown = _within_budget(lines[first - 1 : first - 1 + limit], first)
    last = first + len(shown) - 1
    if last < total:
        said += f"lines {first}-{last} of {total}; go on with offset={last + 1}"
    elif said:
        said += f"the file has {total} lines"
    return Window("\n".join(shown), f"[{said}]" if said else "", first, last, total)


async def of_large(workspace: Workspace, path: str, offset: int, limit: int) -> Window:
    """The window of a file that is not held in memory: UTF-8, read in chunks up to the window and no further."""
    first = max(1, offset)
    reader = _Reader(first, limit)
    place = 0
    while not reader.full:
        chunk = await workspace.read(path, CHUNK if place else CHUNK // 16, place)
        if not chunk:
            reader.end()
            break
        place += len(chunk)
        reader.feed(chunk)
    shown = _within_budget([line.decode("utf-8", "replace") for line in reader.lines], first)
    last = first + len(shown) - 1
    if reader.ended and not shown:
        note = f"[offset {offset} is past the end; the file has {reader.line} lines]"
    elif reader.ended and len(shown) == len(reader.lines):
        note = f"[the file has {reader.line} lines]"
    else:
        note = f"[lines {first}-{last}; go on with offset={last + 1}]"
    return Window("\n".join(shown), note, first, last, reader.line if reader.ended else None)


class _Reader:
    """Collects the lines of a window from chunks; of a long line only what will be shown is kept."""

    def __init__(self, first: int, limit: int) -> None:
        self.lines: list[bytes] = []
        self.line = 0  # lines that are complete
        self.ended = False
        self._first = first
        self._limit = limit
        self._begun = b""
        self._open = False
        self._bytes = 0

    @property
    def full(self) -> bool:
        return len(self.lines) >= self._limit or self._bytes > BUDGET

    def feed(self, chunk: bytes) -> None:
        count = chunk.count(b"\n")
        if self.line + count < self._first - 1:  # the window is further on
            self.line += count
            self._open = not chunk.endswith(b"\n")
            self._begun = b""
            return
        start = 0
        while not self.full:
            end = chunk.find(b"\n", start)
            self._keep(chunk[start : end if end >= 0 else None])
            if end < 0:
                self._open = self._open or start < len(chunk)
                return
            self._finish()
            start = end + 1

    def end(self) -> None:
        if self._open:
            self._finish()
        self.ended = True

    def _keep(self, piece: bytes) -> None:
        if self.line + 1 >= self._first:
            self._begun += piece[: WIDTH * 4 + 4 - len(self._begun)]

    def _finish(self) -> None:
        self.line += 1
        self._open = False
        if self.line >= self._first:
            self.lines.append(self._begun.removesuffix(b"\r"))
            self._bytes += len(self._begun)
        self._begun = b""


def _within_budget(lines: list[str], first: int) -> list[str]:
    """The lines numbered, as many as fit; always one."""
    width = len(str(first + len(lines) - 1))
    shown: list[str] = []
    size = 0
    for line in _numbered(lines, first, width):
        size += len(line.encode("utf-8", "replace")) + 1
        if size > BUDGET and shown:
            break
        shown.append(line)
    return shown


def _numbered(lines: list[str], first: int, width: int) -> Iterator[str]:
    for number, line in enumerate(lines, first):
        cut = (
            line
            if len(line) <= WIDTH
            else f"{line[:WIDTH]}… [line cut, {len(line) - WIDTH} characters more]"
        )
        yield f"{number:>{width}}|{cut}"

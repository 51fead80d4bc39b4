"""Cutting a text where its kind has seams: between definitions, entries, turns or sections.

Imports nothing of ours and no third party: the worker process uses it too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple, Protocol

TARGET = 64_000  # bytes
TITLE = 80
LOOKED = 256_000  # bytes at the end of a part that are looked at for a seam
PIECE = 1 << 20
_SEAMS = {
    "code": rb"(?:(?:pub(?:\([a-z]+\))?|export|default|async|static|public|private|protected|abstract|final|unsafe|inline)[ \t]+){0,6}"
    rb"(?:class|def|func|function|fn|impl|struct|enum|trait|interface|module|namespace|type|const|let|var|mod|package|template)\b"
    rb"|@[\w.]+|#\[|(?:public|private|protected)[ \t]",
    "logs": rb"\[?\d{4}[-/]\d\d[-/]\d\d|\[?\d\d:\d\d:\d\d|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|<\d{1,3}>|[IWEF]\d{4} "
    rb"|\[?(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|FATAL|CRITICAL)\b|\{",
    "conversation": rb"\[?(?:User|Assistant|Human|AI|System|Tool|Agent|Q|A)\b[^\n:\]]{0,40}\]?:|\[Tool |"
    rb"<(?:user|assistant|system|human)>|#{1,3} (?:User|Assistant|Human|System)\b|\{\"(?:role|type)\"|From: ",
    "documents": rb"#{1,6} |={3,}|-{3,}|\\(?:chapter|section|subsection)\b|(?:Chapter|CHAPTER|Part|PART|Section|SECTION) [\dIVXLC]+|<h[1-6]|\f",
}
"""At the start of a line, what begins something new. Bounded repetition only: none goes back over what it took."""


class Bytes(Protocol):
    """What is cut: bytes, or a mapped file, of which slices are bytes."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> bytes: ...


class Chunk(NamedTuple):
    """A part of a text: bytes `start` to `end` (not included), lines `first_line` to `last_line` (from 1, included).

    `title`: its first line with text, at most 80 characters. A line longer than a chunk is in several.
    """

    start: int
    end: int
    first_line: int
    last_line: int
    title: str


def chunks(
    data: Bytes,
    kind: str,
    *,
    target_bytes: int = TARGET,
    start: int = 0,
    end: int | None = None,
    first_line: int = 1,
) -> Iterator[Chunk]:
    """The parts of `data` from `start` to `end`, in order; together they hold every byte exactly once.

    A part is at most `target_bytes` (at least 64) long and ends at the last seam of its kind in its second half, else
    at the last empty line there, else at the last end of a line there, else between characters. `kind`: code, logs,
    conversation, documents; anything else is cut as documents. `first_line` is the number of the line `start` is in.
    Reads at most 1 MB at a time.
    """
    seam = re.compile(rb"\n(?=" + _SEAMS.get(kind, _SEAMS["documents"]) + rb")")
    size = max(target_bytes, 64)
    end = len(data) if end is None else end
    line = first_line
    while start < end:
        stop = min(start + size, end)
        if stop < end:
            looked = max(stop - LOOKED, start + size // 2)
            stop = looked + _cut(data[looked:stop], seam)
        newlines, at_end = _newlines(data, start, stop), data[stop - 1 : stop] == b"\n"
        yield Chunk(
            start,
            stop,
            line,
            line + newlines - at_end,
            _title(data[start : min(stop, start + 2_000)]),
        )
        line += newlines
        start = stop


def _newlines(data: Bytes, start: int, end: int) -> int:
    return sum(data[at : min(at + PIECE, end)].count(b"\n") for at in range(start, end, PIECE))


def _cut(part: bytes, seam: re.Pattern[bytes]) -> int:
    """How much of the end of a chunk still belongs to it."""
    found = -1
    for match in seam.finditer(part):
        found = match.start()
    if found < 0:
        found = part.rfind(b"\n\n")
        found += found >= 0
    if found < 0:
        found = part.rfind(b"\n")
    return found + 1 if found >= 0 else _whole(part)


def _whole(part: bytes) -> int:
    """Its length without a last UTF-8 character that is not all there; all of it when that leaves nothing."""
    at = len(part) - 1
    while at > 0 and at > len(part) - 4 and part[at] & 0xC0 == 0x80:
        at -= 1
    lead = part[at]
    needed = 1 if lead < 0xC0 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    return at if at > 0 and len(part) - at < needed else len(part)


def _title(part: bytes) -> str:
    for piece in part.split(b"\n"):
        if text := piece.decode("utf-8", "replace").strip():
            return text[:TITLE]
    return ""

r"""A text file as a document: its text for reading and matching, and every byte for writing back.

Encodings, in this order: UTF-8 or UTF-16 by byte order mark; a NUL in the first 8 KB means binary; UTF-8; else a file
that is mostly UTF-8 keeps its invalid bytes (shown as U+FFFD), and any other is taken for Windows-1252, or Latin-1
when it holds bytes that Windows-1252 lacks. All of these give back the same bytes.

Lines end with `\n` or `\r\n`, mixed as they may be; `\r` alone ends lines only in a file that holds no `\n`. Nothing
else ends a line: not U+2028, not a form feed.
"""

from __future__ import annotations

import codecs
import re
from bisect import bisect_left
from collections.abc import Iterable
from functools import cached_property

import msgspec
from codetether.api import ToolError

SNIFFED = 8192
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WIDE = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_INVALID = "[\udc80-\udcff]"  # compiled (and kept, by re) when first needed: most files hold none


class NotText(Exception):
    """These bytes are no text that could be changed without harm."""


class Span(msgspec.Struct, frozen=True):
    """Replace `text[start:end]` of a document by `new` (its lines end with a bare newline)."""

    start: int
    end: int
    new: str


class Document(msgspec.Struct, frozen=True, dict=True):
    """A decoded file. `raw` holds the line ends as they are and invalid bytes as surrogates; `text` is for reading.

    `encoding`: a codec name; `mark`: the byte order mark; `newline`: the commonest line end, "" when there is none.
    """

    raw: str
    encoding: str = "utf-8"
    mark: bytes = b""

    @cached_property
    def text(self) -> str:
        """The text with bare newlines and U+FFFD for invalid bytes: the same characters elsewhere."""
        text = self.raw
        if "\r" in text:
            text = text.replace("\r\n", "\n") if "\n" in text else text.replace("\r", "\n")
        return text if text.isascii() or not self.invalid else re.sub(_INVALID, "\ufffd", text)

    @cached_property
    def invalid(self) -> bool:
        """Whether some bytes are not valid in the encoding."""
        return not self.raw.isascii() and re.search(_INVALID, self.raw) is not None

    @cached_property
    def newline(self) -> str:
        """The commonest line end; the first of equals in the order newline, carriage return and newline."""
        if "\n" not in self.raw:
            return "\r" if "\r" in self.raw else ""
        if not self._pairs:
            return "\n"
        return "\r\n" if len(self._pairs) * 2 > self.raw.count("\n") else "\n"

    @cached_property
    def mixed(self) -> bool:
        """Whether lines end in more than one way."""
        return 0 < len(self._pairs) < self.raw.count("\n")

    @cached_property
    def _pairs(self) -> list[int]:
        """Where in `text` the newlines stand that are two characters in `raw`."""
        if "\r" not in self.raw:  # one character is found many times faster than two
            return []
        return [
            match.start() - number for number, match in enumerate(re.finditer("\r\n", self.raw))
        ]

    def encode(self, text: str) -> bytes:
        """`text`, whose line ends are the file's own, in the file's encoding. Raises ToolError for what it lacks."""
        try:
            return text.encode(self.encoding)
        except UnicodeEncodeError as error:
            bad = text[error.start]
            raise ToolError(
                f"This file is {self.encoding}, which cannot hold {bad!r} (U+{ord(bad):04X}). Use other characters.",
                "INVALID_ARGUMENT",
            ) from None

    def replace(self, spans: Iterable[Span]) -> bytes:
        """The file's bytes with `spans` (in order, not overlapping) replaced; all other bytes are the same.

        What a span's old and new text share at both ends is not touched either. Raises ToolError when the new text
        cannot be encoded, or would overwrite bytes that could not be read.
        """
        pieces, done = [self.mark], 0
        for span in spans:
            start, end, new = self._narrowed(span)
            first, last = self._place(start), self._place(end)
            old = self.raw[first:last]
            if "\ufffd" in new and re.search(_INVALID, old):
                raise ToolError(
                    "The text to replace holds bytes that are not valid text. Choose old_string without them.",
                    "INVALID_ARGUMENT",
                )
            pieces += [self._bytes(done, first), self.encode(self._with_line_ends(new, old, first))]
            done = last
        pieces.append(self._bytes(done, len(self.raw)))
        return b"".join(pieces)

    def _bytes(self, start: int, end: int) -> bytes:
        return self.raw[start:end].encode(
            self.encoding, "surrogateescape" if self.encoding == "utf-8" else "strict"
        )

    def _place(self, position: int) -> int:
        """The place in `raw` of a place in `text`."""
        return position + bisect_left(self._pairs, position) if self._pairs else position

    def _narrowed(self, span: Span) -> tuple[int, int, str]:
        old, new = self.text[span.start : span.end], span.new
        head = common_prefix(old, new)
        tail = common_prefix(old[head:][::-1], new[head:][::-1])
        return span.start + head, span.end - tail, new[head : len(new) - tail]

    def _with_line_ends(self, new: str, old: str, place: int) -> str:
        """`new` with the line ends of the text it replaces, and the last or commonest of them for further lines."""
        if "\n" not in new or not (self._pairs or self.newline == "\r"):
            return new
        if self.newline == "\r":
            return new.replace("\n", "\r")
        ends = re.findall("\r?\n", old)
        rest = ends[-1] if ends else self._end_near(place)
        lines = new.split("\n")
        ends += [rest] * (len(lines) - 1 - len(ends))
        return "".join(
            line + end for line, end in zip(lines, [*ends[: len(lines) - 1], ""], strict=True)
        )

    def _end_near(self, place: int) -> str:
        if not self.mixed:
            return self.newline
        before = self.raw.rfind("\n", 0, place)
        if before >= 0:
            return "\r\n" if self.raw[before - 1 : before] == "\r" else "\n"
        return self.newline


def decode(data: bytes) -> Document:
    """The document in `data`. Raises NotText."""
    if data.startswith(_WIDE):
        raise NotText
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            try:
                return Document(data[len(mark) :].decode(encoding), encoding, mark)
            except UnicodeDecodeError:
                raise NotText from None
    if b"\0" in data[:SNIFFED]:
        raise NotText
    try:
        return Document(data.decode())
    except UnicodeDecodeError:
        return _unmarked(data)


def _unmarked(data: bytes) -> Document:
    mostly = data.decode("utf-8", "surrogateescape")
    invalid = len(re.findall(_INVALID, mostly))
    foreign = len(mostly) - len(mostly.encode("ascii", "ignore"))
    if invalid * 2 <= foreign:
        return Document(mostly)
    try:
        return Document(data.decode("cp1252"), "cp1252")
    except UnicodeDecodeError:
        return Document(data.decode("latin-1"), "latin-1")


def render(content: str, like: Document | None) -> bytes:
    """`content` as the bytes of a whole file, in the encoding, with the mark and the line ends of `like`.

    Content that brings its own carriage returns keeps them; what an 8-bit encoding cannot hold becomes UTF-8. Raises
    ToolError for text that is no valid Unicode.
    """
    try:
        data = content.encode()
    except UnicodeEncodeError:
        raise ToolError("The content holds half of a surrogate pair.", "INVALID_ARGUMENT") from None
    if like is None:
        return data
    if like.newline not in ("", "\n") and "\r" not in content:
        content = content.replace("\n", like.newline)
    content = content.removeprefix("\ufeff") if like.mark else content
    try:
        return like.mark + content.encode(like.encoding)
    except UnicodeEncodeError:
        return content.encode()


def common_prefix(one: str, other: str) -> int:
    """How many characters both begin with: by halving, because comparing slices is fast and loops are not."""
    low, high = 0, min(len(one), len(other))
    if one[:high] == other[:high]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low

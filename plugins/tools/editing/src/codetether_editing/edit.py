"""One edit: find the old text, replace it, change no other byte."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache

import msgspec
from codetether.api import ToolError

from codetether_editing.document import Document, NotText, Span, decode
from codetether_editing.kinds import kind_of
from codetether_editing.match import Lines, find
from codetether_editing.near import closest


class EditOutcome(msgspec.Struct, frozen=True):
    """What an edit made: the whole file's `data`, the `strategy` that found the text (codetether_editing.match), and
    the `lines` (from 1) of the old file at which something was replaced.
    """

    data: bytes
    strategy: str
    lines: tuple[int, ...]


def apply_edit(data: bytes, old: str, new: str, replace_all: bool = False) -> EditOutcome:
    """`data` with `old` replaced by `new`; it must be there once, or `replace_all` is set.

    Line ends in `old` and `new` may be any; the file's are kept. Raises ToolError: INVALID_ARGUMENT (empty `old`,
    binary file, text the encoding cannot hold), NO_OP, NOT_FOUND with the closest block, AMBIGUOUS_MATCH with the
    lines in `meta` (`matches_found`, `lines`).
    """
    if not old:
        raise ToolError(
            "old_string is empty. Give the text to replace, or use write_file.", "INVALID_ARGUMENT"
        )
    document = _document(data)
    old, new = _as_text(old, document), _as_text(new, document)
    if old == new:
        raise ToolError("old_string and new_string are the same: nothing to change.", "NO_OP")
    text = document.text

    @lru_cache(maxsize=1)
    def lines() -> Lines:
        return Lines(text)

    found = find(text, old, new, lines)
    if found is None:
        raise ToolError(f"old_string is not in the file. {closest(lines(), old)}", "NOT_FOUND")
    numbers = line_numbers(text, found.spans)
    if len(found.spans) > 1 and not replace_all:
        raise _ambiguous(found.strategy, numbers)
    changed = document.replace(found.spans)
    if changed == data:
        raise ToolError("The file already reads so: nothing to change.", "NO_OP")
    return EditOutcome(changed, found.strategy, numbers)


def line_numbers(text: str, spans: Sequence[Span]) -> tuple[int, ...]:
    """The line (from 1) at which each span begins."""
    if len(spans) <= 50:
        return tuple(text.count("\n", 0, span.start) + 1 for span in spans)
    ends = [place for place, character in enumerate(text) if character == "\n"]
    return tuple(bisect_right(ends, span.start - 1) + 1 for span in spans)


def _document(data: bytes) -> Document:
    try:
        return decode(data)
    except NotText:
        raise ToolError(
            f"The file is no text ({kind_of(data[:512])}, {len(data)} bytes): it cannot be edited.",
            "INVALID_ARGUMENT",
        ) from None


def _as_text(text: str, document: Document) -> str:
    """`text` with bare newlines, as the document's text has them."""
    text = text.replace("\r\n", "\n")
    return text.replace("\r", "\n") if document.newline == "\r" else text


def _ambiguous(strategy: str, numbers: tuple[int, ...]) -> ToolError:
    shown = ", ".join(map(str, numbers[:10])) + (", ..." if len(numbers) > 10 else "")
    how = "" if strategy == "exact" else f" (matched {strategy})"
    return ToolError(
        f"old_string is in the file {len(numbers)} times{how}: lines {shown}. Add lines around it until it is unique, "
        "or set replace_all.",
        "AMBIGUOUS_MATCH",
        matches_found=len(numbers),
        lines=list(numbers[:100]),
    )

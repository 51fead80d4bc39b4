"""What a patch says: files and hunks, whichever of the usual ways it is written in.

Unified diffs as git, GNU diff and models write them (`patch_unified`), and the envelope of `*** Begin Patch`
(`patch_envelope`). Nothing here looks at a file.
"""

from __future__ import annotations

import msgspec
from codetether.api import ToolError

BEGIN = "*** Begin Patch"


class Hunk(msgspec.Struct):
    """One change. `lines` are (" ", "-" or "+", text with its newline if it has one); `start` is the line (from 1) of
    the old file it says it is at, None when it does not say; `hints` are lines that come before it in the file;
    `end`: it is at the end of the file.
    """

    lines: list[tuple[str, str]]
    start: int | None = None
    hints: tuple[str, ...] = ()
    end: bool = False

    @property
    def old(self) -> list[str]:
        """The lines that must be there."""
        return [text for sign, text in self.lines if sign != "+"]

    @property
    def added(self) -> int:
        """How many lines longer it makes the file."""
        return sum(sign == "+" for sign, _ in self.lines) - sum(s == "-" for s, _ in self.lines)


class FilePatch(msgspec.Struct):
    """What is done to one file. `old` None: it is made; `new` None: it is removed; both and different: it is moved, or
    with `copy` copied. `executable`: what the bits to execute become. `exact`: the patch tells final newlines.
    """

    old: str | None
    new: str | None
    hunks: list[Hunk] = []
    executable: bool | None = None
    copy: bool = False
    exact: bool = True
    other: str | None = None  # the other name a diff without git's headers gives

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path it names."""
        return tuple(dict.fromkeys(p for p in (self.old, self.new, self.other) if p is not None))


def wrong(text: str) -> ToolError:
    """A patch that cannot be understood."""
    return ToolError(f"{text} Nothing was changed.", "INVALID_ARGUMENT")


def parse(text: str) -> list[FilePatch]:
    """The files a patch is about, in its order. Raises ToolError INVALID_ARGUMENT."""
    from codetether_editing import patch_envelope, patch_unified

    lines = text.split("\n")
    marks = [number for number, line in enumerate(lines) if line.strip() == BEGIN]
    files = patch_envelope.parse(lines[marks[0] :]) if marks else patch_unified.parse(lines)
    if not files:
        raise wrong("No file is named in the patch. Write a unified diff, or *** Begin Patch.")
    return files

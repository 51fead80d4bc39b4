"""Giving a replacement the indentation of the file when the model's differs."""

from __future__ import annotations

from collections.abc import Sequence


def reindented(new: str, old: Sequence[str], found: Sequence[str]) -> str:
    """`new` indented as if the model had written `found` where it wrote `old`.

    An indentation that the model used in `old` becomes what the file has on that line. One it did not use is the
    nearest shallower one plus the rest, the rest in tabs when the file uses tabs; or the nearest deeper one less the
    difference.
    """
    pairs = _pairs(old, found)
    if not pairs or all(mine == theirs for mine, theirs in pairs.items()):
        return new
    return "\n".join(_line(line, pairs) for line in new.split("\n"))


def _pairs(old: Sequence[str], found: Sequence[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for mine, theirs in zip(old, found, strict=False):
        if mine.strip() and mine.strip() == theirs.strip():
            pairs.setdefault(indent_of(mine), indent_of(theirs))
    if not pairs and old and found:
        pairs[indent_of(old[0])] = indent_of(found[0])
    return pairs


def indent_of(line: str) -> str:
    """The blanks a line begins with."""
    return line[: len(line) - len(line.lstrip())]


def _line(line: str, pairs: dict[str, str]) -> str:
    if not line.strip():
        return line
    indent = indent_of(line)
    return _translated(indent, pairs) + line[len(indent) :]


def _translated(indent: str, pairs: dict[str, str]) -> str:
    if indent in pairs:
        return pairs[indent]
    shallower = [known for known in pairs if indent.startswith(known)]
    if shallower:
        nearest = max(shallower, key=len)
        return pairs[nearest] + _in_their_unit(indent[len(nearest) :], pairs)
    deeper = [known for known in pairs if known.startswith(indent)]
    if deeper:
        nearest = min(deeper, key=len)
        theirs = pairs[nearest]
        surplus = len(_in_their_unit(nearest[len(indent) :], pairs))
        return theirs[: max(0, len(theirs) - surplus)]
    return indent


def _in_their_unit(rest: str, pairs: dict[str, str]) -> str:
    """`rest` in the file's kind of blanks: so many spaces a tab as a pair of known indentations tells, or 4."""
    theirs = "".join(pairs.values())
    if "\t" in theirs and " " not in theirs and rest and not rest.strip(" "):
        widths = [
            len(a) // len(b)
            for a, b in pairs.items()
            if a and b and not a.strip(" ") and len(a) % len(b) == 0
        ]
        width = next((width for width in widths if width), 4)
        return "\t" * max(1, round(len(rest) / width))
    if "\t" not in theirs and theirs and rest and not rest.strip("\t"):
        widths = [
            len(b) // len(a)
            for a, b in pairs.items()
            if a and b and not a.strip("\t") and len(b) % len(a) == 0
        ]
        return " " * (next((width for width in widths if width), 4) * len(rest))
    return rest

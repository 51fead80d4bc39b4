"""Help when the text to replace is not in the file: the block that comes closest, and how it differs.

Bounded: votes by equal lines first, then the lines that share the most words with the longest wanted line.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from codetether_editing.match import Lines, likeness

COMMON = 50
SCANNED = 20_000
SHOWN = 12
WIDTH = 160
_WORD = re.compile(r"\w+")
_NUMBERED = re.compile(r"\s*\d+\|")


def closest(lines: Lines, old: str) -> str:
    """A hint for the model: the closest block with its line numbers and what differs, or that there is none."""
    wanted = old.strip("\n").split("\n")
    if all(_NUMBERED.match(line) for line in wanted if line.strip()):
        return "old_string holds the line numbers that read_file shows before each line; leave them out."
    keys = [line.strip() for line in wanted]
    first = _by_votes(lines.keys, keys)
    if first is None:
        first = _by_words(lines.keys, keys)
    if first is None:
        return "Nothing in the file is close to it. Read the file again."
    first = max(first, 0)
    block = lines.all[first : first + len(wanted)]
    return (
        f"Closest is line {first + 1} to {first + len(block)}; - is your old_string, + is the file:\n"
        + "\n".join(_difference(wanted, block))
    )


def _by_votes(keys: Sequence[str], wanted: Sequence[str]) -> int | None:
    places: dict[str, list[int]] = {key: [] for key in wanted if key}
    for place, key in enumerate(keys):
        if key in places and len(places[key]) <= COMMON:
            places[key].append(place)
    votes: Counter[int] = Counter()
    for number, key in enumerate(wanted):
        if key and len(places[key]) <= COMMON:
            for place in places[key]:
                votes[place - number] += len(key)
    if not votes:
        return None
    first, weight = max(votes.items(), key=lambda vote: (vote[1], -vote[0]))
    return first if weight * 4 >= sum(map(len, wanted)) else None


def _by_words(keys: Sequence[str], wanted: Sequence[str]) -> int | None:
    number = max(range(len(wanted)), key=lambda at: len(wanted[at]))
    words = set(_WORD.findall(wanted[number][:WIDTH]))
    if not words:
        return None
    scored = [
        (len(words.intersection(_WORD.findall(key[:WIDTH]))), -place)
        for place, key in enumerate(keys[:SCANNED])
        if key
    ]
    best = [-place for shared, place in sorted(scored, reverse=True)[:20] if shared]
    ranked = [(likeness(wanted[number], keys[place]), -place) for place in best]
    if not ranked or max(ranked)[0] < 0.6:
        return None
    return -max(ranked)[1] - number


def _difference(wanted: Sequence[str], block: Sequence[str]) -> list[str]:
    """Both, line by line, where they differ."""
    shown: list[str] = []
    for number in range(max(len(wanted), len(block))):
        mine = wanted[number] if number < len(wanted) else None
        theirs = block[number] if number < len(block) else None
        if mine == theirs:
            continue
        if len(shown) >= SHOWN:
            return [*shown, "..."]
        shown += [
            f"{sign} {line[:WIDTH]}"
            for sign, line in (("-", mine), ("+", theirs))
            if line is not None
        ]
    return shown

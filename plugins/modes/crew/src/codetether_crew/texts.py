"""Texts for models, each in a file of its own beside the code that sends it."""

from __future__ import annotations

from functools import cache
from pathlib import Path


def filled(path: Path, /, **given: str) -> str:
    """The text in `path` with its `{words}` replaced; braces in what is put in are left alone."""
    before, parts = _parts(path)
    done = [before]
    for word, closed, rest in parts:
        done.append(
            f"{given[word]}{rest}" if closed and word in given else f"{{{word}{closed}{rest}"
        )
    return "".join(done)


@cache
def _parts(path: Path) -> tuple[str, list[tuple[str, str, str]]]:
    """What stands before the first brace, and from each brace on: a word, the brace that closes it, the rest."""
    before, *parts = path.read_text("utf-8").strip().split("{")
    return before, [part.partition("}") for part in parts]

"""Texts for models, each in a file of its own beside the code that sends it."""

from __future__ import annotations

from functools import cache
from pathlib import Path


def filled(path: Path, /, **given: str) -> str:
    """The text in `path` with its `{words}` replaced; braces in what is put in are left alone."""
    parts = _text(path).split("{")
    done = [parts[0]]
    for part in parts[1:]:
        word, closed, rest = part.partition("}")
        done.append(f"{given[word]}{rest}" if closed and word in given else "{" + part)
    return "".join(done)


@cache
def _text(path: Path) -> str:
    return path.read_text("utf-8").strip()

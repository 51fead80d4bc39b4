"""Annotations that are kept as text, evaluated all of a class at once: msgspec takes each by itself, and some twice."""

from __future__ import annotations

import sys


def evaluate(cls: type) -> None:
    """Replace the annotations of `cls` and of its bases by what they say. What cannot be evaluated stays as it is."""
    for each in cls.__mro__:
        written = vars(each).get("__annotations__")
        if written and all(isinstance(said, str) for said in written.values()):
            _evaluate(each, written)


def _evaluate(cls: type, written: dict[str, str]) -> None:
    module = sys.modules.get(cls.__module__)
    if module is None:
        return
    text = f"({', '.join(written.values())},)"
    try:  # as msgspec does it: the names of the module before those of the class
        values = eval(text, dict(vars(cls)), vars(module))  # noqa: S307 - the module's own words
    except Exception:  # msgspec says which of them, and why
        return
    cls.__annotations__ = dict(zip(written, values, strict=True))

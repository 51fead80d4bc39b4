"""Loading a library without parts that come with what else is installed, and that nothing here uses."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(*names: str) -> Iterator[None]:
    """What is imported inside finds the modules `names` missing, unless they are loaded already."""
    left_out = [name for name in names if name not in sys.modules]
    for name in left_out:
        sys.modules[name] = None  # type: ignore[assignment]  # so Python is told that it cannot be had
    try:
        yield
    finally:
        for name in left_out:
            sys.modules.pop(name, None)

"""What the index holds: a symbol, or a piece of a file that has none."""

from __future__ import annotations

from typing import NamedTuple


class Symbol(NamedTuple):
    """One thing that can be found. Lines count from 1, both ends belong to it; `body` is without what is nested in it."""

    kind: str
    name: str
    container: str
    signature: str
    doc: str
    body: str
    first: int
    last: int

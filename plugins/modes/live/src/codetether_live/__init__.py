"""A live view of long work: what each part is doing, in place on a terminal, as plain lines in a pipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codetether.api import lazy

if TYPE_CHECKING:
    from codetether_live.board import STATES, Board, Row
    from codetether_live.drawing import picture
    from codetether_live.screen import only, showing

_WHERE = {
    "board": "STATES Board Row",
    "drawing": "picture",
    "screen": "only showing",
}

__all__ = ["STATES", "Board", "Row", "only", "picture", "showing"]

__getattr__ = lazy(globals(), _WHERE)

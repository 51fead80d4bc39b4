"""What a dialect writes of tools is the same in every request: it is written once, for all steps of all sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from codetether.api import ToolSchema

KEPT = 1024


class Written:
    """The JSON of what `write` makes of a tool. A tool's parameters must not change once they were seen here."""

    def __init__(self, write: Callable[[ToolSchema], Any]) -> None:
        self._write = write
        # The parameters are kept with it, so that no others come to have their id.
        self._known: dict[tuple[int, str, str], tuple[dict[str, Any], msgspec.Raw]] = {}

    def of(self, tool: ToolSchema) -> msgspec.Raw:
        """The JSON for `tool`, to be put into a larger text."""
        key = (id(tool.parameters), tool.name, tool.description)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= KEPT:
                self._known.clear()
            json = msgspec.Raw(msgspec.json.encode(self._write(tool)))
            known = self._known[key] = (tool.parameters, json)
        return known[1]

"""Long pastes: a short mark stands in the input, the text itself is put back when the message is sent."""

from __future__ import annotations

import re

LONG, TALL = 1_500, 15  # characters, lines: from here on a paste is a mark
LARGEST = 4_000_000
_MARK = r"\[pasted (\d+): [\d,]+ characters\]"  # compiled (and kept, by re) when first needed


class Pastes:
    """The pastes of the message that is being written."""

    def __init__(self) -> None:
        self._texts: dict[int, str] = {}
        self._count = 0

    def taken(self, text: str) -> str:
        """What to put into the input for a pasted text."""
        text = text.replace("\r\n", "\n").replace("\r", "\n")[:LARGEST]
        if len(text) < LONG and text.count("\n") < TALL:
            return text
        self._count += 1
        self._texts[self._count] = text
        return f"[pasted {self._count}: {len(text):,} characters]"

    def filled(self, text: str) -> str:
        """A message with every mark replaced by what was pasted."""
        return re.sub(_MARK, lambda mark: self._texts.get(int(mark[1]), mark[0]), text)

    def forget(self) -> None:
        """The message was sent."""
        self._texts.clear()

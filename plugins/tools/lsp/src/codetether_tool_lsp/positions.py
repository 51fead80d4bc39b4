r"""Places in a text: characters as Python counts them, and units as a server counts them.

Lines end as the protocol says: `\n`, `\r\n` or `\r`. A server counts columns in UTF-16 code units unless it chose UTF-8
bytes or UTF-32 characters at its start. What lies behind the end of a line means its end.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Any

ENCODINGS = ("utf-32", "utf-8", "utf-16")  # the order in which we like them
_END = re.compile("\r\n|\n|\r")


class Places:
    """The lines of one text, for a server that counts in `encoding`."""

    def __init__(self, text: str, encoding: str = "utf-16") -> None:
        self.text = text
        self.encoding = encoding
        self._starts = [0]
        self._ends: list[int] = []
        for match in _END.finditer(text):
            self._ends.append(match.start())
            self._starts.append(match.end())
        self._ends.append(len(text))

    def __len__(self) -> int:
        return len(self._starts)

    def line(self, number: int) -> str:
        """Line `number`, counted from 0, without its end; nothing when there is none."""
        if not 0 <= number < len(self._starts):
            return ""
        return self.text[self._starts[number] : self._ends[number]]

    def offset(self, position: dict[str, Any]) -> int:
        """Where in the text the server's `position` is."""
        number: int = position["line"]
        if number >= len(self._starts):
            return len(self.text)
        line = self.line(number)
        return self._starts[number] + characters(line, position["character"], self.encoding)

    def position(self, line: int, column: int) -> dict[str, int]:
        """The server's name for a place: `line` and `column` counted from 0, in characters."""
        text = self.line(line)
        return {"line": line, "character": units(text[:column], self.encoding)}

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column, counted from 0, of an offset."""
        line = bisect_right(self._starts, offset) - 1
        return line, offset - self._starts[line]

    def end(self) -> dict[str, int]:
        """The server's name for the end of the text."""
        last = len(self._starts) - 1
        return self.position(last, len(self.line(last)))


def units(text: str, encoding: str) -> int:
    """How long `text` is for a server."""
    if encoding == "utf-32" or text.isascii():
        return len(text)
    if encoding == "utf-8":
        return len(text.encode("utf-8", "surrogatepass"))
    return len(text) + sum(char > "\uffff" for char in text)


def characters(line: str, count: int, encoding: str) -> int:
    """How many characters the first `count` units of `line` are; a place within a character means its start."""
    if encoding == "utf-32" or line.isascii():
        return min(count, len(line))
    if encoding == "utf-8":
        head = line.encode("utf-8", "surrogatepass")[:count]
        return len(head.decode("utf-8", "ignore"))
    for index, char in enumerate(line):
        count -= 2 if char > "\uffff" else 1
        if count < 0:
            return index
    return len(line)

"""A list to choose from: what is typed narrows it, the selection stays in sight."""

from __future__ import annotations

from codetether_conversation import Choosing, Entry


class Picker:
    """One Choosing on the screen."""

    def __init__(self, choosing: Choosing) -> None:
        self.about = choosing.about
        self.filter = ""
        self.at = 0
        self._moved = False
        self.replace(choosing)

    def replace(self, choosing: Choosing) -> None:
        """New entries; the selection stays on its entry, or on what is in force until the person chose another."""
        before = self.selected.key if self._moved and self.selected else choosing.current
        self.title, self.current, self.more = choosing.title, choosing.current, choosing.more
        self._entries, self.columns, self.notes = choosing.entries, choosing.columns, choosing.notes
        keys = [entry.key for entry in self.entries]
        self.at = keys.index(before) if before in keys else min(self.at, max(len(keys) - 1, 0))

    @property
    def entries(self) -> list[Entry]:
        """Those that hold every word of the filter."""
        words = self.filter.casefold().split()
        return [entry for entry in self._entries if all(word in _text(entry) for word in words)]

    @property
    def selected(self) -> Entry | None:
        """The entry under the cursor."""
        entries = self.entries
        return entries[self.at] if self.at < len(entries) else None

    def move(self, step: int) -> None:
        """Up or down, no further than the ends."""
        self._moved = True
        self.at = max(0, min(self.at + step, len(self.entries) - 1))

    def type(self, text: str) -> None:
        """Add to the filter."""
        self.filter += text
        self.at, self._moved = 0, True

    def erase(self) -> None:
        """Take the last character off the filter."""
        self.filter = self.filter[:-1]
        self.at = 0

    def window(self, height: int) -> tuple[int, list[Entry]]:
        """The entries in sight and the index of the first: the selection is among them."""
        entries = self.entries
        first = max(0, min(self.at - height // 2, len(entries) - height))
        return first, entries[first : first + height]


def _text(entry: Entry) -> str:
    return " ".join((entry.key, entry.label, entry.group, *entry.facts)).casefold()

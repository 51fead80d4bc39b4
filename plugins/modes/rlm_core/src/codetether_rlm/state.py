"""What is kept of a worker's variables while it lives, so that the next process can have them when it ends."""

from __future__ import annotations

import msgspec

NAMED = 20


class Kept(msgspec.Struct):
    """What changed with a cell. `values` are pickles, in hexadecimal, which only a worker opens; `unsaved` None: nothing
    was pickled in time. `written`: definitions and imports by name.
    """

    values: dict[str, str] = {}
    gone: list[str] = []
    unsaved: list[str] | None = None
    written: list[tuple[str, str]] = []


class State:
    """The variables as they were after the last cell that ended well. `room`: bytes of all together."""

    def __init__(self, room: int) -> None:
        self.values: dict[str, str] = {}
        self.written: dict[str, str] = {}
        self._unsaved: list[str] = []
        self._room = room

    def keep(self, kept: Kept | None) -> None:
        """Take over what changed."""
        if kept is None or kept.unsaved is None:
            return  # what was kept before is still good
        for name in kept.gone:
            self.values.pop(name, None)
        self.values.update(kept.values)
        for name, text in kept.written:
            self.written.pop(name, None)
            self.written[name] = text
        self._unsaved = kept.unsaved[:100]
        if sum(map(len, (*self.values.values(), *self.written.values()))) > 4 * self._room:
            self._unsaved = [*self.values][:100]  # more than an honest worker sends
            self.values = {}

    def told(self) -> str:
        """What the next process has again, and what not, for the model."""
        kept = f"kept: {named(sorted(self.values))}" if self.values else "no variables were kept"
        lost = self.lost()
        return f"{kept}; lost: {named(lost)}" if lost else kept

    def lost(self) -> list[str]:
        """The variables the next process will not have, once."""
        lost, self._unsaved = self._unsaved, []
        return lost


def named(names: list[str]) -> str:
    """The first of them, and how many more."""
    more = len(names) - NAMED
    return ", ".join(name[:80] for name in names[:NAMED]) + (
        f" and {more} more" if more > 0 else ""
    )

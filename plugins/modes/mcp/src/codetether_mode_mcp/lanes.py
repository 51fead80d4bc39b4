"""Which calls run side by side: as within a turn, those that only look do, and one that acts runs alone, in its turn."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


class _Place:
    __slots__ = ("alone", "begun")

    def __init__(self, alone: bool) -> None:
        self.alone = alone
        self.begun = trio.Event()


class Lanes:
    """First come, first served; at most `width` side by side."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._running = 0
        self._alone = False
        self._waiting: deque[_Place] = deque()

    @asynccontextmanager
    async def lane(self, *, alone: bool) -> AsyncIterator[None]:
        """Wait for the turn, and hold it."""
        place = _Place(alone)
        self._waiting.append(place)
        self._admit()
        try:
            await place.begun.wait()
            yield
        finally:
            if place.begun.is_set():
                self._running -= 1
                self._alone = False
            else:
                self._waiting.remove(place)
            self._admit()

    def _admit(self) -> None:
        while self._waiting:
            first = self._waiting[0]
            free = self._width if not first.alone else 1
            if self._alone or self._running >= free:
                return
            self._waiting.popleft()
            self._running += 1
            self._alone = first.alone
            first.begun.set()

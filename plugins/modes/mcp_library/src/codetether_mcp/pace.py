"""How fast a server may speak: what is over is not lost, it waits where the server can feel it."""

from __future__ import annotations

import trio

BURST = 2_000.0  # messages at once
RATE = 500.0  # messages a second in the long run


class Pace:
    """One server's. A message costs about a millisecond to take in, and everything else waits for that."""

    def __init__(self) -> None:
        self._room = BURST
        self._at = trio.current_time()

    async def take(self, messages: int) -> None:
        """Wait until so many more may come."""
        now = trio.current_time()
        self._room = min(self._room + (now - self._at) * RATE, BURST) - messages
        self._at = now
        if self._room < 0:
            await trio.sleep(-self._room / RATE)

"""Back-off shared by all callers of one provider, so that fifty agents do not knock fifty times.

After a failure nobody calls until `not_before`; then one caller probes. Each success lets one more call at once (so
the number doubles with every round), until there is no limit again. The retry libraries at hand keep this state per
call, hence own code.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import trio

FIRST_WAIT = 1.0
LONGEST_WAIT = 60.0
_OPEN_AGAIN = 64


class Ticket:
    """Permission for one call; settled exactly once by `passed`, `failed` or `dropped`."""

    __slots__ = ("_gate", "generation", "settled")

    def __init__(self, gate: Gate, generation: int) -> None:
        self._gate = gate
        self.generation = generation
        self.settled = False

    def passed(self) -> None:
        """The vendor answered."""
        if not self.settled:
            self.settled = True
            self._gate._passed(self)

    def failed(self, wait: float | None, why: str) -> None:
        """The vendor is limiting, overloaded or away; `wait` is what it asked for. May follow `passed`."""
        self._gate._failed(self, wait, why)
        self.settled = True

    def dropped(self) -> None:
        """The call ended without saying anything about the vendor (cancelled, refused)."""
        if not self.settled:
            self.settled = True
            self._gate._leave()


class Gate:
    """The shared state. `jitter` draws from [0, 1) and is replaced in tests."""

    def __init__(self, jitter: Callable[[], float] = random.random) -> None:
        self._jitter = jitter
        self._not_before = 0.0
        self._failures = 0
        self._generation = 0
        self._limit: int | None = None
        self._busy = 0
        self._lot = trio.lowlevel.ParkingLot()
        self.why = ""

    def delay(self) -> float:
        """Seconds until anyone may call; 0 when the gate is open."""
        return max(self._not_before - trio.current_time(), 0.0) if self._failures else 0.0

    def draw(self, failures: int, asked: float | None = None) -> float:
        """Full jitter over an exponential wait; what the vendor asked for is kept whole and jitter added to it."""
        span = min(FIRST_WAIT * 2.0 ** min(failures, 16), LONGEST_WAIT)
        if asked is None:
            return self._jitter() * span
        return asked + self._jitter() * min(span, max(asked * 0.1, 0.5))

    def enter_nowait(self) -> Ticket | None:
        """A turn when there is no limit now, else None."""
        if self._limit is not None or self.delay():
            return None
        self._busy += 1
        return Ticket(self, self._generation)

    async def enter(self) -> Ticket:
        """Wait for a turn."""
        try:
            return await self._turn()
        except BaseException:
            self._call_next()  # the turn this caller was woken for must not be lost with it
            raise

    async def _turn(self) -> Ticket:
        while True:
            if delay := self.delay():
                await trio.sleep(delay)
            elif self._limit is not None and self._busy >= self._limit:
                await self._lot.park()
            else:
                self._busy += 1
                return Ticket(self, self._generation)

    def _passed(self, ticket: Ticket) -> None:
        if ticket.generation == self._generation:  # an older call's success says nothing about now
            self._failures = 0
            self._not_before = 0.0
            if self._limit is not None:
                self._limit = self._limit + 1 if self._limit + 1 < _OPEN_AGAIN else None
        self._leave()

    def _failed(self, ticket: Ticket, wait: float | None, why: str) -> None:
        fresh = ticket.generation == self._generation
        if fresh:  # calls that were under way together count as one failure
            self._generation += 1
            self._failures += 1
        if fresh or wait is not None:
            until = trio.current_time() + self.draw(self._failures - 1, wait)
            self._not_before = max(self._not_before, until)
        self._failures = max(self._failures, 1)
        self._limit = 1
        self.why = why
        if not ticket.settled:
            self._leave()

    def _leave(self) -> None:
        self._busy -= 1
        self._call_next()

    def _call_next(self) -> None:
        room = len(self._lot) if self._limit is None else max(self._limit - self._busy, 0)
        self._lot.unpark(count=room)

"""The stream of events of a session: one sender, many listeners, each with a bounded queue of its own.

Deltas never pile up: a delta that finds another of its kind waiting joins it, so a slow listener gets fewer, longer
ones and loses nothing. Other events wait for room; a listener that makes none for 5 s is dropped, and told so by
the end of its channel, so that an interface never blocks the agent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from codetether.events import SessionEvent, TextDelta, ThoughtDelta, ToolProgress

ROOM = 256
DELTAS = (TextDelta, ThoughtDelta, ToolProgress)
PATIENCE = 5.0


class _Run:
    """Deltas of one kind that wait together; joined once, when they are received."""

    __slots__ = ("call", "kind", "texts")

    def __init__(self, event: TextDelta | ThoughtDelta | ToolProgress) -> None:
        self.kind = type(event)
        self.call = event.call_id if isinstance(event, ToolProgress) else ""
        self.texts = [event.text]

    def event(self) -> SessionEvent:
        text = "".join(self.texts)
        return ToolProgress(self.call, text) if self.kind is ToolProgress else self.kind(text)  # type: ignore[call-arg]


class Listener(trio.abc.ReceiveChannel[SessionEvent]):
    """One listener's end of the feed. Iterate it; it ends when the session does, or when it was too slow."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.dropped = False
        self._queue: deque[SessionEvent | _Run] = deque()
        self._closed = False
        self._filled = trio.lowlevel.ParkingLot()
        self._drained = trio.lowlevel.ParkingLot()

    async def receive(self) -> SessionEvent:
        """The next event. Raises trio.EndOfChannel at the end."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._queue:
            if self._closed:
                raise trio.EndOfChannel
            await self._filled.park()
        item = self._queue.popleft()
        if self._drained:
            self._drained.unpark()
        return item.event() if isinstance(item, _Run) else item

    async def aclose(self) -> None:
        """Stop listening."""
        self._close()
        await trio.lowlevel.checkpoint()

    def _close(self) -> None:
        self._closed = True
        self._filled.unpark_all()
        self._drained.unpark_all()

    def _offer(self, event: SessionEvent) -> bool:
        """Take the event, or say that there is no room."""
        if self._closed:
            return True
        if isinstance(event, DELTAS):
            last = self._queue[-1] if self._queue else None
            call = event.call_id if isinstance(event, ToolProgress) else ""
            if isinstance(last, _Run) and last.kind is type(event) and last.call == call:
                last.texts.append(event.text)
                return True
            item: SessionEvent | _Run = _Run(event)
        else:
            item = event
        if len(self._queue) >= self.room:
            return False
        self._queue.append(item)
        if self._filled:
            self._filled.unpark()
        return True

    async def _wait_for(self, event: SessionEvent) -> None:
        with trio.move_on_after(PATIENCE):
            while not self._offer(event):
                await self._drained.park()
            return
        self.dropped = True
        self._close()


class Feed:
    """Sends every event to every listener."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._closed = False

    @contextmanager
    def listen(self, room: int = ROOM) -> Iterator[Listener]:
        """A listener that gets everything published from now on; leaving the block ends it."""
        listener = Listener(room)
        if self._closed:
            listener._close()
        self._listeners.append(listener)
        try:
            yield listener
        finally:
            listener._close()
            self._listeners.remove(listener)

    async def publish(self, event: SessionEvent) -> None:
        """Hand `event` to all; waits only for a listener whose queue is full, and at most 5 s."""
        for listener in tuple(self._listeners):
            if not listener._offer(event):
                await listener._wait_for(event)

    def close(self) -> None:
        """No more events: listeners end once they have read what waits for them."""
        self._closed = True
        for listener in self._listeners:
            listener._close()

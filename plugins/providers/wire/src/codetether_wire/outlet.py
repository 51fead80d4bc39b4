"""The way from the reader of a stream to its listener: bounded, in order, and cheap when much comes at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from codetether.api import StreamEvent

from codetether_wire.dialect import merge

MOST_HELD = 512


class Outlet:
    """Events go straight into the channel while it has room. What does not fit is held, neighbours are joined, and a
    second task, which most answers never need, hands it over: a burst costs a few hand-overs and not one for each delta.
    """

    def __init__(self, send: trio.MemorySendChannel[StreamEvent]) -> None:
        self._send = send
        self.spoke = False
        self._held: list[StreamEvent] = []
        self._handing_over = False
        self._empty = trio.Event()
        self._nursery: trio.Nursery | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Hold this open while events are put in. It closes once everything is handed over."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            yield

    def put(self, events: list[StreamEvent]) -> bool:
        """Take the events. False: enough is held, call `drained` before the next."""
        self.spoke = self.spoke or bool(events)
        if self._handing_over:
            self._held += events
            return len(self._held) < MOST_HELD
        for place, event in enumerate(events):
            try:
                self._send.send_nowait(event)
            except trio.WouldBlock:
                self._held = events[place:]
                self._handing_over = True
                self._empty = trio.Event()
                assert self._nursery is not None
                self._nursery.start_soon(self._hand_over)
                break
        return True

    async def drained(self) -> None:
        """Wait until the listener has been given everything."""
        if self._handing_over:
            await self._empty.wait()

    async def _hand_over(self) -> None:
        while self._held:
            events, self._held = merge(self._held), []
            for event in events:
                await self._send.send(event)
        self._handing_over = False
        self._empty.set()

"""What lasts while a job is done: hearing of its record, and holding its lease. As in `broker`, all of it in the loop's thread."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import nats.errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from nats.aio.subscription import Subscription

    from codetether_nats.broker import Broker, Delivery

SOON = 0.05  # seconds: what is over by then was not worth watching
SHARE = 3  # a lease is extended so often before it would end


class Ear:
    """What hears of a record, from when it is first needed. `trusted`: nothing that was said since the record was last looked
    at can have been missed. `closed`: it is known that nobody needs it any more.
    """

    def __init__(self, key: str) -> None:
        self.key = key
        self.heard: Subscription | None = None
        self.trusted = False
        self.closed = False


class Hold:
    """Our hold on a job: extends the lease until it is released. `token` is the claim's version; `lost` once the record is
    another than our claim: `tell` is called then, in the loop's thread.
    """

    def __init__(self, broker: Broker, delivery: Delivery, key: str, token: int) -> None:
        self.delivery = delivery
        self.key = key
        self.token = token
        self.lost = False
        self.tell: Callable[[], None] | None = None
        self.ending = False
        self._broker = broker
        self._task = asyncio.ensure_future(self._keep())

    def end(self) -> None:
        """Extend the lease no more."""
        self.ending = True
        self._task.cancel()

    async def _keep(self) -> None:
        ear = Ear(self.key)
        try:
            await asyncio.sleep(SOON)
            await self._until_another_is_in_place(ear)
            self.lost = not self.ending
            if self.lost and self.tell is not None:
                self.tell()
        finally:
            await self._broker.deafen(ear)

    async def _until_another_is_in_place(self, ear: Ear) -> None:
        every = self._broker.lease / SHARE
        while not self._broker.closed:
            try:
                await asyncio.wait_for(self._broker.changed(ear, self.token, every), every)
                return
            except (nats.errors.Error, OSError, TimeoutError):
                pass  # it is time, or the broker is away: no claim is lost by that alone
            with suppress(nats.errors.Error, OSError):
                await self._broker.extend(self.delivery)

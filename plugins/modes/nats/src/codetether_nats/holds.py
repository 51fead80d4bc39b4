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
    """What hears of a subject, from when it is first needed. `trusted`: nothing that was said since the record was last looked
    at can have been missed.
    """

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.heard: Subscription | None = None
        self.trusted = False


class Hold:
    """Our hold on a job: extends the lease until it is released. `lost` is called, in the loop's thread, once the record is
    another than our claim; `token` is the claim's version.
    """

    def __init__(
        self, broker: Broker, delivery: Delivery, key: str, token: int, lost: Callable[[], None]
    ) -> None:
        self.delivery = delivery
        self.key = key
        self.token = token
        self.ending = False
        self._broker = broker
        self._lost = lost
        self.task = asyncio.ensure_future(self._keep())

    async def _keep(self) -> None:
        broker, ear = self._broker, Ear(self._broker.record_subject(self.key))
        every = broker.lease / SHARE
        try:
            await asyncio.sleep(SOON)
            while not broker.closed:
                try:
                    await asyncio.wait_for(broker.changed(ear, self.key, self.token, every), every)
                    break
                except (nats.errors.Error, OSError, TimeoutError):
                    pass  # it is time, or the broker is away: no claim is lost by that alone
                with suppress(nats.errors.Error, OSError):
                    await broker.extend(self.delivery)
            if not self.ending:
                self._lost()
        finally:
            await broker.deafen(ear)

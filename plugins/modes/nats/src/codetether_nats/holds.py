"""What lasts while a job is done: hearing of its record, and holding its lease. As in `broker`, all of it runs in asyncio."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import nats.errors

from codetether_nats.words import within

if TYPE_CHECKING:
    from collections.abc import Callable

    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

    from codetether_nats.broker import Broker, Delivery

SOON = 0.05  # seconds: what is over by then was not worth watching
SHARE = 3  # a lease is extended so often before it would end
VERSION = "Nats-Sequence"  # in the header of what the broker says again
LONGEST = 20  # digits of it


class Ear:
    """What hears of a record, from when it is first needed: `version` and `data` are the newest that the broker said.

    `trusted`: nothing that was said since the record was last looked at can have been missed. `closed`: it is known that
    nobody needs it any more.
    """

    def __init__(self, key: str) -> None:
        self.key = key
        self.heard: Subscription | None = None
        self.trusted = False
        self.closed = False
        self.version = 0
        self.data = b""
        self._dull: tuple[bytes, ...] = ()
        self._news: asyncio.Future[None] | None = None

    def hear(self, said: Msg) -> None:
        """Called with what is said."""
        version = _version(said)
        if version > self.version:
            self.version, self.data = version, said.data
            if self._news and not self._news.done() and not said.data.startswith(self._dull):
                self._news.set_result(None)

    async def newer(self, known: int, dull: tuple[bytes, ...], seconds: float) -> bool:
        """Wait until there is a newer version than `known`, beginning with none of `dull`; False when there was none for so
        long.
        """
        if self.version > known and not self.data.startswith(dull):
            return True
        self._dull, self._news = dull, asyncio.get_running_loop().create_future()
        with suppress(TimeoutError):
            await within(self._news, seconds)
            return True
        return False


class Hold:
    """Our hold on a job: extends the lease until it is ended. `token` is the claim's version; `lost` once the record is
    another than our `claim`: `tell` is called then.
    """

    def __init__(
        self, broker: Broker, delivery: Delivery, key: str, claim: bytes, token: int
    ) -> None:
        self.delivery = delivery
        self.key = key
        self.claim = claim
        self.token = token
        self.ending = False
        self.lost = False
        self.tell: Callable[[], None] | None = None
        self._broker = broker
        self._task: asyncio.Task[None] | None = None
        self._start = asyncio.get_running_loop().call_later(SOON, self._begin)

    def end(self) -> None:
        """Extend the lease no more."""
        self._start.cancel()
        if self._task is not None:
            self._task.cancel()

    def _begin(self) -> None:
        self._task = asyncio.ensure_future(self._keep())

    async def _keep(self) -> None:
        ear = Ear(self.key)
        try:
            await self._until_another_is_in_place(ear)
            self.lost = not self.ending
            if self.lost and self.tell is not None:
                self.tell()
        finally:
            await self._broker.deafen(ear)

    async def _until_another_is_in_place(self, ear: Ear) -> None:
        while not self._broker.closed:
            try:
                every = self._broker.lease / SHARE
                if await self._broker.changed(ear, self.token, every) != (self.token, self.claim):
                    return
            except (nats.errors.Error, OSError):
                await asyncio.sleep(SOON)  # the broker is away: no claim is lost by that alone
            with suppress(nats.errors.Error, OSError):
                await self._broker.extend(self.delivery)


def _version(said: Msg) -> int:
    """Of a record that the broker says again; 0 when somebody else said it."""
    text = (said.headers or {}).get(VERSION, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= LONGEST else 0

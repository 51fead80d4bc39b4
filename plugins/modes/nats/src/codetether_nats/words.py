"""Words with the broker that are had for every job, without what the library makes anew for each: tasks, a queue, identifiers.
All of it runs in asyncio.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast

import nats.errors
import nats.js.errors
from nats.js import api

if TYPE_CHECKING:
    from collections.abc import Callable

    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

T = TypeVar("T")
ASK = 5.0  # seconds for one answer
LATE = 1.0  # seconds after which a request has ended though the broker did not say so
STATUS = api.Header.STATUS.value
DESCRIPTION = api.Header.DESCRIPTION.value
NO_JOB = ("404", "408", "409")  # for so long, or the broker cannot say just now
NOBODY = "503"


async def within(awaited: asyncio.Future[T], seconds: float) -> T:
    """What becomes of a future that nobody else waits for. Raises TimeoutError when nothing does for so long."""
    timer = asyncio.get_running_loop().call_later(seconds, _late, awaited)
    try:
        return await awaited
    finally:
        timer.cancel()


def _late(awaited: asyncio.Future[Any]) -> None:
    if not awaited.done():
        awaited.set_exception(TimeoutError())


async def subscribe(client: Client, subject: str, hear: Callable[[Msg], None]) -> Subscription:
    """Have `hear` called with what is said on `subject`, as soon as it is read. It must neither wait nor raise."""
    return await client.subscribe(subject, future=cast("asyncio.Future[Msg]", _AtOnce(hear)))


class _AtOnce:
    """The library gives a message to a subscription's future when it reads it, else to a queue and a task of its own."""

    def __init__(self, hear: Callable[[Msg], None]) -> None:
        self.set_result = hear

    def cancelled(self) -> bool:
        return False


class Answers:
    """Questions that have no answer yet. All answers come on one subscription."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._inbox = client.new_inbox()
        self._number = 0
        self._awaited: dict[str, asyncio.Future[Msg]] = {}

    async def open(self) -> None:
        """Hear answers from now on."""
        await subscribe(self._client, f"{self._inbox}.*", self._hear)

    async def ask(self, subject: str, data: bytes, headers: dict[str, str]) -> Msg:
        """The answer to what is said. Raises nats.errors.Error, TimeoutError."""
        self._number += 1
        reply = f"{self._inbox}.{self._number}"
        answer = self._awaited[reply] = asyncio.get_running_loop().create_future()
        try:
            await self._client.publish(subject, data, reply, headers)
            return await within(answer, ASK)
        finally:
            del self._awaited[reply]

    async def keep(self, subject: str, data: bytes, headers: dict[str, str]) -> int:
        """Have JetStream keep a message; its number there. Raises APIError when it does not, and as `ask` does."""
        answer = await self.ask(subject, data, headers)
        if answer.headers and answer.headers.get(STATUS) == NOBODY:
            raise nats.js.errors.NoStreamResponseError
        said = json.loads(answer.data)
        if "error" in said:
            raise nats.js.errors.APIError.from_error(said["error"])
        return int(said["seq"])

    def _hear(self, said: Msg) -> None:
        answer = self._awaited.get(said.subject)
        if answer is not None and not answer.done():
            answer.set_result(said)


class Line:
    """A place in the line of those who wait for jobs. One job is asked for at one time, so that none waits for us while
    another could do it.
    """

    def __init__(self, client: Client, stream: str, consumer: str) -> None:
        self._client = client
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._inbox = client.new_inbox()
        self._heard: Subscription | None = None
        self._number = 0  # of the last request
        self._until = 0.0  # when that ends, by the loop's clock; 0.0: it did
        self._connection = -1  # on which it was said
        self._came: deque[Msg] = deque()
        self._news: asyncio.Future[None] | None = None

    async def open(self) -> None:
        """Hear what is handed to us from now on."""
        self._heard = await subscribe(self._client, f"{self._inbox}.*", self._hear)

    async def job(self, seconds: float) -> Msg | None:
        """The next job; None when there was none for so long. Raises nats.errors.Error."""
        if not self._came:
            loop = asyncio.get_running_loop()
            self._news = loop.create_future()
            await self._ask(seconds)
            with suppress(TimeoutError):
                await within(self._news, self._until - loop.time())
        return self._came.popleft() if self._came else None

    def put_back(self, job: Msg) -> None:
        """It is the next one again."""
        self._came.appendleft(job)

    async def leave(self) -> None:
        """Wait for jobs no more; those that came as we left go back."""
        with suppress(nats.errors.Error, OSError):
            while self._came:
                await self._came.popleft().nak()
        with suppress(nats.errors.Error, OSError):
            if self._heard is not None:
                await self._heard.unsubscribe()

    async def _ask(self, seconds: float) -> None:
        """Ask for a job, to wait at the broker for so many seconds; not while an earlier request does."""
        now, connection = asyncio.get_running_loop().time(), self._client.stats["reconnects"]
        if now < self._until and connection == self._connection:
            return
        self._number += 1
        self._until, self._connection = now + seconds + LATE, connection
        request = b'{"batch":1,"expires":%d}' % int(seconds * 1e9)
        try:
            await self._client.publish(self._next, request, f"{self._inbox}.{self._number}")
        except BaseException:
            self._until = 0.0
            raise

    def _hear(self, said: Msg) -> None:
        if said.reply:
            self._came.append(said)
        elif said.subject != f"{self._inbox}.{self._number}":
            return  # the end of an earlier request
        self._until = 0.0
        if self._news is None or self._news.done():
            return
        if said.reply or (why := _why(said)) is None:
            self._news.set_result(None)
        else:
            self._news.set_exception(why)


def _why(said: Msg) -> nats.errors.Error | None:
    """The error that the broker tells us; None for the end of a request."""
    headers = said.headers or {}
    status = headers.get(STATUS, "")
    if status in NO_JOB:
        return None
    if status == NOBODY:
        return nats.js.errors.ServiceUnavailableError()
    return nats.js.errors.APIError(description=f"{status} {headers.get(DESCRIPTION, '')}")

"""The broker, from trio: every call is tried again while the broker is away, up to a limit."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import nats.errors
import nats.js.errors
import trio
from codetether.api import CodetetherError, UsageError

from codetether_nats import messages
from codetether_nats.broker import Broker, Crowd, Delivery
from codetether_nats.client import LONGEST_WAIT, NotEncrypted
from codetether_nats.files import TooLarge
from codetether_nats.holds import Ear, Hold
from codetether_nats.loop import Loop
from codetether_nats.place import proof, servers, tls_context, wants_tls
from codetether_nats.words import ASK

if TYPE_CHECKING:
    from pathlib import Path

    from codetether.api import Kernel

    from codetether_nats.place import Place

T = TypeVar("T")
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
CLAIMED = b'{"state":"claimed"'  # how these records begin
CONNECT = 15.0  # seconds for the first connection
FILE = 600.0  # seconds for a file, either way
GRACE = 2 * LONGEST_WAIT  # seconds
HEARD = 600  # events that wait for us; more are lost, as what is told and not kept may be
LONG = 3 * ASK  # seconds: what went on for so long did have a broker, most of that time
PASSING = (
    nats.errors.TimeoutError, nats.errors.NoRespondersError, nats.errors.StaleConnectionError,
    nats.errors.OutboundBufferLimitError, nats.errors.ConnectionReconnectingError, nats.errors.SlowConsumerError,
    nats.js.errors.NoStreamResponseError, nats.js.errors.ServiceUnavailableError, nats.js.errors.ServerError,
    asyncio.TimeoutError, OSError,
)  # fmt: skip
MISSING = (
    nats.errors.NoRespondersError, nats.js.errors.NoStreamResponseError, nats.js.errors.ServiceUnavailableError,
)  # fmt: skip # nobody there answers for what we ask
REFUSED = ("authorization", "authentication", "nkey", "permissions")


class Unreachable(CodetetherError):
    """The broker is not there, or (`refused`) does not let us in. What is on it is still there when it comes back."""

    def __init__(self, message: str, hint: str = "", *, refused: bool = False) -> None:
        super().__init__(message, hint)
        self.refused = refused


class Link:
    """A connection to the broker, from `open` to `aclose`."""

    def __init__(self, place: Place, broker: Broker) -> None:
        self.place = place
        self._broker = broker
        self._loop = Loop()
        self._making = False

    @classmethod
    async def open(cls, place: Place, kernel: Kernel, name: str) -> Link:
        """Connect, and see that all that is needed is on the broker. Raises UsageError for settings that cannot be used,
        Unreachable for a broker that is not there or refuses.
        """
        addresses, tls, shown = servers(place), tls_context(place), await proof(place, kernel)
        encrypted = wants_tls(place)
        anywhere = encrypted or place.plain
        link = cls(place, Broker(addresses, place.space, encrypted=encrypted, anywhere=anywhere))
        try:
            with trio.fail_after(CONNECT):
                await link._loop.run(link._broker.open, shown, tls, name)
                await link._loop.run(link._broker.set_up, place.lease)
        except BaseException as error:
            await link.aclose()
            if isinstance(error, Exception):
                raise _told(error, addresses, link._broker.trouble) from None
            raise
        return link

    async def aclose(self) -> None:
        """Leave the broker, when what was begun there is done."""
        with trio.move_on_after(LONGEST_PAUSE, shield=True):
            await self._loop.finish()
        with trio.move_on_after(LONGEST_PAUSE, shield=True):
            await self._loop.run(self._broker.disconnect)
        await self._loop.stop()

    @property
    def lease(self) -> float:
        """Seconds after which the queue hands a job to another worker, unless its lease is extended."""
        return self._broker.lease

    @property
    def grace(self) -> float:
        """Seconds in which others may come back after an outage that we came back from: they had no way to extend a lease."""
        gone, back = self._broker.gone, self._broker.back
        if gone > back:  # the client tells us that it is back after the first words with the broker
            return GRACE
        return max(back + GRACE - time.monotonic(), 0.0) if back else 0.0

    @property
    def room(self) -> int:
        """Bytes that one message may have, headers included."""
        return self._broker.client.max_payload

    async def _ask(self, work: Callable[..., Coroutine[Any, Any, T]], *words: Any) -> T:
        """`_again`, each attempt given up when the broker goes."""
        return await self._again(self._broker.promptly, work, *words)

    async def _again(self, work: Callable[..., Coroutine[Any, Any, T]], *words: Any) -> T:
        """Try until it is done. Raises Unreachable when the broker was away for `place.outage`, CodetetherError when it refuses."""
        pause, away_since, why = FIRST_PAUSE, time.monotonic(), ""
        while True:
            began = time.monotonic()
            try:
                if self._broker.connected:  # else an answer would be waited for, and none can come
                    return await self._loop.run(work, *words)
            except PASSING as error:
                why = str(error) or type(error).__name__
                if isinstance(error, MISSING):
                    await self._make_again()
            except (nats.errors.Error, TooLarge) as error:
                raise _told(error, self._broker.addresses) from None
            if time.monotonic() - began > LONG:
                away_since, pause = time.monotonic(), FIRST_PAUSE
            away = time.monotonic() - max(away_since, self._broker.gone)
            if away > self.place.outage or self._broker.closed or self._refused:
                raise self._given_up(away, why)
            await trio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    @property
    def _refused(self) -> bool:
        """Whether the broker was away and is back, and does not let us in again: it will not change its mind."""
        return not self._broker.connected and _refuses(self._broker.trouble)

    def _given_up(self, away: float, why: str) -> CodetetherError:
        broker = self._broker
        complaint = broker.trouble if self._refused else broker.closed and broker.client.complaint
        if complaint:
            words = complaint.removeprefix("nats: ")
            return _told(nats.errors.Error(words), broker.addresses)
        if broker.connected:
            return Unreachable(
                f"the broker has not done what was asked of it for {away:.0f} s: {why}",
                "see what it says itself; what is on it goes on",
            )
        return Unreachable(
            f"the broker has been away for {away:.0f} s: {broker.trouble or why}",
            "start it again; what is on it goes on",
        )

    async def _make_again(self) -> None:
        """A broker that comes back without what it had kept has no queue either. What was there is lost; what comes is not."""
        if self._making:
            return
        self._making = True
        try:
            with suppress(nats.errors.Error, OSError):
                await self._loop.run(self._broker.promptly, self._broker.set_up, self.place.lease)
        finally:
            self._making = False

    # --- jobs ---
    async def submit(
        self, ear: Ear, job: messages.Job, seconds: float, *, claims: bool
    ) -> tuple[int, int, messages.Record | None]:
        """Hand in a job and wait, as `changed` does: its number in the queue, and the record and its version. The number is 0
        when the queue had a job with its key already: then the record is as it is now. Raises CodetetherError when the job is
        too large.
        """
        copy, version, data = await self._ask(
            self._broker.submit, ear, job.submission, messages.encode(job), seconds, _dull(claims)
        )
        return copy, version, _record(data)

    async def hand_in(self, job: messages.Job) -> int:
        """Put a job into the queue, whatever is there already; its number."""
        return await self._ask(self._hand_in, job.key, job.submission, messages.encode(job))

    async def _hand_in(self, key: str, submission: str, data: bytes) -> int:
        return await self._broker.hand_in(key, submission, data, alone=False)

    async def queued(self, key: str) -> messages.Job | None:
        """The job with that key that was handed in last and is not done."""
        data = await self._ask(self._broker.queued, key)
        try:
            return None if data is None else messages.job(data)
        except msgspec.DecodeError as error:
            raise CodetetherError(f"a sub-task in the queue cannot be read: {error}") from None

    @asynccontextmanager
    async def line(
        self, offer: Callable[[Delivery], tuple[str, bytes] | None]
    ) -> AsyncIterator[Callable[[float], Coroutine[Any, Any, tuple[Delivery, Hold | None] | None]]]:
        """A place in the line: a function that waits so many seconds for a job, None when none came. One that nobody had before
        is claimed with what `offer` says, its key and our record, and comes with our hold on it.
        """
        line = await self._ask(self._broker.queue)

        async def take(seconds: float) -> tuple[Delivery, Hold | None] | None:
            return await self._again(self._broker.take, line, seconds, offer)

        try:
            yield take
        finally:
            with trio.move_on_after(LONGEST_PAUSE, shield=True):
                await self._loop.run(line.leave)

    async def claim(
        self, delivery: Delivery, key: str, record: messages.Record, last: int
    ) -> Hold | None:
        """Put our claim in the place of version `last`, and hold the job; None when another version is in place, which may be
        our claim: of an answer that was lost nobody knows.
        """
        return await self._ask(self._broker.claim, delivery, key, messages.encode(record), last)

    async def hold(self, delivery: Delivery, key: str, claim: messages.Record, token: int) -> Hold:
        """Hold a job of which our claim is in place."""
        return await self._ask(self._broker.hold, delivery, key, messages.encode(claim), token)

    def watch(self, hold: Hold, lost: Callable[[], None]) -> None:
        """Have `lost` called when our claim is not in place any more."""
        hold.tell = lost
        if hold.lost:
            lost()

    async def finish(self, hold: Hold, record: messages.Record) -> bool:
        """Put the result in the place of our claim, and the job out of the queue; False when the claim was not in place."""
        data = messages.encode(record)
        if await self._ask(self._broker.finish, hold, data):
            return True
        _, found = await self._ask(self._broker.read, hold.key)
        if found != data:
            return False
        await self.settle(hold.delivery)  # the broker had taken it, and was lost before it said so
        return True

    def release(self, hold: Hold) -> None:
        """Hold a job no longer."""
        self._loop.soon(hold.end)

    async def settle(self, delivery: Delivery) -> None:
        """Take a job out of the queue: it is done, or nobody wants it."""
        await self._ask(self._broker.settle, delivery)

    async def give_back(self, delivery: Delivery, after: float = 0.0) -> None:
        """Let the queue hand a job to somebody else, at once or in so many seconds."""
        await self._ask(self._broker.give_back, delivery, after)

    async def crowd(self) -> Crowd:
        """How many workers and jobs there are."""
        return await self._ask(self._broker.crowd)

    # --- records ---
    async def read(self, key: str) -> tuple[int, messages.Record | None]:
        """A record and its version; None when there is none, 0 too when there never was."""
        version, data = await self._ask(self._broker.read, key)
        return version, _record(data)

    async def write(self, key: str, record: messages.Record, last: int) -> int:
        """Put `record` in the place of version `last` (0: of none); its version, 0 when another one is there now.

        When the broker was lost before it answered, ours may be in place already: that is looked up.
        """
        data = messages.encode(record)
        version = await self._ask(self._broker.write, key, data, last)
        if not version:
            there, found = await self._ask(self._broker.read, key)
            return there if found == data else 0
        return version

    @contextmanager
    def ear(self, key: str) -> Iterator[Ear]:
        """What hears of a record, for `submit` and `changed`."""
        ear = Ear(key)
        try:
            yield ear
        finally:
            if not ear.closed:
                self._loop.begin(self._broker.deafen, ear)

    def close(self, ear: Ear, record: messages.Record, last: int) -> None:
        """Put `record` in the place of version `last` for good, when the broker is there, without waiting for its word."""
        ear.closed = True
        if self._broker.close(ear, messages.encode(record), last):
            self._loop.begin(self._broker.close_all)

    async def changed(
        self, ear: Ear, known: int, seconds: float, *, claims: bool = True
    ) -> tuple[int, messages.Record | None]:
        """The record and its version as `read` has them, once that is not `known` any more, or after so many seconds. Without
        `claims` those are no reason to come back earlier.
        """
        version, data = await self._ask(self._broker.changed, ear, known, seconds, _dull(claims))
        return version, _record(data)

    # --- what is told ---
    async def tell(self, key: str, told: messages.Told) -> None:
        """Tell an event to whoever listens."""
        await self._loop.run(self._broker.say, self._events(key), messages.encode(told))

    @asynccontextmanager
    async def events(self, key: str) -> AsyncIterator[trio.MemoryReceiveChannel[bytes]]:
        """The events told, as they come. It goes on through any outage: whoever else asks the broker ends that."""
        send, receive = trio.open_memory_channel[bytes](HEARD)

        def hear(said: bytes) -> None:
            with suppress(trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
                send.send_nowait(said)

        heard = await self._ask(self._broker.listen, self._events(key), hear)
        try:
            with send, receive:
                yield receive
        finally:
            self._loop.begin(self._broker.leave, heard)

    def _events(self, key: str) -> str:
        return f"{self.place.space}.events.{key}"

    # --- files ---
    async def put_file(self, path: Path) -> str:
        """Store a file; the name it has on the broker. Raises CodetetherError."""
        name = f"{os.getpid()}-{messages.stamp()}"
        await self._moved(self._broker.files.put, name, path)
        return name

    async def get_file(self, name: str, path: Path) -> None:
        """Fetch a file to `path`. Raises CodetetherError, also when it is larger than `place.largest`."""
        await self._moved(self._broker.files.get, name, path, self.place.largest)

    async def _moved(self, work: Callable[..., Coroutine[Any, Any, None]], *words: Any) -> None:
        with trio.move_on_after(FILE) as limit:
            await self._ask(work, *words)
        if limit.cancelled_caught:
            raise CodetetherError(f"a file took longer than {FILE:g} s to or from the broker")

    def drop_files(self, names: Sequence[str]) -> None:
        """Take files off the broker, when it is there, without waiting for its word."""
        self._loop.begin(self._broker.files.drop, names)


def _dull(claims: bool) -> tuple[bytes, ...]:
    return () if claims else (CLAIMED,)


def _record(data: bytes) -> messages.Record | None:
    if not data:
        return None
    try:
        return messages.record(data)
    except msgspec.DecodeError as error:
        raise CodetetherError(f"the record of a sub-task cannot be read: {error}") from None


def _refuses(text: str) -> bool:
    return any(word in text.lower() for word in REFUSED)


def _told(error: BaseException, addresses: list[str], trouble: str = "") -> CodetetherError:
    """What went wrong, for a person."""
    where = ", ".join(addresses)
    text = trouble if isinstance(error, nats.errors.NoServersError) and trouble else str(error)
    text = text or type(error).__name__
    match error:
        case CodetetherError():
            return error
        case TooLarge():
            return CodetetherError("a bundle is larger than allowed", "see the setting `largest`")
        case nats.errors.MaxPayloadError():
            return CodetetherError(
                "the sub-task is larger than the broker takes", "raise its max_payload"
            )
        case NotEncrypted():
            return UsageError(
                f"{where} does not offer TLS: nothing was said to it", "switch TLS on there"
            )
        case nats.js.errors.NotFoundError():
            return CodetetherError("something of this sub-task is no longer on the broker")
        case (
            nats.js.errors.ServiceUnavailableError()
            | nats.js.errors.NoStreamResponseError()
            | nats.errors.NoRespondersError()
        ):
            return Unreachable(f"{where} has no JetStream", "start it with -js")
        case trio.TooSlowError():
            return Unreachable(f"{where} did not answer within {CONNECT:g} s")
        case ImportError():
            return CodetetherError(f"a library is missing: {text}")
    if _refuses(text):
        return Unreachable(
            f"{where} refuses us: {text}", "see the settings creds, nkey and login", refused=True
        )
    return Unreachable(f"{where} cannot be used: {text}", "is it running? nats-server -js")

"""The broker, as the asyncio client sees it. Every coroutine here runs in asyncio, through `loop.Loop`.

On it are a queue of jobs, handed out one by one and again when a lease ends; a record for each job that somebody had,
whose versions the broker says again, numbered, as it keeps them; files; and, not kept, what sub-agents tell.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import nats.errors
import nats.js.errors
from nats.js import api

from codetether_nats.client import StrictClient, patience
from codetether_nats.files import Files
from codetether_nats.holds import Ear, Hold
from codetether_nats.words import ASK, Answers, Line, subscribe

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Coroutine

    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription
    from nats.js import JetStreamContext
    from nats.js.kv import KeyValue

T = TypeVar("T")
KEPT = 7 * 24 * 3600.0  # seconds that anything is kept of a coordinator that never came back
PENDING = 4_000_000  # bytes of what is said while the broker is away
CONSUMER = "workers"
STUCK = 2.0  # seconds to wait for a connection that takes nothing, when too much waits for it
SHORTLY = 0.05  # seconds in which words that nobody waits for are put together
DOUBLES = 120.0  # seconds in which the queue knows a job that is handed in twice
MSG_ID = api.Header.MSG_ID.value
EXPECTED = api.Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value
ANOTHER = (
    10071,
    10164,
)  # the broker's errors when another message than the expected one is the last of its subject


class Delivery(NamedTuple):
    """A job handed out: its bytes, how often it was, its number in the queue, and what it is answered on."""

    data: bytes
    delivery: int
    copy: int
    message: Msg


class Crowd(NamedTuple):
    """How it goes in the queue: workers that wait for a job, jobs that are being done, jobs that wait."""

    idle: int
    busy: int
    queued: int


class Broker:
    """One connection. `space`: the first word of all names. `trouble`: the last thing that went wrong, "" at first and when
    the broker has just gone. `encrypted` and `anywhere` as StrictClient has them.
    """

    def __init__(
        self, addresses: list[str], space: str, *, encrypted: bool, anywhere: bool
    ) -> None:
        self.addresses = addresses
        self.space = space
        self.trouble = ""
        self.client = StrictClient()
        self.client.encrypted = encrypted
        self.client.anywhere = anywhere
        self.lease = 0.0
        self.gone = self.back = 0.0  # when it went and came back last, by time.monotonic
        self._answers = Answers(self.client)
        self._asked: set[asyncio.Task[Any]] = set()
        self._closing: dict[str, tuple[Ear, bytes, int]] = {}  # records, and their versions
        self._js: JetStreamContext
        self._records: KeyValue
        self.files: Files

    # --- the connection ---
    async def open(self, proof: dict[str, Any], tls: ssl.SSLContext | None, name: str) -> None:
        """Connect, once: a server that cannot be reached is an error here, and waited for later."""
        await self.client.connect(
            self.addresses, name=name, tls=tls, allow_reconnect=False, connect_timeout=int(ASK), error_cb=self._note, disconnected_cb=self._gone, reconnected_cb=self._back,
            pending_size=PENDING, reconnect_to_server_handler=patience, max_reconnect_attempts=1, reconnect_time_wait=0, ping_interval=10,
            flush_timeout=STUCK, **proof,
        )  # fmt: skip
        self.client.options |= {"allow_reconnect": True, "max_reconnect_attempts": -1}
        self.client.set_server_pool(self.addresses)  # those too that were not there just now
        self._js = self.client.jetstream(timeout=ASK)
        await self._answers.open()

    async def disconnect(self) -> None:
        """Say what was still to be said, and leave."""
        await self._say_closed()
        try:
            with suppress(nats.errors.Error, OSError):
                if self.client.is_connected:
                    await self.client.flush(timeout=1)
            with suppress(nats.errors.Error, OSError):
                await self.client.close()
        finally:
            self.client.cut()

    @property
    def connected(self) -> bool:
        """Whether the broker is there now."""
        return bool(self.client.is_connected)

    @property
    def closed(self) -> bool:
        """Whether the client has given up for good, as when its credentials were taken back."""
        return bool(self.client.is_closed)

    async def promptly(self, work: Callable[..., Coroutine[Any, Any, T]], *words: Any) -> T:
        """`work(*words)`, given up when the broker goes, since no answer would come. Raises ConnectionReconnectingError then."""
        task = asyncio.current_task()
        assert task is not None
        self._asked.add(task)
        try:
            return await work(*words)
        except asyncio.CancelledError:
            if task in self._asked:
                raise
            task.uncancel()
            raise nats.errors.ConnectionReconnectingError from None
        finally:
            self._asked.discard(task)

    async def _gone(self) -> None:
        self.gone = time.monotonic()
        self.trouble = ""  # from now on it is about coming back
        while self._asked:
            self._asked.pop().cancel()

    async def _back(self) -> None:
        self.back = time.monotonic()

    async def _note(self, error: Exception) -> None:
        self.trouble = str(error) or type(error).__name__

    # --- what must be there ---
    async def set_up(self, lease: float) -> None:
        """Find the queue, the records and the files, or make what is missing: that needs a user who may."""
        stream = f"{self.space}-jobs"
        try:
            await self._js.stream_info(stream)
        except nats.js.errors.NotFoundError:
            await self._js.add_stream(
                api.StreamConfig(
                    name=stream, subjects=[f"{self.space}.jobs.>"], retention=api.RetentionPolicy.WORK_QUEUE,
                    storage=api.StorageType.FILE, max_age=KEPT, duplicate_window=DOUBLES, discard=api.DiscardPolicy.NEW,
                    max_msgs=100_000,
                )
            )  # fmt: skip
        try:
            found = await self._js.consumer_info(stream, CONSUMER)
        except nats.js.errors.NotFoundError:
            found = await self._js.add_consumer(
                stream,
                api.ConsumerConfig(
                    name=CONSUMER, durable_name=CONSUMER, ack_policy=api.AckPolicy.EXPLICIT, ack_wait=lease,
                    max_deliver=-1, max_ack_pending=10_000, max_waiting=5_000,
                ),
            )  # fmt: skip
        self.lease = float(found.config.ack_wait or lease)
        self._records = await self._kept_records()
        self.files = await self._kept_files()

    async def _kept_records(self) -> KeyValue:
        name = f"{self.space}-records"
        again = api.RePublish(src=f"$KV.{name}.>", dest=f"{self.space}.kept.>")
        try:
            found = (await self._js.stream_info(f"KV_{name}")).config
        except nats.js.errors.NotFoundError:
            return await self._js.create_key_value(
                api.KeyValueConfig(
                    bucket=name, history=1, ttl=KEPT, storage=api.StorageType.FILE, direct=True, republish=again
                )
            )  # fmt: skip
        if found.republish is None:
            await self._js.update_stream(found.evolve(republish=again))
        return await self._js.key_value(name)

    async def _kept_files(self) -> Files:
        name = f"{self.space}-files"
        try:
            store = await self._js.object_store(name)
        except nats.js.errors.NotFoundError:
            store = await self._js.create_object_store(
                name,
                api.ObjectStoreConfig(ttl=KEPT, storage=api.StorageType.FILE),
            )
        return Files(self.client, self._js, store, name)

    # --- the queue ---
    async def submit(
        self, ear: Ear, submission: str, data: bytes, seconds: float, dull: tuple[bytes, ...]
    ) -> tuple[int, int, bytes]:
        """Hand in a job and wait, as `changed` does, for what becomes of it: its number in the queue, the record's version and
        bytes. The number is 0 when the queue has a job with its key already: then the record is as it is now.
        """
        first = ear.heard is None
        if ear.key in self._closing:
            await self._say_closed()  # else we would be told what was done before
        await self._attend(ear)
        copy = await self.hand_in(ear.key, submission, data, alone=True)
        if not copy:
            return copy, *await self.read(ear.key)
        ear.trusted = first  # if it was done already, whoever gets it from the queue says so
        return copy, *await self.changed(ear, 0, seconds, dull)

    async def hand_in(self, key: str, submission: str, data: bytes, *, alone: bool) -> int:
        """Put a job into the queue; a second time within DOUBLES is known by its submission. Its number there; 0 when it
        was to be `alone` and the queue has another with its key, or somebody is at that.
        """
        headers = {MSG_ID: submission, **(_expecting(0) if alone else {})}
        return await self._put(f"{self.space}.jobs.{key}", data, headers)

    async def queued(self, key: str) -> bytes | None:
        """The job with that key that was handed in last and is not done; None when there is none."""
        try:
            found = await self._js.get_last_msg(f"{self.space}-jobs", f"{self.space}.jobs.{key}")
        except nats.js.errors.NotFoundError:
            return None
        return found.data or b""

    async def _put(self, subject: str, data: bytes, headers: dict[str, str]) -> int:
        """The number it was kept under; 0 when another message was the last of its subject than the headers say."""
        try:
            return await self._answers.keep(subject, data, headers)
        except nats.js.errors.APIError as error:
            if error.err_code in ANOTHER:
                return 0
            raise

    async def queue(self) -> Line:
        """A place in the line of those who wait for jobs."""
        line = Line(self.client, f"{self.space}-jobs", CONSUMER)
        await line.open()
        return line

    async def take(
        self, line: Line, seconds: float, offer: Callable[[Delivery], tuple[str, bytes] | None]
    ) -> tuple[Delivery, Hold | None] | None:
        """The next job; None when there was none for so long. One that nobody had before is claimed at once, with the key and
        the record that `offer` says: then it comes with our hold on it.
        """
        message = await self.promptly(line.job, seconds)
        if message is None:
            return None
        try:
            meta = message.metadata
        except nats.errors.Error:
            return None  # no word of the queue's
        delivery = Delivery(message.data, meta.num_delivered, meta.sequence.stream, message)
        hold = None
        if delivery.delivery == 1 and (offered := offer(delivery)):
            try:
                hold = await self.promptly(self.claim, delivery, *offered, 0)
            except asyncio.CancelledError:
                line.put_back(message)
                raise
            except (nats.errors.Error, OSError):
                pass  # a claim of which we do not know is found later
        return delivery, hold

    async def extend(self, delivery: Delivery) -> None:
        """It is being done: the lease begins anew."""
        await delivery.message.in_progress()

    async def settle(self, delivery: Delivery) -> None:
        """It is done: out of the queue with it. Waits for the broker's word."""
        with suppress(nats.errors.MsgAlreadyAckdError):
            await delivery.message.ack_sync(timeout=ASK)

    async def give_back(self, delivery: Delivery, after: float = 0.0) -> None:
        """Somebody else shall have it, at once or in so many seconds."""
        with suppress(nats.errors.MsgAlreadyAckdError):
            await delivery.message.nak(delay=after or None)

    async def crowd(self) -> Crowd:
        """Who waits for what."""
        info = await self._js.consumer_info(f"{self.space}-jobs", CONSUMER)
        return Crowd(info.num_waiting or 0, info.num_ack_pending or 0, info.num_pending or 0)

    # --- the records ---
    async def read(self, key: str) -> tuple[int, bytes]:
        """The record's version and bytes; b"" when there is none, 0 too when there never was."""
        try:
            entry = await self._records.get(key)
        except nats.js.errors.KeyNotFoundError as error:
            return (int(error.entry.revision or 0) if error.entry else 0), b""
        return int(entry.revision or 0), entry.value or b""

    async def write(self, key: str, data: bytes, last: int) -> int:
        """Replace version `last` (0: there is none); the new version, or 0 when another one is in place."""
        return await self._put(self._record(key), data, _expecting(last))

    def close(self, ear: Ear, data: bytes, last: int) -> bool:
        """Replace version `last` of the record for good and hear of it no more, when next `close_all` says so: nobody waits
        for that. Whether it is the first one since.
        """
        self._closing[ear.key] = (ear, data, last)
        return len(self._closing) == 1

    async def close_all(self) -> None:
        """Say what is to be said of closed records, with those that come shortly."""
        await asyncio.sleep(SHORTLY)
        await self._say_closed()

    async def _say_closed(self) -> None:
        closing, self._closing = self._closing, {}
        for ear, data, last in closing.values():
            with suppress(nats.errors.Error, OSError):
                await self.client.publish(self._record(ear.key), data, headers=_expecting(last))
            await self.deafen(ear)

    async def changed(
        self, ear: Ear, known: int, seconds: float, dull: tuple[bytes, ...] = ()
    ) -> tuple[int, bytes]:
        """The record's version and bytes as `read` has them, once that is not `known` any more, or after so many seconds.
        Whatever begins with one of `dull` is not worth coming back for earlier.
        """
        await self._attend(ear)
        trusted, ear.trusted = ear.trusted, False
        found = (known, b"") if trusted else await self.read(ear.key)
        if found[0] == known:
            heard = await ear.newer(known, dull, seconds)
            found = (ear.version, ear.data) if heard else await self.read(ear.key)
        ear.trusted = True  # what happens from now on is heard
        return found

    def _record(self, key: str) -> str:
        return f"$KV.{self.space}-records.{key}"

    async def _attend(self, ear: Ear) -> None:
        if ear.heard is None:
            subject = f"{self.space}.kept.{ear.key}"
            ear.heard = await subscribe(self.client, subject, ear.hear)

    # --- a job that somebody has ---
    async def claim(self, delivery: Delivery, key: str, data: bytes, last: int) -> Hold | None:
        """Replace version `last` of the record by our claim, and hold the job; None when another one is in place."""
        token = await self.write(key, data, last)
        return await self.hold(delivery, key, data, token) if token else None

    async def hold(self, delivery: Delivery, key: str, claim: bytes, token: int) -> Hold:
        """Hold a job of which our claim is in place."""
        return Hold(self, delivery, key, claim, token)

    async def finish(self, hold: Hold, data: bytes) -> bool:
        """Replace our claim by `data` and take the job out of the queue; False when the claim was not in place any more."""
        hold.ending = True  # a record other than our claim is no loss now
        if not await self.write(hold.key, data, hold.token):
            return False
        await hold.delivery.message.ack()  # if that is lost the next worker sees that it is done
        hold.end()
        return True

    # --- what is told and not kept ---
    async def say(self, subject: str, data: bytes) -> None:
        """Tell whoever listens now; lost when nobody does, when it is too large, or when the broker is away for long."""
        with suppress(nats.errors.Error):
            await self.client.publish(subject, data)

    async def listen(self, subject: str, hear: Callable[[bytes], None]) -> Subscription:
        """Have `hear` called with what is said from now on, what we cause with our next words included. It must not raise."""
        return await subscribe(self.client, subject, lambda said: hear(said.data))

    async def leave(self, heard: Subscription | None) -> None:
        """Hear no more."""
        with suppress(nats.errors.Error, OSError):
            if heard is not None:
                await heard.unsubscribe()

    async def deafen(self, ear: Ear) -> None:
        """The same for an ear."""
        await self.leave(ear.heard)


def _expecting(last: int) -> dict[str, str]:
    return {EXPECTED: str(last)}

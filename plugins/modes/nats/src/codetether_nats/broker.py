"""The broker, as the asyncio client sees it. Every coroutine here runs in the thread of `loop.Loop`, none in trio.

Four things are kept on it: a queue of jobs, handed out one by one and again when a lease ends; a record for each job;
files; and, not kept, what sub-agents tell while they work.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypeVar

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js import api

from codetether_nats.holds import Ear, Hold

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Coroutine

    from nats.aio.client import Server
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription
    from nats.js import JetStreamContext
    from nats.js.kv import KeyValue
    from nats.js.object_store import ObjectStore

T = TypeVar("T")
KEPT = 7 * 24 * 3600.0  # seconds that anything is kept of a coordinator that never came back
FIRST_WAIT, LONGEST_WAIT = 0.05, 5.0  # seconds between attempts to reach the broker
PENDING = 4_000_000  # bytes of what is said while the broker is away
ASK = 5.0  # seconds for one answer
HEARD = 1_000  # messages that wait for us; more are lost, as everything that is told but not kept may be
CONSUMER = "workers"
DOUBLES = 120.0  # seconds in which the queue knows a job that is handed in twice


class NotEncrypted(nats.errors.Error):
    """The server does not offer TLS, and was not to be spoken to without."""


class TooLarge(Exception):
    """A file is larger than it may be."""


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


class _Client(Client):
    """The library encrypts when the server asks for it. Whoever sits between could take that word out of the server's
    greeting and be told the password: with `encrypted` nothing is said then.
    """

    encrypted = False

    def _connect_command(self) -> bytes:
        if self.encrypted and not self._server_info.get("tls_required"):
            raise NotEncrypted("the server does not offer TLS")
        return super()._connect_command()


class Broker:
    """One connection. `space`: the first word of all names. `trouble`: the last thing that went wrong, "" at first."""

    def __init__(self, addresses: list[str], space: str, *, encrypted: bool) -> None:
        self.addresses = addresses
        self.space = space
        self.trouble = ""
        self.client = _Client()
        self.client.encrypted = encrypted
        self.lease = 0.0
        self._asked: set[asyncio.Task[Any]] = set()
        self._js: JetStreamContext
        self._records: KeyValue
        self._files: ObjectStore

    # --- the connection ---
    async def open(self, proof: dict[str, Any], tls: ssl.SSLContext | None, name: str) -> None:
        """Connect, once: a server that cannot be reached is an error here, and waited for later."""
        await self.client.connect(
            self.addresses, name=name, tls=tls, allow_reconnect=False, connect_timeout=int(ASK), error_cb=self._note, disconnected_cb=self._gone,
            pending_size=PENDING, reconnect_to_server_handler=_patience, max_reconnect_attempts=1, reconnect_time_wait=0, ping_interval=10,
            **proof,
        )  # fmt: skip
        self.client.options |= {"allow_reconnect": True, "max_reconnect_attempts": -1}
        self.client.set_server_pool(self.addresses)  # those too that were not there just now
        self._js = self.client.jetstream(timeout=ASK)

    async def close(self) -> None:
        """Say what was still to be said, and leave."""
        with suppress(nats.errors.Error, OSError, TimeoutError):
            if self.client.is_connected:
                await self.client.flush(timeout=1)
        with suppress(nats.errors.Error, OSError, TimeoutError):
            await self.client.close()

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
        task = asyncio.ensure_future(work(*words))
        self._asked.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            if task in self._asked:
                raise
            raise nats.errors.ConnectionReconnectingError from None
        finally:
            self._asked.discard(task)

    async def _gone(self) -> None:
        while self._asked:
            self._asked.pop().cancel()

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
        self._files = await self._kept_files()

    async def _kept_records(self) -> KeyValue:
        name = f"{self.space}-records"
        try:
            return await self._js.key_value(name)
        except nats.js.errors.NotFoundError:
            return await self._js.create_key_value(
                api.KeyValueConfig(
                    bucket=name, history=1, ttl=KEPT, storage=api.StorageType.FILE, direct=True
                )
            )

    async def _kept_files(self) -> ObjectStore:
        name = f"{self.space}-files"
        try:
            return await self._js.object_store(name)
        except nats.js.errors.NotFoundError:
            return await self._js.create_object_store(
                name,
                api.ObjectStoreConfig(ttl=KEPT, storage=api.StorageType.FILE),
            )

    # --- the queue ---
    async def submit(
        self, ear: Ear, key: str, data: bytes, job: Callable[[int], tuple[str, bytes]]
    ) -> int | None:
        """Write a record where there is none, and hand in what `job` says for its version (a submission, bytes). The version,
        or None: there is a record. `ear` hears of what becomes of it.
        """
        await self._attend(ear)
        version = await self.write(key, data, 0)
        if version is not None:
            await self.hand_in(key, *job(version))
            ear.trusted = True
        return version

    async def hand_in(self, key: str, submission: str, data: bytes) -> None:
        """Put a job into the queue; a second time within DOUBLES is known by its submission."""
        headers: dict[str, Any] = {api.Header.MSG_ID: submission}
        await self._js.publish(f"{self.space}.jobs.{key}", data, headers=headers)

    async def queue(self) -> JetStreamContext.PullSubscription:
        """A place in the line of those who wait for jobs."""
        return await self._js.pull_subscribe_bind(consumer=CONSUMER, stream=f"{self.space}-jobs")

    async def take(
        self, line: JetStreamContext.PullSubscription, seconds: float
    ) -> Delivery | None:
        """The next job; None when there was none for so long."""
        try:
            [message] = await line.fetch(1, timeout=seconds)
        except nats.errors.TimeoutError:
            return None
        meta = message.metadata
        return Delivery(message.data, meta.num_delivered, meta.sequence.stream, message)

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
    async def read(self, key: str) -> tuple[int, bytes] | None:
        """The record's version and bytes; None when there is none."""
        try:
            entry = await self._records.get(key)
        except nats.js.errors.NotFoundError:
            return None
        return int(entry.revision or 0), entry.value or b""

    async def write(self, key: str, data: bytes, last: int) -> int | None:
        """Replace version `last` (0: there is none); the new version, or None when another one is in place."""
        try:
            if not last:
                return int(await self._records.create(key, data))
            return int(await self._records.update(key, data, last=last))
        except nats.js.errors.KeyWrongLastSequenceError:
            return None

    async def forget(self, key: str) -> None:
        """Take the record away, or leave it to its age: nobody waits for the broker's word."""
        headers: dict[str, Any] = {"KV-Operation": "PURGE", api.Header.ROLLUP: "sub"}
        with suppress(nats.errors.Error, OSError):
            await self.client.publish(self.record_subject(key), headers=headers)

    async def changed(
        self, ear: Ear, key: str, known: int, seconds: float, dull: tuple[bytes, ...] = ()
    ) -> tuple[int, bytes] | None:
        """The record, once its version is not `known` any more; None when it is gone. `ear` wakes us, and looking every so
        many seconds does, if that was lost. Whatever begins with one of `dull` is not worth a look.
        """
        heard = await self._attend(ear)
        look, ear.trusted = not (ear.trusted and known), False
        while True:
            found = await self.read(key) if look else None
            if look and (found is None or found[0] != known):
                ear.trusted = True  # what happens from now on is heard
                return found
            try:
                said = await heard.next_msg(timeout=seconds)
                look = not said.data.startswith(dull)
            except nats.errors.TimeoutError:
                look = True

    def record_subject(self, key: str) -> str:
        """What new versions of a record are said on, and so are those that the broker then refuses: look before you believe."""
        return f"$KV.{self.space}-records.{key}"

    async def _attend(self, ear: Ear) -> Subscription:
        if ear.heard is None:
            ear.heard = await self.listen(ear.subject)
        return ear.heard

    # --- a job that somebody has ---
    async def claim(
        self, delivery: Delivery, key: str, data: bytes, last: int, lost: Callable[[], None]
    ) -> Hold | None:
        """Replace version `last` of the record by our claim, and hold it; None when another one is in place."""
        token = await self.write(key, data, last)
        return None if token is None else Hold(self, delivery, key, token, lost)

    async def finish(self, hold: Hold, data: bytes) -> bool:
        """Replace our claim by `data` and take the job out of the queue; False when the claim was not in place any more."""
        hold.ending = True
        if await self.write(hold.key, data, hold.token) is None:
            return False
        await hold.delivery.message.ack()  # if that is lost the next worker sees that it is done
        await self.release(hold)
        return True

    async def release(self, hold: Hold) -> None:
        """Extend the lease no more."""
        hold.ending = True
        hold.task.cancel()

    # --- what is told and not kept ---
    async def say(self, subject: str, data: bytes) -> None:
        """Tell whoever listens now; lost when nobody does, or when the broker is away for long."""
        with suppress(nats.errors.OutboundBufferLimitError):
            await self.client.publish(subject, data)

    async def listen(self, subject: str) -> Subscription:
        """Hear what is said from now on, what we cause with our next words included."""
        return await self.client.subscribe(subject, pending_msgs_limit=HEARD)

    async def hear(self, heard: Subscription) -> bytes:
        """The next thing said."""
        message = await heard.next_msg(timeout=None)
        return bytes(message.data)

    async def leave(self, heard: Subscription | None) -> None:
        """Hear no more."""
        with suppress(nats.errors.Error, OSError):
            if heard is not None:
                await heard.unsubscribe()

    async def deafen(self, ear: Ear) -> None:
        """The same for an ear."""
        await self.leave(ear.heard)

    # --- files ---
    async def put_file(self, name: str, path: Path) -> None:
        """Store a file under a name that was not used before."""
        with path.open("rb") as file:
            await self._files.put(name, file)

    async def get_file(self, name: str, path: Path, largest: int) -> None:
        """Write a stored file to `path`. Raises TooLarge, also when it is larger than it says."""
        info = await self._files.get_info(name)
        if (info.size or 0) > largest:
            raise TooLarge
        with path.open("wb") as file:  # anew, after an attempt that was cut off
            await self._files.get(name, writeinto=_Bounded(file, largest))  # type: ignore[arg-type]

    async def drop_file(self, name: str) -> None:
        """Take a stored file away; nothing happens when it is not there."""
        with suppress(nats.js.errors.NotFoundError):
            await self._files.delete(name)


class _Bounded:
    """A file that takes so many bytes and no more."""

    def __init__(self, file: IO[bytes], room: int) -> None:
        self._file = file
        self._room = room

    def write(self, data: bytes) -> int:
        self._room -= len(data)
        if self._room < 0:
            raise TooLarge
        return self._file.write(data)


def _patience(known: list[Server], _: dict[str, Any]) -> tuple[Server, float]:
    """Which server to try next, and in how many seconds: the one tried least, later each time, never all at once."""
    server = min(known, key=lambda each: each.reconnects)
    wait = min(FIRST_WAIT * 2 ** min(server.reconnects, 10), LONGEST_WAIT)
    return server, wait * random.uniform(0.5, 1.0)  # noqa: S311 - to spread attempts, not to keep a secret

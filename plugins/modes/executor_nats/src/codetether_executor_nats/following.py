"""One task, from the queue to its result: handed in, watched, taken back when nobody wants it any more."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec
import trio
from codetether.api import (
    AgentResult,
    CodetetherError,
    Notice,
    Spent,
    StepFinished,
    TurnFinished,
    Usage,
)
from codetether_nats import Job, Record, Unreachable, key_of, stamp
from codetether_nats.messages import told

if TYPE_CHECKING:
    from codetether.api import AgentTask, SessionEvent
    from codetether_nats import Link
    from codetether_nats.holds import Ear

    from codetether_executor_nats.sending import Sender

LOOK = 5.0  # seconds between looks at the record, besides those that somebody's writing causes, and at who is there to do it
LAST_WORDS = 2.0  # seconds for events that are still on their way when the result is there
TAKE_BACK = 5.0  # seconds to tell the broker that nobody wants it
START_ONE = "start one on any machine: codetether swarm-worker --nats URL"


class Gone(CodetetherError):
    """What was on the broker of a task is not there any more, and so perhaps nothing is."""


class Following:
    """`observe` is given the events of the worker that has the task; `patience`: seconds to wait while there is none."""

    def __init__(
        self,
        link: Link,
        task: AgentTask,
        sender: Sender | None,
        observe: Callable[[SessionEvent], Awaitable[None]] | None,
        patience: float,
    ) -> None:
        self.link = link
        self.task = task
        self.key = key_of(task.id)
        self._sender = sender
        self._observe = observe
        self._patience = patience
        self._submission = ""
        self._copy = 0  # our job's number in the queue
        self._token = 0  # of the claim we know of
        self._claim = ""  # its stamp
        self._alone = 0.0  # seconds without any worker
        self._heard: dict[int, Usage] = {}  # by claim: events may come before we know of theirs
        self._ended: dict[int, trio.Event] = defaultdict(trio.Event)  # the turn of its sub-agent is
        self._failure: CodetetherError | None = None

    async def to_the_end(self) -> AgentResult:
        """Hand the task in and wait. Raises CodetetherError; Unreachable leaves the task on the broker, nothing else does."""
        with self.link.ear(self.key) as ear:
            if self._observe is None:
                return await self._result(ear)
            result = None
            async with self.link.events(self.key) as events, trio.open_nursery() as nursery:
                nursery.start_soon(self._relay, events, self._observe, nursery.cancel_scope)
                try:
                    result = await self._result(ear)
                except CodetetherError as error:
                    self._failure = error
                nursery.cancel_scope.cancel()
        if result is None:
            assert self._failure is not None
            raise self._failure
        return result

    async def _result(self, ear: Ear) -> AgentResult:
        if self._sender is not None:
            self._sender.open.add(self.key)
        try:
            version, record = await self._done(ear, *await self._hand_in(ear))
            if record.bundle is not None and self._sender is not None:
                await self._sender.take(record.bundle, self.task)
        except BaseException as error:
            if isinstance(error, Gone) and self._sender is not None:
                self._sender.forget()
            if not isinstance(self._failure or error, Unreachable):
                await self._take_back()
            raise
        assert record.result is not None
        await self._hear_the_rest(record.result, record.token)
        self.link.close(ear, self._over(record.copy), version)
        if record.bundle is not None:
            self.link.drop_files([record.bundle.name])
        self._closed()
        return msgspec.structs.replace(record.result, id=self.task.id)

    # --- handing in, and taking back ---
    async def _hand_in(self, ear: Ear) -> tuple[int, Record | None]:
        """Put it on the broker, or find it there: a process that was killed may have. The record that there is then, and its
        version.
        """
        self._submission = stamp()
        job = await self._job()
        self._copy, version, record = await self.link.submit(ear, job, LOOK, claims=self._observed)
        if self._copy:
            return version, record
        if record is not None and record.state != "over":
            self._submission = record.submission
            return version, record
        queued = await self.link.queued(self.key)
        if queued is not None and (record is None or record.submission != queued.submission):
            self._submission = queued.submission
        else:  # it was taken back, and no worker has come across it yet
            self._copy = await self.link.hand_in(job)
        return version, record

    async def _job(self) -> Job:
        if self._sender is None:
            task = msgspec.structs.replace(self.task, directory="")
            return Job(self.key, self._submission, task)
        bundles, remote = await self._sender.bring(self.task.base)
        inside = self._sender.inside[self.task.directory]
        task = msgspec.structs.replace(self.task, directory=inside)
        return Job(self.key, self._submission, task, self._sender.origin, bundles, remote)

    async def _take_back(self) -> None:
        """Nobody wants it any more, and it must not be what the next attempt is told."""
        with trio.move_on_after(TAKE_BACK, shield=True):
            try:
                while True:
                    version, record = await self.link.read(self.key)
                    if record is not None and (record.state, record.submission) == (
                        "over",
                        self._submission,
                    ):
                        break
                    copy = max(self._copy, record.copy if record is not None else 0)
                    if await self.link.write(self.key, self._over(copy), version):
                        break
            except CodetetherError:
                return  # the broker forgets it in a week
            self._closed()

    def _over(self, copy: int) -> Record:
        return Record(state="over", submission=self._submission, stamp=stamp(), copy=copy)

    @property
    def _observed(self) -> bool:
        return self._observe is not None

    def _closed(self) -> None:
        if self._sender is not None:
            self._sender.open.discard(self.key)

    # --- watching ---
    async def _done(self, ear: Ear, version: int, record: Record | None) -> tuple[int, Record]:
        """The record when it is done: by the worker whose claim is the last, since any other's was refused."""
        while True:
            if record is not None and record.state == "done":
                if record.result is None or self._lost_it(record):
                    raise CodetetherError("the result is of a worker that had lost the sub-task")
                if _gives_back(_spent(record.result)):
                    raise CodetetherError(
                        f"the result is said to cost less than nothing, by {record.worker}"
                    )
                return version, record
            if record is not None and record.state == "claimed" and version != self._token:
                await self._claimed(version, record)
            if record is not None and (record.state, record.submission) == (
                "over",
                self._submission,
            ):
                raise CodetetherError(f"{self.task.id} was taken back by somebody else")
            before = version
            version, record = await self.link.changed(ear, version, LOOK, claims=self._observed)
            if before and record is None:
                raise self._gone()
            if version == before and not self._token:
                await self._mind_the_queue(version)
                await self._mind_the_crowd()

    def _lost_it(self, done: Record) -> bool:
        """Whether the result is of another claim than the last that we know of."""
        other = done.token == self._token and done.claim != self._claim
        return done.token < self._token or other

    async def _claimed(self, version: int, record: Record) -> None:
        again = "again, " if self._token else ""
        self._token, self._claim = version, record.stamp
        await self._notice("info", f"{again}on {record.worker}")

    async def _notice(self, level: Any, text: str, hint: str = "") -> None:
        if self._observe is not None:
            await self._observe(Notice(level, text, hint))

    async def _mind_the_queue(self, version: int) -> None:
        """Nobody has had it for LOOK seconds: can anybody still?"""
        if await self.link.queued(self.key) is not None:
            return
        now, _ = await self.link.read(self.key)
        if now == version:  # else it was done meanwhile
            raise self._gone()

    def _gone(self) -> Gone:
        return Gone(
            f"{self.task.id} is no longer on the broker",
            "it lost what it had, or a worker could not read the sub-task: are all of the same version?",
        )

    async def _mind_the_crowd(self) -> None:
        """Is there anybody? Those that are busy will come to it."""
        crowd = await self.link.crowd()
        if crowd.idle or crowd.busy:
            self._alone = 0.0
            return
        self._alone += LOOK
        if self._alone == LOOK:
            await self._notice("warning", "there is no worker yet", START_ONE)
        if self._alone >= self._patience:
            raise CodetetherError(f"no worker came within {self._patience:g} s", START_ONE)

    # --- events ---
    async def _relay(
        self,
        events: trio.MemoryReceiveChannel[bytes],
        observe: Callable[[SessionEvent], Awaitable[None]],
        scope: trio.CancelScope,
    ) -> None:
        try:
            async for said in events:
                await self._heard_of(said, observe)
        except CodetetherError as error:
            self._failure = error
            scope.cancel()

    async def _heard_of(
        self, data: bytes, observe: Callable[[SessionEvent], Awaitable[None]]
    ) -> None:
        try:
            said = told(data)
        except msgspec.DecodeError:
            return  # of a worker that is newer than we are
        if said.token < self._token:
            return  # of one that has lost the task and does not know yet
        if _gives_back(getattr(said.event, "usage", None)):
            return
        if isinstance(said.event, StepFinished | Spent):
            before = self._heard.get(said.token, Usage())
            self._heard[said.token] = before + (said.event.usage or Usage())
        await observe(said.event)
        if isinstance(said.event, TurnFinished):
            self._ended[said.token].set()

    async def _hear_the_rest(self, result: AgentResult, token: int) -> None:
        """Events may be lost, and what they cost must not be: a last one tells of what was not heard of."""
        if self._observe is None or not result.steps:
            return
        with trio.move_on_after(LAST_WORDS):
            await self._ended[token].wait()
        heard = self._heard.get(token, Usage())
        spent = result.input_tokens + result.output_tokens
        if spent > heard.input + heard.output:
            cost = None if result.cost is None else max(result.cost - (heard.cost or 0.0), 0.0)
            rest = Usage(
                max(result.input_tokens - heard.input, 0), max(result.output_tokens - heard.output, 0), cost=cost
            )  # fmt: skip
            await self._observe(StepFinished(result.steps, rest))


def _spent(result: AgentResult) -> Usage:
    return Usage(result.input_tokens, result.output_tokens, cost=result.cost)


def _gives_back(usage: Usage | None) -> bool:
    """Whether a worker says that something cost less than nothing: a budget would never be used up."""
    return usage is not None and not (
        usage.input >= 0 and usage.output >= 0 and 0 <= (usage.cost or 0.0) < math.inf
    )

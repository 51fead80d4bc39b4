"""One sub-task: claimed, done by an agent, its changes sent back, all of it only as long as the claim holds."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
import trio
from codetether.api import AgentResult, CodetetherError, TextDelta, ThoughtDelta, ToolProgress
from codetether_nats import Bundle, Record, Told, Unreachable, pack, stamp
from codetether_nats.messages import encode
from codetether_nats.messages import job as read_job
from codetether_nats.messages import record as read_record
from codetether_worktrees import commit

if TYPE_CHECKING:
    from codetether.api import Kernel, SessionEvent
    from codetether_nats import Job, Link
    from codetether_nats.broker import Delivery
    from codetether_nats.holds import Hold
    from codetether_worktrees import Worktree

    from codetether_mode_swarm_worker import Settings
    from codetether_mode_swarm_worker.ground import Ground

ACCESS = ("ask", "auto", "full")
BREATH = 1.0  # seconds between signs of life of a running tool
LAST_WORD = 2.0  # seconds to give a sub-task back
LARGEST_RESULT = 400_000  # bytes, as JSON
LARGEST_EVENT = 200_000  # bytes of one that is told
BESIDES = 5_000  # bytes of what else is in a message
LEFT_OUT = "\n[the rest is left out]"


class Doing:
    """What every sub-task needs. `say` is for the person who started the worker."""

    def __init__(
        self,
        kernel: Kernel,
        settings: Settings,
        link: Link,
        ground: Ground,
        *,
        name: str,
        say: Callable[[str], None],
    ) -> None:
        self._kernel = kernel
        self._settings = settings
        self._link = link
        self._ground = ground
        self._name = name
        self._say = say
        self._at: set[int] = set()  # the claims that are being worked on

    def offer(self, delivery: Delivery) -> tuple[str, bytes] | None:
        """What claims a job that nobody had before: its key, and our record. None when it cannot be read."""
        try:
            job = read_job(delivery.data)
        except msgspec.DecodeError:
            return None
        return job.key, encode(self._mine(job, delivery, tries=1))

    async def do(self, delivery: Delivery, hold: Hold | None) -> bool:
        """Take a job to its end; whether it was ours to do. `hold` when it was claimed already. Cancelling gives it back to
        the queue.
        """
        try:
            job = read_job(delivery.data)
            hold = hold or await self._claim(job, delivery)
        except Unreachable:
            raise
        except (msgspec.DecodeError, CodetetherError) as error:
            self._say(f"a sub-task cannot be done, and is dropped: {error}")
            await self._link.settle(delivery)
            return False
        except trio.Cancelled:
            await self.decline(delivery, hold)
            raise
        if hold is None:
            return False
        began = trio.current_time()
        self._say(f"{job.task.id}: begun")
        self._at.add(hold.token)
        try:
            done = await self._while_it_holds(job, hold)
        except BaseException:
            await self.decline(delivery, hold)
            raise
        finally:
            self._at.discard(hold.token)
        if done is None:
            self._link.release(hold)
            ended = "lost to another worker, or taken back; what was done is dropped"
        else:
            ended = "done" if done.ok else f"failed: {done.error or done.reason}"
            ended += f" ({trio.current_time() - began:.0f} s, {done.steps} steps)"
        self._say(f"{job.task.id}: {ended}")
        return True

    async def decline(self, delivery: Delivery, hold: Hold | None) -> None:
        """Give a job back to the queue, whatever was cancelled. If the broker is not there, the lease ends."""
        if hold is not None:
            self._link.release(hold)
        with trio.move_on_after(LAST_WORD, shield=True), suppress(CodetetherError):
            await self._link.give_back(delivery)

    # --- the claim ---
    def _mine(self, job: Job, delivery: Delivery, tries: int) -> Record:
        return Record(
            state="claimed", submission=job.submission, stamp=stamp(), worker=self._name, delivery=delivery.delivery,
            tries=tries, copy=delivery.copy,
        )  # fmt: skip

    async def _claim(self, job: Job, delivery: Delivery) -> Hold | None:
        """Our hold on a job; None when it is not to be done, or not by us."""
        while True:
            version, record = await self._link.read(job.key)
            match self._verdict(record, job, delivery):
                case "ours":
                    assert record is not None
                    if (
                        version in self._at
                    ):  # the broker died, and forgot that it had handed it to us
                        return None
                    return await self._link.hold(delivery, job.key, record, version)
                case "done before":
                    assert record is not None
                    await self._hand_on(record, job, delivery, version)
                    return None
                case "nobody's":
                    await self._link.settle(delivery)
                    return None
                case "another copy's":
                    await self._link.give_back(delivery, self._link.lease)
                    return None
                case "another worker's":
                    return None
            if record is not None and record.state == "claimed" and (grace := self._link.grace):
                self._say(f"{job.task.id}: another worker may still be at it")
                await self._link.give_back(delivery, grace)
                return None
            tried = _tried(record, job)
            if record is not None and tried >= self._settings.tries:
                await self._give_up(record, job, delivery, version)
                return None
            mine = self._mine(job, delivery, tried + 1)
            if hold := await self._link.claim(delivery, job.key, mine, version):
                return hold

    def _verdict(self, record: Record | None, job: Job, delivery: Delivery) -> str:
        """Whose a job is by the record that is in place; "" when we may have it."""
        if record is None:
            return ""
        if record.submission != job.submission:  # it was handed in at another time too
            if record.copy > delivery.copy:
                return "nobody's"
            return "done before" if record.state == "done" else ""
        if record.state != "claimed":
            return "nobody's"
        if record.copy != delivery.copy:  # handed in twice, by a coordinator that was not told
            return "another copy's"
        if record.delivery == delivery.delivery and record.worker == self._name:
            return "ours"  # and we were not told
        return "another worker's" if record.delivery >= delivery.delivery else ""

    async def _hand_on(self, done: Record, job: Job, delivery: Delivery, version: int) -> None:
        """Who handed it in now waits for what was done when it was handed in before: say it to them too."""
        same = msgspec.structs.replace(
            done, submission=job.submission, copy=delivery.copy, stamp=stamp()
        )
        await self._answer(same, job, delivery, version)

    async def _answer(self, record: Record, job: Job, delivery: Delivery, version: int) -> None:
        """Put a result in the place of version `version`, without a claim of ours."""
        if await self._link.write(job.key, record, version):
            await self._link.settle(delivery)
        else:
            await self._link.give_back(delivery)

    async def _give_up(self, claim: Record, job: Job, delivery: Delivery, version: int) -> None:
        why = f"it was begun {claim.tries} times, and no worker lived to finish it"
        failed = AgentResult(job.task.id, False, "", "error", "", 0, 0.0, error=why)
        over = Record(
            state="done", submission=job.submission, stamp=stamp(), worker=self._name, copy=delivery.copy,
            token=version, claim=claim.stamp, result=failed,
        )  # fmt: skip
        self._say(f"{job.task.id}: given up, {why}")
        await self._answer(over, job, delivery, version)

    # --- the work ---
    async def _while_it_holds(self, job: Job, hold: Hold) -> AgentResult | None:
        """The result, handed in; None when the claim was lost before that."""
        with trio.CancelScope() as scope:
            self._link.watch(hold, scope.cancel)
            return await self._work(job, hold)
        return None

    async def _work(self, job: Job, hold: Hold) -> AgentResult | None:
        started = trio.current_time()
        name = f"job-{hold.token}-{stamp()[:6]}"
        try:
            if not job.task.base:
                async with self._ground.empty(name) as folder:
                    result = await self._agent(job, hold.token, str(folder))
                    return await self._hand_in(job, hold, result, None)
            async with self._ground.tree(self._link, job, name, self._settings.remotes) as tree:
                place = _directory(tree, job.task.directory)
                result = await self._agent(job, hold.token, place)
                return await self._hand_in(job, hold, result, await self._sent(job, tree, result))
        except Unreachable:
            raise
        except CodetetherError as error:
            seconds = trio.current_time() - started
            text = f"on {self._name}: {error.message}{f' ({error.hint})' if error.hint else ''}"
            failed = AgentResult(job.task.id, False, "", "error", "", 0, seconds, error=text)
            return await self._hand_in(job, hold, failed, None)

    async def _hand_in(
        self, job: Job, hold: Hold, result: AgentResult, bundle: Bundle | None
    ) -> AgentResult | None:
        """The broker takes it only in the place of our claim: this is where a worker that slept too long fails."""
        done = Record(
            state="done", submission=job.submission, stamp=stamp(), worker=self._name, copy=hold.delivery.copy,
            token=hold.token, claim=read_record(hold.claim).stamp, result=self._cut(result), bundle=bundle,
        )  # fmt: skip
        if await self._link.finish(hold, done):
            return result
        if bundle is not None:
            self._link.drop_files([bundle.name])
        return None

    async def _agent(self, job: Job, token: int, directory: str) -> AgentResult:
        allowed = self._settings.access
        mine = msgspec.structs.replace(
            job.task, directory=directory, model=self._settings.model or job.task.model,
            access=min(job.task.access or allowed, allowed, key=_strict),
        )  # fmt: skip
        breath = 0.0

        async def observe(event: SessionEvent) -> None:
            nonlocal breath
            if isinstance(event, TextDelta | ThoughtDelta):
                return
            if isinstance(event, ToolProgress):
                if trio.current_time() < breath:
                    return
                breath = trio.current_time() + BREATH
            await self._link.tell(job.key, Told(token, _small(event)))

        return await self._kernel.executor("local").run(mine, observe)

    def _cut(self, result: AgentResult) -> AgentResult:
        """The result, as much of its texts as one message takes."""
        room = min(LARGEST_RESULT, self._link.room - BESIDES)
        for name in ("text", "error"):
            while (size := len(encode(result))) > room and (text := getattr(result, name)):
                kept = int((len(text) - len(LEFT_OUT)) * room / size) - 1
                cut = text.removesuffix(LEFT_OUT)[:kept] + LEFT_OUT if kept > 0 else ""
                result = msgspec.structs.replace(result, **{name: cut})
        return result

    async def _sent(self, job: Job, tree: Worktree, result: AgentResult) -> Bundle | None:
        what = "Sub-task" if result.ok else "Unfinished work of sub-task"
        await commit(tree, f"{what} {job.task.id}")
        tip = await tree.tip()
        if tip == job.task.base:
            return None
        return await pack(self._link, tree.repository, tip, [job.task.base])


def _tried(record: Record | None, job: Job) -> int:
    """How often a job was begun."""
    if record is None or record.state != "claimed" or record.submission != job.submission:
        return 0
    return record.tries


def _strict(word: str) -> int:
    return ACCESS.index(word) if word in ACCESS else 0


def _directory(tree: Worktree, inside: str) -> str:
    """Where the coordinator's person stands in their clone, in this one."""
    place = (tree.path / inside).resolve()
    below = place.is_relative_to(tree.path.resolve())
    return str(place if below and place.is_dir() else tree.path)


def _small(event: SessionEvent) -> SessionEvent:
    """The event, its texts cut when it is too large to be told."""
    if len(msgspec.json.encode(event)) <= LARGEST_EVENT:
        return event
    cut: dict[str, object] = {}
    for name in event.__struct_fields__:
        value = getattr(event, name)
        if isinstance(value, str) and len(value) > LARGEST_EVENT // 20:
            cut[name] = value[: LARGEST_EVENT // 20]
        elif isinstance(value, dict):
            cut[name] = {}
    return msgspec.structs.replace(event, **cut)

"""One sub-task: claimed, done by an agent, its changes sent back, all of it only as long as the claim holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import trio
from codetether.api import AgentResult, CodetetherError, TextDelta, ThoughtDelta, ToolProgress
from codetether_nats import Bundle, Record, Told, Unreachable, pack, stamp
from codetether_nats.messages import job as read_job
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
LARGEST_TEXT = 400_000  # characters of a report
LARGEST_EVENT = 200_000  # bytes of one that is told


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

    async def do(self, delivery: Delivery) -> bool:
        """Take a job to its end; whether it was ours to do. Cancelling gives it back to the queue."""
        try:
            job = read_job(delivery.data)
            claim = await self._claim(job, delivery)
        except Unreachable:
            raise
        except (msgspec.DecodeError, CodetetherError) as error:
            self._say(f"a sub-task cannot be done, and is dropped: {error}")
            await self._link.settle(delivery)
            return False
        if claim is None:
            return False
        began = trio.current_time()
        self._say(f"{job.task.id}: begun")
        try:
            done = await self._while_it_holds(claim)
        except BaseException:
            with trio.move_on_after(2, shield=True):
                await self._link.give_back(delivery)
            raise
        finally:
            self._link.release(claim.hold)
        if not done:
            self._say(
                f"{job.task.id}: lost to another worker, or taken back; what was done is dropped"
            )
            return True
        ended = "done" if done.ok else f"failed: {done.error or done.reason}"
        self._say(
            f"{job.task.id}: {ended} ({trio.current_time() - began:.0f} s, {done.steps} steps)"
        )
        return True

    # --- the claim ---
    async def _claim(self, job: Job, delivery: Delivery) -> _Claim | None:
        """Our claim; None when the job is not to be done, or not by us."""
        claim = _Claim(job)
        mine = Record(
            state="claimed", submission=job.submission, stamp=stamp(), worker=self._name, delivery=delivery.delivery,
            copy=delivery.copy,
        )  # fmt: skip

        async def held(version: int) -> bool:
            hold = await self._link.claim(delivery, job.key, mine, version, claim.scope.cancel)
            if hold is not None:
                claim.hold = hold
            return hold is not None

        if delivery.delivery == 1 and await held(job.version):
            return claim
        while True:
            found = await self._link.read(job.key)
            unwanted = found is None or found[1].submission != job.submission
            if found is None or unwanted or found[1].state in ("done", "cancelled"):
                await self._link.settle(delivery)
                return None
            version, record = found
            if record.state == "claimed" and record.copy != delivery.copy:
                # It was handed in twice, by a coordinator that was killed in between; the other copy is being done.
                await self._link.give_back(delivery, self._link.lease)
                return None
            if record.delivery >= delivery.delivery:
                return None  # it was handed out again before we got to claim it
            if delivery.delivery > self._settings.tries:
                await self._give_up(job, delivery, version)
                return None
            if await held(version):
                return claim

    async def _give_up(self, job: Job, delivery: Delivery, version: int) -> None:
        why = f"it was handed out {delivery.delivery - 1} times, and no worker lived to finish it"
        failed = AgentResult(job.task.id, False, "", "error", "", 0, 0.0, error=why)
        over = Record(
            state="done", submission=job.submission, stamp=stamp(), worker=self._name, token=version, result=failed
        )  # fmt: skip
        self._say(f"{job.task.id}: given up, {why}")
        if await self._link.write(job.key, over, version):
            await self._link.settle(delivery)
        else:
            await self._link.give_back(delivery)

    async def _while_it_holds(self, claim: _Claim) -> AgentResult | None:
        """The result, handed back; None when the claim was lost before that."""
        with claim.scope:
            result, bundle = await self._work(claim)
            done = Record(
                state="done", submission=claim.job.submission, stamp=stamp(), worker=self._name, token=claim.token,
                result=result, bundle=bundle,
            )  # fmt: skip
            # The broker takes it only in the place of our claim: this is where a worker that slept too long fails.
            if await self._link.finish(claim.hold, done):
                return result
            if bundle is not None:
                await self._link.drop_file(bundle.name)
        return None

    # --- the work ---
    async def _work(self, claim: _Claim) -> tuple[AgentResult, Bundle | None]:
        job = claim.job
        started = trio.current_time()
        name = f"job-{claim.token}-{stamp()[:6]}"
        try:
            if not job.task.base:
                async with self._ground.empty(name) as folder:
                    return await self._agent(claim, str(folder)), None
            async with self._ground.tree(self._link, job, name, self._settings.remotes) as tree:
                result = await self._agent(claim, _directory(tree, job.task.directory))
                return result, await self._sent(job, tree, result)
        except CodetetherError as error:
            seconds = trio.current_time() - started
            text = f"on {self._name}: {error.message}{f' ({error.hint})' if error.hint else ''}"
            return AgentResult(job.task.id, False, "", "error", "", 0, seconds, error=text), None

    async def _agent(self, claim: _Claim, directory: str) -> AgentResult:
        task = claim.job.task
        allowed = self._settings.access
        mine = msgspec.structs.replace(
            task, directory=directory, model=self._settings.model or task.model,
            access=min(task.access or allowed, allowed, key=_strict),
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
            await self._link.tell(claim.job.key, Told(claim.token, _small(event)))

        result = await self._kernel.executor("local").run(mine, observe)
        if len(result.text) > LARGEST_TEXT:
            text = f"{result.text[:LARGEST_TEXT]}\n[the rest is left out]"
            result = msgspec.structs.replace(result, text=text)
        return result

    async def _sent(self, job: Job, tree: Worktree, result: AgentResult) -> Bundle | None:
        what = "Sub-task" if result.ok else "Unfinished work of sub-task"
        await commit(tree, f"{what} {job.task.id}")
        tip = await tree.tip()
        if tip == job.task.base:
            return None
        return await pack(self._link, tree.repository, tip, [job.task.base])


class _Claim:
    """A job that is ours to do, as long as nobody takes it: then `scope` is cancelled."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.scope = trio.CancelScope()
        self.hold: Hold

    @property
    def token(self) -> int:
        """The broker's number of our claim."""
        return self.hold.token


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

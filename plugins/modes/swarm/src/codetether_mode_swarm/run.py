"""A run: plan, sub-agents as soon as what they wait for is merged, gates, and the user's branch at last."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import trio
from codetether.api import CodetetherError, UsageError
from codetether_crew import (
    Attempt,
    Budget,
    Ended,
    Hands,
    Outcome,
    Tell,
    Work,
    belongs,
    choose_model,
    failing,
)
from codetether_live import Board, only
from codetether_worktrees import GitFailed, Left, place_of, remove, unlock

from codetether_mode_swarm import texts
from codetether_mode_swarm.book import Book
from codetether_mode_swarm.decompose import decompose, files_of
from codetether_mode_swarm.events import SwarmFinished, SwarmStarted
from codetether_mode_swarm.ground import Ground, settle
from codetether_mode_swarm.joining import Joiner
from codetether_mode_swarm.journal import Began, Past, changed
from codetether_mode_swarm.parts import Part
from codetether_mode_swarm.report import report
from codetether_mode_swarm.schedule import schedule

if TYPE_CHECKING:
    from codetether.api import Executor, Kernel, Session

    from codetether_mode_swarm.graph import Plan
    from codetether_mode_swarm.options import Options

CANCEL_EVERY = 0.5


class Run:
    """One swarm, kept in `folder`, whose name is its id. `past`: what its journal says, for one that goes on. `tell` is
    given every event.
    """

    def __init__(
        self, kernel: Kernel, folder: Path, options: Options, tell: Tell, past: Past | None = None
    ) -> None:
        self.kernel = kernel
        self.id = folder.name
        self.folder = folder
        self.options = options
        self.past = past
        self.book = Book(folder, tell, past)
        self.stopped = ""
        self.landed = ""
        self.budget = Budget(options.budget_usd, options.budget_tokens, self.book.spent)
        self._scope = trio.CancelScope()
        self._began_at = trio.current_time()
        self.hands = Hands(
            self._executor,
            self.budget,
            self.book.see,
            timeout=options.timeout,
            max_steps=options.max_steps,
            depth=options.depth,
        )
        self.ground: Ground
        self.joiner: Joiner | None = None
        self._began: Began
        self._files = ""

    # --- from outside ---
    @property
    def board(self) -> Board:
        """What a person sees of it."""
        return self.book.board

    def owns(self, session: Session) -> bool:
        """Whether a session works for this run, however deep below it."""
        return belongs(session, self.options.started_by or self.id)

    def stop(self, why: str) -> None:
        """End the run as soon as what is running can be left; all it did stays, and it can be resumed."""
        self.stopped = self.stopped or why
        self.board.phase = "stopping"
        self._scope.cancel()

    # --- the run ---
    async def go(self) -> Outcome:
        """Everything, to the outcome. Raises CodetetherError when there is not even a plan."""
        try:
            with self._failing(), self._scope, only():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._watch_for_cancel)
                    await self._all()
                    nursery.cancel_scope.cancel()
        finally:
            with self._failing(), trio.CancelScope(shield=True):
                outcome = await self._leave()
        return outcome

    def _failing(self) -> AbstractContextManager[None]:
        return failing(self.stop, self.again)

    def again(self) -> str:
        """The command that goes on with it; "" while there is not even a plan."""
        return f"codetether swarm resume {self.id}" if self.book.plan is not None else ""

    async def plan_only(self) -> Plan:
        """The plan, for a person to see; nothing else happens and nothing is kept."""
        await self._choose_model()
        await self._look_around()
        return (await self._decompose())[0]

    async def _decompose(self) -> tuple[Plan, Attempt]:
        return await decompose(self.kernel, self.options, self.hands, self.id, self._files)

    async def _all(self) -> None:
        why_not = await self._begin()
        board = self.book.board
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._lay_ground)
            nursery.start_soon(self._say_where, why_not)
            if self.book.plan is None:
                board.phase = "planning"
                await self.book.settle(*await self._decompose())
        board.phase = ""
        await self.book.show()
        joiner = self.joiner
        assert joiner is not None
        parts = self.book.parts.values()
        measured = self.past.measured if self.past else None
        if not any(part.task.writes for part in parts):
            await self._work(joiner)
        elif self.ground.isolated:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(joiner.measure, measured)
                await self._work(joiner)
        else:  # agents work where the checks would run
            await joiner.measure(measured)
            await self._work(joiner)
        if any(part.state == "completed" and part.task.writes for part in parts):
            board.phase = "checking"
            await joiner.judge()
            board.phase = ""
        await self._land()

    async def _begin(self) -> str:
        """Settle where and with which model; why nobody has a worktree, "" when they do."""
        options = self.options
        place = place_of(self.kernel.dirs)
        async with trio.open_nursery() as nursery:  # the provider loads while git looks
            nursery.start_soon(self._choose_model)
            nursery.start_soon(self._look_around)
            self.ground, why_not = await settle(
                self.id, Path(options.directory), place, worktrees=options.worktrees
            )
        await self._check_executor(why_not)
        if self.past is None:
            self._began = self._beginning()
            await self.book.write(self._began)
        else:
            self._began = self.past.began
            if self._began.root and not self.ground.isolated:
                raise CodetetherError(f"the repository of this run is not there: {why_not}")
            self.budget.spent += await self.book.recover(self.kernel, self.past)
        resumed = self.past is not None
        await self.book.tell(
            SwarmStarted(
                self.id,
                options.task,
                options.directory,
                self.hands.model,
                resumed,
                self.ground.isolated,
            )
        )
        return why_not

    async def _lay_ground(self) -> None:
        """Make what is worked on, while the model plans. It is finished in any case: only then all of it is known, and
        can be taken away.
        """
        parts = [part for part in self.book.parts.values() if part.commit]
        with trio.CancelScope(shield=True):
            await self.ground.open(
                self._began.commit, branch=self._began.branch, resumed=self.past is not None,
                merged=[part.commit for part in parts if part.state == "completed"],
                doubtful=[part.commit for part in parts if part.state == "worked" and part.conflicts],
            )  # fmt: skip
        self.joiner = Joiner(
            self.kernel,
            self.options,
            self.ground,
            self.hands,
            self.book,
            logs=self.folder / "gates",
        )

    def _executor(self, work: Work) -> Executor:
        """What has no branch of its own works on the result, which is here."""
        wanted = self.kernel.executor(self.options.executor)
        return self.kernel.executor() if wanted.elsewhere and not work.branch else wanted

    async def _check_executor(self, why_not: str) -> None:
        executor, address = self.kernel.executor(self.options.executor), self.options.address
        if not executor.elsewhere and address:
            raise UsageError(
                f"the executor {self.options.executor} needs no broker", "leave --nats out"
            )
        if executor.elsewhere and not self.ground.isolated:
            raise CodetetherError(
                f"the executor {self.options.executor} brings a repository to other machines, and {why_not}"
            )
        await executor.ready(address)

    async def _look_around(self) -> None:
        """See which files there are, if there is still something to plan."""
        if self.book.plan is None and self.options.strategy != "none":
            self._files = await files_of(Path(self.options.directory))

    async def _choose_model(self) -> None:
        wanted = self.options.model or (self.past.began.model if self.past else "")
        self.hands.model = await choose_model(self.kernel, wanted, self.options.budget_usd)
        self.hands.started_by = self.options.started_by or self.id

    def _beginning(self) -> Began:
        repository = self.ground.repository
        where = (str(repository.root), *repository.stood) if repository else ("", "", "")
        return Began(self.id, self.options, self.hands.model, *where, time.time())

    async def _say_where(self, why_not: str) -> None:
        await self.book.say_what_has_no_price(self.options.budget_usd)
        if not self.ground.isolated:
            text = f"no worktrees: {why_not}; agents that change files take turns in this directory"
            await self.book.notice("info", text)
        elif self.ground.repository is not None and (
            theirs := await self.ground.repository.uncommitted()
        ):
            many = len(theirs) > 1
            what = f"{len(theirs)} changed file{'s' * many} of yours {'are' if many else 'is'} not committed"
            await self.book.notice("warning", f"{what}: the agents do not see that")

    # --- the work ---
    async def _work(self, joiner: Joiner) -> None:
        assert self.book.plan is not None

        async def one(part: Part) -> None:
            await self._part(part, joiner)

        await schedule(self.book.plan, self.book.parts, self.options.concurrency, one)

    async def _part(self, part: Part, joiner: Joiner) -> None:
        """Take one part to its end; the states of those it waits for are final."""
        needed = [self.book.parts[each] for each in part.task.dependencies]
        if bad := [other.task.name for other in needed if other.state != "completed"]:
            why = f"it needs {', '.join(bad)}, which did not succeed"
            await self.book.enter(part, "cancelled", why)
            return
        if part.state != "worked":
            await self._attempts(part)
        if part.state == "worked":
            state, why = await joiner.join(part)
            await self._say(await self.ground.tidy(part))
            await self.book.enter(part, state, why)

    async def _attempts(self, part: Part) -> None:
        interrupted, before = part.state == "running", part.last
        for left in reversed(range(self.options.retries + 1)):
            attempt = await self._attempt(part, texts.again(before, interrupted=interrupted))
            if attempt.ok:
                attempt = await self._kept(part, attempt)
            if attempt.ok:
                if part.branch:
                    await self.book.enter(part, "worked", "", attempt)
                else:
                    await self.book.end(part, attempt)
                return
            before, interrupted = attempt, False
            if attempt.final or not left:
                await self._failed(part, attempt)
                return
            await self.book.enter(part, "running", f"tried again: {attempt.error}", attempt)

    async def _attempt(self, part: Part, why_again: str) -> Attempt:
        if self.kernel.executor(self.options.executor).elsewhere:
            return await self._elsewhere(part, why_again)
        tree = await self.ground.prepare(part)
        directory = tree.directory if tree is not None else self.ground.directory
        await self.book.enter(part, "running", part.why if part.attempts else "")
        order = self._order(part, directory, why_again)
        if tree is None and part.task.writes:
            async with self.ground.writing:
                return await self.hands.do(order)
        return await self.hands.do(order)

    async def _elsewhere(self, part: Part, why_again: str) -> Attempt:
        """The executor brings the repository there, and the result back as a branch."""
        assert self.ground.result is not None
        repository = self.ground.result.repository
        part.base = part.base or await self.ground.result.tip()
        part.branch = f"codetether/{self.ground.name_of(part)}"
        await self.book.enter(part, "running", part.why if part.attempts else "")
        order = self._order(part, self.ground.directory, why_again)
        await unlock(repository, part.branch)  # the executor makes it; no worktree has it
        before = await repository.commit_of(
            f"refs/heads/{part.branch}"
        )  # of an attempt that failed
        attempt = await self.hands.do(msgspec.structs.replace(order, base=before or part.base))
        part.commit = await repository.commit_of(f"refs/heads/{part.branch}")
        if attempt.unreachable:
            self.stop(attempt.error)  # it is still on the broker, and so a resumed run finds it
            await trio.sleep_forever()
        return attempt

    def _order(self, part: Part, directory: Path, why_again: str) -> Work:
        parts, isolated = self.book.parts, self.ground.isolated
        results = [(parts[each].task.name, parts[each].text) for each in part.task.dependencies]
        return Work(
            key=part.task.id,
            id=f"{self.id}:{part.task.id}:{len(part.attempts) + 1}",
            prompt=texts.subtask(
                part.task, self.options.task, results, again=why_again, merged=isolated
            ),
            directory=directory,
            access=self.options.access or ("auto" if isolated else ""),
            writes=part.task.writes,
            base=part.base,
            branch=part.branch,
        )

    async def _failed(self, part: Part, attempt: Attempt) -> None:
        await self._keep_half(part)
        left = await self.ground.tidy(part)
        state = "timed_out" if attempt.timed_out else "failed"
        why = "; ".join(filter(None, (attempt.error or "it failed", left)))
        await self.book.enter(part, state, why, attempt)

    async def _kept(self, part: Part, attempt: Attempt) -> Attempt:
        """The attempt, which failed when what it did cannot be committed."""
        try:
            await self.ground.keep(part)
        except GitFailed as error:
            return msgspec.structs.replace(attempt, ok=False, error=error.message)
        return attempt

    async def _keep_half(self, part: Part) -> None:
        """Commit what there is of a part's work. What cannot be committed stays where it is."""
        with suppress(GitFailed):
            await self.ground.keep(part, unfinished=True)

    # --- the end ---
    @property
    def good(self) -> bool:
        """Whether every part succeeded, and no gate blocks."""
        judged = self.joiner.report if self.joiner is not None else None
        parts = self.book.parts.values()
        done = bool(parts) and all(part.state == "completed" for part in parts)
        return done and (judged is None or judged.ok)

    async def _land(self) -> None:
        """Move the user's branch to the result, if all of it is good and nothing of theirs is in the way."""
        result = self.ground.result
        if not self.good or result is None or not self.options.merge:
            return
        if await result.tip() == result.base:
            return
        assert self.joiner is not None
        done = await self.joiner.land(self._began.branch, self._began.commit)
        if done.ok:
            self.landed = self._began.branch
        else:
            where = self._began.branch or "your branch"
            await self.book.notice("warning", f"the result was not merged into {where}: {done.why}")

    async def _leave(self) -> Outcome:
        """Put things in order, whatever happened, and say what came of it."""
        try:
            if self.joiner is None:
                return Outcome(False, {"success": False, "id": self.id, "status": "stopped"})
            return await self._close()
        finally:
            if self.joiner is not None:
                await self.ground.close()
            self.book.close()
            self.board.phase = ""

    async def _close(self) -> Outcome:
        parts = self.book.parts.values()
        unplanned = self.book.plan is None
        over = unplanned or (not self.stopped and all(part.over for part in parts))
        for part in parts:
            if part.state == "running":
                await self._keep_half(part)
            if part.state in ("running", "worked"):
                part.kept = bool(part.commit)
                await self.book.write(changed(part))
        await self.book.account(self.budget.spent)
        kept = await self._result_branch(over=over)
        seconds = trio.current_time() - self._began_at
        outcome = report(self, good=over and self.good, result_branch=kept, seconds=seconds)
        how = str(outcome.data["status"])
        await self.book.write(Ended(how, outcome.data, time.time()))
        await self.book.tell(SwarmFinished(outcome.success, outcome.data))
        return outcome

    async def _result_branch(self, *, over: bool) -> str:
        """The branch that holds what is merged in the result and nowhere else, "" when there is none."""
        result = self.ground.result
        if result is None:
            return ""
        if not over:
            return result.branch if await result.tip() != result.base else ""
        try:
            left = await remove(result, [f"refs/heads/{self.landed}"] if self.landed else [])
        except GitFailed as error:
            left = Left(result.branch, str(result.path), error.message)
        if left.path or not left.branch:
            await self._say(f"{left.path} {left.why}".strip())
        return left.branch

    async def _say(self, why: str) -> None:
        if why:
            await self.book.notice("warning", why)

    async def _watch_for_cancel(self) -> None:
        flag = trio.Path(self.folder / "cancel")
        while not await flag.exists():  # noqa: ASYNC110 - another process makes it
            await trio.sleep(CANCEL_EVERY)
        await flag.unlink(missing_ok=True)
        self.stop("cancelled by `codetether swarm cancel`")

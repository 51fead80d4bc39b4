"""A run: stories as soon as what they depend on passed, each by fresh agents until the gates let it pass."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import trio
from codetether.api import CodetetherError
from codetether_crew import (
    Budget,
    Ended,
    Hands,
    Outcome,
    Tell,
    belongs,
    choose_model,
    failing,
    wished,
)
from codetether_live import Board, only
from codetether_prd import check
from codetether_worktrees import place_of

from codetether_mode_ralph.book import Book
from codetether_mode_ralph.breakers import Breakers
from codetether_mode_ralph.course import GOOD, Course, ready, stages
from codetether_mode_ralph.events import RalphFinished, RalphStarted
from codetether_mode_ralph.following import Follower
from codetether_mode_ralph.ground import Ground, settle
from codetether_mode_ralph.judging import Judge
from codetether_mode_ralph.memory import Memory, load
from codetether_mode_ralph.records import Began, Past
from codetether_mode_ralph.report import report
from codetether_mode_ralph.working import Worker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from codetether.api import Kernel, Session
    from codetether_prd import Known

    from codetether_mode_ralph.options import Options


class Run:
    """One run, kept in `folder`, whose name is its id. `past`: what its journal says, for one that goes on. `tell` is
    given every event. `hosts`: private hosts that verification steps may ask.
    """

    def __init__(
        self, kernel: Kernel, folder: Path, options: Options, tell: Tell, *, past: Past | None = None, hosts: Sequence[str] = ()
    ) -> None:  # fmt: skip
        self.kernel = kernel
        self.id = folder.name
        self.folder = folder
        self.options = options
        self.past = past
        self.book = Book(folder, tell, past)
        self.budget = Budget(options.budget_usd, options.budget_tokens, self.book.spent)
        self.hands = Hands(
            lambda _: kernel.executor("local"), self.budget, self.book.see, timeout=options.timeout,
            max_steps=options.max_steps, depth=options.depth,
        )  # fmt: skip
        self.memory = Memory(Path(options.prd), Path(options.progress))
        self.judge = Judge(kernel, options, self.book, folder / "gates", hosts)
        self.breakers = Breakers()
        self.follower = Follower(self)
        self.begun = 0  # attempts of this process
        self.status = ""  # why it ends before all stories are over: max_iterations or stopped
        self.why = ""
        self.landed = ""
        self.known: Known
        self.ground: Ground
        self.worker: Worker | None = None
        self._scope = trio.CancelScope()
        self._began_at = trio.current_time()

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
        self.end("stopped", why)
        self.board.phase = "stopping"
        self._scope.cancel()

    def end(self, status: str, why: str) -> None:
        """Begin no further attempt; what agents are at now is still judged."""
        if not self.status:
            self.status, self.why = status, why

    def begins(self) -> bool:
        """Whether another attempt may begin, which then counts as begun; when not, the run ends."""
        if used_up := self.budget.used_up:
            self.end("stopped", used_up)
        elif self.begun >= self.options.max_iterations:
            self.end("max_iterations", f"{self.begun} iterations were allowed")
        self.begun += not self.status
        return not self.status

    # --- the run ---
    async def go(self) -> Outcome:
        """Everything, to the outcome. Raises CodetetherError when it cannot even begin."""
        limit = self.options.time_limit
        try:
            with self._failing(), self._scope, only():
                with trio.move_on_after(limit if limit is not None else float("inf")) as timer:
                    await self._all()
                if timer.cancelled_caught:
                    self.end("stopped", f"the time limit of {limit:g} s is reached")
        finally:
            with self._failing(), trio.CancelScope(shield=True):
                outcome = await self._leave()
        return outcome

    def _failing(self) -> AbstractContextManager[None]:
        return failing(lambda why: self.end("stopped", why), self.again)

    def again(self) -> str:
        """The command that goes on with it; "" when it did not even begin."""
        return f"codetether ralph resume {self.id}" if self.worker is not None else ""

    async def _all(self) -> None:
        worker = await self._begin()
        board = self.book.board
        board.phase = "checking before the work"
        measured = self.past.measured if self.past else None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._say_what_is_not_committed)
            await self.judge.settle(self.known, self.ground, measured)
        board.phase = ""
        await self._say_what_decides()
        await worker.reconcile()
        await self._work(worker)
        await self._publish()

    async def _begin(self) -> Worker:
        options = self.options
        document = await trio.to_thread.run_sync(load, self.memory.prd)
        if errors := check(document).errors:
            more = f", and {len(errors) - 3} more" if len(errors) > 3 else ""
            raise CodetetherError(f"{options.prd}: {'; '.join(errors[:3])}{more}", "mend the file")
        self.known = known = document.known
        async with trio.open_nursery() as nursery:  # the provider loads while git looks
            nursery.start_soon(self._choose_model)
            repository, branch, base = await settle(
                Path(options.directory), place_of(self.kernel.dirs), known.branch_name
            )
        if self.past is not None:
            branch, base = self.past.began.branch, self.past.began.commit
        own = [
            path.relative_to(root).as_posix()
            for path in (self.memory.prd, self.memory.progress)
            if path.is_relative_to(root := repository.root.resolve())
        ]
        self.ground = Ground(self.id, repository, branch, base, own)
        self._take_stories()
        if self.past is not None:
            self.budget.spent += await self.book.recover(self.kernel, self.past)
        else:
            await self.book.write(
                Began(self.id, options, self.hands.model, str(repository.root), branch, base, time.time())
            )  # fmt: skip
        await self.ground.open(self._passed())
        self.worker = Worker(self)
        await self._say_that_it_began()
        return self.worker

    def _take_stories(self) -> None:
        """The stories of the document as it is now; where they stand is for the journal to say, and for the document."""
        marks = self.past.marks if self.past else {}
        courses = []
        for order, story in enumerate(self.known.user_stories):
            mark = marks.get(story.id)
            if mark is not None and story.passes and mark.state != "passed":
                mark = None
            elif mark is not None and mark.told and mark.state == "passed" and not story.passes:
                mark = None  # the user says so, and what it was need not be there any more
                del marks[story.id]
            courses.append(Course(story, order, mark, self.book.earlier.get(story.id, ())))
        by_id = {each.id: each for each in courses}
        self.book.show(courses, stages(by_id))
        if self.options.story:
            self._must_be_possible(self.options.story)

    def _must_be_possible(self, only_one: str) -> None:
        courses = self.book.courses
        if only_one not in courses:
            raise CodetetherError(f"there is no story {only_one!r} in {self.options.prd}")
        lacks = [name for name in courses[only_one].story.depends_on if not courses[name].done]
        if lacks:
            why = f"{only_one} needs {', '.join(lacks)}, which did not pass yet"
            raise CodetetherError(why, "begin there, or work on all stories: leave out --story")

    def _passed(self) -> list[str]:
        marks = self.past.marks.values() if self.past else ()
        return [mark.commit for mark in marks if mark.state in GOOD and mark.commit]

    async def _choose_model(self) -> None:
        wanted = self.options.model or (self.past.began.model if self.past else "")
        self.hands.model = await choose_model(self.kernel, wanted, self.options.budget_usd)
        self.hands.started_by = self.options.started_by or self.id

    async def _say_that_it_began(self) -> None:
        stage = {row.key: row.stage for row in self.book.board.rows.values()}
        stories = tuple(
            {
                "id": each.id, "title": each.story.title, "state": each.state, "priority": each.story.priority,
                "complexity": each.story.complexity, "depends_on": list(each.story.depends_on), "stage": stage[each.id],
            }
            for each in self.book.courses.values()
        )  # fmt: skip
        await self.book.tell(
            RalphStarted(
                self.id, self.options.prd, self.known.project, self.known.feature, self.options.directory,
                self.ground.branch, self.hands.model, stories, self.options.max_iterations, self.past is not None,
            )
        )  # fmt: skip
        await self.book.say_what_has_no_price(self.options.budget_usd)

    async def _say_what_is_not_committed(self) -> None:
        theirs = set(await self.ground.repository.uncommitted()) - set(self.ground.own)
        if theirs:
            many = len(theirs) > 1
            what = f"{len(theirs)} changed file{'s' * many} of yours {'are' if many else 'is'} not committed"
            await self.book.notice("warning", f"{what}: the agents do not see that")

    async def _say_what_decides(self) -> None:
        measured = self.judge.measured
        for note in measured.notes:
            await self.book.notice("info", note)
        for each in measured.verdicts:
            if not each.ok:
                text = f"`{each.gate.command}` fails before the work: only new failures count"
                if each.early:
                    text += ". It may stop early, and then it says nothing of a story"
                await self.book.notice("info", text)
        bare = [
            each.id
            for each in self.book.courses.values()
            if not each.over and not each.story.verification_steps
        ]
        if bare and not measured.gates:
            await self.book.notice(
                "warning",
                f"nothing checks {', '.join(bare)}: there are no quality_checks, the project has none that were found, and "
                "no verification_steps. What is done is kept, and marked as unverified, not as passed",
            )

    # --- which story, when ---
    async def _work(self, worker: Worker) -> None:
        running: set[str] = set()
        news = trio.Event()

        async def one(course: Course) -> None:
            try:
                await worker.take(course)
            finally:
                running.discard(course.id)
                news.set()

        async with trio.open_nursery() as nursery:
            while True:
                news = trio.Event()
                await self._skip()
                for course in ready(self._wanted()):
                    full = len(running) >= self.options.concurrency
                    if course.id not in running and not full and self._worth(course):
                        running.add(course.id)
                        nursery.start_soon(one, course)
                if not running:
                    return
                await news.wait()

    def _worth(self, course: Course) -> bool:
        """Whether there is something to do at a story now. Its attempt counts from here: tasks start in any order."""
        course.begins = course.state not in ("judging", "merging") and self.begins()
        return course.begins or course.state in ("judging", "merging")

    def _wanted(self) -> dict[str, Course]:
        """The courses, of those to be worked on and of those they need."""
        courses, wanted = self.book.courses, self.options.story
        if not wanted:
            return courses
        return {name: each for name, each in courses.items() if name == wanted or each.over}

    async def _skip(self) -> None:
        """Stories that need one that ended otherwise than well."""
        courses = self.book.courses
        found = True
        while found:
            found = False
            for each in courses.values():
                bad = [
                    other
                    for other in each.story.depends_on
                    if courses[other].over and not courses[other].done
                ]
                if bad and not each.over:
                    found = True
                    await self.book.enter(
                        each, "skipped", f"it needs {', '.join(bad)}, which did not pass"
                    )

    # --- the end ---
    async def _publish(self) -> None:
        """Bring what there is to the user: the PRD's branch, or their tree when they want no commits."""
        ground = self.ground
        if not any(each.done and each.mark.commit != each.mark.base for each in self.book.courses.values()):  # fmt: skip
            return
        if self.options.commit:
            async with ground.joining:
                await self.follower.follow()
            done = await ground.publish()
            self.landed = ground.branch if done.ok else ""
            if not done.ok:
                where = ground.branch or "your branch"
                await self.book.notice("warning", f"the result is not on {where}: {done.why}")
            return
        if (
            self.past is not None
            and self.past.ended is not None
            and self.past.ended.result.get("laid_out")
        ):
            await self.book.notice("warning", "an earlier part of this run is in your tree already")
            return
        done = await ground.lay_out(self.folder / "result.patch")
        self.landed = "the working tree" if done.ok else ""
        if not done.ok:
            await self.book.notice("warning", f"the result was not put into your tree: {done.why}")

    @property
    def state(self) -> str:
        """The run's status, once it is over."""
        if self.status:
            return self.status
        states = [each.state for each in self.book.courses.values()]
        if self.options.story:
            states = [self.book.courses[self.options.story].state]
        if all(state == "passed" for state in states):
            return "completed"
        if all(state in ("passed", "unverified") for state in states):
            return "unverified"
        return "quality_failed"

    async def _leave(self) -> Outcome:
        """Put things in order, whatever happened, and say what came of it."""
        try:
            if self.worker is None:
                return Outcome(False, {"success": False, "id": self.id, "status": "stopped"})
            return await self._close(self.worker)
        finally:
            if self.worker is not None:
                await self.ground.close()
            self.book.close()
            self.board.phase = ""

    async def _close(self, worker: Worker) -> Outcome:
        await worker.leave()
        await self.book.account(self.budget.spent)
        laid_out = self.landed == "the working tree" and self.state == "completed"
        await self.ground.close()
        needed = await self.ground.needed(laid_out=laid_out)
        kept = self.ground.result if needed else ""
        outcome = report(self, result_branch=kept, seconds=trio.current_time() - self._began_at)
        await self.book.write(Ended(self.state, outcome.data, time.time()))
        if not needed:
            await self.ground.drop_result()
        await self.book.tell(RalphFinished(outcome.success, outcome.data))
        return outcome


def again(past: Past, **wishes: object) -> Past:
    """The run made ready to go on: what failed is tried again, what conflicted is merged again. `wishes`: options that
    are now others; None leaves one as it was.
    """
    anew = {"failed": "pending", "blocked": "pending", "skipped": "pending", "conflict": "merging"}
    for name, mark in past.marks.items():
        past.marks[name] = msgspec.structs.replace(mark, state=anew.get(mark.state, mark.state))
    options = wished(past.began.options, wishes)
    past.began = msgspec.structs.replace(past.began, options=options)
    return past

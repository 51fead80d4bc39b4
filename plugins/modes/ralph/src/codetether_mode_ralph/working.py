"""One story on its way: attempts by agents, the gates, and its commit at the end of the result."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec
from codetether.api import CodetetherError, one_line
from codetether_crew import Attempt, Work
from codetether_worktrees import GitFailed, Merge, Worktree, abort, conclude, merge, squash

from codetether_mode_ralph import texts
from codetether_mode_ralph.events import IterationStarted, StoryMerged
from codetether_mode_ralph.ground import printed

if TYPE_CHECKING:
    from codetether_mode_ralph.course import Course
    from codetether_mode_ralph.run import Run

HISTORY = 10  # commits an agent is told of
CONFLICT_STEPS = 40  # model calls of an agent that resolves a conflict
NOTHING = "it changed nothing"
INNER = "it made a repository of its own"


class Worker:
    """Takes stories to their ends. Every step is in the journal before the next one begins."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._book = run.book
        self._ground = run.ground

    async def take(self, one: Course) -> None:
        """Work on a story until it is over, or the run begins no further attempt."""
        while not one.over:
            if one.state == "merging":
                await self._join(one)
            elif one.state == "judging":
                await self._judge(one)
            elif one.begins or self._run.begins():
                one.begins = False
                await self._attempt(one)
            else:
                return

    # --- an attempt ---
    async def _attempt(self, one: Course) -> None:
        run, book = self._run, self._book
        book.iteration += 1
        one.iteration = book.iteration
        one.tries += 1
        tree = await self._ground.prepare(one)
        await book.enter(one, "working", base=tree.base, branch=tree.branch)
        await book.tell(
            IterationStarted(
                one.iteration, run.options.max_iterations, one.id, len(one.attempts) + 1
            )
        )
        attempt = await run.hands.do(await self._order(one, tree))
        try:
            made, changed, wrong = await self._ground.keep(one, _message(one, run.known.feature))
        except GitFailed as error:
            await self._uncommitted(one, attempt, error.message)
            return
        changed = changed or (one.interrupted and made != tree.base)
        one.interrupted = False
        facts = {"commit": made, "notes": texts.notes(attempt.text), "touched": wrong}
        await self._weigh(one, tree, attempt, facts)
        one.idle = (
            one.state == "judging" and not changed
        )  # it may be there already: then that is progress
        if not one.idle and one.state != "blocked":  # who says why it cannot be done is not idle
            self._count(one, changed=changed, error=attempt.error)

    def _count(self, one: Course, *, changed: bool, error: str = "") -> None:
        one.idle = False
        if why := self._run.breakers.attempted(one, changed=changed, error=error):
            self._run.end("stopped", why)

    async def _uncommitted(self, one: Course, attempt: Attempt, why: str) -> None:
        """Git cannot store what an agent did. The next one may mend that."""
        one.interrupted = False
        self._count(one, changed=False, error=why)
        await self._failed(one, why, texts.filled("uncommitted", why=why), attempt)

    async def _order(self, one: Course, tree: Worktree) -> Work:
        run = self._run
        history = await tree.git("log", f"-{HISTORY}", "--format=%h %s", tree.base, "--")
        prompt = texts.story(
            one, run.known, run.judge.measured.gates, progress=await run.memory.digest(), history=history
        )  # fmt: skip
        return Work(
            key=one.id, id=f"{run.id}:{one.id}:{one.iteration}", prompt=prompt, directory=tree.directory,
            access=run.options.access or "auto", base=tree.base, branch=tree.branch,
        )  # fmt: skip

    async def _weigh(
        self, one: Course, tree: Worktree, attempt: Attempt, facts: dict[str, Any]
    ) -> None:
        """What an attempt came to, before any gate: an agent's words end a story, they never pass it."""
        run, book = self._run, self._book
        blocked = texts.blocked(attempt.text) if attempt.ok else None
        if run.budget.used_up and not attempt.ok:
            await book.enter(one, "pending", attempt.error, attempt, **facts)
        elif not attempt.ok:
            told = f"The agent was ended: {attempt.error}."
            await self._failed(one, attempt.error, told, attempt, final=attempt.final, **facts)
        elif blocked is not None:
            await self._failed(one, blocked, blocked, attempt, state="blocked", **facts)
        elif facts["commit"] == tree.base and not one.story.verification_steps:
            await self._failed(one, NOTHING, texts.filled("nothing"), attempt, **facts)
        elif inner := await self._ground.within(one):
            told = texts.filled("nested", paths=", ".join(inner))
            await self._failed(one, f"{INNER}: {inner[0]}", told, attempt, **facts)
        else:
            await book.enter(one, "judging", "", attempt, feedback="", **facts)

    # --- the gates ---
    async def _judge(self, one: Course) -> None:
        tree = await self._ground.prepare(one)
        changes = await self._ground.changes(tree.base, one.mark.commit)
        judged = await self._run.judge.judge(one.story, tree, changes)
        if one.idle:
            self._count(one, changed=judged.ok)
        own = [path for path in one.mark.touched if path in self._ground.own]
        touched = (*own, *(each.path for each in changes if self._run.judge.guards(each.path)))
        facts: dict[str, Any] = {"checks": judged.checks, "changes": changes, "touched": touched}
        if judged.ok:
            await self._book.enter(one, "merging", verified=judged.verified, **facts)
        else:
            await self._failed(one, judged.why, judged.feedback, failing=judged.failing, **facts)

    async def _failed(
        self, one: Course, why: str, feedback: str, attempt: Attempt | None = None, *, failing: str = "",
        final: bool = False, state: str = "failed", **facts: Any,
    ) -> None:  # fmt: skip
        """It did not pass: once more, with what was wrong, or not at all."""
        run, book = self._run, self._book
        stubborn = bool(failing) and run.breakers.stubborn(one, failing)
        over = final or stubborn or state != "failed" or one.tries > run.options.retries
        if not over:
            await book.enter(one, "pending", f"again: {why}", attempt, feedback=feedback, **facts)
            await self._note(one, f"did not pass: {why}")
            return
        # Its state first: killed before the tree is away, a resumed run finds the tree and the branch.
        await book.enter(one, state, why, attempt, feedback=feedback, kept=True, **facts)
        kept = await self._ground.tidy(one)
        await book.keep(one, msgspec.structs.replace(one.mark, kept=kept))
        await self._note(one, f"{state}: {why}")
        if stop := run.breakers.gave_up(one, failing):
            run.end("stopped", stop)

    # --- the result ---
    async def _join(self, one: Course) -> None:
        """Put a story's commit at the end of the result; when others came first, stories or commits of the user, onto
        theirs, and to the gates again.
        """
        ground = self._ground
        async with ground.joining:
            if self._run.options.commit:
                await self._run.follower.follow()
            tree = await ground.prepare(one)
            tip = ground.tip
            made = one.mark.commit
            if made not in (one.mark.base, tip):  # the tip: killed before it was written down
                if tip != one.mark.base:
                    await self._catch_up(one, tree, tip)
                    return
                await ground.take(made, tip)
            state = "passed" if one.mark.verified else "unverified"
            why = "" if one.mark.verified else "no check spoke for it: look at it yourself"
            await self._book.enter(one, state, why, kept=False)
            await self._arrived(one)

    async def _arrived(self, one: Course) -> None:
        """A story is in the result: tell the document, the progress file and the user's branch; its tree can go."""
        mark = one.mark
        added, removed = (
            sum(getattr(each, way) for each in mark.changes) for way in ("added", "removed")
        )
        files = tuple(each.path for each in mark.changes)
        await self._book.tell(StoryMerged(one.id, True, mark.commit, files, added, removed))
        await self._remember(one)
        if self._run.options.commit:
            await self._ground.publish()
        self._ground.release(one)

    async def _remember(self, one: Course) -> None:
        told = one.state == "passed"
        try:
            if told:
                await self._run.memory.mark(one.id)
        except CodetetherError as error:
            told = False
            await self._book.notice("warning", f"{one.id} passed, but {error.message}")
        files = ", ".join(each.path for each in one.mark.changes[:20])
        await self._note(
            one, one.state, f"Changed: {files}" if files else "Nothing had to be changed."
        )
        if told:
            await self._book.keep(one, msgspec.structs.replace(one.mark, told=True))

    async def _note(self, one: Course, how: str, more: str = "") -> None:
        head = f"{one.id} {one_line(one.story.title)}: {self._run.id}, attempt {len(one.attempts)}, {how.partition(':')[0]}"
        when = time.strftime("%Y-%m-%d %H:%M")
        body = "\n\n".join(filter(None, (f"{when}, {how}", more, one.mark.notes)))
        try:
            await self._run.memory.note(head, self._run.kernel.redact.text(body))
        except CodetetherError as error:
            await self._book.notice("warning", f"no notes were kept: {error.message}")

    async def _catch_up(self, one: Course, tree: Worktree, tip: str) -> None:
        """Bring a story's tree up to what was done meanwhile. It has to pass there again."""
        message = f"Merge what was done meanwhile into {one.id}"
        done = await merge(tree, self._ground.result, message)
        found = tuple(map(printed, done.conflicts))
        if found:
            done = await self._resolve(one, tree, done, message)
        if done.ok:
            made = await squash(tree, tip, _message(one, self._run.known.feature))
            why = "merged with what was done meanwhile"
            await self._book.enter(one, "judging", why, base=tip, commit=made)
            return
        await abort(tree)
        await self._book.tell(StoryMerged(one.id, False, conflicts=found, why=done.why))
        await self._book.enter(one, "conflict", done.why, kept=True)
        await self._ground.tidy(one)
        await self._note(one, f"conflict: {done.why}")

    async def _resolve(self, one: Course, tree: Worktree, stuck: Merge, message: str) -> Merge:
        prompt = texts.filled(
            "conflict", files="\n".join(f"- {printed(path)}" for path in stuck.conflicts), id=one.id, title=one.story.title,
            description=one.story.description,
        )  # fmt: skip
        run = self._run
        attempt = await run.hands.do(
            Work(
                key=one.id, id=f"{run.id}:{one.id}:conflict", prompt=prompt, directory=tree.directory,
                access=run.options.access or "auto", max_steps=CONFLICT_STEPS,
            )
        )  # fmt: skip
        self._book.cut_short(one.id)
        await self._book.spend(f"conflict of {one.id}", attempt)
        if not attempt.ok:
            why = f"the conflict was not resolved: {attempt.error}"
            return Merge(False, conflicts=stuck.conflicts, why=why)
        await self._ground.take_back(tree, self._ground.tip)
        return await conclude(tree, message, stuck.conflicts)

    # --- before and after ---
    async def reconcile(self) -> None:
        """Finish what an earlier process was killed in: what the journal knows, the document and the branches may not."""
        for one in self._book.courses.values():
            if not one.mark.branch or not one.over:
                continue
            if one.done and not one.mark.told:
                await self._remember(one)
            await self._put_away(one)
        if self._run.past is not None and self._run.options.commit:
            await self._ground.publish()

    async def _put_away(self, one: Course) -> None:
        branch = f"refs/heads/{one.mark.branch}"
        if not one.mark.kept and await self._ground.repository.commit_of(branch):
            await self._ground.prepare(one)
            await self._ground.tidy(one)

    async def leave(self) -> None:
        """The run is over or cut short: what agents were at is kept on its branch, for a resumed run to go on with."""
        for one in self._book.courses.values():
            if one.state == "passed" and one.mark.branch and not one.mark.told:
                await self._remember(one)  # once more: somebody may have been writing the document
            if one.over or not one.mark.branch:
                continue
            if (attempt := self._book.cut_short(one.id)) is not None and one.state == "working":
                await self._book.enter(one, "working", one.mark.why, attempt)
            if one.state in ("judging", "merging"):  # all of it is committed
                kept = one.mark.commit != one.mark.base
                await self._book.keep(one, msgspec.structs.replace(one.mark, kept=kept))
                continue
            try:
                made, _, _ = await self._ground.keep(one, f"Unfinished work on {one.id}")
            except (KeyError, GitFailed):
                continue
            mark = msgspec.structs.replace(one.mark, commit=made, kept=True)
            if made == one.mark.base:  # nothing to keep
                await self._ground.tidy(one)
                mark = msgspec.structs.replace(mark, base="", branch="", commit="", kept=False)
            await self._book.keep(one, mark)


def _message(one: Course, feature: str) -> str:
    return f"feat({one.id.lower()}): {one_line(one.story.title)}\n\nStory {one.id} of {feature}"

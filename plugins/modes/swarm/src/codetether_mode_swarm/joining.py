"""Merging what sub-agents did, one after another: conflicts go to an agent, and the project's gates decide."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import codetether_gates as gates
import codetether_worktrees as worktrees
import trio
from codetether.api import one_line
from codetether_crew import Work
from codetether_gates import Gate, Measured
from codetether_worktrees import PREFIX

from codetether_mode_swarm import texts
from codetether_mode_swarm.events import GateFinished, SubtaskMerged
from codetether_mode_swarm.ground import BEFORE, YOURS
from codetether_mode_swarm.journal import changed

if TYPE_CHECKING:
    from pathlib import Path

    from codetether.api import Kernel
    from codetether_crew import Attempt, Hands
    from codetether_gates import Report, Verdict
    from codetether_worktrees import Landing, Merge, Worktree

    from codetether_mode_swarm.book import Book
    from codetether_mode_swarm.ground import Ground
    from codetether_mode_swarm.options import Options
    from codetether_mode_swarm.parts import Part

STEPS = 40  # model calls of an agent that resolves a conflict or mends what the gates found
SAFE_ACCESS = "auto"


class Joiner:
    """Owns the result. `logs`: where the output of gates is kept."""

    def __init__(
        self,
        kernel: Kernel,
        options: Options,
        ground: Ground,
        hands: Hands,
        book: Book,
        *,
        logs: Path,
    ) -> None:
        self._kernel = kernel
        self._options = options
        self._ground = ground
        self._hands = hands
        self._book = book
        self._logs = logs
        self.measured = Measured((), ())
        self._settled = trio.Event()
        self.report: Report | None = None
        self.flagged: tuple[str, ...] = ()

    @property
    def _where(self) -> Path:
        result = self._ground.result
        return result.directory if result is not None else self._ground.directory

    async def measure(self, past: Measured | None) -> None:
        """Find the gates, and see what they say before the work; `past`: what an earlier process saw, which holds unless
        other gates are wanted now. Until then nothing is merged.
        """
        wanted, seconds = self._options.gates, self._options.gate_seconds
        given = None
        if wanted is not None:
            given = tuple(Gate("gate", each, "--gate", seconds) for each in wanted)
        if past is not None and given in (None, past.gates):
            self.measured = past
        else:
            async with self._ground.joining:
                self.measured = await self._before_the_work(given)
            await self._book.write(self.measured)
        self._settled.set()

    async def _before_the_work(self, given: tuple[Gate, ...] | None) -> Measured:
        result = self._ground.result
        if result is None:
            return await self._measure(given, self._ground.directory)
        if await result.tip() == result.base:  # nobody needs its tree yet
            try:
                return await self._measure(given, result.directory)
            finally:
                with trio.CancelScope(shield=True):
                    await worktrees.abort(result)  # what the gates left behind is not the result's
        name, holder = f"{result.name}{BEFORE}", self._ground.run_id
        async with worktrees.spare(
            result.repository, name, base=result.base, holder=holder
        ) as tree:
            return await self._measure(given, tree.directory)

    async def _measure(self, given: tuple[Gate, ...] | None, where: Path) -> Measured:
        return await gates.measure(
            given, self._kernel.run_process, where, home=self._ground.directory, seconds=self._options.gate_seconds,
            logs=self._logs, redact=self._kernel.redact.text,
        )  # fmt: skip

    async def join(self, part: Part) -> tuple[str, str]:
        """Merge a part's commits into the result; its state from now on, completed or conflict, and why."""
        result = self._ground.result
        if result is None or not part.commit:
            return "completed", part.remark
        await self._settled.wait()
        async with self._ground.joining:
            message = f"Merge sub-task {part.task.id}: {part.task.name}"
            # Not by its branch: that is gone when we were killed after it was merged, and before that was written down.
            done = await worktrees.merge(result, part.commit, message)
            if done.conflicts:
                part.conflicts = done.conflicts
                await self._book.write(changed(part))  # until the gates have looked it is in doubt
                done = await self._resolve(part, done, message)
                part.resolved = done.ok
            part.files = done.files
        why = "" if done.ok else done.why
        await self._book.tell(
            SubtaskMerged(part.task.id, done.ok, done.files, part.conflicts, part.resolved, why)
        )
        return "completed" if done.ok else "conflict", why

    async def _resolve(self, part: Part, stuck: Merge, message: str) -> Merge:
        """Have an agent combine both sides; what it did holds when no marks are left and the gates let it pass."""
        result = self._ground.result
        assert result is not None
        before = await result.tip()
        files = one_line(", ".join(stuck.conflicts), 120)
        await self._book.notice(
            "info", f"{part.task.name}: an agent resolves its conflict in {files}"
        )
        try:
            prompt = texts.filled(
                "conflict", files="\n".join(f"- {path}" for path in stuck.conflicts), name=part.task.name,
                instruction=part.task.instruction, report=part.text[: texts.RESULT],
            )  # fmt: skip
            attempt = await self._agent(f"{part.task.id}:conflict", prompt)
            await self._book.spend(f"conflict of {part.task.id}", attempt)
            done = worktrees.Merge(
                False,
                before,
                conflicts=stuck.conflicts,
                why=f"the conflict was not resolved: {attempt.error}",
            )
            if attempt.ok:
                done = await worktrees.conclude(result, message, stuck.conflicts)
            if done.ok:
                await self._only_what_is_committed()
                report = await self._look(f"conflict-{part.task.id}")
                if not report.ok:
                    done = worktrees.Merge(
                        False, before, conflicts=stuck.conflicts, why=f"resolved, but {report.told}"
                    )
        except BaseException:
            with trio.CancelScope(shield=True):
                await self._back_to(before)
            raise
        if not done.ok:
            await self._back_to(before)
        return done

    async def _back_to(self, before: str) -> None:
        result = self._ground.result
        assert result is not None
        await self._only_what_is_committed()
        await result.git("reset", "--hard", "--quiet", before)

    async def judge(self) -> None:
        """Run the gates on all that was merged; one agent may mend what they find, and they are run again."""
        await self._settled.wait()
        async with self._ground.joining:
            self.report = await self._look("result")
            if not self.report.ok:
                await self._mend()
        if self._ground.result is not None:
            changed = await self._ground.result.repository.files_between(
                self._ground.result.base, await self._ground.result.tip()
            )
            self.flagged = gates.touched(changed)

    async def _mend(self) -> None:
        assert self.report is not None
        prompt = texts.filled("mending", feedback=self.report.feedback(), task=self._options.task)
        attempt = await self._agent("result:gates", prompt)
        await self._book.spend("mending what the gates found", attempt)
        result = self._ground.result
        if attempt.ok:
            if result is not None:
                message = "Mend what the checks of the merged work found"
                with suppress(worktrees.GitFailed):  # what cannot be committed is not looked at
                    await worktrees.commit(result, f"{message}\n\n{self._options.task[:200]}")
                await self._only_what_is_committed()
            self.report = await self._look("mended")
        elif result is not None:
            await worktrees.abort(result)

    async def land(self, branch: str, began: str) -> Landing:
        """Move the user's `branch` to the result. What they committed on it since it was at `began` comes first: the result
        is merged with that, when there is no conflict and the gates let both pass together.
        """
        result = self._ground.result
        assert result is not None
        tip = await result.tip()
        done = await worktrees.land(result.repository, tip, branch=branch)
        if not done.moved or not await result.repository.contains(done.commit, began):
            return done
        name, holder = f"{result.name}{YOURS}", self._ground.run_id
        async with worktrees.spare(
            result.repository, name, base=done.commit, holder=holder
        ) as tree:
            made, why = await self._on_top(tree, tip)
            if why:
                why = f"it does not go with what you committed: {why}"
                return worktrees.Landing(False, done.commit, why)
            return await worktrees.land(result.repository, made, branch=branch)

    async def _on_top(self, tree: Worktree, tip: str) -> tuple[str, str]:
        """The commit that merges the result `tip` into what the user committed, and why it cannot be theirs."""
        done = await worktrees.merge(tree, tip, f"Merge {PREFIX}{self._ground.run_id}")
        if not done.ok:
            return "", f"{done.why}{': ' if done.conflicts else ''}{', '.join(done.conflicts[:5])}"
        report = await self._check("yours", tree.directory)
        await self._tell_all(report.verdicts)
        return done.commit, "" if report.ok else report.told

    async def _agent(self, key: str, prompt: str) -> Attempt:
        return await self._hands.do(
            Work(
                key=key, id=f"{self._ground.run_id}:{key}", prompt=prompt, directory=self._where,
                access=self._options.access or SAFE_ACCESS, max_steps=STEPS,
            )
        )  # fmt: skip

    async def _look(self, label: str) -> Report:
        report = await self._check(label, self._where)
        if self._ground.result is not None:
            await worktrees.abort(
                self._ground.result
            )  # all work is committed: what is left is the gates' own
        await self._tell_all(report.verdicts)
        return report

    async def _only_what_is_committed(self) -> None:
        """The gates judge that alone: an agent worked in the result's tree, and what it left there beside is not of it."""
        result = self._ground.result
        assert result is not None
        await worktrees.abort(result)
        await result.git("clean", "-ffdqx")
        await worktrees.link_packages(result)

    async def _check(self, label: str, where: Path) -> Report:
        return await gates.check(
            self.measured.gates, self._kernel.run_process, where, before=self.measured.verdicts,
            logs=self._logs, label=label, redact=self._kernel.redact.text,
        )  # fmt: skip

    async def _tell_all(self, verdicts: Sequence[Verdict]) -> None:
        for each in verdicts:
            await self._book.tell(
                GateFinished(
                    each.gate.kind, each.gate.command, each.ok, each.blocks, each.seconds, each.why
                )
            )

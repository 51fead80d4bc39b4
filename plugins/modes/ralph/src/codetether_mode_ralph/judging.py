"""Whether a story passes: the project's gates, with the tests as they were before too, and the story's own steps."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import trio
from codetether_gates import Gate, Measured, Report, Verdict, check, guarded, measure, steers
from codetether_worktrees import Worktree, abort, link_packages

from codetether_mode_ralph import texts
from codetether_mode_ralph.course import Change, Check
from codetether_mode_ralph.verifying import Verifier

if TYPE_CHECKING:
    from codetether.api import Kernel
    from codetether_prd import Known, Story

    from codetether_mode_ralph.book import Book
    from codetether_mode_ralph.ground import Ground
    from codetether_mode_ralph.options import Options

ORDER = ("typecheck", "lint", "test", "build")  # the others of a document come after these
# What stands where a program does, and what a shell is given.
_PROGRAMS = (
    re.compile(r"(?:^|[;&|({])\s*([\w.][\w./-]*)"),
    re.compile(r"\b(?:sh|bash|dash|zsh|ksh)\s+(?:-\w+\s+)*([\w.][\w./-]*)"),
)
WITHOUT = "only with its own changes to"
SILENT = 2.0  # seconds of checks before the work that need no word


class Judgement(msgspec.Struct, frozen=True):
    """`ok`: nothing blocks; `verified`: something spoke for it. `feedback`: for the next attempt; `failing`: the same
    for the same failures; `why`: one line.
    """

    ok: bool
    verified: bool
    checks: tuple[Check, ...] = ()
    why: str = ""
    feedback: str = ""
    failing: str = ""


class Judge:
    """Runs gates in stories' trees. `logs`: where their output is kept. Gates are settled before any agent works, from
    the user's document and files: no agent can change what is run.
    """

    def __init__(self, kernel: Kernel, options: Options, book: Book, logs: Path, hosts: Sequence[str]) -> None:  # fmt: skip
        self._kernel = kernel
        self._options = options
        self._book = book
        self._logs = logs
        self._verifier = Verifier(kernel, logs, seconds=options.gate_seconds, hosts=hosts)
        self.measured = Measured((), ())
        self._scripts: frozenset[str] = frozenset()

    def guards(self, path: str) -> bool:
        """Whether a path in the repository is a test, or says how work is judged."""
        return guarded(path) or path in self._scripts

    async def settle(self, known: Known, ground: Ground, past: Measured | None) -> None:
        """Have gates and their baseline: those of an earlier process, unless the document names others now."""
        given = self._given(known)
        if past is not None and not given:
            seconds = self._options.gate_seconds
            given = tuple(msgspec.structs.replace(each, seconds=seconds) for each in past.gates)
        if past is not None and given == past.gates:
            self.measured = past
        else:
            self.measured = await self._measure(given, ground)
        self._scripts = _scripts(self.measured.gates, ground.repository.prefix)

    async def measure_again(self, ground: Ground) -> None:
        """See what the gates say of the result as it is now: commits of the user came into it."""
        if self.measured.gates:
            now = await self._measure(self.measured.gates, ground)
            self.measured = msgspec.structs.replace(now, notes=self.measured.notes)

    async def _measure(self, given: tuple[Gate, ...], ground: Ground) -> Measured:
        kernel, home = self._kernel, Path(self._options.directory)
        async with ground.spare("baseline", ground.tip) as tree, trio.open_nursery() as nursery:
            nursery.start_soon(self._say_why_it_is_silent)
            measured = await measure(
                given or None, kernel.run_process, tree.directory, home=home, seconds=self._options.gate_seconds,
                logs=self._logs, redact=kernel.redact.text,
            )  # fmt: skip
            nursery.cancel_scope.cancel()
        await self._book.checked("", measured.verdicts)
        await self._book.write(measured)
        return measured

    async def _say_why_it_is_silent(self) -> None:
        await trio.sleep(SILENT)
        text = "the checks run first, as it is now: what fails already is no story's fault"
        await self._book.notice("info", text)

    def _given(self, known: Known) -> tuple[Gate, ...]:
        checks = {kind: command for kind, command in known.quality_checks.items() if command}
        kinds = sorted(checks, key=lambda kind: ORDER.index(kind) if kind in ORDER else len(ORDER))
        seconds = self._options.gate_seconds
        return tuple(Gate(kind, str(checks[kind]), "quality_checks", seconds) for kind in kinds)

    async def judge(self, story: Story, tree: Worktree, changes: Sequence[Change]) -> Judgement:
        """What the gates say of what a story committed, and of that alone: what git ignores goes first."""
        await tree.git("clean", "-ffdqX")
        await link_packages(tree)
        try:
            report = await self.gates(tree, story.id)
            await self._book.checked(story.id, report.verdicts)
            steps: tuple[Verdict, ...] = ()
            before: Report | None = None
            if report.ok:
                if story.verification_steps:
                    await abort(tree)  # what the gates wrote would answer for the story
                steps = await self._verifier.verify(story.verification_steps, tree.directory)
                await self._book.checked(story.id, steps)
                if all(each.ok for each in steps) and not self._options.test_changes:
                    before = await self._untouched(story, tree, changes)
        finally:
            with trio.CancelScope(shield=True):
                await abort(tree)
        mine = [each.path for each in changes if self.guards(each.path)]
        return _judgement(report, steps, before, mine)

    async def gates(self, tree: Worktree, label: str) -> Report:
        """What the gates say of a tree; `label` is in the names of their logs. What they write there stays."""
        return await check(
            self.measured.gates, self._kernel.run_process, tree.directory, before=self.measured.verdicts,
            logs=self._logs, label=label, redact=self._kernel.redact.text,
        )  # fmt: skip

    async def _untouched(
        self, story: Story, tree: Worktree, changes: Sequence[Change]
    ) -> Report | None:
        """The gates once more, with the tests and settings of checks as they were, if the story changed any that was
        there or added settings: whoever weakens a test does not pass by it.
        """
        mine = [each for each in changes if self.guards(each.path)]
        old = [each.name for each in mine if each.how != "A"]
        new = [each.name for each in mine if each.how == "A"]
        if not self.measured.gates or not (old or any(map(steers, new))):
            return None
        await abort(tree)
        if old:
            await tree.git("checkout", "--quiet", tree.base, "--", *old)
        if new:
            await tree.git("rm", "--quiet", "--force", "--", *new)
        report = await self.gates(tree, f"{story.id}-untouched")
        await self._book.checked(story.id, [each for each in report.verdicts if each.blocks])
        return report


def _scripts(gates: Sequence[Gate], prefix: str) -> frozenset[str]:
    """The files of the repository that gates run as programs."""
    words = {word for gate in gates for each in _PROGRAMS for word in each.findall(gate.command)}
    files = [word for word in words if "/" in word or "." in word]
    return frozenset(os.path.normpath(os.path.join(prefix, word)) for word in files)


def _judgement(
    report: Report, steps: Sequence[Verdict], before: Report | None, touched: Sequence[str]
) -> Judgement:
    checks = tuple(map(_check, [*report.verdicts, *steps]))
    bad = [each for each in steps if not each.ok]
    if not report.ok:
        return _bad(report.verdicts, checks, report.feedback())
    if bad:
        return _bad(bad, checks, Report(tuple(bad)).feedback())
    if before is not None and not before.ok:
        mine = ", ".join(touched)
        told = texts.filled("untouched", files=mine, feedback=before.feedback())
        judged = _bad(before.verdicts, checks, told)
        return msgspec.structs.replace(judged, why=f"{WITHOUT} {mine}: {judged.why}")
    # A gate that fails as it did before, and says what fails, has spoken for all that it does not name.
    known = any(not each.ok and not each.early for each in report.verdicts)
    verified = report.verified or known or any(each.ok for each in steps)
    return Judgement(True, verified, checks, "" if verified else "nothing checks it")


def _bad(verdicts: Sequence[Verdict], checks: tuple[Check, ...], feedback: str) -> Judgement:
    blocking = [each for each in verdicts if each.blocks]
    parts = sorted(
        f"{each.gate.kind}:{'|'.join(sorted(each.new)) or each.why}" for each in blocking
    )
    failing = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    why = "; ".join(f"{each.gate.kind}: {each.why}" for each in blocking)
    return Judgement(False, False, checks, why, feedback, failing)


def _check(each: Verdict) -> Check:
    return Check(
        each.gate.kind, each.gate.command, each.ok, each.blocks, round(each.seconds, 2), each.why, each.log, each.flaky
    )  # fmt: skip

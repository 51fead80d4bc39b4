"""What the user commits on the PRD's branch while a run goes on: it becomes part of the result, and never the other way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codetether_worktrees import merge

if TYPE_CHECKING:
    from codetether_mode_ralph.run import Run


class Follower:
    """Brings the user's commits into the result, so that their branch can follow it."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._refused = ""  # a commit of theirs that cannot be combined with the result: asked once

    async def follow(self) -> None:
        """Have their commits in the result, if there are new ones and nothing stands against it. Whoever calls it holds
        `ground.joining`. Raises GitFailed.
        """
        ground = self._run.ground
        theirs = await ground.theirs()
        if theirs in ("", self._refused) or await ground.repository.contains(ground.tip, theirs):
            return
        if await ground.rewritten():
            return
        if await ground.repository.contains(theirs, ground.tip):
            await ground.take(theirs, ground.tip)
            await self._run.judge.measure_again(ground)  # what fails with these is no story's fault
            return
        if why := await self._combine(theirs):
            self._refused = theirs
            text = f"your commits on {ground.branch} and the result need a merge by hand: {why}"
            await self._run.book.notice("warning", text)

    async def _combine(self, theirs: str) -> str:
        """Both became one result, or why they did not: their branch could not follow earlier, and went on by itself."""
        ground = self._run.ground
        tip = ground.tip
        async with ground.spare("merge", tip) as tree:
            done = await merge(tree, theirs, f"Merge {ground.branch} into {ground.result}")
            if not done.ok:
                return f"{done.why}{': ' if done.conflicts else ''}{', '.join(done.conflicts[:5])}"
            report = await self._run.judge.gates(tree, "merge")
            if not report.ok:
                return report.told
            await ground.take(done.commit, tip)
            return ""

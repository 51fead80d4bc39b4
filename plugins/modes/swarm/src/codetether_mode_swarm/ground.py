"""Where sub-agents work: a worktree each, or, without a repository, the user's own directory one after another."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from codetether.api import CodetetherError
from codetether_worktrees import (
    PREFIX,
    GitFailed,
    Repository,
    Worktree,
    abort,
    adopt,
    commit,
    create,
    remove,
    within,
)

if TYPE_CHECKING:
    from codetether_mode_swarm.parts import Part

# Behind the run's id, for a worktree as it was before the work, and one with what the user committed meanwhile. No
# sub-task's id has a _.
BEFORE, YOURS = "_before", "_yours"


class Ground:
    """The repository with the worktree that results are merged in; both None when everyone works in `directory`."""

    def __init__(self, run_id: str, directory: Path, repository: Repository | None) -> None:
        self.run_id = run_id
        self.directory = directory
        self.repository = repository
        self.result: Worktree | None = None
        self.joining = trio.Lock()  # the result has one writer
        self.writing = trio.Lock()  # and so has the user's directory
        self._trees: dict[str, Worktree] = {}

    @property
    def isolated(self) -> bool:
        """Whether each sub-agent has a directory of its own."""
        return self.repository is not None

    async def open(
        self,
        base: str,
        *,
        merged: Sequence[str] = (),
        doubtful: Sequence[str] = (),
        branch: str = "",
        resumed: bool = False,
    ) -> None:
        """Make the result's worktree, or find it again when the run is `resumed`; a merge that was cut off is given up, to
        be done again. Where the user took the result away it begins again from their `branch`, which must hold the commits
        `merged`. `doubtful`: commits of parts whose conflicts were being resolved.
        """
        if self.repository is None:
            return
        if resumed:
            self.result = await adopt(self.repository, self.run_id, base=base, holder=self.run_id)
        if self.result is None:
            start = await self._start(merged, branch) if merged else base
            self.result = await create(self.repository, self.run_id, base=start, holder=self.run_id)
            self.result.base = base
        elif (self.result.control / "MERGE_HEAD").exists() or await self.result.changed():
            await abort(self.result)
        await self._drop_doubtful(doubtful)

    async def _drop_doubtful(self, doubtful: Sequence[str]) -> None:
        """A merge whose conflict was resolved, and that the gates had not looked at, is to be made again."""
        if not doubtful or self.result is None:
            return
        said = await self.result.git("rev-list", "--parents", "--max-count=1", self.result.branch)
        _, *parents = said.split()
        if len(parents) == 2 and parents[1] in doubtful:
            await self.result.git("reset", "--hard", "--quiet", parents[0])

    async def _start(self, merged: Sequence[str], branch: str) -> str:
        assert self.repository is not None
        theirs = await self.repository.commit_of(f"refs/heads/{branch}") if branch else ""
        if not theirs or not all([await self.repository.contains(theirs, each) for each in merged]):
            raise CodetetherError(
                f"the branch {PREFIX}{self.run_id} is gone, and with it what was merged so far",
                f"merge it into {branch or 'your branch'}, or make it again",
            )
        return theirs

    def name_of(self, part: Part) -> str:
        """The name of a part's worktree."""
        return f"{self.run_id}-{part.task.id}"

    async def prepare(self, part: Part) -> Worktree | None:
        """A part's worktree: the one it had, or a new one that starts from the result so far."""
        if self.repository is None or self.result is None or not part.task.writes:
            return None
        tree = self._trees.get(part.task.id)
        if tree is None and part.branch:
            tree = await adopt(
                self.repository, self.name_of(part), base=part.base, holder=self.run_id
            )
        if tree is None:
            name = self.name_of(part)
            if tip := await self.repository.commit_of(f"refs/heads/{PREFIX}{name}"):
                # We were killed before we wrote it down, so nothing was committed yet.
                tree = await adopt(self.repository, name, base=tip, holder=self.run_id)
            else:
                tip = await self.result.tip()
                tree = await create(self.repository, name, base=tip, holder=self.run_id)
        assert tree is not None
        part.base, part.branch = tree.base, tree.branch
        self._trees[part.task.id] = tree
        return tree

    async def keep(self, part: Part, *, unfinished: bool = False) -> None:
        """Commit what is in a part's worktree to its branch. Raises GitFailed when it is not all of the work."""
        tree = self._trees.get(part.task.id)
        if tree is None:
            return
        what = "unfinished work" if unfinished else part.task.name
        try:
            await commit(tree, f"{what}\n\nSub-task {part.task.id} of {self.run_id}")
        finally:
            tip = await tree.tip()
            part.commit = tip if tip != tree.base else ""
        if not unfinished and (inner := await within(tree)):
            raise GitFailed(
                f"it made a git repository of its own in {', '.join(inner)}, and nothing in there becomes part of this one: "
                "its .git has to go, or all of it"
            )

    async def tidy(self, part: Part) -> str:
        """Take a part's worktree away; its branch stays while its commits are nowhere else. Why more of it stays, or ""."""
        if self.repository is None or self.result is None or not part.branch:
            return ""
        try:
            tree = self._trees.pop(part.task.id, None) or await adopt(
                self.repository, self.name_of(part), base=part.base, holder=self.run_id
            )
            if tree is None:
                part.kept = False
                return ""
            left = await remove(tree, [self.result.branch])
        except CodetetherError as error:
            part.kept = True
            return "; ".join(filter(None, (error.message, error.hint)))
        part.kept = bool(left.branch)
        if left.path:
            return f"its files are in {left.path}: {left.why}"
        return "" if left.branch else left.why

    async def close(self) -> None:
        """Give back what is held; nothing is taken away."""
        for tree in [*self._trees.values(), *([self.result] if self.result else [])]:
            with suppress(OSError):
                tree.lease.give_back()


async def settle(
    run_id: str, directory: Path, place: Path, *, worktrees: bool
) -> tuple[Ground, str]:
    """The ground for a run, and why it is not a repository, "" when it is."""
    if not worktrees:
        return Ground(run_id, directory, None), "worktrees are switched off"
    try:
        return Ground(run_id, directory, await Repository.find(directory, place)), ""
    except CodetetherError as error:
        return Ground(run_id, directory, None), error.message

"""Where stories are worked on: a worktree each, their commits one after another on the branch of the run.

The branch of the run is moved by us alone, and to commits only that the gates let pass as they are. The user's own branch
and tree follow it when nothing of theirs is in the way.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from codetether.api import CodetetherError, one_line
from codetether_worktrees import (
    PREFIX,
    GitFailed,
    Landing,
    Repository,
    Worktree,
    abort,
    adopt,
    advance,
    commit,
    create,
    land,
    names,
    plain,
    remove,
    reuse,
    spare,
    squash,
    unlock,
    within,
)

from codetether_mode_ralph.course import Change

if TYPE_CHECKING:
    from codetether_mode_ralph.course import Course


SPARE = ("baseline", "merge")  # worktrees of a run that no story has


class Ground:
    """The repository, the branch `result` that the run moves, and the trees of its stories. `branch`: the PRD's; `base`:
    what the work starts from; `own`: paths in the repository that only we write: the document and the progress file.
    """

    def __init__(
        self, run_id: str, repository: Repository, branch: str, base: str, own: Sequence[str]
    ) -> None:
        self.run_id = run_id
        self.repository = repository
        self.branch = branch
        self.base = base
        self.own = tuple(own)
        self.result = PREFIX + run_id
        self.joining = trio.Lock()  # the result has one writer
        self._trees: dict[str, Worktree] = {}
        self._tip = ""
        self._published = ""  # the last commit that the user's branch came to by us
        self._free: list[Worktree] = []  # of stories that passed, for the next ones

    async def open(self, passed: Sequence[str] = ()) -> None:
        """Have the branch of the run. When an earlier process took it away, because the user had all of it, it begins
        again from the user's branch, which must hold the commits `passed`.
        """
        await unlock(
            self.repository, self.result
        )  # nobody else writes it: we hold the lease of the run
        self._tip = await self.repository.commit_of(f"refs/heads/{self.result}")
        if not self._tip:
            self._tip = await self._start(passed)
            await self.repository.git("update-ref", f"refs/heads/{self.result}", self._tip)

    async def _start(self, passed: Sequence[str]) -> str:
        if not passed:
            return self.base
        theirs = await self.theirs()
        if theirs and all([await self.repository.contains(theirs, each) for each in passed]):
            return theirs
        raise CodetetherError(
            f"the branch {self.result} is gone, and {self.branch or 'no branch'} does not hold what passed",
            "codetether ralph run begins anew, with what is there",
        )

    @property
    def tip(self) -> str:
        """The commit the run has come to."""
        return self._tip

    async def theirs(self) -> str:
        """The commit the PRD's branch is at; "" while there is none."""
        return await self.repository.commit_of(f"refs/heads/{self.branch}") if self.branch else ""

    # --- a story's tree ---
    async def prepare(self, one: Course) -> Worktree:
        """A story's worktree: the one it had, or a new one that starts from the result so far."""
        tree = self._trees.get(one.id)
        if tree is not None:
            return tree
        mark = one.mark
        name = mark.branch.removeprefix(PREFIX) or f"{self.run_id}-{_slug(one)}"
        base = mark.base or self.tip
        if not mark.branch and (tree := await self._reused(name, base)) is not None:
            self._trees[one.id] = tree
            return tree
        tree = await adopt(self.repository, name, base=base, holder=self.run_id)
        if tree is None:
            tree = await create(self.repository, name, base=base, holder=self.run_id)
        elif not mark.base:
            tree.base = await tree.tip()  # killed before it was written down: nothing is committed
        await self._sober(one, tree)
        self._trees[one.id] = tree
        return tree

    async def _reused(self, name: str, base: str) -> Worktree | None:
        """The tree of a story that passed, for the next one; None when there is none that can serve."""
        while self._free:
            old = self._free.pop()
            try:
                return await reuse(old, name, base=base, holder=self.run_id)
            except CodetetherError:
                await self._remove(old)
        return None

    async def _remove(self, tree: Worktree) -> bool:
        return bool((await remove(tree, [f"refs/heads/{self.result}"])).branch)

    async def _sober(self, one: Course, tree: Worktree) -> None:
        """What an earlier process left in the middle: a merge, and what gates wrote, go; an agent's work stays."""
        if one.state in ("judging", "merging") or (tree.control / "MERGE_HEAD").exists():
            await abort(tree)
        elif one.mark.branch and await tree.changed():
            with suppress(GitFailed):  # what cannot be committed stays where it is
                await commit(tree, f"Unfinished work on {one.id}")

    async def keep(self, one: Course, message: str) -> tuple[str, bool, tuple[str, ...]]:
        """Commit what is in a story's tree: the commit (its base, when nothing differs from that), whether it is another
        one than before the attempt, and paths that were not the agent's to write.
        """
        tree = self._trees[one.id]
        before = one.mark.commit or tree.base
        wrong = await self.take_back(tree, tree.base)
        made = await commit(tree, message)
        if made and await self.repository.commit_of(f"{made}^") == tree.base:
            return made, True, wrong
        if (made or await tree.tip()) == before:
            return before, False, wrong
        return await squash(tree, tree.base, message), True, wrong

    async def within(self, one: Course) -> tuple[str, ...]:
        """Repositories in a story's tree of which its commit holds a number only."""
        return await within(self._trees[one.id])

    async def take_back(self, tree: Worktree, base: str) -> tuple[str, ...]:
        """The document and the progress file are ours: an agent's copies of them become again what they are in `base`."""
        if not self.own:
            return ()
        said = await self.repository.git("ls-tree", "--name-only", base, "--", *self.own)
        known, wrong = names(said), []
        for path in self.own:
            here = tree.path / path
            if path in known:
                if not (await tree.ask("diff", "--quiet", base, "--", path)).ok:
                    await tree.git("checkout", "--quiet", base, "--", path)
                    wrong.append(path)
            elif here.is_symlink() or here.is_file():
                here.unlink()
                wrong.append(path)
        return tuple(wrong)

    async def changes(self, old: str, new: str) -> tuple[Change, ...]:
        """What differs between two commits."""
        said = await self.repository.git(
            "diff", "--raw", "--numstat", "--no-renames", old, new, "--"
        )
        return _changes(said)

    async def tidy(self, one: Course) -> bool:
        """Take a story's worktree away; whether its branch stays, because its commits are nowhere else."""
        tree = self._trees.pop(one.id, None)
        return tree is not None and await self._remove(tree)

    def spare(self, what: str, base: str) -> AbstractAsyncContextManager[Worktree]:
        """A worktree for something of SPARE, of which nothing stays but what the result takes."""
        return spare(self.repository, f"{self.run_id}-{what}", base=base, holder=self.run_id)

    def release(self, one: Course) -> None:
        """The worktree of a story that passed, all of it committed and in the result, may serve the next one."""
        tree = self._trees.pop(one.id, None)
        if tree is not None:
            self._free.append(tree)

    # --- the result ---
    async def take(self, made: str, onto: str) -> None:
        """The result, which is at `onto`, becomes `made`, which contains that. Raises GitFailed when it is elsewhere."""
        await self.repository.git("update-ref", f"refs/heads/{self.result}", made, onto)
        self._tip = made

    async def rewritten(self) -> bool:
        """Whether the user has taken away from their branch what we brought there: then it is left alone."""
        return bool(self._published) and not await self.repository.contains(
            f"refs/heads/{self.branch}", self._published
        )

    async def publish(self) -> Landing:
        """Bring the result to the PRD's branch."""
        tip = self.tip
        if not self.branch:
            return Landing(False, why="no branch is checked out")
        if await self.rewritten():
            return Landing(False, why=f"you have taken back what was on {self.branch}")
        if await self.repository.branch() == self.branch:
            done = await land(self.repository, tip, branch=self.branch, but=self.own)
        else:
            done = await advance(self.repository, tip, branch=self.branch)
        if done.ok:
            self._published = tip
        return done

    async def lay_out(self, patch: Path) -> Landing:
        """Bring the result into the user's tree as changes that are not committed; all of them or none, and none of a file
        that they have changed themselves.
        """
        tip = self.tip
        if await self.repository.commit_of("HEAD") != self.base:
            return Landing(False, why="you have committed meanwhile, or are on another branch")
        await self.repository.git(
            "diff", "--binary", "--full-index", f"--output={patch}", self.base, tip, "--"
        )
        if (await self.repository.ask("apply", "--check", "--reverse", "--", str(patch))).ok:
            return Landing(True, tip)  # by a process that was killed before it could say so
        paths = set(await self.repository.files_between(self.base, tip))
        if mine := [path for path in await self.repository.uncommitted() if path in paths]:
            return Landing(False, why=f"you have uncommitted changes ({', '.join(mine[:3])})")
        with trio.CancelScope(shield=True):  # git finishes in the user's tree
            done = await self.repository.ask("apply", "--whitespace=nowarn", "--", str(patch))
        if not done.ok:
            return Landing(False, why=one_line(done.errors or done.output, 200))
        return Landing(True, tip)

    async def needed(self, *, laid_out: bool) -> bool:
        """Whether the user lacks something of the result, so that its branch has to stay."""
        tip = self.tip
        if tip == self.base or laid_out:
            return False
        where = f"refs/heads/{self.branch}" if self.branch else "HEAD"
        there = await self.repository.commit_of(where)
        return not there or not await self.repository.contains(there, tip)

    async def drop_result(self) -> None:
        """Take the branch of the run away, unless somebody else moved it."""
        await self.repository.ask("update-ref", "-d", f"refs/heads/{self.result}", self.tip)

    async def close(self) -> None:
        """Give back what is held; only trees that serve nobody any more are taken away."""
        while self._free:
            with suppress(CodetetherError):
                await self._remove(self._free.pop())
        for tree in self._trees.values():
            with suppress(OSError):
                tree.lease.give_back()


def _slug(one: Course) -> str:
    word = re.sub(r"[^a-z0-9]+", "-", one.id.lower()).strip("-")[:40]
    return f"{one.order + 1}-{word}".rstrip("-")


def _changes(said: str) -> tuple[Change, ...]:
    """What `git diff --raw --numstat` says."""
    how: dict[str, str] = {}
    lines: dict[str, tuple[int, int]] = {}
    for line in said.split("\n"):
        if line.startswith(":"):
            facts, _, path = line.partition("\t")
            how[plain(path)] = facts.rsplit(" ", 1)[-1][:1]
        elif line.count("\t") == 2:
            added, removed, path = line.split("\t")
            lines[plain(path)] = (_number(added), _number(removed))
    return tuple(_change(path, kind, *lines.get(path, (0, 0))) for path, kind in how.items())


def _change(path: str, how: str, added: int, removed: int) -> Change:
    shown = printed(path)
    return Change(shown, how, added, removed, os.fsencode(path) if shown != path else b"")


def printed(path: str) -> str:
    """A path for a person, and for what holds text only: bytes that are no UTF-8 are shown as such."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


async def settle(directory: Path, place: Path, branch: str) -> tuple[Repository, str, str]:
    """The repository around `directory`, the PRD's branch (the user's own when it names none) and the commit to start
    from. Raises CodetetherError when there is no repository, or the branch's name is none.
    """
    repository = await Repository.find(directory, place)
    if not branch:
        return repository, *repository.stood
    if not (await repository.ask("check-ref-format", "--branch", branch)).ok:
        raise CodetetherError(f"{branch!r} cannot be the name of a branch", "mend branch_name")
    tip = await repository.commit_of(f"refs/heads/{branch}")
    return repository, branch, tip or repository.stood.commit

"""Bringing a result to the user's branch, only when nothing of theirs is in the way."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import trio
from codetether.api import one_line

from codetether_worktrees import locks
from codetether_worktrees.repository import names, why_not

if TYPE_CHECKING:
    from codetether_worktrees.repository import Repository


class Landing(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether the user's branch now holds the result; else `why` not. `commit`: where their branch is. `moved`: it has
    commits that the result lacks, and nothing else was in the way.
    """

    ok: bool
    commit: str = ""
    why: str = ""
    moved: bool = False


async def land(
    repository: Repository, commit: str, *, branch: str, but: Collection[str] = ()
) -> Landing:
    """Move the user's checked-out branch forward to `commit`.

    Only when they are still on `branch`, have changed no tracked file, and did not commit meanwhile: their tree is never
    merged into, reset or stashed. git itself refuses when an untracked file of theirs would be overwritten. `but`: paths
    that may be changed, since `commit` leaves them alone. What is in their tree as `commit` has it is in nobody's way: a git
    that was killed may have come so far.
    """
    async with repository.changing:
        now = await repository.branch()
        if not now or now != branch:
            return Landing(
                False,
                why=f"you are no longer on {branch}" if branch else "no branch is checked out",
            )
        tip = await repository.commit_of("HEAD")
        mine = [path for path in await repository.uncommitted() if path not in but]
        there = await _there(repository, tip, commit, mine)
        if changed := [path for path in mine if path not in there]:
            return Landing(
                False, why=f"you have uncommitted changes ({one_line(', '.join(changed[:3]), 80)})"
            )
        if not await repository.contains(commit, tip):
            if await repository.contains(tip, commit):
                return Landing(True, tip)
            return Landing(False, tip, f"{branch} has moved on", moved=True)
        if tip == commit:
            return Landing(True, commit)
        if lock := await _lock(repository, branch):
            return Landing(False, why="; ".join(locks.told(lock)))
        return await _forward(repository, commit, there)


async def _forward(repository: Repository, commit: str, there: Sequence[str]) -> Landing:
    """Do it, to its end: the user's tree would be left in the middle. `there`: paths that have come so far already."""
    with trio.CancelScope(shield=True):
        for some in _batches(there):
            await repository.git("add", "--all", "--", *some)
        done = await repository.ask(
            "merge", "--ff-only", "--no-verify", "--quiet", "--end-of-options", commit
        )
        for some in _batches(() if done.ok else there):
            await repository.git("reset", "--quiet", "--", *some)
    return Landing(True, commit) if done.ok else Landing(False, why=why_not(done))


async def _there(
    repository: Repository, tip: str, commit: str, mine: Sequence[str]
) -> tuple[str, ...]:
    """Paths that the user's tree has otherwise than `tip` and as `commit` does, if nothing else is in the way of that;
    `mine`: those that git knows.
    """
    if not await repository.contains(commit, tip):
        return ()
    touched = set(mine)
    changes = ("diff", "--name-only", "--no-renames")
    new = names(await repository.git(*changes, "--diff-filter=A", tip, commit, "--"))
    touched |= await trio.to_thread.run_sync(_existing, repository.root, new)
    if not touched or not touched <= set(await repository.files_between(tip, commit)):
        return ()
    gone = names(await repository.git(*changes, "--diff-filter=D", tip, commit, "--"))
    if touched & await trio.to_thread.run_sync(_existing, repository.root, gone):
        return ()
    index = repository.folder / f".landing-{os.getpid()}"
    try:
        if not (await repository.ask("read-tree", commit, index=index)).ok:
            return ()
        for some in _batches(sorted(touched)):
            differ = await repository.ask("diff", "--quiet", "--", *some, index=index)
            if not differ.ok:
                return ()
    finally:
        index.unlink(missing_ok=True)
    for version in (tip, commit):  # a killed git wrote all of the index, or nothing
        if not set(names(await repository.git(*changes, "--cached", version, "--"))) & touched:
            return tuple(sorted(touched))
    return ()


async def advance(repository: Repository, commit: str, *, branch: str) -> Landing:
    """Move a branch that nobody has checked out forward to `commit`, or make it. The user's tree is not touched."""
    ref = f"refs/heads/{branch}"
    async with repository.changing:
        if where := await _checked_out(repository, branch):
            return Landing(False, why=f"{branch} is checked out in {where}")
        tip = await repository.commit_of(ref)
        if tip == commit:
            return Landing(True, commit)
        if tip and not await repository.contains(commit, tip):
            return Landing(False, tip, f"{branch} has moved on")
        # With the old commit named: a branch that moves while we do this stays.
        done = await repository.ask("update-ref", ref, commit, tip or "0" * len(commit))
    if not done.ok:
        return Landing(False, tip, why_not(done))
    return Landing(True, commit)


def _existing(root: Path, paths: Sequence[str]) -> set[str]:
    return {path for path in paths if os.path.lexists(root / path)}


def _batches(paths: Sequence[str]) -> Iterator[Sequence[str]]:
    """So many paths at a time as fit into a command."""
    for start in range(0, len(paths), 100):
        yield paths[start : start + 100]


async def _lock(repository: Repository, branch: str) -> Path | None:
    """A lock that keeps the user's branch from being moved: git would see that only when it has changed their files."""
    control = Path(await repository.git("rev-parse", "--absolute-git-dir"))
    own = [control / "index.lock", control / "HEAD.lock"]
    return await locks.in_the_way([*own, locks.of_branch(repository.common, branch)])


async def _checked_out(repository: Repository, branch: str) -> str:
    """The worktree that has the branch checked out, "" when there is none."""
    where = ""
    for line in (await repository.git("worktree", "list", "--porcelain")).splitlines():
        if line.startswith("worktree "):
            where = line.removeprefix("worktree ")
        elif line == f"branch refs/heads/{branch}":
            return where
    return ""

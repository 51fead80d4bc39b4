"""Taking worktrees away without losing anything that was done in them."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import trio

from codetether_worktrees.merging import abort
from codetether_worktrees.repository import GitFailed, why_not
from codetether_worktrees.trees import PREFIX, adopt, aside, commit, create, nested

if TYPE_CHECKING:
    from codetether_worktrees.repository import Repository
    from codetether_worktrees.trees import Worktree


class Left(msgspec.Struct, frozen=True, omit_defaults=True):
    """What stays of a worktree: `branch` when its commits are in no other branch, `path` when its files are needed. With
    `why` alone nothing of it is needed, and git did not take all of it away.
    """

    branch: str = ""
    path: str = ""
    why: str = ""


async def remove(
    tree: Worktree, merged_into: Sequence[str] = (), message: str = "Unfinished work"
) -> Left:
    """Take the worktree away. What is not committed in it is committed to its branch first; the branch goes only when
    one of `merged_into` (branches, commits) contains it, or when it holds nothing new. The lease must be ours, and is given
    back.

    Only ignored files are lost. Raises GitFailed when git does not work; then all commits are still there.
    """
    if not tree.lease.held:
        return Left(
            tree.branch, str(tree.path), f"in use by {tree.lease.holder() or 'another process'}"
        )
    with trio.CancelScope(shield=True):
        try:
            if why := await _needed(tree, message):
                return Left(tree.branch, str(tree.path), why)
            async with tree.repository.changing:
                kept = await _take_away(tree, merged_into)
        finally:
            tree.lease.give_back(remove=not tree.path.exists())
    return kept


async def _needed(tree: Worktree, message: str) -> str:
    """Why its files must stay, once all that can be is committed; "" when that is all."""
    if (tree.control / "MERGE_HEAD").exists():
        await abort(tree)  # both sides are on their branches; half of each is nothing to keep
    try:
        await commit(tree, message)
    except GitFailed as error:
        return error.message
    inner = await nested(tree)
    return f"it holds a repository of its own: {inner[0]}" if inner else ""


@asynccontextmanager
async def spare(
    repository: Repository, name: str, *, base: str, holder: str = ""
) -> AsyncIterator[Worktree]:
    """A worktree at the commit `base` for the block alone, where no agent works: of what is done in it only commits stay
    that a branch has taken meanwhile. One that was left by a process that was killed is taken away first.

    Raises GitFailed.
    """
    await discard(repository, name, holder=holder)
    tree = await create(repository, name, base=base, holder=holder)
    try:
        yield tree
    finally:
        await _drop(tree)


async def discard(repository: Repository, name: str, *, holder: str = "") -> None:
    """Take a spare worktree away that a process left which was killed, if there is one. Raises GitFailed."""
    tip = await repository.commit_of(f"refs/heads/{PREFIX}{name}")
    left = await adopt(repository, name, base=tip, holder=holder) if tip else None
    if left is not None:
        await _drop(left)


async def _drop(tree: Worktree) -> None:
    with trio.CancelScope(shield=True):
        await tree.git("symbolic-ref", "HEAD", f"refs/heads/{tree.branch}")
        await tree.git("reset", "--hard", "--quiet", tree.base)  # a merge too
        await tree.git("clean", "-fdq")
        if await tree.changed():  # a repository that was made inside of it
            await remove(tree)
            return
        async with tree.repository.changing:
            await _take_away(tree, ())
        tree.lease.give_back(remove=True)


async def _take_away(tree: Worktree, merged_into: Sequence[str]) -> Left:
    repository = tree.repository
    tip = await tree.tip()
    away = aside(tree, ".gone")
    tree.ready.unlink(missing_ok=True)  # from here on what is left of it is not an agent's work
    tree.path.rename(away)
    await repository.git("worktree", "remove", "--force", "--force", "--", str(tree.path))
    await trio.to_thread.run_sync(_clear, repository.folder)
    places = [tree.base, *merged_into]
    if not tip:
        return Left()
    if tip not in places and not any([await repository.contains(each, tip) for each in places]):
        return Left(tree.branch, why="its work is merged nowhere")
    # With the commit named: a branch that moved since we looked stays.
    gone = await repository.ask("update-ref", "-d", f"refs/heads/{tree.branch}", tip)
    return Left() if gone.ok else Left(why=f"{tree.branch} could not be deleted: {why_not(gone)}")


def _clear(folder: Path) -> None:
    """Delete trees that were taken away, those too that an earlier process did not get to. All in them is committed."""
    for gone in folder.glob(".gone-*"):
        _make_writable(gone)
        shutil.rmtree(gone, ignore_errors=True)


def _make_writable(tree: Path) -> None:
    """Every folder in it: caches (of Go's modules) are read-only."""
    for place, folders, _ in os.walk(tree):
        for name in folders:
            path = os.path.join(place, name)
            with suppress(OSError):
                if not os.path.islink(path):
                    os.chmod(path, 0o700)

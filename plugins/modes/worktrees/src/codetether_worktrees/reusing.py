"""Giving a worktree to the next piece of work: a checkout of a large repository takes its time, and most of it is the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from codetether.api import CodetetherError

from codetether_worktrees.packages import link_packages
from codetether_worktrees.repository import GitFailed
from codetether_worktrees.trees import Worktree, check_name, leased, nested

if TYPE_CHECKING:
    from codetether_worktrees.repository import Repository


async def reuse(tree: Worktree, name: str, *, base: str, holder: str = "") -> Worktree:
    """The worktree under another name, on a new branch at the commit `base`, as if it had just been made: what git does
    not know, ignored files too, is gone. Its old branch goes; all of that must be contained in `base`, and committed.

    Raises GitFailed, and then the old one can be taken away as before: when `base` lacks something, it holds repositories
    of its own or submodules, or the name is in use.
    """
    check_name(name)
    repository = tree.repository
    tip = await tree.tip()
    if not await repository.contains(base, tip) or await nested(tree):
        raise GitFailed(f"{tree.path} holds work of its own")
    lease = await leased(repository, name, holder)
    new = Worktree(repository, name, base, lease)
    try:
        with trio.CancelScope(shield=True):
            async with repository.changing:
                await _change(repository, tree, new, tip)
                tree.ready.unlink(missing_ok=True)
                await repository.git("update-ref", "-d", f"refs/heads/{tree.branch}", tip)
        tree.lease.give_back(remove=True)
    except CodetetherError:
        lease.give_back()
        raise
    await link_packages(new)
    return new


async def _change(repository: Repository, tree: Worktree, new: Worktree, tip: str) -> None:
    """Killed at any point, `adopt` makes either of the two again: each has its branch, and no branch is in two places."""
    none = "0" * len(new.base)
    await repository.git("update-ref", f"refs/heads/{new.branch}", new.base, none)
    await tree.git("update-ref", "--no-deref", "HEAD", tip)  # it stands on no branch
    await repository.git("worktree", "move", "--", str(tree.path), str(new.path))
    if tip == new.base:  # nothing to check out: all of it is committed
        await new.git("symbolic-ref", "HEAD", f"refs/heads/{new.branch}")
    else:
        await new.git("checkout", "--quiet", "--force", new.branch)
    await new.git("clean", "-ffdqx")
    new.ready.touch(mode=0o600)

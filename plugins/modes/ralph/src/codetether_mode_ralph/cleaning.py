"""Taking away what runs left that nobody goes on with: worktrees, and branches whose commits are elsewhere too."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
from codetether.api import CodetetherError
from codetether_worktrees import (
    PREFIX,
    Lease,
    Repository,
    adopt,
    discard,
    place_of,
    remove,
    unlock,
)

from codetether_mode_ralph.ground import SPARE

if TYPE_CHECKING:
    from codetether.api import Kernel

    from codetether_mode_ralph.records import Past


async def clean_up(kernel: Kernel, past: Past) -> dict[str, Any]:
    """Take a run's worktrees away and, when nothing of it is unmerged, its journal. What is not committed in a tree is
    committed to its branch first; branches with commits that are nowhere else stay, and are named.

    Raises CodetetherError while the run is being carried out.
    """
    lease = Lease(past.folder / "lease")
    if not lease.take("cleanup"):
        raise CodetetherError(f"{past.id} is running ({lease.holder()})", "stop that process first")
    try:
        await kernel.sweep()
        repository = await Repository.find(Path(past.began.root), place_of(kernel.dirs))
        for what in SPARE:
            await discard(repository, f"{past.id}-{what}", holder="cleanup")
        kept = [
            branch
            for branch in [mark.branch for mark in past.marks.values() if mark.branch]
            if await _take_away(repository, past, branch)
        ]
        if result := await _drop_result(repository, past):
            kept.append(result)
        if not kept:
            await trio.to_thread.run_sync(shutil.rmtree, past.folder)
    finally:
        lease.give_back()
    return {"id": past.id, "kept": kept, "removed": not kept}


async def _take_away(repository: Repository, past: Past, branch: str) -> bool:
    """Whether a story's branch had to stay."""
    if not await repository.commit_of(f"refs/heads/{branch}"):
        return False
    name = branch.removeprefix(PREFIX)
    base = next(mark.base for mark in past.marks.values() if mark.branch == branch)
    tree = await adopt(repository, name, base=base or past.began.commit, holder="cleanup")
    if tree is None:
        return False
    places = [f"refs/heads/{PREFIX}{past.id}", f"refs/heads/{past.began.branch}", "HEAD"]
    known = [place for place in places if await repository.commit_of(place)]
    left = await remove(tree, known)
    return bool(left.why)


async def _drop_result(repository: Repository, past: Past) -> str:
    """The branch of the run when it has to stay."""
    ref = f"refs/heads/{PREFIX}{past.id}"
    await unlock(repository, f"{PREFIX}{past.id}")
    tip = await repository.commit_of(ref)
    places = [past.began.commit, f"refs/heads/{past.began.branch}", "HEAD"]
    known = [place for place in places if await repository.commit_of(place)]
    if not tip:
        return ""
    if not any([await repository.contains(place, tip) for place in known]):
        return f"{PREFIX}{past.id}"
    await repository.git("update-ref", "-d", ref, tip)
    return ""

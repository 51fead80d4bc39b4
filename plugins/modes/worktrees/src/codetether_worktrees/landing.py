"""Bringing a result to the user's branch, only when nothing of theirs is in the way."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import msgspec
from codetether.api import one_line

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
    that may be changed, since `commit` leaves them alone.
    """
    async with repository.changing:
        now = await repository.branch()
        if not now or now != branch:
            return Landing(
                False,
                why=f"you are no longer on {branch}" if branch else "no branch is checked out",
            )
        if changed := [path for path in await repository.uncommitted() if path not in but]:
            return Landing(
                False, why=f"you have uncommitted changes ({one_line(', '.join(changed[:3]), 80)})"
            )
        tip = await repository.commit_of("HEAD")
        if not await repository.contains(commit, tip):
            if await repository.contains(tip, commit):
                return Landing(True, tip)
            return Landing(False, tip, f"{branch} has moved on", moved=True)
        if tip == commit:
            return Landing(True, commit)
        done = await repository.ask(
            "merge", "--ff-only", "--no-verify", "--quiet", "--end-of-options", commit
        )
        if not done.ok:
            return Landing(False, why=one_line(done.errors or done.output, 200))
        return Landing(True, commit)


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
        return Landing(False, tip, one_line(done.errors or done.output, 200))
    return Landing(True, commit)


async def _checked_out(repository: Repository, branch: str) -> str:
    """The worktree that has the branch checked out, "" when there is none."""
    where = ""
    for line in (await repository.git("worktree", "list", "--porcelain")).splitlines():
        if line.startswith("worktree "):
            where = line.removeprefix("worktree ")
        elif line == f"branch refs/heads/{branch}":
            return where
    return ""

"""Bringing a result to the user's branch, only when nothing of theirs is in the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from codetether.api import one_line

if TYPE_CHECKING:
    from codetether_worktrees.repository import Repository


class Landing(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether the user's branch now holds the result; else `why` not. `commit`: where their branch is."""

    ok: bool
    commit: str = ""
    why: str = ""


async def land(repository: Repository, commit: str, *, branch: str) -> Landing:
    """Move the user's checked-out branch forward to `commit`.

    Only when they are still on `branch`, have changed no tracked file, and did not commit meanwhile: their tree is never
    merged into, reset or stashed. git itself refuses when an untracked file of theirs would be overwritten.
    """
    async with repository.changing:
        now = await repository.branch()
        if not now or now != branch:
            return Landing(
                False,
                why=f"you are no longer on {branch}" if branch else "no branch is checked out",
            )
        if changed := await repository.uncommitted():
            return Landing(
                False, why=f"you have uncommitted changes ({one_line(', '.join(changed[:3]), 80)})"
            )
        tip = await repository.commit_of("HEAD")
        if not await repository.contains(commit, tip):
            return Landing(False, why=f"{branch} has moved on")
        if tip == commit:
            return Landing(True, commit)
        done = await repository.ask(
            "merge", "--ff-only", "--no-verify", "--quiet", "--end-of-options", commit
        )
        if not done.ok:
            return Landing(False, why=one_line(done.errors or done.output, 200))
        return Landing(True, commit)

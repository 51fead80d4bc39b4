"""Locks that a git which was killed left behind.

A file NAME.lock keeps every other git from writing NAME, and stays when its git has no time to take it away. Ours are two
kinds: those of a worktree's own administrative directory, and the one on its branch. Who holds the lease of the worktree
takes them away. All others may be the user's: they stay, and are told of in plain words.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from codetether_worktrees.repository import Repository

# Seconds. Somebody else's git may hold a lock of ours for a moment: gc looks at every branch.
YOUNG = 3.0
PATIENCE = 2.0  # for one of the user's
LOOK = 0.05
_SAID = re.compile(r"Unable to create '(.+?\.lock)': File exists")


async def unlock(repository: Repository, branch: str) -> None:
    """Take the lock on a branch away that nobody but us writes."""
    await take_away([of_branch(repository.common, branch)])


def of_branch(common: Path, branch: str) -> Path:
    """The lock on a branch of the repository whose shared directory is `common`."""
    return common / "refs" / "heads" / f"{branch}.lock"


async def take_away(locks: Iterable[Path]) -> None:
    """Take locks away that are ours, those that a living git made just now once they are no longer young."""
    for lock in locks:
        with trio.move_on_after(2 * YOUNG):
            while _young(lock):  # noqa: ASYNC110 - another process holds it
                await trio.sleep(LOOK)
        if not _young(lock):
            with suppress(OSError):  # git itself says what is wrong with it
                lock.unlink(missing_ok=True)


async def in_the_way(locks: Sequence[Path]) -> Path | None:
    """The lock of somebody else's that does not go, None when all are gone soon."""
    with trio.move_on_after(PATIENCE):
        while any(_age(lock) is not None for lock in locks):  # noqa: ASYNC110 - another process holds it
            await trio.sleep(LOOK)
    return next((lock for lock in locks if _age(lock) is not None), None)


def blamed(errors: str) -> Path | None:
    """The lock on account of which git did nothing, as it says itself."""
    found = _SAID.search(errors)
    return Path(found[1]) if found else None


def told(lock: Path) -> tuple[str, str]:
    """What there is to know of a lock in the way, and what a person may do."""
    age = _age(lock)
    since = f", {_span(age)} old" if age is not None else ""
    return (
        f"{lock} is in the way{since}, and no git of this run has it",
        f"if none of yours has it either (nor an editor it waits for), a killed one left it: rm {shlex.quote(str(lock))}",
    )


def _young(lock: Path) -> bool:
    age = _age(lock)
    return age is not None and age < YOUNG


def _age(lock: Path) -> float | None:
    """Seconds since it was made, or that the clock was set back by since; None when it is not there."""
    try:
        return abs(time.time() - lock.lstat().st_mtime)
    except OSError:
        return None


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"

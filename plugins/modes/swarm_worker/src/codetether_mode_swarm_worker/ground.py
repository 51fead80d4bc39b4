"""Where sub-tasks work here: a clone for each coordinator's repository, a worktree for each sub-task, all of it for a time."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

import trio
from codetether.api import CodetetherError, UsageError, git
from codetether_nats import fetch
from codetether_worktrees import Lease, Repository, create, remove

if TYPE_CHECKING:
    from codetether_nats import Job, Link
    from codetether_worktrees import Worktree

ORIGIN = re.compile(r"[0-9a-f]{1,64}")
COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
KEPT = 4  # clones that nobody works in: the swarm they are of may have more to do
_Look = tuple[int | str, ...]


class Ground:
    """A folder that this process alone has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._clones: dict[str, _Clone] = {}  # the one used last is the last
        self._untouched: list[tuple[Path, _Look]] = []  # and how they looked when they were made

    @classmethod
    @contextmanager
    def at(cls, place: Path) -> Iterator[Self]:
        """A folder below `place`, gone at the end. Those that killed workers left there go now: what was in them was not
        handed back, so the queue has given it to somebody else. Raises UsageError when nothing can be made there.
        """
        folder = place / f"{os.getpid()}-{secrets.token_hex(3)}"
        lease = Lease(folder.with_suffix(".lease"))
        try:
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            _tidy(place)
            lease.take("swarm-worker")
            folder.mkdir(mode=0o700)
        except OSError as error:
            raise UsageError(
                f"{place} cannot be worked in: {error.strerror}", "see --work-dir"
            ) from None
        try:
            yield cls(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lease.give_back(remove=True)

    @asynccontextmanager
    async def empty(self, name: str) -> AsyncIterator[Path]:
        """An empty folder. What is put into it is gone at the end; one that nobody touched is the next sub-task's too."""
        folder, new = self._untouched.pop() if self._untouched else _made(self.folder / name)
        try:
            yield folder
        finally:
            if _look(folder) == new:
                self._untouched.append((folder, new))
            else:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))

    @asynccontextmanager
    async def tree(
        self, link: Link, job: Job, name: str, remotes: tuple[str, ...]
    ) -> AsyncIterator[Worktree]:
        """A worktree at the job's base, gone at the end, its branch too. Raises CodetetherError."""
        if not ORIGIN.fullmatch(job.origin) or not COMMIT.fullmatch(job.task.base):
            raise CodetetherError("the sub-task names no repository, or no commit")
        clone = self._clones.pop(job.origin, None) or _Clone(self.folder)
        self._clones[job.origin] = clone
        clone.users += 1
        try:
            async with clone.filling:
                repository = await clone.filled(link, job, remotes)
            tree = await create(repository, name, base=job.task.base, holder=name)
            try:
                yield tree
            finally:
                with trio.CancelScope(shield=True):
                    await _clear(tree)
        finally:
            clone.users -= 1
            with trio.CancelScope(shield=True):
                await self._forget_old()

    async def _forget_old(self) -> None:
        idle = [origin for origin, clone in self._clones.items() if not clone.users]
        for origin in idle[: max(len(idle) - KEPT, 0)]:
            clone = self._clones.pop(origin)
            await trio.to_thread.run_sync(lambda: shutil.rmtree(clone.folder, ignore_errors=True))  # noqa: B023


class _Clone:
    """A clone below `place`; agents work in worktrees of it."""

    def __init__(self, place: Path) -> None:
        self.folder = place / secrets.token_hex(
            4
        )  # an earlier one of the same may be on its way out
        self.users = 0
        self.filling = trio.Lock()
        self._repository: Repository | None = None

    async def filled(self, link: Link, job: Job, remotes: tuple[str, ...]) -> Repository:
        """The clone, with the job's base in it."""
        root = self.folder / "repo"
        if self._repository is None:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            kind = "sha256" if len(job.task.base) == 64 else "sha1"
            done = await git(["init", "--quiet", "--template=", f"--object-format={kind}"], root)
            if not done.ok:
                raise CodetetherError(f"git init failed: {done.errors[-200:]}")
        repository = self._repository or Repository(root, "", root / ".git", self.folder / "trees")
        if not await repository.commit_of(job.task.base):
            if job.remote:
                await _fetch(repository, job.remote, remotes)
            for bundle in job.bundles:
                if not await repository.commit_of(bundle.commit):
                    await fetch(link, repository, bundle, check=False)
        if not await repository.commit_of(job.task.base):
            raise CodetetherError("the commit to start from did not come with the sub-task")
        self._repository = repository
        return repository


def _tidy(place: Path) -> None:
    for old in place.glob("*.lease"):
        lease = Lease(old)
        if lease.take("tidying up"):
            shutil.rmtree(old.with_suffix(""), ignore_errors=True)
            lease.give_back(remove=True)


def _made(folder: Path) -> tuple[Path, _Look]:
    folder.mkdir(mode=0o700)
    return folder, _look(folder)


def _look(folder: Path) -> _Look:
    """What differs once anybody put something in, took it out again, or changed the folder itself; nothing when it is away."""
    try:
        found = os.stat(folder, follow_symlinks=False)
        times = found.st_ctime_ns, found.st_mtime_ns
        return found.st_ino, found.st_mode, *times, *os.listdir(folder)
    except OSError:
        return ()


async def _fetch(repository: Repository, url: str, allowed: tuple[str, ...]) -> None:
    """Fetch what a remote has; git asks nobody for a password. Raises CodetetherError, also for one that is not allowed."""
    if ".." in url or not any(each and url.startswith(each) for each in allowed):
        raise CodetetherError(
            f"this worker may not fetch from {url}", "start it with --remote PREFIX"
        )
    async with repository.changing:
        await repository.git(
            "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--no-auto-maintenance",
            "--", url, "+refs/heads/*:refs/codetether/remote/*",
        )  # fmt: skip


async def _clear(tree: Worktree) -> None:
    """What was done was sent, or nobody wants it: the tree goes, and with it the branch."""
    with suppress(CodetetherError):
        left = await remove(tree)
        if left.branch:
            await tree.repository.git("update-ref", "-d", f"refs/heads/{left.branch}")
    tree.lease.give_back(remove=True)

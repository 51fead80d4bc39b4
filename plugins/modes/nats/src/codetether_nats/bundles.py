"""Commits on their way between clones: git's own bundles, as files on the broker."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from codetether.api import CodetetherError, git, write_atomic

from codetether_nats.messages import Bundle, stamp

if TYPE_CHECKING:
    from codetether.api import Completed
    from codetether_worktrees import Repository

    from codetether_nats.link import Link

SENT = "refs/codetether/sent/"  # only while a bundle is written
GOT = "refs/codetether/got/"
SECONDS = 300.0
FETCH = (
    "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--no-auto-maintenance",
)  # fmt: skip


async def pack(
    link: Link,
    repository: Repository,
    commit: str,
    without: Sequence[str] = (),
) -> Bundle:
    """Store `commit` and its history on the broker, but for what `without` (commits, or git's words for some) contains.

    Raises CodetetherError, also when it would be larger than `largest`.
    """
    reference = f"{SENT}{stamp()}"
    async with _file() as path:
        await repository.git("update-ref", reference, commit)
        try:
            excluded = ["--not", *without] if without else []
            await repository.git("bundle", "create", "--quiet", str(path), reference, *excluded)
        finally:
            with trio.CancelScope(shield=True):
                await repository.git("update-ref", "-d", reference)
        size = path.stat().st_size
        if size > link.place.largest:
            raise CodetetherError(
                f"the commits to send take {size:,} bytes, and {link.place.largest:,} are allowed",
                "raise the setting `largest`, or have workers fetch from a remote: the setting `remote`",
            )
        name = await link.put_file(path)
        return Bundle(name, commit, size, await trio.to_thread.run_sync(_digest, path))


async def fetch(link: Link, repository: Repository, bundle: Bundle, *, check: bool) -> None:
    """Bring a bundle's commits into `repository`. `check`: look at every object, as for those from somebody less trusted.

    Nothing refers to them yet, so git forgets them when nobody does. Raises CodetetherError.
    """
    async with _file() as path:
        await link.get_file(bundle.name, path)
        if await trio.to_thread.run_sync(_digest, path) != bundle.digest:
            raise CodetetherError("a bundle on the broker is not what was said it is")
        source = await _unpacked(repository, path, bundle.commit) if check else path
        place = f"{GOT}{stamp()}/"
        async with repository.changing:
            try:
                await repository.git(
                    "-c", f"fetch.fsckObjects={str(check).lower()}", *FETCH, "--", str(source), f"+{SENT}*:{place}*"
                )  # fmt: skip
            finally:
                await _drop(repository, place)
        if not await repository.commit_of(bundle.commit):
            raise CodetetherError("a bundle does not hold the commit it is said to bring")


async def _unpacked(repository: Repository, path: Path, commit: str) -> Path:
    """A repository beside the bundle that has its commits and borrows all others: of what comes from a bundle itself git
    looked at nothing before 2.46, whatever it was told.
    """
    place = path.with_name("unpacked")
    kind = "sha256" if len(commit) == 64 else "sha1"
    made = ["init", "--quiet", "--template=", f"--object-format={kind}", str(place)]
    _well(await git(made, path.parent))
    borrowed = place / ".git" / "objects" / "info" / "alternates"
    borrowed.parent.mkdir(exist_ok=True)
    write_atomic(borrowed, os.fsencode(repository.common / "objects") + b"\n")
    _well(await git([*FETCH, "--", str(path), f"+{SENT}*:{SENT}*"], place, timeout=SECONDS))
    return place


def _well(done: Completed) -> None:
    if not done.ok:
        raise CodetetherError(f"the commits of a bundle cannot be read: {done.errors[-200:]}")


async def import_commits(repository: Repository, branch: str, tip: str, base: str) -> None:
    """Have `branch` end at `tip`, which is there already. Raises CodetetherError when that does not come after `base`."""
    await check_tip(repository, tip, base)
    old = await repository.commit_of(f"refs/heads/{branch}")
    if old and old != tip and not await repository.contains(tip, old):
        raise CodetetherError(f"{branch} holds commits that the worker's work does not come after")
    await repository.git("update-ref", f"refs/heads/{branch}", tip, old or "0" * len(tip))


async def check_tip(repository: Repository, tip: str, base: str) -> None:
    """Whether `tip` comes after `base`. Raises CodetetherError."""
    if not await repository.contains(tip, base):
        raise CodetetherError("what came back does not follow from the commit that was sent")


async def _drop(repository: Repository, place: str) -> None:
    with trio.CancelScope(shield=True):
        said = await repository.git("for-each-ref", "--format=%(refname)", place)
        for name in said.split():
            await repository.git("update-ref", "-d", name)


@asynccontextmanager
async def _file() -> AsyncIterator[Path]:
    with tempfile.TemporaryDirectory(prefix="codetether-") as folder:
        yield Path(folder, "commits.bundle")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

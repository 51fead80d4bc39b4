"""Making worktrees, finding them again, and keeping what was done in them."""

from __future__ import annotations

import re
import secrets
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from codetether.api import CodetetherError

from codetether_worktrees import locks
from codetether_worktrees.leases import Lease
from codetether_worktrees.packages import link_packages
from codetether_worktrees.repository import GITLINK, GitFailed, output, plain, why_not

if TYPE_CHECKING:
    from codetether.api import Completed

    from codetether_worktrees.repository import Repository

PREFIX = "codetether/"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")  # in full: nothing to look up


class Worktree:
    """One worktree. `path`: its root; `directory`: where an agent works in it; `branch`:
    its branch; `base`: the commit it started from.
    """

    def __init__(self, repository: Repository, name: str, base: str, lease: Lease) -> None:
        self.repository = repository
        self.name = name
        self.base = base
        self.lease = lease
        self.branch = PREFIX + name
        self.path = repository.folder / name
        self._control: Path | None = None

    @property
    def control(self) -> Path:
        """Its administrative directory: the one that says it is of this path. Raises GitFailed when there is none."""
        if self._control is None:
            wanted = str(self.path / ".git")
            for record in (self.repository.common / "worktrees").glob("*/gitdir"):
                if record.read_text("utf-8", "replace").strip() == wanted:
                    self._control = record.parent
                    return self._control
            raise GitFailed(f"{self.path} is no worktree of {self.repository.root}")
        return self._control

    @property
    def ready(self) -> Path:
        """A file beside it that is there from when all of it is checked out to when it is taken away: a tree without
        holds no work, however much or little of it there is.
        """
        return self.repository.folder / f"{self.name}.ready"

    def forget(self) -> None:
        """Look for `control` again: it was made anew."""
        self._control = None

    @property
    def directory(self) -> Path:
        """Where the user stood in their own tree, if that exists here, else the root."""
        inside = self.path / self.repository.prefix
        return inside if inside.is_dir() else self.path

    async def git(self, *args: str) -> str:
        """Run git in it. Raises GitFailed."""
        return output(args[0], await self.ask(*args))

    async def ask(self, *args: str) -> Completed:
        """The same, whatever comes of it. No agent works in it meanwhile: a lock there was left by a git that was killed."""
        if self.lease.held:
            branch = locks.of_branch(self.repository.common, self.branch)
            await locks.take_away([*self.control.glob("*.lock"), branch])
        return await self.repository.ask(*args, control=self.control, tree=self.path)

    async def tip(self) -> str:
        """The commit its branch is at."""
        return await self.repository.commit_of(f"refs/heads/{self.branch}")

    async def changed(self) -> tuple[str, ...]:
        """Paths that are not committed; ignored files do not count."""
        said = await self.git("status", "--porcelain", "--untracked-files=all", "--no-renames")
        return tuple(plain(line[3:]) for line in said.split("\n") if line)

    async def diff(self, limit: int = 40_000) -> str:
        """What its branch changed since `base`, as a unified diff of at most `limit` characters."""
        said = await self.repository.git("diff", "--no-color", self.base, await self.tip(), "--")
        return said if len(said) <= limit else said[:limit] + "\n[the rest is left out]"


async def create(
    repository: Repository, name: str, *, base: str = "HEAD", holder: str = ""
) -> Worktree:
    """A worktree with a new branch `codetether/<name>` at the commit `base`, leased to this process.

    `name`: lower-case letters, digits, `-` and `_`. Raises GitFailed, also when the name is in use.
    """
    check_name(name)
    commit = base if _COMMIT.fullmatch(base) else await repository.commit_of(base)
    if not commit:
        raise GitFailed(f"there is no commit {base}")
    lease = await leased(repository, name, holder)
    tree = Worktree(repository, name, commit, lease)
    try:
        with trio.CancelScope(shield=True):  # half a worktree would be in the way of the next one
            async with repository.changing:
                await repository.git(
                    "worktree", "add", "--no-track", "-b", tree.branch, "--", str(tree.path), commit
                )
                tree.ready.touch(mode=0o600)
    except CodetetherError:
        lease.give_back(remove=True)
        raise
    await link_packages(tree)
    return tree


async def adopt(
    repository: Repository, name: str, *, base: str = "", holder: str = ""
) -> Worktree | None:
    """A worktree that an earlier process made, leased to this one; None when neither it nor its branch is there.

    When only the branch is left it is checked out again. `base`: the commit it started from, the user's HEAD unless given.
    Raises GitFailed when another process works in it.
    """
    check_name(name)
    start = base or await repository.commit_of("HEAD")
    tip = await repository.commit_of(f"refs/heads/{PREFIX}{name}")
    if not tip:
        return None
    lease = await leased(repository, name, holder)
    tree = Worktree(repository, name, start, lease)
    try:
        with trio.CancelScope(shield=True):
            async with repository.changing:
                await _put_back(tree)
    except CodetetherError:
        lease.give_back()
        raise
    await link_packages(tree)
    return tree


async def commit(tree: Worktree, message: str) -> str:
    """Commit everything in the worktree, without the user's hooks; the new commit, "" when nothing had changed.

    A repository that an agent made inside of it is not stored by git and stays in the tree (see `remove`). Raises GitFailed
    when something cannot be committed (a repository inside that has no commit, say); all else is then.
    """
    await tree.git("symbolic-ref", "HEAD", f"refs/heads/{tree.branch}")  # an agent may have left it
    added = await tree.ask("add", "--all", "--ignore-errors")
    made = ""
    if not (await tree.ask("diff", "--cached", "--quiet")).ok:
        await tree.git("commit", "--quiet", "--no-verify", "--cleanup=whitespace", "-m", message)
        made = await tree.tip()
    if not added.ok:
        raise GitFailed(f"not all of the work can be committed: {why_not(added)}")
    return made


async def squash(tree: Worktree, onto: str, message: str) -> str:
    """Make everything committed in the worktree one commit on top of `onto`, which is its base from now on; that commit,
    or `onto` itself when nothing differs from it. Nothing may be uncommitted.
    """
    tip = await tree.tip()
    said = await tree.repository.git("rev-parse", f"{tip}^{{tree}}", f"{onto}^{{tree}}")
    now, before = said.split()
    made = onto
    if now != before:
        made = await tree.repository.git("commit-tree", now, "-p", onto, "-m", message)
    await tree.repository.git("update-ref", f"refs/heads/{tree.branch}", made, tip)
    tree.base = onto
    return made


async def nested(tree: Worktree) -> tuple[str, ...]:
    """Repositories inside the worktree whose commits are nowhere else: git keeps of them a number only."""
    said = await tree.git("diff", "--raw", "--no-renames", tree.base, "HEAD", "--")
    new = [line for line in said.splitlines() if line.split(" ")[1] == GITLINK]
    links = [plain(line.partition("\t")[2]) for line in new]
    return tuple(path for path in links if (tree.path / path / ".git").exists())


async def within(tree: Worktree) -> tuple[str, ...]:
    """Of those the ones whose address the worktree does not know either. Without their `.git` the next commit takes their
    files in.
    """
    modules = tree.path / ".gitmodules"
    known = modules.read_text("utf-8", "replace") if modules.is_file() else ""
    inner = tuple(path for path in await nested(tree) if f"path = {path}\n" not in known)
    if inner:
        await tree.git("rm", "--cached", "--quiet", "--", *inner)
    return inner


def check_name(name: str) -> None:
    """Raises GitFailed when a worktree cannot have this name."""
    if not _NAME.fullmatch(name):
        raise GitFailed(f"{name!r} cannot be the name of a worktree")


async def leased(repository: Repository, name: str, holder: str) -> Lease:
    """The lease of a worktree, ours now, and nothing in the way of making it. Raises GitFailed when another has it."""
    lease = Lease(repository.folder / f"{name}.lease")
    if not lease.take(holder or name):
        raise GitFailed(
            f"the worktree {name} is in use by {lease.holder() or 'another process'}",
            "wait for it, or choose another name",
        )
    await locks.unlock(repository, PREFIX + name)
    _clear_record(repository.common / "worktrees" / name)
    return lease


def _clear_record(control: Path) -> None:
    """Take away what git writes first of a worktree, if it was killed before it wrote where that is."""
    with suppress(OSError):
        if not (control / "gitdir").read_bytes():
            (control / "gitdir").unlink()
    if control.is_dir() and not (control / "gitdir").exists():
        (control / "locked").unlink(missing_ok=True)
        with suppress(OSError):  # it holds something else
            control.rmdir()


async def _put_back(tree: Worktree) -> None:
    """Have a checked-out tree: the one there is, or a new one of the branch."""
    known = _known(tree)
    whole = known and (tree.control / "HEAD").is_file() and (tree.path / ".git").exists()
    if whole and tree.ready.exists():
        return
    if tree.path.exists():
        # Files without their worktree are kept, out of the way; what was never handed out is nobody's.
        tree.path.rename(aside(tree, "left" if tree.ready.exists() else ".gone"))
    if known:  # only ours: another worktree of the user's may lie on a disk that is not here now
        await tree.repository.git("worktree", "remove", "--force", "--force", "--", str(tree.path))
        tree.forget()
    await tree.repository.git("worktree", "add", "--", str(tree.path), tree.branch)
    tree.ready.touch(mode=0o600)


def aside(tree: Worktree, mark: str) -> Path:
    """A name for what was its folder, that nothing has: what could not be deleted may still be there."""
    return tree.path.with_name(f"{mark}-{tree.name}-{secrets.token_hex(4)}")


def _known(tree: Worktree) -> bool:
    try:
        return tree.control.is_dir()
    except GitFailed:
        return False

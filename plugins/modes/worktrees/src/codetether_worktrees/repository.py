"""The user's repository, and git calls that no file in a worktree can mislead."""

from __future__ import annotations

import codecs
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import trio
from codetether.api import CodetetherError, git, head, is_trusted, one_line

from codetether_worktrees import locks

if TYPE_CHECKING:
    from codetether.api import Completed, Dirs

GITLINK = "160000"  # the mode of a repository within
SECONDS = 300.0  # a checkout of a large repository takes its time
IDENTITY = {
    "GIT_AUTHOR_NAME": "CodeTether",
    "GIT_AUTHOR_EMAIL": "codetether@localhost",
    "GIT_COMMITTER_NAME": "CodeTether",
    "GIT_COMMITTER_EMAIL": "codetether@localhost",
}


class NoRepository(CodetetherError):
    """There is no repository with a commit here, so there is nothing that a worktree could start from."""


class GitFailed(CodetetherError):
    """git did not do what it was asked to."""


def place_of(dirs: Dirs) -> Path:
    """Where worktrees are kept: beside the data directory, since what is inside it is hidden from sandboxed commands."""
    return dirs.data.with_name(f"{dirs.data.name}-worktrees")


class Stand(NamedTuple):
    """Where the user stands: their branch, "" when their HEAD is detached, and its commit."""

    branch: str = ""
    commit: str = ""


class Repository:
    """One repository and the place of its worktrees.

    `root`: the user's working tree; `prefix`: the directory asked for, below it ("" is the root itself); `common`:
    the git directory all worktrees share; `folder`: where worktrees and leases are made; `stood`: where the user stood
    when it was found.
    """

    def __init__(
        self, root: Path, prefix: str, common: Path, folder: Path, stood: Stand | None = None
    ) -> None:
        self.root = root
        self.prefix = prefix
        self.common = common
        self.folder = folder
        self.stood = stood or Stand()
        self.changing = (
            trio.Lock()
        )  # git's own records of worktrees and packed refs know one writer
        self.packages: tuple[str, ...] | None = None  # see `link_packages`, which looks once
        self._identity: dict[str, str] | None = None
        self._asking = trio.Lock()
        self._trusted: bool | None = None

    @classmethod
    async def find(cls, directory: Path, place: Path) -> Repository:
        """The repository around `directory`; worktrees go below `place`. Raises NoRepository."""
        if head(directory) is None:
            raise _none(directory)
        asked = ["--path-format=absolute", "--show-toplevel", "--git-common-dir", "HEAD^{commit}"]
        try:
            done = await git(
                ["rev-parse", *asked, "--symbolic-full-name", "HEAD"], directory, timeout=30
            )
        except CodetetherError as error:
            raise NoRepository(error.message) from None
        lines = done.output.rstrip("\n").split("\n")
        if not lines[0]:
            raise NoRepository(f"git opens no repository in {directory}: {_complaint(done)}")
        if not 3 <= len(lines) <= 4:
            raise _none(directory)
        if not done.ok:
            raise NoRepository(
                f"the repository {lines[0]} has no commit yet", "commit something first"
            )
        root, common = (Path(line) for line in lines[:2])
        stood = Stand(_branch("".join(lines[3:])), lines[2])
        inside = _below(directory, root)
        key = f"{root.name}-{hashlib.sha256(str(common).encode()).hexdigest()[:8]}"
        return cls(root, inside, common, place / key, stood)

    async def git(self, *args: str) -> str:
        """What git says on standard output, the last newline cut off. Raises GitFailed."""
        return output(args[0], await self.ask(*args))

    async def ask(
        self,
        *args: str,
        control: Path | None = None,
        tree: Path | None = None,
        index: Path | None = None,
    ) -> Completed:
        """Run git on the repository, or on a worktree: then by its administrative directory `control`. `index`: a file to
        use as index in place of its own.

        The file `.git` of a worktree is not believed: an agent can write it, and the settings it would name hold commands.
        """
        env = await self.identity() | {"GIT_LITERAL_PATHSPECS": "1"}
        if index is not None:
            env["GIT_INDEX_FILE"] = str(index)
        if control is not None:
            env |= {
                "GIT_DIR": str(control),
                "GIT_COMMON_DIR": str(self.common),
                "GIT_WORK_TREE": str(tree),
            }
        return await git(
            args,
            tree or self.root,
            timeout=SECONDS,
            env=env,
            drivers=await self._is_trusted(),
            head=8_000_000,
            tail=64_000,
        )

    async def _is_trusted(self) -> bool:
        """Whether the user trusts the repository, so that filters of its own settings may run; as it was at first."""
        if self._trusted is None:
            self._trusted = await trio.to_thread.run_sync(is_trusted, self.root)
        return self._trusted

    async def identity(self) -> dict[str, str]:
        """Environment that names an author when the user's settings name none."""
        async with self._asking:
            if self._identity is None:
                done = await git(["var", "GIT_COMMITTER_IDENT"], self.root)
                self._identity = {} if done.ok else IDENTITY
            return self._identity

    async def commit_of(self, name: str) -> str:
        """The commit `name` stands for, "" when there is none."""
        done = await self.ask(
            "rev-parse", "--verify", "-q", "--end-of-options", f"{name}^{{commit}}"
        )
        return done.output.strip() if done.ok else ""

    async def contains(self, name: str, commit: str) -> bool:
        """Whether `commit` is `name` or one of its ancestors."""
        return (await self.ask("merge-base", "--is-ancestor", commit, name)).ok

    async def files_between(self, old: str, new: str) -> tuple[str, ...]:
        """Paths that differ between two commits."""
        said = await self.git("diff", "--name-only", "--no-renames", old, new, "--")
        return names(said)

    async def branch(self) -> str:
        """The user's branch, "" when their HEAD is detached."""
        return _branch((await self.ask("symbolic-ref", "-q", "HEAD")).output.strip())

    async def uncommitted(self) -> tuple[str, ...]:
        """Tracked files the user changed and did not commit."""
        said = await self.git("status", "--porcelain", "--untracked-files=no", "--no-renames")
        return tuple(plain(line[3:]) for line in said.split("\n") if line)


def _none(directory: Path) -> NoRepository:
    return NoRepository(f"{directory} is not in a git repository", "make one: git init")


def _branch(name: str) -> str:
    """The branch that a full name stands for; git shortens it to something else when a tag has the same name."""
    return name.removeprefix("refs/heads/") if name.startswith("refs/heads/") else ""


def names(said: str) -> tuple[str, ...]:
    """The paths git listed one a line, those that it had to quote as they are."""
    return tuple(plain(line) for line in said.split("\n") if line)


def plain(path: str) -> str:
    """A path without the quotes and escapes git gives unusual ones."""
    if not path.startswith('"'):
        return path
    data = codecs.escape_decode(path[1:-1].encode())[0]
    return os.fsdecode(data)


def output(verb: str, done: Completed) -> str:
    """What git said on standard output, the last newline cut off. Raises GitFailed when it did not do it."""
    if done.ok:
        return done.output.rstrip("\n")
    if (lock := locks.blamed(done.errors)) is not None:
        why, hint = locks.told(lock)
        raise GitFailed(f"git {verb} failed: {why}", hint)
    raise GitFailed(f"git {verb} failed: {_complaint(done)}")


def why_not(done: Completed) -> str:
    """Why git did not do it, in one line."""
    if (lock := locks.blamed(done.errors)) is not None:
        return "; ".join(locks.told(lock))
    return one_line(done.errors or done.output, 300)


def _complaint(done: Completed) -> str:
    if done.timed_out:
        return "it took too long"
    lines = [line.strip() for line in (done.errors or done.output).splitlines() if line.strip()]
    return " ".join(lines[-3:])[:400] or f"exit code {done.code}"


def _below(directory: Path, root: Path) -> str:
    inside = os.path.relpath(os.path.realpath(directory), os.path.realpath(root))
    return "" if inside == "." else inside

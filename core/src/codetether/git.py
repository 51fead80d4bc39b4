"""git, for the agent's own needs: no code of the repository runs, and the state at start-up is read without a process."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from codetether.process import Completed

# A repository's own settings may name programs. These are the ones that our calls would run; not switched off are
# the filters and merge drivers that `.gitattributes` asks for, since files would then be stored wrongly.
SAFE: tuple[str, ...] = tuple(
    word
    for setting in (
        "core.fsmonitor=",
        "core.hooksPath=/dev/null",
        "core.pager=cat",
        "core.editor=false",
        "core.sshCommand=ssh -oBatchMode=yes",
        "credential.helper=",
        "protocol.ext.allow=never",
        "safe.bareRepository=explicit",  # a bare repository among the files has settings of its own
        "diff.ignoreSubmodules=dirty",  # looking into one would obey its settings without ours
        "submodule.recurse=false",
        "commit.gpgSign=false",
        "tag.gpgSign=false",
        "log.showSignature=false",
        "gc.auto=0",
        "maintenance.auto=false",
    )
    for word in ("-c", setting)
)
_DIFFS = frozenset({"diff", "log", "show"})
_FILE_LIMIT = 1_000_000  # bytes of a .git text file worth reading


class GitState(msgspec.Struct, frozen=True):
    """Where a directory stands. `root`: the working tree; `branch`: its name, empty when detached; `commit`: the full id,
    empty before the first commit (or when the store keeps it where only git finds it).
    """

    root: Path
    branch: str
    commit: str


async def git(
    args: Sequence[str],
    cwd: str | Path,
    *,
    timeout: float = 60.0,  # noqa: ASYNC109 - passed on; a timeout is a result
    env: Mapping[str, str] | None = None,
    **how: Any,
) -> Completed:
    """Run git in `cwd` with the repository's hooks, monitors, pagers and external diffs off. `how` as for run_process.

    `args` begins with the subcommand, and words that are not ours belong behind `--` or `--end-of-options`.
    `env` is added to the clean environment. What git says is not translated. Raises CannotStart when there is no git.
    """
    from codetether.process import clean_env, run_process

    added = {
        "LC_ALL": "C.UTF-8",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_ASKPASS": "false",
        "SSH_ASKPASS": "false",
    }
    complete = clean_env({**added, **(env or {})})
    verb, *rest = args
    own_diff = ["--no-ext-diff", "--no-textconv"] if verb in _DIFFS else []
    argv = ["git", "--no-pager", *SAFE, verb, *own_diff, *rest]
    return await run_process(argv, cwd=cwd, env=complete, timeout=timeout, **how)


def head(directory: str | Path) -> GitState | None:
    """The repository around `directory`, from its files: nothing is started. None when there is none."""
    root = os.path.abspath(directory)
    while True:
        if os.path.exists(os.path.join(root, ".git")):
            control = _control(Path(root, ".git"))
            if control is not None:
                return _state(Path(root), control)
        above = os.path.dirname(root)
        if above == root:
            return None
        root = above


def _control(dot_git: Path) -> Path | None:
    """The directory with HEAD: `.git` itself, or where a `.git` file of a worktree or submodule points."""
    if not dot_git.is_dir():
        pointer = _line(dot_git)
        if not pointer.startswith("gitdir:"):
            return None
        dot_git = dot_git.parent / pointer.removeprefix("gitdir:").strip()
    return dot_git if (dot_git / "HEAD").is_file() else None


def _state(root: Path, control: Path) -> GitState:
    line = _line(control / "HEAD")
    if not line.startswith("ref:"):
        return GitState(root, "", _commit_id(line))
    name = line.removeprefix("ref:").strip()
    return GitState(root, name.removeprefix("refs/heads/"), _resolve(control, name))


def _resolve(control: Path, name: str) -> str:
    if not name.startswith("refs/") or ".." in name.split("/"):
        return ""
    shared = control / _line(control / "commondir")
    for place in (control, shared):
        if found := _commit_id(_line(place / name)):
            return found
    for line in _text(shared / "packed-refs").splitlines():
        commit, _, ref = line.partition(" ")
        if ref == name:
            return _commit_id(commit)
    return ""


def _commit_id(text: str) -> str:
    whole = len(text) in (40, 64) and all(c in "0123456789abcdef" for c in text)
    return text if whole else ""


def _line(path: Path) -> str:
    return _text(path).partition("\n")[0].strip()


def _text(path: Path) -> str:
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            return file.read(_FILE_LIMIT).decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""

"""git, for the agent's own needs: no code of the repository runs, and the state at start-up is read without a process."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from codetether.errors import CodetetherError

if TYPE_CHECKING:
    from codetether.process import Completed

# A repository's own settings may name programs. These are the ones that our calls would run; filters and merge drivers,
# which have names of their own, are switched off one by one.
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
        "core.filesRefLockTimeout=1000",  # ms, as for packed refs: a gc of the user's looks at every branch
    )
    for word in ("-c", setting)
)
_DIFFS = frozenset({"diff", "log", "show"})
# Commands that look at no file of the working tree and merge none, so that no filter or driver can run.
_BLIND = frozenset(
    {"branch", "cat-file", "commit-tree", "config", "for-each-ref", "init", "log", "ls-tree", "merge-base", "rev-list",
     "rev-parse", "show-ref", "symbolic-ref", "update-ref", "var"}
)  # fmt: skip
_DRIVERS = r"^(filter|merge)\..*\.(clean|smudge|process|required|driver)$"
# What a merge does without a driver: an empty one would take our side for the result.
_PLAIN_MERGE = "git merge-file --marker-size=%L %A %O %B"
_OWN = frozenset({"local", "worktree"})
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
    drivers: bool = False,
    **how: Any,
) -> Completed:
    """Run git in `cwd` with the repository's hooks, monitors, pagers and external diffs off. `how` as for run_process.

    `args` begins with the subcommand, and words that are not ours belong behind `--` or `--end-of-options`.
    `env` is added to the clean environment. `drivers`: run the filters and merge drivers that the repository's own
    settings name, for one that is trusted; those of the user's settings (git-lfs) run in any case. What git says is not
    translated. Raises CannotStart when there is no git, CodetetherError for settings that cannot be switched off.
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
    if not drivers and verb not in _BLIND:
        complete |= await _drivers_off(cwd, complete)
    argv = ["git", "--no-pager", *SAFE, verb, *own_diff, *rest]
    return await run_process(argv, cwd=cwd, env=complete, timeout=timeout, **how)


async def _drivers_off(cwd: str | Path, env: Mapping[str, str]) -> dict[str, str]:
    """Environment in which no filter or merge driver of the repository's own settings runs.

    git itself is asked which there are: whoever read its files would have to find the same repository as it does.
    """
    from codetether.process import run_process

    asked = ["config", "--includes", "--show-scope", "--name-only", "--get-regexp"]
    done = await run_process(
        ["git", "--no-pager", *SAFE, *asked, _DRIVERS], cwd=cwd, env=dict(env), timeout=30, head=1_000_000
    )  # fmt: skip
    if not done.output or done.code not in (0, 1):
        return {}  # none, or no repository: then the call itself will say so
    if done.truncated or done.lossy or not done.ok:
        raise CodetetherError(
            "the repository's settings name more filters than can be switched off"
        )
    rows = (line.partition("\t") for line in done.output.split("\n"))  # no name holds a newline
    own = {key for scope, _, key in rows if scope in _OWN}
    settings: dict[str, str] = {}
    for key in own:
        name, _, variable = key.rpartition(".")
        if variable == "driver":
            settings[key] = _PLAIN_MERGE
        else:
            settings |= dict.fromkeys(
                [f"{name}.{each}" for each in ("clean", "smudge", "process")], ""
            )
            settings[f"{name}.required"] = "false"
    told = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(sorted(settings.items())):
        told |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return told


def head(directory: str | Path) -> GitState | None:
    """The repository around `directory`, from its files: nothing is started. None when there is none."""
    found = _around(directory)
    return None if found is None else _state(*found)


def root_of(directory: str | Path) -> Path | None:
    """The root of the repository around `directory`, or None; as `head` finds it."""
    found = _around(directory)
    return None if found is None else found[0]


def _around(directory: str | Path) -> tuple[Path, Path] | None:
    """The root of the repository around `directory`, and where its HEAD is."""
    root = os.path.abspath(directory)
    while True:
        if os.access(f"{root}/.git", os.F_OK):  # half of what a stat costs where there is none
            control = _control(Path(root, ".git"))
            if control is not None:
                return Path(root), control
        above = root.rpartition("/")[0] or "/"
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

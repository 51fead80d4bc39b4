"""What of a git repository a command may write, and what it must not: hooks and settings are programs that git runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from codetether.api import CodetetherError

PLACE = "-worktrees"  # where agents' worktrees are: <data directory>-worktrees/<repository>/<name>
OURS = "heads/codetether"  # their branches, below refs


def protected(root: str) -> Iterator[str]:
    """What stays read-only of the repository at `root`, a workspace or a shared `.git`."""
    git = os.path.join(root, ".git")
    if os.path.isfile(git):
        yield git  # says where the repository is
    folder = git if os.path.isdir(git) else root
    if not _is_repository(folder):
        return
    if os.path.lexists(os.path.join(folder, "commondir")):
        raise CodetetherError(
            f"nothing is run here: {folder}/commondir makes git take its settings from elsewhere",
            "look at that file, and remove it: only git's own worktree folders have one",
        )
    hooks = os.path.join(folder, "hooks")
    if not os.path.lexists(hooks):
        os.mkdir(hooks)  # only what is there can be protected; git does not mind an empty one
    yield hooks
    for name in ("config", "config.worktree"):
        yield os.path.join(folder, name)
    for name in ("commondir", "gitdir", "config.worktree"):
        yield from map(str, Path(folder, "worktrees").glob(f"*/{name}"))
    for parent, folders, _ in os.walk(os.path.join(folder, "modules")):
        if _is_repository(parent):
            yield from (os.path.join(parent, name) for name in ("hooks", "config"))
            folders[:] = [name for name in folders if name == "modules"]


def shared(root: str) -> Iterator[str]:
    """The `.git` that the linked worktree at `root` shares with others: a commit writes there.

    Believed only when that repository says the same of this worktree: a `.git` file is content, and could point at
    any directory.
    """
    found = _linked(root)
    if found is not None:
        yield str(found[1])


def shared_parts(root: str) -> Iterator[str]:
    """The same without the hooks and settings in it: only what a commit writes."""
    found = _linked(root)
    if found is not None:
        own, common = found
        names = branches(root)[1] or [str(common / name) for name in ("refs", "logs")]
        yield from (str(own), str(common / "objects"), *names)


def branches(root: str) -> tuple[list[str], list[str]]:
    """What names commits in the repository of an agent's worktree at `root`, and what of it the agent may write: the
    user's branches, tags and stash are not its own. Nothing for any other directory.
    """
    found = _linked(root) if Path(root).parent.parent.name.endswith(PLACE) else None
    if found is None:
        return [], []
    common = found[1]
    ours = [common / part / OURS for part in ("refs", "logs/refs")]
    for path in ours:
        path.mkdir(parents=True, exist_ok=True)  # git takes it away when all in it are packed
    names = [str(common / part) for part in ("refs", "logs/refs", "packed-refs")]
    return names, [str(path) for path in ours]


def _linked(root: str) -> tuple[Path, Path] | None:
    """(its own folder, the shared `.git`) of a linked worktree."""
    git = Path(root, ".git")
    try:
        text = git.read_text("utf-8") if git.is_file() else ""
        if not text.startswith("gitdir:"):
            return None
        folder = Path(os.path.realpath(git.parent / text.removeprefix("gitdir:").strip()))
        common = Path(os.path.realpath(folder / (folder / "commondir").read_text("utf-8").strip()))
        back = os.path.realpath(folder / (folder / "gitdir").read_text("utf-8").strip())
    except (OSError, UnicodeDecodeError, ValueError):
        return None
    listed = folder.parent == common / "worktrees" and back == os.path.realpath(git)
    return (folder, common) if listed and _is_repository(str(common)) else None


def _is_repository(folder: str) -> bool:
    return os.path.isfile(os.path.join(folder, "HEAD")) and os.path.isdir(
        os.path.join(folder, "objects")
    )

"""git, for the agent's own use."""

from __future__ import annotations

from pathlib import Path

import msgspec


class GitState(msgspec.Struct, frozen=True):
    """Where a repository stands. `branch` is empty when detached, `commit` when there is none yet."""

    root: Path
    branch: str = ""
    commit: str = ""


def head(directory: Path) -> GitState | None:
    """The state of the repository `directory` is in, read from its files without starting git; None outside one."""
    for folder in (directory.resolve(), *directory.resolve().parents):
        if (folder / ".git").exists():
            return GitState(folder)
    return None

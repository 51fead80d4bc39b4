"""What a worktree lacks to be tried out: Node's packages, which git ignores, and which are looked for beside the code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from codetether_worktrees.repository import names

if TYPE_CHECKING:
    from codetether_worktrees.repository import Repository
    from codetether_worktrees.trees import Worktree

PACKAGES = "node_modules"
STORES = (".pnpm", ".store")  # of package managers that link packages from there


async def link_packages(tree: Worktree) -> None:
    """Have every folder of packages that is installed in the user's tree, and ignored by git, in the worktree too: a folder
    of its own with a link for each package, so that what is installed there does not change the user's. A package that is
    part of the repository is the worktree's. A folder that is there already stays as it is.
    """
    for place in await _installed(tree.repository):
        inside = tree.path / place
        if inside.parent.is_dir() and not inside.is_symlink() and not inside.exists():
            await trio.to_thread.run_sync(_fill, tree.repository.root / place, inside)


async def _installed(repository: Repository) -> tuple[str, ...]:
    """Where packages are in the user's tree, once for all worktrees."""
    if repository.packages is None:
        files = names(await repository.git("ls-files"))
        beside = [path for path in files if os.path.basename(path) == "package.json"]
        places = [os.path.join(os.path.dirname(path), PACKAGES) for path in beside]
        found = [place for place in places if (repository.root / place).is_dir()]
        ignored = ("ls-files", "--others", "--ignored", "--exclude-standard", "--directory")
        told = await repository.git(*ignored, "--", *found) if found else ""
        repository.packages = tuple(path.rstrip("/") for path in names(told))
    return repository.packages


def _fill(theirs: Path, ours: Path) -> None:
    ours.mkdir()
    with os.scandir(theirs) as entries:
        for each in entries:
            if each.is_symlink():  # relative: to a store, or to a package of this repository
                os.symlink(os.readlink(each.path), ours / each.name)
            elif each.name == ".bin" or (each.name.startswith("@") and each.is_dir()):
                _fill(Path(each.path), ours / each.name)
            elif not each.name.startswith(".") or each.name in STORES:
                os.symlink(each.path, ours / each.name)

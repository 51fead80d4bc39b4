"""Merging branches one after another in a worktree of their own, and what to do when two do not agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from codetether_worktrees.repository import GITLINK, names, plain, why_not

if TYPE_CHECKING:
    from codetether_worktrees.trees import Worktree

MARKS = (b"<<<<<<< ", b">>>>>>> ", b"||||||| ")
LARGEST = 5_000_000  # bytes of a file that is looked through for marks


class Merge(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of a merge: `commit` is the new tip (the old one when there was nothing new). With `conflicts` (paths)
    the tree is left in the middle of it, for `conclude` or `abort`. `why`: what else kept it from being done.
    """

    ok: bool
    commit: str = ""
    files: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    why: str = ""


async def merge(into: Worktree, branch: str, message: str) -> Merge:
    """Merge `branch` into the worktree's own. Raises GitFailed when git itself does not work."""
    before = await into.tip()
    done = await into.ask(
        "-c", "rerere.enabled=false", "-c", "merge.conflictStyle=diff3", "-c", "merge.verifySignatures=false",
        "merge", "--no-ff", "--no-verify", "--no-edit", "-m", message, "--end-of-options", branch,
    )  # fmt: skip
    if done.ok:
        return await _merged(into, before)
    conflicts = await unresolved(into)
    if conflicts:
        return Merge(False, before, conflicts=conflicts, why="both sides changed the same place")
    await abort(into)
    return Merge(False, before, why=why_not(done))


async def conclude(into: Worktree, message: str, conflicts: tuple[str, ...]) -> Merge:
    """Commit a merge whose conflicts were resolved in the tree; not ok while marks of a conflict are left in a file, while
    nobody decided which side of a file without marks holds, or when something in it cannot be committed.
    """
    marked = tuple(path for path in conflicts if _marked(into, path))
    if marked:
        return Merge(False, conflicts=marked, why="marks of the conflict are left")
    if open_ := await _undecided(into):
        return Merge(False, conflicts=open_, why=f"nobody decided which side of {open_[0]} holds")
    before = await into.tip()
    added = await into.ask("add", "--all")
    if not added.ok:
        return Merge(False, conflicts=conflicts, why=why_not(added))
    await into.git(
        "commit", "--quiet", "--no-verify", "--allow-empty", "--cleanup=whitespace", "-m", message
    )
    return await _merged(into, before)


async def abort(into: Worktree) -> None:
    """Give up a merge: the tree is again as its branch says. Both branches keep their commits."""
    if (into.control / "MERGE_HEAD").exists():
        await into.ask("merge", "--abort")
    await into.git("reset", "--hard", "--quiet")
    await into.git("clean", "-fdq")


async def unresolved(tree: Worktree) -> tuple[str, ...]:
    """Paths whose conflict git still waits for."""
    return names(await tree.git("diff", "--name-only", "--diff-filter=U"))


async def _undecided(tree: Worktree) -> tuple[str, ...]:
    """Files in which git could leave no marks, and that are as it left them: one side, though nobody chose it. Commits of
    submodules too, whatever lies in their folder: the index alone says which holds.
    """
    sides: dict[str, dict[str, str]] = {}
    links = set()
    for line in (await tree.git("ls-files", "--unmerged")).split("\n"):
        facts, _, path = line.partition("\t")
        if path:
            mode, blob, stage = facts.split()
            if mode == GITLINK:
                links.add(plain(path))
            sides.setdefault(plain(path), {})[stage] = blob
    found = sorted(links)
    for path, blobs in sides.items():
        if path in links or not (tree.path / path).is_file() or await _text(tree, blobs):
            continue
        if await tree.git("hash-object", "--", path) in (blobs.get("2"), blobs.get("3")):
            found.append(path)
    return tuple(found)


async def _text(tree: Worktree, blobs: Mapping[str, str]) -> bool:
    """Whether both sides are there, and text."""
    if not {"2", "3"} <= blobs.keys():
        return False
    said = await tree.git("diff", "--numstat", blobs["2"], blobs["3"])
    return not said.startswith("-\t-")


async def _merged(into: Worktree, before: str) -> Merge:
    after = await into.tip()
    return Merge(True, after, await into.repository.files_between(before, after))


def _marked(tree: Worktree, path: str) -> bool:
    file = tree.path / path
    if file.is_symlink() or not file.is_file():
        return False
    with file.open("rb") as opened:
        return any(line.startswith(MARKS) for line in opened.read(LARGEST).splitlines())

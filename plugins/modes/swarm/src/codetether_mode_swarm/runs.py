"""The runs there were: finding, showing, cancelling, going on, and taking away what is no longer needed."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import codetether_crew as crew
import msgspec
import trio
from codetether.api import CodetetherError, one_line
from codetether_crew import lease_of
from codetether_worktrees import Repository, adopt, discard, place_of, remove

from codetether_mode_swarm.ground import BEFORE, YOURS
from codetether_mode_swarm.journal import Past, read

if TYPE_CHECKING:
    from codetether.api import Kernel

PATIENCE = 30.0  # seconds for a run to end once it was cancelled
AGAIN = {"failed": "pending", "timed_out": "pending", "cancelled": "pending", "conflict": "worked"}


def folder_of(kernel: Kernel) -> Path:
    """Where journals are kept."""
    return kernel.dirs.data / "swarm"


def find(kernel: Kernel, word: str) -> Past:
    """The run with this id, or the only one whose id begins or ends so. Raises RunMissing."""
    return crew.find(folder_of(kernel), word, read, hint="see codetether swarm list")


def unfinished(kernel: Kernel) -> Past:
    """The only run of this repository that can be gone on with. Raises UsageError."""
    return crew.only_unfinished(
        kernel, every(kernel), lambda past: line(row(past)), command="codetether swarm resume"
    )


def every(kernel: Kernel) -> list[Past]:
    """Every run that can be read, the newest first."""
    return crew.every(folder_of(kernel), read)


def row(past: Past) -> dict[str, Any]:
    """One run for a list."""
    parts = past.parts.values()
    return {
        "id": past.id,
        "status": past.status,
        "task": past.began.options.task,
        "began": past.began.at,
        "subtasks": len(past.parts),
        "completed": sum(part.state == "completed" for part in parts),
        "directory": past.began.options.directory,
        "branches": unmerged(past),
    }


def line(row: dict[str, Any]) -> str:
    """A row for a person."""
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(row["began"]))
    done = f"{row['completed']}/{row['subtasks']}"
    return f"{row['id']}  {row['status']:<11} {when}  {done:>7}  {one_line(row['task'], 60)}"


def unmerged(past: Past) -> list[str]:
    """Branches that hold what is merged nowhere, as far as the journal knows."""
    parts = [part.branch for part in past.parts.values() if part.kept and part.branch]
    result = (past.ended.result.get("branches", {}).get("result") if past.ended else "") or ""
    return [*([result] if result else []), *parts]


def shown(past: Past) -> dict[str, Any]:
    """Everything about one run."""
    parts = [
        msgspec.to_builtins(part.task)
        | {
            "status": part.state, "why": part.why, "attempts": len(part.attempts), "steps": part.steps,
            "branch": part.branch if part.kept else "", "conflicts": list(part.conflicts), "result": part.text,
        }
        for part in past.parts.values()
    ]  # fmt: skip
    return row(past) | {
        "plan": parts,
        "model": past.began.model,
        "result": past.ended.result if past.ended else {},
    }


def again(past: Past, **wishes: Any) -> Past:
    """The run made ready to go on: what failed is tried again, what conflicted is merged again. `wishes`: options that
    are now others; None leaves one as it was.
    """
    for part in past.parts.values():
        part.state = AGAIN.get(part.state, part.state)
    options = crew.wished(past.began.options, wishes)
    past.began = msgspec.structs.replace(past.began, options=options)
    return past


async def cancel(past: Past) -> bool:
    """Have the process that carries a run out stop it, and wait until it has. False: nobody does."""
    lease = lease_of(past.folder)
    if not lease.holder():
        return False
    flag = past.folder / "cancel"
    await trio.Path(flag).touch(mode=0o600)
    with trio.move_on_after(PATIENCE):
        while lease.holder():  # noqa: ASYNC110 - another process holds it
            await trio.sleep(0.1)
        return True
    raise CodetetherError(
        f"{past.id} did not stop within {PATIENCE:g} s", f"its process: {lease.holder()}"
    )


async def cleanup(kernel: Kernel, past: Past, *, dry: bool = False) -> dict[str, Any]:
    """Take a run's worktrees and, when nothing of it is unmerged, its journal away. Branches that hold commits which are
    nowhere else stay, and are named. Raises CodetetherError while it is running.
    """
    lease = lease_of(past.folder)
    if not lease.take("cleanup"):
        raise CodetetherError(
            f"{past.id} is running ({lease.holder()})", f"codetether swarm cancel {past.id}"
        )
    try:
        told: dict[str, Any] = {"id": past.id, "dry_run": dry, "worktrees": [], "kept": []}
        if past.began.root:
            await _trees(kernel, past, told, dry=dry)
        told["removed"] = not told["kept"]
        if not dry and not told["kept"]:
            await trio.to_thread.run_sync(shutil.rmtree, past.folder)
    finally:
        lease.give_back()
    return told


async def _trees(kernel: Kernel, past: Past, told: dict[str, Any], *, dry: bool) -> None:
    began = past.began
    await kernel.sweep()
    repository = await Repository.find(Path(began.root), place_of(kernel.dirs))
    names = [(f"{past.id}-{part.task.id}", part.base) for part in past.parts.values()]
    names.append((past.id, began.commit))  # last: what is merged into the result is known by it
    places = ["HEAD", *([f"refs/heads/{began.branch}"] if began.branch else [])]
    result = f"refs/heads/{past.branch}"
    if not dry:
        for what in (BEFORE, YOURS):
            await discard(repository, f"{past.id}{what}", holder="cleanup")
    for name, base in names:
        branch = f"codetether/{name}"
        tip = await repository.commit_of(f"refs/heads/{branch}")
        if not tip:
            continue
        told["worktrees"].append({"name": name, "branch": branch})
        if dry:
            here = [base or began.commit, *places, *([result] if name != past.id else [])]
            known = [place for place in here if await repository.commit_of(place)]
            if not any([await repository.contains(place, tip) for place in known]):
                told["kept"].append({"branch": branch, "why": "its work is merged nowhere"})
            continue
        tree = await adopt(repository, name, base=base or began.commit, holder="cleanup")
        if tree is None:
            continue
        merged = [
            *places,
            *([result] if name != past.id and await repository.commit_of(result) else []),
        ]
        left = await remove(tree, merged)
        if left.why:
            told["kept"].append(msgspec.to_builtins(left))

"""What the journal of a run holds.

What it says is enough to go on after the process was killed at any point. Its folder is `swarm/<id>` in the data directory.
"""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Any

import msgspec
from codetether.api import CodetetherError
from codetether_crew import Attempt, records
from codetether_gates import Measured

from codetether_mode_swarm.graph import Plan
from codetether_mode_swarm.options import Options
from codetether_mode_swarm.parts import Part


class RunMissing(CodetetherError):
    """There is no such run."""


class Began(msgspec.Struct, tag="began", frozen=True, omit_defaults=True):
    """`branch` and `commit`: where the user's repository stood; `root` is it, "" without one."""

    id: str
    options: Options
    model: str
    root: str = ""
    branch: str = ""
    commit: str = ""
    at: float = 0.0


class Planned(msgspec.Struct, tag="planned", frozen=True, omit_defaults=True):
    """The plan stands."""

    plan: Plan
    steps: int = 0
    input: int = 0
    output: int = 0
    cost: float | None = None


class Changed(msgspec.Struct, tag="changed", frozen=True, omit_defaults=True):
    """A sub-task is in another state; the fields are those of Part, where they matter from now on."""

    subtask: str
    state: str
    why: str = ""
    attempt: Attempt | None = None
    base: str = ""
    branch: str = ""
    commit: str = ""
    kept: bool = False
    files: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    resolved: bool = False


class Spent(msgspec.Struct, tag="spent", frozen=True, omit_defaults=True):
    """Model calls that belong to no sub-task: resolving a conflict, mending what the gates found."""

    why: str
    attempt: Attempt


class Ended(msgspec.Struct, tag="ended", frozen=True, omit_defaults=True):
    """The process left the run: `how` is completed, failed, stopped or cancelled."""

    how: str
    why: str = ""
    result: dict[str, Any] = {}
    at: float = 0.0


Record = Began | Planned | Measured | Changed | Spent | Ended


class Past:
    """A run as its journal tells it."""

    def __init__(self, folder: Path, began: Began) -> None:
        self.folder = folder
        self.began = began
        self.plan: Plan | None = None
        self.planned: Planned | None = None
        self.measured: Measured | None = None
        self.parts: dict[str, Part] = {}
        self.other: list[Attempt] = []
        self.ended: Ended | None = None

    @property
    def id(self) -> str:
        """The run's id."""
        return self.began.id

    @property
    def branch(self) -> str:
        """The branch that its result is on."""
        return f"codetether/{self.id}"


def read(folder: Path) -> Past:
    """The run in `folder`; a last line that was cut is as if it had not been. Raises RunMissing."""
    past: Past | None = None
    try:
        for record in records(folder, Record):
            if isinstance(record, Began):
                past = Past(folder, record)
            elif past is not None:
                _apply(past, record)
    except OSError as error:
        raise RunMissing(f"the run {folder.name} cannot be read: {error.strerror}") from None
    if past is None:
        raise RunMissing(f"the journal of {folder.name} has no beginning")
    return past


def _apply(past: Past, record: Record) -> None:
    match record:
        case Planned():
            past.plan, past.planned = record.plan, record
            past.parts = {each.id: Part(each) for each in record.plan.subtasks}
        case Measured():
            past.measured = record
        case Changed() if record.subtask in past.parts:
            part = past.parts[record.subtask]
            part.state, part.why, part.kept = record.state, record.why, record.kept
            part.base, part.branch, part.commit = record.base, record.branch, record.commit
            part.files, part.conflicts, part.resolved = (
                record.files,
                record.conflicts,
                record.resolved,
            )
            if record.attempt is not None:
                part.attempts.append(record.attempt)
            past.ended = None
        case Spent():
            past.other.append(record.attempt)
        case Ended():
            past.ended = record


def changed(part: Part, attempt: Attempt | None = None) -> Changed:
    """The record that says where a part stands."""
    return Changed(
        part.task.id, part.state, part.why, attempt, part.base, part.branch, part.commit, part.kept, part.files,
        part.conflicts, part.resolved,
    )  # fmt: skip


def new_id() -> str:
    """A name for a run: when it began, and something of its own."""
    return f"swarm-{time.strftime('%m%d-%H%M')}-{secrets.token_hex(2)}"

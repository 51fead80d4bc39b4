"""What the journal of a run holds.

What it says is enough to go on after the process was killed at any point. Its folder is `swarm/<id>` in the data directory.
"""

from __future__ import annotations

from pathlib import Path

import codetether_crew as crew
import msgspec
from codetether_crew import Attempt, Ended, Spent
from codetether_gates import Measured

from codetether_mode_swarm.graph import Plan
from codetether_mode_swarm.options import Options
from codetether_mode_swarm.parts import Part


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
    """The plan stands. `session`: who made it."""

    plan: Plan
    steps: int = 0
    input: int = 0
    output: int = 0
    cost: float | None = None
    session: str = ""


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


Record = Began | Planned | Measured | Changed | Spent | Ended


class Past(crew.Past):
    """A run as its journal tells it."""

    def __init__(self, folder: Path, began: Began) -> None:
        super().__init__(folder, began)
        self.began = began
        self.plan: Plan | None = None
        self.planned: Planned | None = None
        self.measured: Measured | None = None
        self.parts: dict[str, Part] = {}

    @property
    def branch(self) -> str:
        """The branch that its result is on."""
        return f"codetether/{self.id}"

    def add(self, record: Record) -> None:
        """Take in what happened next."""
        match record:
            case Planned():
                self.plan, self.planned = record.plan, record
                self.parts = {each.id: Part(each) for each in record.plan.subtasks}
            case Measured():
                self.measured = record
            case Changed() if record.subtask in self.parts:
                _change(self.parts[record.subtask], record)
                self.ended = None
            case _:
                super().add(record)


def _change(part: Part, record: Changed) -> None:
    part.state, part.why, part.kept = record.state, record.why, record.kept
    part.base, part.branch, part.commit = record.base, record.branch, record.commit
    part.files, part.conflicts, part.resolved = record.files, record.conflicts, record.resolved
    if record.attempt is not None:
        part.attempts.append(record.attempt)
    part.earlier = len(part.attempts)


def read(folder: Path) -> Past:
    """The run in `folder`. Raises RunMissing."""
    return crew.read(folder, Record, _begin)


def _begin(folder: Path, record: Record) -> Past | None:
    return Past(folder, record) if isinstance(record, Began) else None


def changed(part: Part, attempt: Attempt | None = None) -> Changed:
    """The record that says where a part stands."""
    return Changed(
        part.task.id, part.state, part.why, attempt, part.base, part.branch, part.commit, part.kept, part.files,
        part.conflicts, part.resolved,
    )  # fmt: skip

"""What the journal of a run holds: enough to go on after the process was killed at any point.

Its folder is `ralph/<id>` in the data directory, where no agent can write.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import codetether_crew as crew
import msgspec
from codetether.api import CodetetherError
from codetether_crew import Attempt, Ended, Spent
from codetether_gates import Measured
from codetether_worktrees import Lease

from codetether_mode_ralph.course import Mark
from codetether_mode_ralph.options import Options

if TYPE_CHECKING:
    from codetether.api import Kernel


class Began(msgspec.Struct, tag="began", frozen=True, omit_defaults=True):
    """`branch`: the PRD's branch, `commit`: what the work starts from; `root`: the user's repository."""

    id: str
    options: Options
    model: str
    root: str
    branch: str
    commit: str
    at: float


class Entered(msgspec.Struct, tag="entered", frozen=True, omit_defaults=True):
    """A story is in another state; `attempt`: the one that ended with it."""

    story: str
    mark: Mark
    attempt: Attempt | None = None
    iteration: int = 0
    at: float = 0.0


Record = Began | Measured | Entered | Spent | Ended


class Logged(NamedTuple):
    """An attempt, the iteration it was, its story, and when it ended."""

    iteration: int
    story: str
    attempt: Attempt
    at: float


class Past(crew.Past):
    """A run as its journal tells it."""

    def __init__(self, folder: Path, began: Began) -> None:
        super().__init__(folder, began)
        self.began = began
        self.measured: Measured | None = None
        self.marks: dict[str, Mark] = {}
        self.attempts: dict[str, list[Attempt]] = {}
        self.log: list[Logged] = []

    def add(self, record: Record) -> None:
        """Take in what happened next."""
        match record:
            case Measured():
                self.measured = record
            case Entered():
                self.marks[record.story] = record.mark
                if record.attempt is not None:
                    self.attempts.setdefault(record.story, []).append(record.attempt)
                    self.log.append(
                        Logged(record.iteration, record.story, record.attempt, record.at)
                    )
                self.ended = None
            case _:
                super().add(record)


def folder_of(kernel: Kernel) -> Path:
    """Where journals are kept."""
    return kernel.dirs.data / "ralph"


def read(folder: Path) -> Past:
    """The run in `folder`. Raises RunMissing."""
    return crew.read(folder, Record, _begin)


def _begin(folder: Path, record: Record) -> Past | None:
    return Past(folder, record) if isinstance(record, Began) else None


def latest(kernel: Kernel, prd: Path) -> Past | None:
    """The last run of this document."""
    runs = crew.every(folder_of(kernel), read)
    return next((past for past in runs if past.began.options.prd == str(prd)), None)


def unfinished(kernel: Kernel) -> Past:
    """The only run of this repository that can be gone on with. Raises UsageError."""
    runs = crew.every(folder_of(kernel), read)
    return crew.only_unfinished(kernel, runs, _line, command="codetether ralph resume")


def _line(past: Past) -> str:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(past.at))
    return f"{past.id}  {past.status:<14} {when}  {past.began.options.prd}"


def named(kernel: Kernel, word: str) -> Past:
    """The run with this id, or the only one whose id begins or ends so. Raises RunMissing."""
    hint = "codetether ralph status shows the last run of a document"
    return crew.find(folder_of(kernel), word, read, hint=hint)


@contextmanager
def sole(kernel: Kernel, prd: str) -> Iterator[None]:
    """No other process works through the document at `prd`, an absolute path, meanwhile. Raises CodetetherError."""
    name = hashlib.sha256(os.fsencode(prd)).hexdigest()[:16]
    lease = Lease(kernel.dirs.data / "ralph-documents" / f"{name}.lease")
    if not lease.take(prd):
        raise CodetetherError(
            f"another process works through this document now: {lease.holder()}", "wait for it"
        )
    try:
        yield
    finally:
        lease.give_back(remove=True)

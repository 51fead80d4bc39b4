"""What the journal of a run holds: enough to go on after the process was killed at any point.

Its folder is `ralph/<id>` in the data directory, where no agent can write.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from codetether.api import CodetetherError
from codetether_crew import Attempt, records
from codetether_gates import Measured
from codetether_worktrees import Lease

from codetether_mode_ralph.course import Mark
from codetether_mode_ralph.options import Options

if TYPE_CHECKING:
    from codetether.api import Kernel


class RunMissing(CodetetherError):
    """There is no such run."""


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


class Spent(msgspec.Struct, tag="spent", frozen=True, omit_defaults=True):
    """Model calls that belong to no attempt: resolving a conflict."""

    why: str
    attempt: Attempt


class Ended(msgspec.Struct, tag="ended", frozen=True, omit_defaults=True):
    """The process left the run: `status` as in its result."""

    status: str
    result: dict[str, Any] = {}
    at: float = 0.0


Record = Began | Measured | Entered | Spent | Ended


class Logged(NamedTuple):
    """An attempt, the iteration it was, its story, and when it ended."""

    iteration: int
    story: str
    attempt: Attempt
    at: float


class Past:
    """A run as its journal tells it."""

    def __init__(self, folder: Path, began: Began) -> None:
        self.folder = folder
        self.began = began
        self.measured: Measured | None = None
        self.marks: dict[str, Mark] = {}
        self.attempts: dict[str, list[Attempt]] = {}
        self.log: list[Logged] = []
        self.other: list[Attempt] = []
        self.ended: Ended | None = None

    @property
    def id(self) -> str:
        """The run's id."""
        return self.began.id

    @property
    def status(self) -> str:
        """running; interrupted when its process died; else as it ended."""
        if Lease(self.folder / "lease").holder():
            return "running"
        return self.ended.status if self.ended is not None else "interrupted"

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
            case Spent():
                self.other.append(record.attempt)
            case Ended():
                self.ended = record


def folder_of(kernel: Kernel) -> Path:
    """Where journals are kept."""
    return kernel.dirs.data / "ralph"


def read(folder: Path) -> Past:
    """The run in `folder`. Raises RunMissing."""
    past: Past | None = None
    try:
        for record in records(folder, Record):
            if isinstance(record, Began):
                past = Past(folder, record)
            elif past is not None:
                past.add(record)
    except OSError as error:
        raise RunMissing(f"the run {folder.name} cannot be read: {error.strerror}") from None
    if past is None:
        raise RunMissing(f"the journal of {folder.name} has no beginning")
    return past


def every(kernel: Kernel) -> Iterator[Past]:
    """Every run that can be read."""
    for path in folder_of(kernel).glob("*/journal.jsonl"):
        with suppress(RunMissing):
            yield read(path.parent)


def latest(kernel: Kernel, prd: Path) -> Past | None:
    """The last run of this document."""
    mine = [past for past in every(kernel) if past.began.options.prd == str(prd)]
    return max(mine, key=lambda past: past.began.at, default=None)


def named(kernel: Kernel, word: str) -> Past:
    """The run with this id, or the only one whose id ends so. Raises RunMissing."""
    near = [past for past in every(kernel) if past.id == word or past.id.endswith(word)]
    exact = [past for past in near if past.id == word] or near
    if len(exact) != 1:
        what = f"{len(exact)} runs match {word!r}" if exact else f"there is no run {word!r}"
        raise RunMissing(what, "codetether ralph status shows the last run of a document")
    return exact[0]


def new_id() -> str:
    """A name for a run: when it began, and something of its own."""
    return f"ralph-{time.strftime('%m%d-%H%M')}-{secrets.token_hex(2)}"

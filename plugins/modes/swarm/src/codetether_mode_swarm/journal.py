"""The journal of a run: a line of JSON for each thing that happened, on the disk before the next one begins.

What it says is enough to go on after the process was killed at any point. Its folder is `swarm/<id>` in the data directory.
"""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import Any

import msgspec
import trio
from codetether.api import CodetetherError

from codetether_mode_swarm.graph import Plan
from codetether_mode_swarm.options import Options
from codetether_mode_swarm.parts import Attempt, Part

LARGEST = 256_000_000


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


Record = Began | Planned | Changed | Spent | Ended


class Journal:
    """Appends records. One process writes it at a time: who holds the run's lease."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._encode = msgspec.json.Encoder().encode
        self._fd = -1
        self._lock = trio.Lock()

    async def write(self, record: Record) -> None:
        """Append, and wait until it is on the disk. Cancelling waits for it."""
        with trio.CancelScope(shield=True):
            async with self._lock:
                await trio.to_thread.run_sync(self._append, self._encode(record) + b"\n")

    def _append(self, line: bytes) -> None:
        if self._fd < 0:
            path = self.folder / "journal.jsonl"
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._end_torn_line()
        try:
            os.write(self._fd, line)
            os.fsync(self._fd)
        except OSError as error:
            raise CodetetherError(
                f"the journal of the swarm cannot be written: {error.strerror}"
            ) from None

    def _end_torn_line(self) -> None:
        size = os.fstat(self._fd).st_size
        if size and os.pread(self._fd, 1, size - 1) != b"\n":
            os.write(self._fd, b"\n")

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Past:
    """A run as its journal tells it."""

    def __init__(self, folder: Path, began: Began) -> None:
        self.folder = folder
        self.began = began
        self.plan: Plan | None = None
        self.planned: Planned | None = None
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
    path = folder / "journal.jsonl"
    decoder = msgspec.json.Decoder(Record)
    past: Past | None = None
    try:
        with path.open("rb") as file:
            lines = file.read(LARGEST).split(b"\n")
    except OSError as error:
        raise RunMissing(f"the run {folder.name} cannot be read: {error.strerror}") from None
    for line in lines:
        try:
            record = decoder.decode(line)
        except msgspec.DecodeError:
            continue
        if isinstance(record, Began):
            past = Past(folder, record)
        elif past is not None:
            _apply(past, record)
    if past is None:
        raise RunMissing(f"the journal of {folder.name} has no beginning")
    return past


def _apply(past: Past, record: Record) -> None:
    match record:
        case Planned():
            past.plan, past.planned = record.plan, record
            past.parts = {each.id: Part(each) for each in record.plan.subtasks}
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

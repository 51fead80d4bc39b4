"""The runs there were, each a folder with a journal: what every journal holds, and finding one."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec
from codetether.api import CodetetherError, UsageError
from codetether_worktrees import Lease

from codetether_crew.attempt import Attempt
from codetether_crew.journal import NAME, records

if TYPE_CHECKING:
    from codetether.api import Kernel

OVER = ("running", "completed", "unverified")
SLACK = 1.0  # seconds that times of files may lie behind


class RunMissing(CodetetherError):
    """There is no such run."""


class Spent(msgspec.Struct, tag="spent", frozen=True, omit_defaults=True):
    """Model calls that belong to no piece of the work: resolving a conflict, mending what the gates found. `at`: with this
    all is accounted for that was asked until then, 0 when that is not said.
    """

    why: str
    attempt: Attempt
    at: float = 0.0


class Ended(msgspec.Struct, tag="ended", frozen=True, omit_defaults=True):
    """The process left the run: `status` as in its `result`."""

    status: str
    result: dict[str, Any] = {}
    at: float = 0.0


class Began(Protocol):
    """The first record of a journal."""

    @property
    def id(self) -> str:
        """The run's id."""

    @property
    def at(self) -> float:
        """When it began, in seconds since 1970."""

    @property
    def root(self) -> str:
        """The repository, "" without one."""

    @property
    def options(self) -> Any:
        """What was asked for; its `directory` is where, its `started_by` the session whose tool did."""


class Past:
    """A run as its journal tells it. Each kind of run adds what is its own. `place`: its repository, or else its directory;
    `mark`: by whom its agents' sessions are started; `accounted`: when all that was asked until then was in the journal.
    """

    def __init__(self, folder: Path, began: Began) -> None:
        self.folder = folder
        self.id = began.id
        self.at = began.at
        self.directory: str = began.options.directory
        self.place: str = began.root or self.directory
        self.mark: str = began.options.started_by or began.id
        self.accounted = began.at - SLACK
        self.other: list[Attempt] = []
        self.ended: Ended | None = None

    @property
    def status(self) -> str:
        """running; interrupted when its process died; else as it ended."""
        if lease_of(self.folder).holder():
            return "running"
        return self.ended.status if self.ended is not None else "interrupted"

    def add(self, record: Any) -> None:
        """Take in what happened next."""
        match record:
            case Spent():
                self.other.append(record.attempt)
                self.accounted = max(self.accounted, record.at)
            case Ended():
                self.ended = record
                self.accounted = max(self.accounted, record.at)


P = TypeVar("P", bound=Past)


def lease_of(folder: Path) -> Lease:
    """The lease of a run: who holds it carries the run out."""
    return Lease(folder / "lease")


def read(folder: Path, kind: Any, begin: Callable[[Path, Any], P | None]) -> P:
    """The run in `folder`, whose records are of the union `kind`. `begin` makes it of its first one, and None of others.
    Raises RunMissing.
    """
    past: P | None = None
    try:
        for record in records(folder, kind):
            if (new := begin(folder, record)) is not None:
                past = new
            elif past is not None:
                past.add(record)
    except OSError as error:
        raise RunMissing(f"the run {folder.name} cannot be read: {error.strerror}") from None
    if past is None:
        raise RunMissing(f"the journal of {folder.name} has no beginning")
    return past


def every(base: Path, get: Callable[[Path], P]) -> list[P]:
    """Every run below `base` that `get` can read, the newest first."""
    runs = []
    for path in base.glob(f"*/{NAME}"):
        with suppress(RunMissing):
            runs.append(get(path.parent))
    return sorted(runs, key=lambda past: past.at, reverse=True)


def find(base: Path, word: str, get: Callable[[Path], P], *, hint: str) -> P:
    """The run with the id `word`, or the only one whose id begins or ends so. Raises RunMissing."""
    names = sorted(path.parent.name for path in base.glob(f"*/{NAME}"))
    near = [name for name in names if name == word] or [
        name for name in names if name.startswith(word) or name.endswith(word)
    ]
    if len(near) != 1:
        what = f"{len(near)} runs match {word!r}" if near else f"there is no run {word!r}"
        raise RunMissing(what, hint)
    return get(base / near[0])


def only_unfinished(
    kernel: Kernel, runs: Sequence[P], line: Callable[[P], str], *, command: str
) -> P:
    """The only one of `runs` here that can be gone on with. Raises UsageError when there is none, or several: then with a
    `line` for each.
    """
    here = Path(os.path.realpath(os.getcwd()))
    root = kernel.root_of(here)
    places = {os.path.realpath(each) for each in (here, root) if each is not None}
    mine = [past for past in runs if os.path.realpath(past.place) in places]
    left = [past for past in mine if past.status not in OVER]
    if len(left) == 1:
        return left[0]
    where = "repository" if root is not None else "directory"
    if not left:
        raise UsageError(f"there is no unfinished run of this {where}", f"{command} ID")
    lines = "".join(f"\n  {line(past)}" for past in left)
    raise UsageError(f"{len(left)} runs of this {where} are unfinished:{lines}", f"{command} ID")


def new_id(kind: str) -> str:
    """A name for a run: its kind, when it began, and something of its own."""
    return f"{kind}-{time.strftime('%m%d-%H%M')}-{secrets.token_hex(2)}"

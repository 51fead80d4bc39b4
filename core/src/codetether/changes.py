"""Several files changed together: all of them, or none.

New contents are first written beside the files they will replace, so that a full disk or a refusal strikes before
anything has changed; then each takes its name. What was there before keeps a second name until all is done: a failure
in between gives every file back, the same inode with the same bytes. Who is killed in between has noted it before
(codetether.unfinished), and the next start does that.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from codetether import beneath, files, refusals
from codetether.errors import ToolError
from codetether.faults import fault

if TYPE_CHECKING:
    from codetether.unfinished import Planned
    from codetether.workspace import Workspace


class Change(NamedTuple):
    """One file: its new `data` (None removes it), and the digest `expect` it must still have ("": none may exist).

    `executable`: set or clear the bits to execute; None keeps them. `seen`: the agent knows all of `data`. `mode`:
    permission bits; None keeps the old file's, or follows the umask.
    """

    path: str
    data: bytes | None
    expect: str
    executable: bool | None = None
    seen: bool = True
    mode: int | None = None


def apply(workspace: Workspace, changes: Sequence[Change]) -> None:
    """Do `changes`, of which no two may be of the same file. Directories left empty by a removal are removed too.

    Raises ToolError; then the tree is as it was. Blocks for as long as the disk takes.
    """
    steps: list[_Step] = []
    directories: list[str] = []
    try:
        for change in changes:
            directories += _missing_parents(workspace, change)
            steps.append(_Step(workspace, change))
        with workspace.known([step.change for step in steps]):
            if workspace.notes is not None and len(steps) > 1:
                workspace.notes.begin([step.planned for step in steps], directories)
            fault("changes.noted")
            for step in steps:
                step.put()
                fault("changes.put")
    except BaseException as error:
        _give_back(workspace, steps, directories)
        if isinstance(error, OSError):
            raise refusals.told("The change was not made", error) from None
        raise
    if workspace.notes is not None:
        workspace.notes.end()
    fault("changes.ended")
    for step in steps:
        step.finish()
    for change in changes:
        if change.data is None:
            _remove_empty(workspace, _parents(workspace.relative(change.path)))


def _give_back(workspace: Workspace, steps: Sequence[_Step], directories: Sequence[str]) -> None:
    """Undo every step. Raises ToolError that names what could not be, and where its old content is."""
    kept = [told for step in reversed(steps) if (told := step.back())]
    if workspace.notes is not None:
        workspace.notes.end()
    for step in steps:
        step.finish()
    _remove_empty(workspace, directories[::-1])
    if kept:
        raise ToolError(f"The change failed, and so did undoing it: {'; '.join(kept)}.")


class _Step:
    """One change, staged when made: `put` does it, `back` undoes it, `finish` removes what was only for that."""

    def __init__(self, workspace: Workspace, change: Change) -> None:
        self._change = change
        self._workspace = workspace
        self._old = self._new = ""
        self._kept = files.temporary_name()
        self._done = False
        self._before: tuple[bytes | None, int] = (None, 0)
        self._place = workspace.at(
            change.path, self._staged, write=True, create=change.data is not None
        )

    def _staged(self, place: beneath.Place) -> beneath.Place:
        change, workspace = self._change, self._workspace
        workspace.may_replace(change.path, place)
        workspace.check_expected(change.path, place, change.expect)
        workspace.note_place(place)
        self._before = workspace.before(place)
        if change.data is None:
            self._check_no_link(place)
        else:
            self._new = files.stage(
                place.fd, place.name, change.data, change.mode, change.executable
            )
        return beneath.Place(os.dup(place.fd), place.name, place.real.split("/")[:-1])

    def _check_no_link(self, place: beneath.Place) -> None:
        parent, _, name = self._workspace.relative(self._change.path).rpartition("/")
        real = self._workspace.real(parent) if parent else "."
        if place.real != (name if real == "." else f"{real}/{name}"):
            raise ToolError(f"{self._change.path} is a symbolic link; it is not removed.", "DENIED")

    @property
    def change(self) -> tuple[str, bytes | None, int, bytes | None]:
        """What `Workspace.keep` is told."""
        return (self._change.path, *self._before, self._change.data)

    @property
    def planned(self) -> Planned:
        """What a later process must know to finish this or give it back."""
        from codetether.unfinished import Planned

        data = self._change.data
        new = "" if data is None else self._workspace.digest(data)
        return Planned(self._place.real, self._change.expect, new, self._new, self._kept)

    def put(self) -> None:
        """Make the change visible."""
        place, change = self._place, self._change
        if change.expect:
            self._old = self._second_name()
        self._workspace.check_expected(change.path, place, change.expect)
        if change.data is None:
            os.unlink(place.name, dir_fd=place.fd)
        elif change.expect:
            os.rename(self._new, place.name, src_dir_fd=place.fd, dst_dir_fd=place.fd)
        else:
            self._put_new()
        self._done = True
        self._new = ""

    def _put_new(self) -> None:
        from codetether.syscalls import rename_new

        try:
            rename_new(self._place.fd, self._new, self._place.name)
        except FileExistsError:
            raise refusals.conflict(self._change.path, "exists already") from None

    def _second_name(self) -> str:
        """A further name of the old file; a copy where the file system has no hard links."""
        place, name = self._place, self._kept
        try:
            os.link(
                place.name, name, src_dir_fd=place.fd, dst_dir_fd=place.fd, follow_symlinks=False
            )
        except FileNotFoundError:
            raise refusals.conflict(self._change.path, "was deleted") from None
        except OSError:
            with self._workspace.open(self._change.path) as file:
                copy = files.stage(place.fd, place.name, file.read())
            os.rename(copy, name, src_dir_fd=place.fd, dst_dir_fd=place.fd)
        return name

    def back(self) -> str:
        """Give the file back when it was changed; what went wrong, or nothing."""
        if not self._done:
            return ""
        place, old = self._place, self._old
        self._old = ""
        try:
            if old:
                os.rename(old, place.name, src_dir_fd=place.fd, dst_dir_fd=place.fd)
            else:
                os.unlink(place.name, dir_fd=place.fd)
        except OSError as error:
            where = f", its old content is in {old} beside it" if old else ""
            return f"{self._change.path}: {error.strerror}{where}"
        return ""

    def finish(self) -> None:
        """Remove temporary files and force the names to disk."""
        for name in filter(None, (self._old, self._new)):
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=self._place.fd)
        files.sync_directory(self._place.fd)
        os.close(self._place.fd)


def _parents(path: str) -> list[str]:
    """The directories above a relative path, the innermost first."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]


def _missing_parents(workspace: Workspace, change: Change) -> list[str]:
    """The directories that writing will make, the outermost first."""
    if change.data is None:
        return []
    above = _parents(workspace.relative(change.path))[::-1]
    return [path for path in above if not os.path.lexists(os.path.join(workspace.root, path))]


def _remove_empty(workspace: Workspace, directories: Sequence[str]) -> None:
    """Remove `directories` from the first to the last, until one is not empty."""

    def remove(place: beneath.Place) -> None:
        os.rmdir(place.name, dir_fd=place.fd)

    with contextlib.suppress(ToolError, OSError):
        for path in directories:
            workspace.at(path, remove, write=True)

"""What a process that was killed left half done in a workspace, and how the next one settles it.

A session that writes keeps a file of notes in the user's data directory, locked for as long as it lives: which
directories it wrote in, and, before the first of several files takes its new content, which files will change from
what to what. A file of notes that nobody holds belongs to a process that was killed. Whoever finds it, at the next
start or with the next write, gives all files of the set back, or finishes the set where somebody has already worked on
with its result, removes the temporary files of that process, and tells.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from codetether import beneath, files
from codetether.errors import ToolError
from codetether.faults import fault
from codetether.workspace import Workspace

LONGEST = 30 * 86400.0  # seconds notes on a workspace are kept that is not there now
_tried: set[str] = (
    set()
)  # notes this process could not settle: they are told once, and left for the next


class Planned(msgspec.Struct, frozen=True):
    """One file of a set: its real `path`, digests before and after ("": no file), and the temporary names, beside it,
    of its new content (`staged`) and of what it was (`kept`).
    """

    path: str
    old: str
    new: str
    staged: str
    kept: str


class Note(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line: the first has `root` and `writer`; then a directory, a set with the directories made for it, or the
    end of the set before. Paths are bytes read as Latin-1, for names that are no UTF-8.
    """

    root: str = ""
    writer: str = ""
    directory: str | None = None
    planned: tuple[Planned, ...] = ()
    made: tuple[str, ...] = ()
    end: bool = False


class Notes:
    """The notes of one living session on one workspace, in `folder`, from its first write; every method blocks, briefly.

    `tell` is told what was settled.
    """

    def __init__(self, folder: Path, root: Path, tell: Callable[[str], None]) -> None:
        self._folder, self._root, self._tell = folder, root, tell
        self._fd = -1
        self._known: set[str] = set()
        self._lock = threading.Lock()
        self.path: Path | None = None

    def settle_others(self) -> None:
        """Settle what other processes left when they were killed."""
        for text in settle(self._folder, self.path):
            self._tell(text)

    def directory(self, path: str) -> None:
        """Note that temporary files will be in `path`. A disk that refuses does not stop the write of one file."""
        with contextlib.suppress(OSError), self._lock:
            if path not in self._known:
                self._write(Note(directory=_text(path)))
                self._known.add(path)

    def begin(self, planned: Sequence[Planned], made: Sequence[str]) -> None:
        """Have the disk know of a set before anything of it shows. Raises OSError; then it must not be begun."""
        told = [msgspec.structs.replace(each, path=_text(each.path)) for each in planned]
        with self._lock:
            self._write(Note(planned=tuple(told), made=tuple(map(_text, made))))
            os.fsync(self._fd)

    def end(self) -> None:
        """Note that the set is done or given back."""
        with contextlib.suppress(OSError), self._lock:
            self._write(Note(end=True))

    def close(self) -> None:
        """Remove the notes: nothing is half done."""
        with self._lock:
            if self._fd < 0 or self.path is None:
                return
            with contextlib.suppress(OSError):
                os.unlink(self.path)
            os.close(self._fd)
            self._fd, self.path = -1, None
            self._known.clear()

    def _write(self, note: Note) -> None:
        if self._fd < 0:
            self._make()
        line = msgspec.json.encode(note) + b"\n"
        size = os.fstat(self._fd).st_size
        try:
            files.write_all(self._fd, line)
        except OSError:
            os.ftruncate(self._fd, size)
            raise

    def _make(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{files.temporary_name()[1:-4]}.jsonl"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        fd = os.open(path, flags, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            first = Note(root=_text(str(self._root)), writer=files.WRITER)
            files.write_all(fd, msgspec.json.encode(first) + b"\n")
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                files.sync_directory(folder)
            finally:
                os.close(folder)
        except BaseException:
            os.close(fd)
            with contextlib.suppress(OSError):
                os.unlink(path)
            raise
        self._fd, self.path = fd, path


def settle(folder: Path, own: Path | None = None) -> list[str]:
    """Settle what dead processes left, in any workspace; what a person should know of it. Blocks; raises nothing.

    `own`: the notes of the caller.
    """
    told: list[str] = []
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return told
    for path in (folder / name for name in names):
        if path == own or str(path) in _tried:
            continue
        with contextlib.suppress(OSError), _taken(path) as fd:
            if fd is not None and _settled(path, fd, told):
                os.unlink(path)
    return told


@contextlib.contextmanager
def _taken(path: Path) -> Iterator[int | None]:
    """The notes, opened and locked; None while their writer lives, or another process settles them."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # also where there are no locks: then nobody can be called dead
            yield None
            return
        yield fd if os.fstat(fd).st_nlink else None
    finally:
        os.close(fd)


def _settled(path: Path, fd: int, told: list[str]) -> bool:
    """Settle one file of notes; False when it must be kept."""
    notes = _read(fd)
    root = Path(_path(notes[0].root)) if notes and notes[0].root else None
    if root is None:  # killed before its first line was whole: nothing had begun
        return True
    if not root.is_dir():
        return time.time() - os.fstat(fd).st_mtime > LONGEST
    workspace, spared = Workspace(root), set[str]()
    try:
        if notes[-1].planned:
            cut_off = _Set(workspace, notes[-1])
            told += cut_off.settle()
            spared = cut_off.spared
        for note in notes:
            if note.directory is not None:
                _sweep(workspace, _path(note.directory), notes[0].writer, spared)
    except (OSError, ToolError) as error:
        _tried.add(str(path))
        told.append(f"what a killed run left half done in {root} cannot be settled: {error}")
        return False
    return True


def _read(fd: int) -> list[Note]:
    """The whole lines. Directories noted after a set do not end it, so they go before it."""
    with open(fd, "rb", closefd=False) as file:
        lines = file.read().split(b"\n")[:-1]
    notes: list[Note] = []
    open_set: list[Note] = []
    for line in lines:
        try:
            note = msgspec.json.decode(line, type=Note)
        except msgspec.DecodeError:
            continue  # half a line, which a full disk cut off
        if note.end:
            open_set = []
        elif note.planned:
            open_set = [note]
        else:
            notes.append(note)
    return notes + open_set if notes else []


class _Set:
    """A set that was cut off. Which of its files have been changed is told by what is left of the temporary ones."""

    def __init__(self, workspace: Workspace, note: Note) -> None:
        self._workspace = workspace
        self.spared: set[str] = set()
        self._made = [_path(path) for path in note.made]
        self._files = [
            msgspec.structs.replace(each, path=_path(each.path)) for each in note.planned
        ]

    def settle(self) -> list[str]:
        """Give it back or finish it; what a person should know."""
        states = {each: self._at(each, _state) for each in self._files}
        count = f"a change of {len(self._files)} files in {self._workspace.root}"

        def those(*wanted: str) -> list[Planned]:
            return [each for each in self._files if states[each] in wanted]

        ahead, behind = those("done", "done, changed"), those("waits", "waits, changed", "back")
        if not ahead or not behind:
            self._tidy(())
            if ahead:
                return [f"{count} was cut off when it was complete: {_names(self._files)}"]
            self._remove_made()
            return []
        if not those("done, changed"):
            for each in those("done"):
                self._at(each, _give_back)
                fault("unfinished.step")
            self._tidy(())
            self._remove_made()
            return [f"{count} was cut off in the middle and is taken back: {_names(ahead)}"]
        if not those("waits, changed", "back"):
            for each in those("waits"):
                self._at(each, _finish)
                fault("unfinished.step")
            self._tidy(())
            theirs = _names(those("done, changed"))
            return [
                f"{count} was cut off in the middle and is finished, because {theirs} was changed since"
            ]
        self._tidy(ahead)
        self.spared = {each.kept for each in ahead}
        where = ", ".join(f"{each.path} (was {each.kept})" for each in ahead)
        left = f"{where} changed, {_names(behind)} did not; settle it by hand"
        return [f"{count} was cut off in the middle, and files were changed since: {left}"]

    def _at(self, each: Planned, work: Callable[[beneath.Place, Planned], str]) -> str:
        def there(place: beneath.Place) -> str:
            return work(place, each)

        try:
            return self._workspace.at(each.path, there, write=True)
        except ToolError as error:
            if error.code == "NOT_FOUND":  # its directory is gone
                return "waits, changed" if each.old else "back"
            raise

    def _tidy(self, keep: Sequence[Planned]) -> None:
        for each in self._files:
            if each not in keep:
                self._at(each, _remove_temporaries)

    def _remove_made(self) -> None:
        for path in reversed(self._made):
            with contextlib.suppress(ToolError, OSError):
                self._workspace.at(path, _remove_directory, write=True)


def _state(place: beneath.Place, each: Planned) -> str:
    """`waits` (for its new content), `done`, `back` (given back by a settling that was cut off), or one changed since."""
    now = _digest(place, place.name)
    waits = _is_there(place, each.staged) if each.new else now == each.old
    if waits:
        return "waits" if now == each.old else "waits, changed"
    if not each.new and now:
        return "waits, changed"
    if now == each.new and (now != each.old or _is_there(place, each.kept)):
        return "done"
    return "back" if now == each.old else "done, changed"


def _give_back(place: beneath.Place, each: Planned) -> str:
    if not each.old:
        os.unlink(place.name, dir_fd=place.fd)
    elif each.new:
        os.rename(each.kept, place.name, src_dir_fd=place.fd, dst_dir_fd=place.fd)
    else:
        _rename_new(place, each.kept)
    files.sync_directory(place.fd)
    return ""


def _finish(place: beneath.Place, each: Planned) -> str:
    if not each.new:
        os.unlink(place.name, dir_fd=place.fd)
    elif each.old:
        os.rename(each.staged, place.name, src_dir_fd=place.fd, dst_dir_fd=place.fd)
    else:
        _rename_new(place, each.staged)
    files.sync_directory(place.fd)
    return ""


def _rename_new(place: beneath.Place, name: str) -> None:
    from codetether.syscalls import rename_new

    rename_new(place.fd, name, place.name)


def _remove_temporaries(place: beneath.Place, each: Planned) -> str:
    for name in filter(files.is_temporary, (each.staged, each.kept)):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=place.fd)
    return ""


def _remove_directory(place: beneath.Place) -> None:
    os.rmdir(place.name, dir_fd=place.fd)


def _digest(place: beneath.Place, name: str) -> str:
    """The digest of a regular file; "" where there is none, and a word no digest is for anything else."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=place.fd)
    except FileNotFoundError:
        return ""
    except OSError:
        return "unreadable"
    with os.fdopen(fd, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return "no file"
        return files.digest_of(file)


def _is_there(place: beneath.Place, name: str) -> bool:
    try:
        os.stat(name, dir_fd=place.fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _sweep(workspace: Workspace, path: str, writer: str, spared: set[str]) -> None:
    """Remove the temporary files of `writer`, but those `spared`, in a directory that may be gone."""

    def swept(place: beneath.Place) -> None:
        fd = os.open(
            place.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place.fd
        )
        try:
            for name in os.listdir(fd):
                if files.is_temporary(name, writer) and name not in spared:
                    os.unlink(name, dir_fd=fd)
        finally:
            os.close(fd)

    with contextlib.suppress(ToolError, FileNotFoundError):
        workspace.at(path, swept, write=True)


def _names(some: Sequence[Planned]) -> str:
    shown = ", ".join(each.path for each in some[:10])
    return f"{shown} and {len(some) - 10} more" if len(some) > 10 else shown


def _text(path: str) -> str:
    return os.fsencode(path).decode("latin-1")


def _path(text: str) -> str:
    return os.fsdecode(text.encode("latin-1"))

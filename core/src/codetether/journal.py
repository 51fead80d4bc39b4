"""Append-only files of lines that survive kill -9 and a full disk, and the lease that gives each one writer.

An append is: lock, put a newline before it if a killed writer left half a line, write until all is written, on error
cut back to where it began, unlock. A line that cannot be written now is kept in memory and goes first next time.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from codetether.errors import CodetetherError
from codetether.faults import fault

LOCK_PATIENCE = 2.0  # seconds; an append takes microseconds, so longer means a stopped process
LOOK_PATIENCE = 0.2  # seconds; who looks whether an owner is dead holds its lock for microseconds
_NO_LOCKS = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS})
_datasync: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)


class SessionBusy(CodetetherError):
    """Another process is writing this session."""


class Journal:
    """One open file of lines. Every method blocks for microseconds, except `sync` (milliseconds: use a thread).

    `on_trouble` is told in one sentence when lines can no longer be written, once, and when they are again.
    """

    def __init__(self, path: Path, on_trouble: Callable[[str], None] | None = None) -> None:
        self.path = path
        self._on_trouble = on_trouble
        self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._thread = threading.Lock()  # `sync` runs in a thread while the loop appends
        self._waiting: deque[bytes] = deque()
        self._failing = False

    @property
    def unsaved(self) -> int:
        """How many lines are in memory only, because the disk refused them."""
        return len(self._waiting)

    def append(self, line: bytes) -> bool:
        """Write `line` (no newline in it). False: it waits in memory, and goes with the next append."""
        with self._thread:
            self._waiting.append(line + b"\n")
            return self._drain()

    def sync(self) -> bool:
        """Write what waits and have the disk keep all of it. False: something still waits, or the disk failed."""
        with self._thread:
            drained = self._drain()
        try:
            _datasync(self._fd)
        except OSError as error:
            self._tell(error)
            return False
        return drained

    def close(self) -> None:
        """Try once more to write what waits, and close the file. Closing twice is harmless."""
        with self._thread:
            if self._fd < 0:
                return
            self._drain()
            os.close(self._fd)
            self._fd = -1

    def move_tail(self, end: int, tail: bytes) -> str:
        """Append `tail`, which begins at byte `end`, to `<name>.bak`, cut it off here, and say so in words.

        When that fails it stays where it is; the next append is kept apart from it by a newline.
        """
        backup = self.path.with_name(self.path.name + ".bak")
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            with open(os.open(backup, flags, 0o600), "ab") as file:
                file.write(tail + b"\n")
                file.flush()
                os.fsync(file.fileno())
            with self._thread, _locked(self._fd):
                if os.fstat(self._fd).st_size == end + len(tail):  # else it grew since it was read
                    os.ftruncate(self._fd, end)
        except OSError as error:
            return f"{len(tail)} damaged bytes at the end remain ({error.strerror})"
        return f"{len(tail)} damaged bytes at the end were moved to {backup.name}"

    def _drain(self) -> bool:
        try:
            if self._waiting:
                with _locked(self._fd):
                    while self._waiting:
                        _write_whole(self._fd, self._waiting[0])
                        self._waiting.popleft()
        except OSError as error:
            self._tell(error)
            return False
        if self._failing:
            self._failing = False
            self._say(f"{self.path.name} is being saved again; nothing was lost.")
        return True

    def _tell(self, error: OSError) -> None:
        if not self._failing:
            self._failing = True
            why = error.strerror or str(error)
            self._say(
                f"Cannot save the session ({why}); it is kept in memory and saved as soon as {self.path} can be written."
            )

    def _say(self, text: str) -> None:
        if self._on_trouble is not None:
            self._on_trouble(text)


def _write_whole(fd: int, line: bytes) -> None:
    size = os.fstat(fd).st_size
    torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
    left = memoryview(b"\n" + line if torn else line)
    try:
        while left:
            fault("journal.write")
            left = left[os.write(fd, left) :]
    except BaseException:  # a half line would swallow the next one
        with contextlib.suppress(OSError):
            os.ftruncate(fd, size)
        raise


@contextlib.contextmanager
def _locked(fd: int) -> Iterator[None]:
    held = _lock_within(fd, LOCK_PATIENCE)
    try:
        yield
    finally:
        if held:
            fcntl.flock(fd, fcntl.LOCK_UN)


def _lock_within(fd: int, seconds: float) -> bool:
    """True when locked, False on a file system without locks (there the lease alone must do)."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.001)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return False
            raise
        else:
            return True


class Owner:
    """That this process lives: a file which it keeps locked. The lock file of a session it writes is a further name of
    that file, so that a session needs none of its own, and no lock.

    `folder` holds one for each process that writes at the same time. They stay there, and are used again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = ""
        self._fd = -1
        self._useless = False
        self._thread = threading.Lock()  # sessions are opened in threads too

    def sign(self, path: str) -> bool:
        """Make `path` a name of the file. False: it has to be a file of its own, here there are no such names.

        Raises FileExistsError when there is a file `path`.
        """
        with self._thread:
            if self._useless:
                return False
            try:
                if self._fd < 0:
                    self._take()
                os.link(self._path, path)
                if _same_file(self._fd, path):
                    return True
                os.unlink(path)  # somebody took ours away, and there is another
            except FileExistsError:
                raise
            except OSError as error:
                if error.errno == errno.EMLINK:
                    return False
            self._useless = True
            return False

    def close(self) -> None:
        """Unlock the file. What still has a name of it is nobody's."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _take(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        number = 0
        while self._fd < 0:
            self._path = f"{self._folder}/{number}"
            fd = _open_lock(self._path)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not _same_file(fd, self._path):
                    continue
                if os.fstat(fd).st_nlink > 1:
                    # Of one that was killed. Its sessions are nobody's, as long as nobody locks it.
                    os.unlink(self._path)
                    continue
                _write_owner(fd)
                self._fd, fd = fd, -1
            except BlockingIOError:
                number += 1
            finally:
                if fd >= 0:
                    os.close(fd)


class Lease:
    """The right to write one session: a lock file that names its owner (pid and boot id). `owner`: whose file it is to be
    a name of; None, or where that cannot be: it is a file of its own.

    The kernel drops the lock when its owner dies, however it dies. Where the file system has no locks, an owner of
    this boot whose pid lives counts as alive.
    """

    def __init__(self, path: Path, owner: Owner | None = None) -> None:
        self._path = str(path)
        self._owner = owner
        self._fd = -1
        self.shared = False  # held, and its file is the owner's

    def take(self) -> None:
        """Take the lease. Raises SessionBusy when another holder lives, OSError when the file cannot be made."""
        while self._fd < 0 and not self._signed():
            self._take_own()

    def drop(self) -> None:
        """Give the lease back and remove its file. Dropping twice is harmless."""
        if not self.shared and self._fd < 0:
            return
        with contextlib.suppress(OSError):
            os.unlink(self._path)
        if self._fd >= 0:
            os.close(self._fd)
        self.shared, self._fd = False, -1

    def _signed(self) -> bool:
        if self._owner is not None and not self.shared:
            with contextlib.suppress(FileExistsError):  # somebody has it, or was killed
                self.shared = self._owner.sign(self._path)
        return self.shared

    def _take_own(self) -> None:
        """Lock the file that there is, or a new one; done unless somebody changed it meanwhile."""
        fd = _open_lock(self._path)
        try:
            if not self._lock(fd) or not _same_file(fd, self._path):
                return  # its last owner removed it between our open and our lock
            if os.fstat(fd).st_nlink > 1:  # a killed one's; its other names are other sessions
                os.unlink(self._path)
                return
            with contextlib.suppress(OSError):  # a full disk: the lock holds, its name is missing
                _write_owner(fd)
            self._fd, fd = fd, -1
        finally:
            if fd >= 0:
                os.close(fd)

    def _lock(self, fd: int) -> bool:
        """Whether `fd` is locked now; False when its name is another file's by now. Raises SessionBusy."""
        deadline = time.monotonic() + LOOK_PATIENCE
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if not _same_file(fd, self._path):
                    return False
                pid, boot = _owner(fd)
                if (boot == boot_id() and _lives(pid)) or time.monotonic() > deadline:
                    raise self._busy(pid) from None
                time.sleep(0.001)  # its owner is dead: somebody only looks, as we do
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                pid, boot = _owner(fd)
                if boot == boot_id() and _lives(pid):
                    raise self._busy(pid) from None
                return True

    def _busy(self, pid: int) -> SessionBusy:
        who = f"process {pid}" if pid else "another process"
        return SessionBusy(
            f"Session {Path(self._path).stem} is in use by {who}.",
            "Continue a copy of it with --fork, or end that process first.",
        )


def is_leased(path: Path) -> bool:
    """Whether a living process holds the lease `path` now."""
    if not path.exists():
        return False
    lease = Lease(path)
    try:
        lease.take()
    except SessionBusy:
        return True
    lease.drop()
    return False


@cache
def boot_id() -> str:
    """What distinguishes this boot of this machine from every other; "-" where the system does not say."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return "-"


def _open_lock(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _write_owner(fd: int) -> None:
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()} {boot_id()}\n".encode(), 0)


def _owner(fd: int) -> tuple[int, str]:
    words = os.pread(fd, 200, 0).decode("ascii", "replace").split()
    if len(words) == 2 and words[0].isdecimal():
        return int(words[0]), words[1]
    return 0, ""


def _lives(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _same_file(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False

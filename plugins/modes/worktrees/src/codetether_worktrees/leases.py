"""Who works in a worktree now: a lock that ends with the process that holds it, however that ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

LOOKS = 100


class Lease:
    """A lock on the file `path`, which names its holder. The kernel gives it back when the process dies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def take(self, holder: str) -> bool:
        """Whether it is ours now. False: another process, or another lease of this one, holds it."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            if not _locked(fd):
                os.close(fd)
                return False
            if _same(fd, self.path):
                break
            os.close(fd)  # its last holder took the file away after we opened it
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()} {holder}\n".encode())
        self._fd = fd
        return True

    @property
    def held(self) -> bool:
        """Whether this object holds it."""
        return self._fd is not None

    def give_back(self, *, remove: bool = False) -> None:
        """End it; with `remove` the file goes too."""
        if self._fd is None:
            return
        if remove:
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()
        os.close(self._fd)
        self._fd = None

    def holder(self) -> str:
        """What the holder wrote: its process and what it is for. "" when nobody holds it."""
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return ""
        try:
            if _lock(fd, fcntl.LOCK_SH):
                return ""
            return os.read(fd, 200).decode("utf-8", "replace").strip() or "another process"
        finally:
            os.close(fd)


def _locked(fd: int) -> bool:
    """Whether the lock is ours now. Who only looks whether somebody has it is waited for."""
    for _ in range(LOOKS):
        if _lock(fd, fcntl.LOCK_EX):
            return True
        if not _lock(fd, fcntl.LOCK_SH):
            break
        fcntl.flock(fd, fcntl.LOCK_UN)
        time.sleep(0.001)
    return False


def _lock(fd: int, how: int) -> bool:
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _same(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False

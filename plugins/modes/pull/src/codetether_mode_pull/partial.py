"""The file that grows until it is whole, and what must be known to go on with it another day."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
from codetether.api import CodetetherError, write_atomic

SPARE = 64 << 20  # bytes the disk keeps free
PIECE = 4 << 20


class Known(msgspec.Struct, frozen=True):
    """What the server said of the file: a validator, without which nothing can be joined, and its size."""

    url: str
    validator: str
    size: int | None


class Partial:
    """`NAME.part` beside the file to be. One process at a time; blocking, for a thread."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(f".{target.name}.part")
        self._notes = target.with_name(f".{target.name}.part.json")
        self._fd = -1
        self.known: Known | None = None
        self.length = 0

    def open(self) -> None:
        """Open or create it, and keep others out. Raises CodetetherError."""
        self.target.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(self.path, flags, 0o644)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CodetetherError(
                f"{self.target.name} is being downloaded by another process", "wait for it"
            ) from None
        self.length = os.fstat(self._fd).st_size
        with contextlib.suppress(OSError, msgspec.DecodeError):
            self.known = msgspec.json.decode(self._notes.read_bytes(), type=Known)

    def begin(self, known: Known) -> None:
        """Forget what is there: the server sends the file from its beginning."""
        os.ftruncate(self._fd, 0)
        self.length = 0
        self.known = known
        write_atomic(self._notes, msgspec.json.encode(known))

    def room(self) -> None:
        """Raise CodetetherError when the disk cannot hold the rest."""
        if self.known is None or self.known.size is None:
            return
        free = shutil.disk_usage(self.target.parent).free
        needed = self.known.size - self.length + SPARE
        if needed > free:
            raise CodetetherError(
                f"{self.target.name} needs {needed / 1e9:.2f} GB more, and {free / 1e9:.2f} GB are free on the disk",
                'make room, or set another folder: plugins."providers:gguf".folder',
            )

    def append(self, data: bytes) -> None:
        """Add what came. Raises OSError (the disk is full)."""
        view = memoryview(data)
        while view:
            written = os.pwrite(self._fd, view, self.length)
            self.length += written
            view = view[written:]

    def digest(self, progress: Callable[[int], None]) -> str:
        """SHA-256 of what is on the disk, not of what came by."""
        found, at = hashlib.sha256(), 0
        while data := os.pread(self._fd, PIECE, at):
            found.update(data)
            at += len(data)
            progress(at)
        return found.hexdigest()

    def finish(self) -> None:
        """It is whole: it gets its name."""
        os.fsync(self._fd)
        os.replace(self.path, self.target)
        self._notes.unlink(missing_ok=True)
        folder = os.open(self.target.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def discard(self) -> None:
        """It is wrong: nothing of it is kept."""
        self.path.unlink(missing_ok=True)
        self._notes.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of it. What came stays for the next time; an empty one does not."""
        if self._fd >= 0:
            if self.length == 0 and self.path.exists():
                self.discard()
            os.close(self._fd)
            self._fd = -1

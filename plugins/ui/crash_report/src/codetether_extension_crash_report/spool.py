"""The folder of reports: a file each, the user's alone to read, at most fifty."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from codetether.api import write_atomic

MOST = 50
LARGEST = 200_000  # bytes; what is larger was not written by us


class Spool:
    """Reports wait as `<time>-<id>.json`; one that the receiver refused is kept as `.refused`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, name: str, data: bytes) -> Path:
        """Write a report, and remove the oldest beyond fifty. Raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.folder / f"{name}.json"
        write_atomic(path, data, 0o600)
        for old in self._all()[:-MOST]:
            old.unlink(missing_ok=True)
        return path

    def waiting(self) -> list[Path]:
        """The reports that were not sent, the oldest first."""
        return [path for path in self._all() if path.suffix == ".json"]

    def read(self, path: Path) -> bytes:
        """A report's bytes; empty when it is gone or too large to be one."""
        try:
            with path.open("rb") as file:
                data = file.read(LARGEST + 1)
        except OSError:
            return b""
        return data if len(data) <= LARGEST else b""

    def done(self, path: Path) -> None:
        """It was sent, or is no report."""
        path.unlink(missing_ok=True)

    def refused(self, path: Path) -> None:
        """The receiver will never take it; it stays for the user to read."""
        path.replace(path.with_suffix(".refused"))

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether no other process is sending."""
        import fcntl

        lock = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield False
            else:
                yield True
        finally:
            os.close(lock)

    def _all(self) -> list[Path]:
        try:
            names = os.listdir(self.folder)
        except OSError:
            return []
        return [
            self.folder / name for name in sorted(names) if name.endswith((".json", ".refused"))
        ]

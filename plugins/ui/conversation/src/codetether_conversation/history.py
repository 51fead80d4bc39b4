"""What a person typed, kept for the next time: one file for this user alone, without known secrets."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from prompt_toolkit.history import FileHistory, ThreadedHistory

LARGEST = 2_000_000  # bytes; beyond it the older half is let go at the start
LONGEST = 20_000  # characters of one entry


class KeptHistory(FileHistory):
    """prompt_toolkit's file, written with mode 0600 and redacted."""

    def __init__(self, path: Path, redact: Callable[[str], str]) -> None:
        super().__init__(str(path))
        self._redact = redact

    def store_string(self, string: str) -> None:
        """Append one entry; a disk that refuses it is no reason to stop."""
        if len(string) <= LONGEST:
            with contextlib.suppress(OSError):
                super().store_string(self._redact(string))

    def load_history_strings(self) -> Iterable[str]:
        """The entries, the newest first; none when the file cannot be read."""
        try:
            return list(super().load_history_strings())
        except OSError:
            return []


def history(folder: Path, redact: Callable[[str], str]) -> ThreadedHistory:
    """The history in `folder`, read in a thread."""
    path = folder / "history"
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        if path.stat().st_size > LARGEST:
            _shorten(path)
    return ThreadedHistory(KeptHistory(path, redact))


def _shorten(path: Path) -> None:
    from codetether.api import write_atomic

    data = path.read_bytes()
    cut = data.find(b"\n\n#", len(data) // 2)
    write_atomic(path, data[cut + 1 :] if cut >= 0 else b"", 0o600)

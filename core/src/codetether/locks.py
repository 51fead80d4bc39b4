"""One writer at a time for a small file that several processes change: settings, grants, trust."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from codetether.errors import CodetetherError

WAIT = 5.0


@contextmanager
def changing(path: Path, mode: int | None = 0o600) -> Iterator[Callable[[bytes], None]]:
    """Hold the file's lock; the function given replaces its content atomically. Read the file inside the block.

    Blocking, at most 5 s: call it in a thread from async code. The directory is made (0700) when it is missing; the
    lock is a file beside it. Raises CodetetherError when another process keeps the lock, or the disk refuses.
    """
    from codetether.files import write_atomic

    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(path.with_name(f".{path.name}.lock")):
            yield lambda data: write_atomic(path, data, mode)
    except OSError as error:
        raise CodetetherError(f"{path} cannot be written: {error.strerror or error}") from None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _wait_for(fd, path)
        yield
    finally:
        os.close(fd)  # also gives the lock back


def _wait_for(fd: int, path: Path) -> None:
    import fcntl

    end = time.monotonic() + WAIT
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise CodetetherError(
                    f"another process keeps {path} locked", "try again when it is done"
                ) from None
            time.sleep(0.02)
        else:
            return

"""The one place that replaces files: a crash leaves the old content or the new, never a mixture.

New content goes to a temporary file in the same directory, is forced to disk, gets the old file's owner, mode and
extended attributes, and takes the old file's name in one step; then the directory is forced to disk. Temporary files
left by a crash are named `.codetether-<24 hex digits>.tmp`, the first eight being those of the process. The next start
removes those in workspaces (codetether.unfinished); anywhere, a write removes those in its directory that nobody has
touched for an hour.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from codetether.faults import fault

STALE = 3600.0
DIGEST = 16
WRITER = os.urandom(4).hex()  # this process, in the names of its temporary files
_TEMPORARY = (
    r"\.codetether-([0-9a-f]{8})[0-9a-f]{16}\.tmp"  # compiled (and kept, by re) when first needed
)
_HERE = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_swept: dict[tuple[int, int], float] = {}


def write_atomic(path: Path, data: bytes, mode: int | None = None) -> None:
    """Replace the content of `path`, or make it; a link is kept and its target written.

    `mode`: permission bits; None keeps the old file's, or follows the umask for a new one. The parent directory must
    exist. Raises OSError, and then the old file is untouched. Blocks for as long as the disk takes.
    """
    real = os.path.realpath(path)
    directory = os.open(
        os.path.dirname(real), getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
    )
    try:
        replace_at(directory, os.path.basename(real), data, mode)
    finally:
        os.close(directory)


def replace_at(
    directory: int,
    name: str,
    data: bytes,
    mode: int | None = None,
    *,
    new: bool = False,
    still: Callable[[], None] | None = None,
) -> None:
    """`write_atomic` for `name` in the open `directory`; a link there is replaced, not followed.

    `new`: raise FileExistsError when there is one. `still` is called just before the rename and may raise to keep the
    old file.
    """
    temporary = stage(directory, name, data, mode)
    try:
        if still is not None:
            still()
        _rename(directory, temporary, name, new)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=directory)
        raise
    fault("files.renamed")
    sync_directory(directory)
    fault("files.finished")


def stage(
    directory: int,
    name: str,
    data: bytes,
    mode: int | None = None,
    executable: bool | None = None,
) -> str:
    """Write `data` to a temporary file beside `name`, ready to take its name; the temporary file's name.

    `mode` as `write_atomic`; `executable` then sets or clears the bits to execute, None leaves them. Raises OSError,
    and then nothing is left.
    """
    old = _stat(directory, name)
    if old is not None and not stat.S_ISREG(old.st_mode):
        raise OSError(f"{name!r} is not a regular file")
    _sweep(directory)
    temporary = temporary_name()
    private = old is not None or mode is not None
    fd = os.open(temporary, _NEW, 0o600 if private else 0o666, dir_fd=directory)
    try:
        try:
            fault("files.opened")
            write_all(fd, data)
            fault("files.written")
            _keep(fd, old, mode, directory, name)
            if executable is not None:
                _set_executable(fd, executable)
            os.fsync(fd)
        finally:
            os.close(fd)
        fault("files.synced")
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=directory)
        raise
    return temporary


def temporary_name() -> str:
    """A name nobody has, of the kind that is swept when a crash leaves it."""
    return f".codetether-{WRITER}{os.urandom(8).hex()}.tmp"


def is_temporary(name: str, writer: str = "") -> bool:
    """Whether `name` is a temporary file's, of any process or of `writer`."""
    found = re.fullmatch(_TEMPORARY, name) if name.endswith(".tmp") else None
    return found is not None and writer in ("", found[1])


def _set_executable(fd: int, executable: bool) -> None:
    """To execute is allowed to whom reading is, or to nobody."""
    mode = stat.S_IMODE(os.fstat(fd).st_mode)
    os.fchmod(fd, mode | (mode & 0o444) >> 2 if executable else mode & ~0o111)


def sync_directory(directory: int) -> None:
    """Force the names in an open directory to disk, where the file system can and permissions allow."""
    with contextlib.suppress(OSError):
        fd = os.open(".", _HERE, dir_fd=directory)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def read_part(file: BinaryIO, amount: int, offset: int) -> bytes:
    """At most `amount` bytes from `offset`. The loop is for what gives less than asked: a growing file, FUSE."""
    pieces: list[bytes] = []
    file.seek(offset)
    while amount > 0 and (piece := file.read(min(amount, 1 << 24))):
        pieces.append(piece)
        amount -= len(piece)
    return b"".join(pieces)


def digest_of(file: BinaryIO) -> str:
    """The fingerprint of what is left to read: blake2b, 32 hex digits."""
    from hashlib import blake2b

    digest = blake2b(digest_size=DIGEST)
    while piece := file.read(1 << 20):
        digest.update(piece)
    return digest.hexdigest()


def _rename(directory: int, temporary: str, name: str, new: bool) -> None:
    if new:
        from codetether.syscalls import rename_new

        rename_new(directory, temporary, name)
        return
    os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)


def _stat(directory: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def write_all(fd: int, data: bytes) -> None:
    """Write every byte. Raises OSError, and then a part may be written."""
    left = memoryview(data)
    while left:  # a full disk first writes a part, and only the next call says so
        left = left[os.write(fd, left) :]


def _keep(fd: int, old: os.stat_result | None, mode: int | None, directory: int, name: str) -> None:
    """Give the new file the old one's owner, extended attributes (which hold the ACL) and mode, as far as allowed."""
    if old is not None:
        with contextlib.suppress(OSError):
            made = os.fstat(fd)
            if (made.st_uid, made.st_gid) != (old.st_uid, old.st_gid):
                os.fchown(fd, old.st_uid, old.st_gid)
        _copy_attributes(fd, directory, name)
    wanted = mode if mode is not None else None if old is None else stat.S_IMODE(old.st_mode)
    if wanted is not None:
        made = os.fstat(fd)
        if old is not None and made.st_uid != old.st_uid:
            wanted &= ~(
                stat.S_ISUID | stat.S_ISGID
            )  # someone else's file must not become a set-id file of ours
        os.fchmod(fd, wanted)


def _copy_attributes(fd: int, directory: int, name: str) -> None:
    if not hasattr(os, "listxattr"):
        return
    with contextlib.suppress(OSError):
        source = os.open(
            name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory
        )
        try:
            for attribute in os.listxattr(source):
                with contextlib.suppress(OSError):
                    os.setxattr(fd, attribute, os.getxattr(source, attribute))
        finally:
            os.close(source)


def _sweep(directory: int) -> None:
    """Remove what crashes left, at most once an hour and directory: listing a big directory costs."""
    with contextlib.suppress(OSError):
        about = os.fstat(directory)
        key, now = (about.st_dev, about.st_ino), time.monotonic()
        if now - _swept.get(key, -STALE) < STALE:
            return
        if len(_swept) > 10_000:
            _swept.clear()
        _swept[key] = now
        fd = os.open(".", _HERE, dir_fd=directory)
        try:
            _remove_stale(fd)
        finally:
            os.close(fd)


def _remove_stale(directory: int) -> None:
    oldest = time.time() - STALE
    with os.scandir(directory) as entries:
        for entry in entries:
            if is_temporary(entry.name) and entry.is_file(follow_symlinks=False):
                with contextlib.suppress(OSError):
                    # What a file was before has its old time of writing: only the names of it have changed just now.
                    if entry.stat(follow_symlinks=False).st_ctime < oldest:
                        os.unlink(entry.name, dir_fd=directory)

"""Two calls of the Linux kernel that Python 3.11 has no name for; each says where it is missing."""

from __future__ import annotations

import errno
import os
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ctypes

OPENAT2 = 437  # the same number on every architecture but alpha
NO_MAGICLINKS, NO_SYMLINKS, BENEATH = 0x02, 0x04, 0x08
NO_REPLACE = 1
AGAIN = 16


@lru_cache(maxsize=1)
def _libc() -> ctypes.CDLL:
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


@lru_cache(maxsize=1)
def has_openat2() -> bool:
    """Whether this kernel (5.6 or newer) has openat2 and no filter forbids it; found by trying, once."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        base = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.close(openat2(base, ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        finally:
            os.close(base)
    except OSError:
        return False
    return True


def openat2(directory: int, path: str, flags: int) -> int:
    """Open `path` beneath the open `directory`, through no link at all. Raises OSError.

    EXDEV: it leads outside; ELOOP: there is a link on the way.
    """
    import ctypes

    how = (ctypes.c_uint64 * 3)(flags, 0, BENEATH | NO_MAGICLINKS | NO_SYMLINKS)
    for _ in range(AGAIN):  # the kernel asks for a retry when a rename raced with `..`
        fd: int = _libc().syscall(
            ctypes.c_long(OPENAT2),
            ctypes.c_int(directory),
            ctypes.c_char_p(os.fsencode(path)),
            ctypes.byref(how),
            ctypes.c_size_t(ctypes.sizeof(how)),
        )
        if fd >= 0:
            return fd
        if ctypes.get_errno() not in (errno.EAGAIN, errno.EINTR):
            break
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), path)


def rename_new(directory: int, source: str, target: str) -> None:
    """Rename `source` to `target` in one open directory, never replacing. Raises FileExistsError, OSError.

    By renameat2; where that is missing, by a hard link (then a crash between the two steps leaves `source`).
    """
    call: Any = getattr(_libc(), "renameat2", None)
    if call is not None:
        import ctypes

        if call(directory, os.fsencode(source), directory, os.fsencode(target), NO_REPLACE) == 0:
            return
        number = ctypes.get_errno()
        if number not in (errno.ENOSYS, errno.EINVAL):
            raise OSError(number, os.strerror(number), target)
    os.link(source, target, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    os.unlink(source, dir_fd=directory)

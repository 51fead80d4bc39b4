"""What a model is told when a file cannot be had: short, with a code, and with what to do instead."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence

from codetether.errors import ToolError

_FULL = ("EXECUTION_FAILED", "the disk is full or a quota is reached; nothing was changed")
_ERRORS = {
    errno.ENOTDIR: ("NOT_FOUND", "a part of this path is a file, not a directory"),
    errno.EISDIR: ("INVALID_ARGUMENT", "this is a directory"),
    errno.ENAMETOOLONG: ("INVALID_ARGUMENT", "the name is too long"),
    errno.EACCES: ("DENIED", "the file system does not permit this"),
    errno.EPERM: ("DENIED", "the file system does not permit this"),
    errno.EROFS: ("DENIED", "the file system is read-only"),
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: _FULL,
    errno.ELOOP: ("INVALID_ARGUMENT", "too many links, or they form a circle"),
    errno.EAGAIN: ("CONFLICT", "the path keeps changing; try again later"),
}


def told(path: str, error: OSError, similar: Sequence[str] = ()) -> ToolError:
    """The answer to the model for an error of the file system at `path`; `similar` are names it may have meant."""
    if error.errno == errno.ENOENT:
        near = f" Similar: {', '.join(similar)}" if similar else ""
        return ToolError(f"{path} does not exist.{near}", "NOT_FOUND")
    unknown = ("EXECUTION_FAILED", (error.strerror or str(error)).lower())
    code, text = _ERRORS.get(error.errno or 0, unknown)
    return ToolError(f"{path}: {text}.", code)


def check_regular(path: str, found: os.stat_result) -> None:
    """Refuse what is no regular file: ToolError, or OSError ELOOP for a link (it was swapped in: look again)."""
    if stat.S_ISREG(found.st_mode):
        return
    if stat.S_ISDIR(found.st_mode):
        raise ToolError(f"{path} is a directory, not a file. Use list_dir.", "INVALID_ARGUMENT")
    if stat.S_ISLNK(found.st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
    raise ToolError(
        f"{path} is a device, pipe or socket; only regular files can be used.", "DENIED"
    )


def conflict(path: str, what: str) -> ToolError:
    """The refusal to overwrite what someone else did."""
    return ToolError(f"{path} {what}. Read it again, then repeat the change.", "CONFLICT")

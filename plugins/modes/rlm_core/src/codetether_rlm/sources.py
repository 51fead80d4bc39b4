"""What a worker reads: files, the files of a directory, or text that came through a pipe."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import BinaryIO, cast

import msgspec
import trio
from codetether.api import CodetetherError, one_line, ripgrep

LISTED = 64 << 20  # bytes of file names
LISTING_SECONDS = 120.0
MOST = 50_000
PIECE = 1 << 20
PIPED = 64 << 30  # bytes


class SourceError(CodetetherError):
    """A source cannot be used: not there, no file, not readable, empty."""


class Source(msgspec.Struct, frozen=True):
    """One text. `name` is what a model calls it; exactly one of `path`, `data` and `file` holds it.

    `root`: then `path` is relative to it, is opened beneath it without following links, and is left out, not an error, when
    it turns out to be gone, unreadable or no text. `file`: an open file, which the worker does not close.
    """

    name: str
    path: Path | None = None
    data: bytes | None = None
    root: Path | None = None
    file: BinaryIO | None = None


async def from_directory(
    root: Path,
    *,
    pattern: str | None = None,
    denied: Callable[[list[str]], Collection[str]] | None = None,
) -> list[Source]:
    """The files below `root` that git's and other ignore files do not leave out, in path order; never `.git`.

    `pattern`: a glob in the manner of .gitignore, such as `*.py`. `denied`: given all paths, those that must not be read.
    At most 50,000. Raises SourceError when `root` is no directory, or nothing is found.
    """
    real = await trio.to_thread.run_sync(os.path.realpath, root)
    if not await trio.to_thread.run_sync(os.path.isdir, real):
        raise SourceError(f"{root} is no directory")
    paths = await _listed(real, root)
    if pattern:  # a second listing: a glob alone would bring back what ignore files leave out
        wanted = set(await _listed(real, root, f"--glob={pattern}", "--glob=!.git"))
        paths = [path for path in paths if path in wanted]
    if denied is not None:
        refused = set(await trio.to_thread.run_sync(denied, paths))
        paths = [path for path in paths if path not in refused]
    if not paths:
        raise SourceError(f"no files found in {root}" + (f" for {pattern}" if pattern else ""))
    if len(paths) > MOST:
        raise SourceError(
            f"{root} has {len(paths):,} files, and {MOST:,} is the most",
            "name a directory below it, or a pattern",
        )
    return [Source(name_of(path), Path(path), root=Path(real)) for path in sorted(paths)]


def name_of(path: str) -> str:
    """What a model reads: a file's name may hold line ends, escapes, and bytes that are no text."""
    text = path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return text if text.isprintable() else one_line(text)


async def _listed(real: str, root: Path, *only: str) -> list[str]:
    """The files below `real`, as ripgrep lists them."""
    done = await ripgrep(
        ["--files", "--null", *only],
        cwd=real,
        timeout=LISTING_SECONDS,
        head=LISTED,
        tail=0,
        spill_limit=LISTED,
    )
    if done.timed_out or done.truncated:
        raise SourceError(
            f"{root} has too many files to list", "name a directory below it, or a pattern"
        )
    if done.code not in (0, 1, 2):  # 2: some folder cannot be read
        raise SourceError(f"{root} could not be listed: ripgrep ended with code {done.code}")
    # Bytes that are no UTF-8 in a name were replaced, and so was each NUL: such a name comes in pieces, of which one may be that
    # of another file. What is not found is left out later.
    pieces = done.output.replace("\ufffd", "\0").split("\0")
    return [path for path in dict.fromkeys(pieces) if path]


async def spooled(fd: int, name: str, place: Path, *, limit: int = PIPED) -> Source:
    """All that comes from the open file descriptor `fd`, kept in a file without a name below `place`; a regular file that
    nobody has read from is taken as it is.

    The file is gone when the process ends, however it ends. Close `source.file` when done. Raises SourceError when
    nothing comes, more than `limit` bytes come, or the disk is full. May be cancelled.
    """
    about = os.fstat(fd)
    if stat.S_ISREG(about.st_mode) and about.st_size and not os.lseek(fd, 0, os.SEEK_CUR):
        return Source(name, file=cast("BinaryIO", os.fdopen(os.dup(fd), "rb", buffering=0)))
    file = await trio.to_thread.run_sync(nameless, place)
    try:
        while piece := await _next_piece(fd):
            await trio.to_thread.run_sync(write_all, file, piece)
            if file.tell() > limit:
                raise SourceError(f"more than {limit:,} bytes came from {name}", "give a file")
        await trio.to_thread.run_sync(file.flush)
        if not file.tell():
            raise SourceError(f"{name} is empty")
    except OSError as error:
        file.close()
        raise SourceError(f"{name} cannot be kept: {error.strerror}") from None
    except BaseException:
        file.close()
        raise
    return Source(name, file=file)


async def _next_piece(fd: int) -> bytes:
    while True:
        try:
            return await trio.to_thread.run_sync(os.read, fd, PIECE, abandon_on_cancel=True)
        except BlockingIOError:  # whoever shares the pipe has set it so
            await trio.lowlevel.wait_readable(fd)


def nameless(place: Path) -> BinaryIO:
    """A new file below `place` that has no name: it is gone with the last process that has it open. Raises SourceError."""
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=place, buffering=0)
    except OSError as error:
        raise not_kept(place, error) from None


def write_all(file: BinaryIO, data: bytes) -> None:
    """Write all of `data` to a file without a buffer, which may take a part at a time. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def not_kept(place: Path, error: OSError) -> SourceError:
    """What to say when a copy cannot be written."""
    return SourceError(f"copies of texts cannot be kept in {place}: {error.strerror}")

"""Sources as open files that a worker maps: the large ones as they are, many small ones copied into one."""

from __future__ import annotations

import codecs
import errno
import fcntl
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import trio
from codetether.api import ToolError, Workspace

from codetether_rlm.detection import SAMPLE, detect
from codetether_rlm.sources import Source, SourceError, nameless, not_kept, write_all

SEPARATE = 64  # sources mapped each by itself; with more, all but the largest are copied together
PIECE = 1 << 20
UNSIZED = 64 << 20  # bytes read of a file that says it has none, as those of /proc do
FIRST_FD = (
    64  # a sandbox's own files have small numbers, and a shell can name only those of one digit
)
BINARY = 8_192  # bytes in which a NUL says: no text
TOLD = 20
LINES_NOW = 16 << 20  # bytes of sources whose lines are counted at once
DETECTED = (
    64  # sources of which a sample is read, the largest; the kind of others is told by their names
)


class Part(NamedTuple):
    """A source's bytes in the file `place` of Mapped.files. `first` is its first line's number there, from 1."""

    name: str
    place: int
    start: int
    size: int
    first: int


class Mapped:
    """The open files of a worker, and where in them its sources are. `skipped`: why sources were left out; `odd`: those that
    are no text. `spool`: where copies are kept, in files without a name. `opened` is closed with it.
    """

    def __init__(self, spool: Path) -> None:
        self.spool = spool
        self.files: list[int] = []
        self.sizes: list[int] = []
        self.parts: list[Part] = []
        self.skipped: list[str] = []
        self.odd: list[str] = []
        self.opened = ExitStack()

    @property
    def size(self) -> int:
        """Bytes of all sources."""
        return sum(part.size for part in self.parts)

    def keep(self, fd: int, size: int) -> int:
        """Take an open file for the worker, to be read only; its number in `files`."""
        with open(f"/dev/fd/{fd}", "rb", buffering=0) as read_only:
            try:
                high = fcntl.fcntl(read_only.fileno(), fcntl.F_DUPFD_CLOEXEC, FIRST_FD)
            except OSError:  # there are fewer numbers than that
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE)) from None
        self.opened.callback(os.close, high)
        self.files.append(high)
        self.sizes.append(size)
        return len(self.files) - 1

    def read(self, part: Part, start: int, size: int) -> bytes:
        """Bytes of a source, from the file. Fewer when it became shorter, none from beyond its end."""
        size = min(size, part.size - start)
        return os.pread(self.files[part.place], size, part.start + start) if size > 0 else b""

    def check(self) -> None:
        """Files that became shorter are so for us too: reading beyond their end would kill the worker."""
        for place, fd in enumerate(self.files):
            now = os.fstat(fd).st_size
            if now < self.sizes[place]:
                self.sizes[place] = now
                self.parts = [
                    _clipped(part, now) if part.place == place else part for part in self.parts
                ]

    def only(self, parts: Sequence[Part]) -> Mapped:
        """A copy of some sources, in a file that holds nothing else. To be closed by the caller."""
        found = Mapped(self.spool)
        packing = _Packing(found)
        for part in parts:
            packing.add(part.name, _pieces(self.files[part.place], part.start, part.size))
        packing.end()
        return found

    def close(self) -> None:
        """Close the files."""
        self.opened.close()


def _clipped(part: Part, size: int) -> Part:
    return part._replace(size=max(0, min(part.size, size - part.start)))


async def mapped(sources: Sequence[Source], spool: Path) -> Mapped:
    """Open everything, in a thread. `spool`: where the copies of small files are kept, in a file without a name.

    Raises SourceError for a source without root that cannot be used, for a name used twice, and when nothing is left.
    """
    found = Mapped(spool)
    try:
        await trio.to_thread.run_sync(_map, found, sources)
    except BaseException:
        found.close()
        raise
    return found


def facts_of(found: Mapped) -> dict[str, object]:
    """What a model is told of the sources: their names, bytes and kinds, and of all together the kind of most bytes."""
    by_size = sorted(range(len(found.parts)), key=lambda at: -found.parts[at].size)
    sampled = frozenset(by_size[:DETECTED])
    told: list[dict[str, object]] = []
    weights: dict[str, float] = {}
    seen = 0
    for at, part in enumerate(found.parts):
        kind = detect(_sample(found, part) if at in sampled else b"", part.name)
        weights[kind.kind] = weights.get(kind.kind, 0.0) + part.size * kind.confidence
        seen += part.size
        about = {"name": part.name, "bytes": part.size, "kind": kind.kind}
        told.append({**about, "confidence": kind.confidence, "why": kind.why})
    best = max(weights, key=lambda kind: weights[kind])
    return {
        "sources": told,
        "bytes": found.size,
        "lines": _lines(found) if found.size <= LINES_NOW else None,
        "kind": best,
        "confidence": round(weights[best] / (seen or 1), 2),
        "why": told[0]["why"]
        if len(found.parts) == 1
        else f"most bytes of {len(found.parts)} sources are {best}",
        "skipped": _told(found.skipped),
        "odd": _told(found.odd),
    }


def _sample(found: Mapped, part: Part) -> bytes:
    half = SAMPLE // 2
    sample = found.read(part, 0, half)
    if part.size > SAMPLE:
        sample += b"\n" + found.read(part, part.size - half, half).partition(b"\n")[2]
    return sample


def _lines(found: Mapped) -> int:
    total = 0
    for part in found.parts:
        data = found.read(part, 0, part.size)
        total += data.count(b"\n") + bool(data and not data.endswith(b"\n"))
    return total


def _told(skipped: list[str]) -> list[str]:
    more = len(skipped) - TOLD
    return [*skipped[:TOLD], *([f"and {more} more"] if more > 0 else [])]


def _map(found: Mapped, sources: Sequence[Source]) -> None:
    names = [source.name for source in sources]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SourceError(f"two sources are named {twice}")
    large = _largest(sources)
    packing = _Packing(found)
    workspaces: dict[Path, Workspace] = {}
    for number, source in enumerate(sources):
        if source.data is not None:
            packing.add(source.name, iter((source.data,)))
            continue
        try:
            file = _opened(source, workspaces)
        except (OSError, ToolError, SourceError) as error:
            _leave_out(found, source, error)
            continue
        try:
            _take(found, packing, source, file, apart=number in large)
        except OSError as error:
            _leave_out(found, source, error)
        finally:
            if source.file is None:
                file.close()
    packing.end()
    if not found.parts:
        why = f": {found.skipped[0]}" if found.skipped else ""
        raise SourceError(f"there is nothing to read{why}")


def _take(found: Mapped, packing: _Packing, source: Source, file: BinaryIO, *, apart: bool) -> None:
    fd = file.fileno()
    head = os.pread(fd, BINARY, 0)
    size = os.fstat(fd).st_size
    encoding = "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else ""
    binary = not encoding and b"\0" in head
    if binary and source.root is not None:
        found.skipped.append(f"{source.name}: no text")
        return
    if binary:  # a person named it
        found.odd.append(source.name)
    if encoding:
        packing.add(source.name, _recoded(fd, size, encoding))
    elif apart and size:
        found.parts.append(Part(source.name, found.keep(fd, size), 0, size, 1))
    else:
        packing.add(source.name, _pieces(fd, 0, size or UNSIZED))


def _leave_out(found: Mapped, source: Source, error: Exception) -> None:
    why = getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)
    if source.root is None or getattr(error, "errno", 0) in (errno.EMFILE, errno.ENFILE):
        raise SourceError(f"{source.name} cannot be read: {why}") from None
    found.skipped.append(f"{source.name}: {why}")


def _largest(sources: Sequence[Source]) -> set[int]:
    """Which are mapped by themselves."""
    if len(sources) <= SEPARATE:
        return set(range(len(sources)))
    sizes = []
    for number, source in enumerate(sources):
        path = (
            source.path if source.root is None or source.path is None else source.root / source.path
        )
        try:
            about = os.fstat(source.file.fileno()) if source.file else os.lstat(path or "")
        except OSError:
            continue
        sizes.append((about.st_size, number))
    return {number for size, number in sorted(sizes, reverse=True)[:SEPARATE] if size >= PIECE}


def _opened(source: Source, workspaces: dict[Path, Workspace]) -> BinaryIO:
    """Its file; only a regular one, without waiting for anybody."""
    if source.file is not None:
        return source.file
    if source.path is None:
        raise SourceError(f"{source.name} has no content")
    if source.root is not None:
        workspace = workspaces.setdefault(source.root, Workspace(source.root))
        file = workspace.open(str(source.path))
    else:
        fd = os.open(source.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        file = cast("BinaryIO", os.fdopen(fd, "rb", buffering=0))
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise SourceError("it is no file")
    return file


def _pieces(fd: int, start: int, size: int) -> Iterator[bytes]:
    end = start + size
    while piece := os.pread(fd, min(PIECE, end - start), start):
        yield piece
        start += len(piece)


def _recoded(fd: int, size: int, encoding: str) -> Iterator[bytes]:
    """UTF-16 as UTF-8: the only other encoding that says what it is."""
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    for piece in _pieces(fd, 0, size):
        yield decoder.decode(piece).encode("utf-8", "replace")
    yield decoder.decode(b"", final=True).encode("utf-8", "replace")


class _Packing:
    """One file with many sources in it, each beginning on a line of its own."""

    def __init__(self, found: Mapped) -> None:
        self._found = found
        self._file: BinaryIO | None = None
        self._place = 0
        self._at = 0
        self._line = 1

    def add(self, name: str, pieces: Iterator[bytes]) -> None:
        """Copy a source. Raises SourceError when it cannot be kept, and what `pieces` raises."""
        if self._file is None:
            file = self._found.opened.enter_context(nameless(self._found.spool))
            self._place = self._found.keep(file.fileno(), 0)
            self._file = file
        start, first, last = self._at, self._line, b"\n"
        try:
            for piece in pieces:
                if piece:
                    self._write(piece)
                    last = piece[-1:]
            self._found.parts.append(Part(name, self._place, start, self._at - start, first))
        finally:  # also when it could not be read to its end, and is left out
            if last != b"\n":
                self._write(b"\n")

    def _write(self, piece: bytes) -> None:
        assert self._file is not None
        try:
            write_all(self._file, piece)
        except OSError as error:
            raise not_kept(self._found.spool, error) from None
        self._at += len(piece)
        self._line += piece.count(b"\n")

    def end(self) -> None:
        """No more comes."""
        if self._file is not None:
            self._found.sizes[self._place] = self._at
            self._file.close()

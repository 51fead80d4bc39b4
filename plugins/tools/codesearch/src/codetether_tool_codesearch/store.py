"""The index on disk: files, their symbols, the words of each for BM25, and vectors. It can be made anew at any time.

SQLite in WAL mode: one process indexes (it holds the lock file), any number search. A file that is read again gets a
new id, so whoever remembers an id knows that its symbols are the same.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from codetether_tool_codesearch.entries import Symbol
from codetether_tool_codesearch.source import Stamp
from codetether_tool_codesearch.words import joined, split

DATABASE, LOCK = "index.sqlite", "lock"
WEIGHTS = "4.0, 2.0, 3.0, 1.0, 2.0"  # name, signature, doc, body, path; hardly matters, measured
_BROKEN = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR", "SQLITE_IOERR", "SQLITE_CANTOPEN")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS files(
    id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT UNIQUE NOT NULL, size INTEGER, mtime INTEGER, inode INTEGER,
    digest BLOB, first INTEGER, count INTEGER, vectors BLOB);
CREATE TABLE IF NOT EXISTS symbols(
    id INTEGER PRIMARY KEY AUTOINCREMENT, file INTEGER NOT NULL, kind TEXT, name TEXT, container TEXT, signature TEXT,
    first INTEGER, last INTEGER);
CREATE INDEX IF NOT EXISTS by_file ON symbols(file);
CREATE INDEX IF NOT EXISTS by_name ON symbols(name COLLATE NOCASE);
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(
    name, signature, doc, body, path, tokenize = 'porter unicode61 remove_diacritics 2');
CREATE TEMP TABLE among(file INTEGER PRIMARY KEY);
"""


class File(NamedTuple):
    """What is remembered of an indexed file."""

    id: int
    stamp: Stamp
    first: int
    symbols: int


class Found(NamedTuple):
    """A symbol and where it is."""

    id: int
    path: str
    kind: str
    name: str
    container: str
    signature: str
    first: int
    last: int


class Indexed(NamedTuple):
    """A file read for the index; `vectors` are packed, one for each symbol, or empty."""

    path: str
    stamp: Stamp
    digest: bytes
    symbols: Sequence[Symbol]
    vectors: bytes


def is_broken(error: sqlite3.Error) -> bool:
    """Whether the index cannot be used and must be made anew (rather than: it is busy, or the disk is full)."""
    return getattr(error, "sqlite_errorname", "").startswith(_BROKEN) or "malformed" in str(error)


class Store:
    """An index in the folder `place`. Raises sqlite3.Error; see `is_broken`."""

    def __init__(self, place: str) -> None:
        self.place = place
        self._lock = -1
        self._open()

    def _open(self) -> None:
        path = os.path.join(self.place, DATABASE)
        self._base = sqlite3.connect(path, timeout=10, isolation_level=None)
        self._base.execute("PRAGMA journal_mode=WAL")
        self._base.execute("PRAGMA synchronous=NORMAL")
        self._base.execute("PRAGMA cache_size=-32000")
        self._base.executescript(_SCHEMA)
        self._inode = os.stat(path).st_ino
        self._version = -1
        self.files: dict[str, File] = {}
        self.refresh()

    @property
    def replaced(self) -> bool:
        """Whether another process has made the index anew."""
        try:
            return os.stat(os.path.join(self.place, DATABASE)).st_ino != self._inode
        except OSError:
            return True

    def close(self) -> None:
        """Let go of everything."""
        self.release()
        self._base.close()

    # --- who may write ---
    def acquire(self) -> bool:
        """Become the one that indexes, if no other process is. The lock ends with this process, however it ends."""
        if self._lock >= 0:
            return True
        fd = os.open(os.path.join(self.place, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            return False
        self._lock = fd
        self.refresh()
        return True

    def release(self) -> None:
        """Let another process index."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def refresh(self) -> bool:
        """Read what another process has changed; whether it has."""
        version = self._base.execute("PRAGMA data_version").fetchone()[0]
        if version == self._version:
            return False
        self._version = version
        rows = self._base.execute("SELECT path, id, size, mtime, inode, first, count FROM files")
        self.files = {
            path: File(i, Stamp(s, m, n), first, count) for path, i, s, m, n, first, count in rows
        }
        return True

    # --- writing ---
    @contextlib.contextmanager
    def change(self) -> Iterator[None]:
        """All of what is done inside, or nothing."""
        self._base.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._base.execute("ROLLBACK")
            self._version = -1  # what is in memory may be ahead
            raise
        self._base.execute("COMMIT")

    def digest(self, path: str) -> bytes:
        """The digest of a file when it was indexed."""
        row = self._base.execute("SELECT digest FROM files WHERE path = ?", (path,)).fetchone()
        return row[0] if row else b""

    def touch(self, path: str, stamp: Stamp) -> None:
        """A file that was written, and is as it was."""
        self._base.execute(
            "UPDATE files SET size = ?, mtime = ?, inode = ? WHERE path = ?", (*stamp, path)
        )
        self.files[path] = self.files[path]._replace(stamp=stamp)

    def remove(self, paths: Iterable[str]) -> None:
        """Forget files."""
        for path in paths:
            file = self.files.pop(path, None)
            if file is not None:
                self._base.execute("DELETE FROM words WHERE rowid BETWEEN ? AND ?", _span(file))
                self._base.execute("DELETE FROM symbols WHERE id BETWEEN ? AND ?", _span(file))
                self._base.execute("DELETE FROM files WHERE id = ?", (file.id,))

    def put(self, each: Indexed) -> None:
        """A file read for the first time, or again."""
        self.remove([each.path])
        base = self._base
        row = base.execute("SELECT seq FROM sqlite_sequence WHERE name = 'symbols'").fetchone()
        first = (row[0] if row else 0) + 1
        values = (each.path, *each.stamp, each.digest, first, len(each.symbols), each.vectors)
        file = base.execute(
            "INSERT INTO files(path, size, mtime, inode, digest, first, count, vectors) VALUES(?,?,?,?,?,?,?,?)",
            values,
        ).lastrowid
        where = split(each.path)
        base.executemany(
            "INSERT INTO symbols VALUES(?,?,?,?,?,?,?,?)",
            ((first + at, file, s.kind, s.name, s.container, s.signature, s.first, s.last)
             for at, s in enumerate(each.symbols)),
        )  # fmt: skip
        base.executemany(
            "INSERT INTO words(rowid, name, signature, doc, body, path) VALUES(?,?,?,?,?,?)",
            ((first + at, _name(s), split(s.signature), split(s.doc), split(s.body), where)
             for at, s in enumerate(each.symbols)),
        )  # fmt: skip
        self.files[each.path] = File(file or 0, each.stamp, first, len(each.symbols))

    # --- reading ---
    def vectors(self, file: int) -> bytes:
        """The packed vectors of a file."""
        row = self._base.execute("SELECT vectors FROM files WHERE id = ?", (file,)).fetchone()
        return row[0] if row else b""

    def limit_to(self, files: set[int] | None) -> None:
        """Search only these files from now on; None: all."""
        self._among = files is not None
        self._base.execute("DELETE FROM among")
        if files is not None:
            self._base.executemany("INSERT INTO among VALUES(?)", ((file,) for file in files))

    def by_words(self, words: Sequence[str], most: int) -> list[int]:
        """Symbols by BM25, best first."""
        match = " OR ".join(f'"{word}"' for word in words)
        limit = "AND rowid IN (SELECT id FROM symbols WHERE file IN among)" if self._among else ""
        rows = self._base.execute(
            f"SELECT rowid FROM words WHERE words MATCH ? {limit} ORDER BY bm25(words, {WEIGHTS}), rowid LIMIT ?",  # noqa: S608 - only our own text
            (match, most),
        )
        return [row[0] for row in rows]

    def by_name(self, name: str, container: str, most: int) -> list[int]:
        """Symbols of exactly this name; first those in `container`, then those whose letters are the same too."""
        limit = "AND file IN among" if self._among else ""
        rows = self._base.execute(
            f"SELECT id FROM symbols WHERE name = ? COLLATE NOCASE AND kind NOT IN ('file', 'text') {limit} "  # noqa: S608
            "ORDER BY container = ? OR container LIKE ? DESC, name = ? DESC, kind = 'constant', id LIMIT ?",
            (name, container, f"%.{container}", name, most),
        )
        return [row[0] for row in rows]

    def found(self, ids: Sequence[int]) -> dict[int, Found]:
        """The symbols of these ids."""
        marks = ",".join("?" * len(ids))
        rows = self._base.execute(
            "SELECT s.id, f.path, s.kind, s.name, s.container, s.signature, s.first, s.last "  # noqa: S608 - question marks
            f"FROM symbols s JOIN files f ON f.id = s.file WHERE s.id IN ({marks})",
            list(ids),
        )
        return {row[0]: Found(*row) for row in rows}

    _among = False


def discard(place: str) -> None:
    """Remove an index that cannot be used."""
    for name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(place, name))


def _span(file: File) -> tuple[int, int]:
    return file.first, file.first + file.symbols - 1


def _name(symbol: Symbol) -> str:
    """As words, and as one: both are asked for."""
    parts = split(symbol.name)
    return joined((parts, symbol.name if " " in parts else "", split(symbol.container)))

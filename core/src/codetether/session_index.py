"""Full-text search over sessions: an index beside the files, never the source of truth.

It can be deleted at any time; it is made again from the files. Every method blocks: use a thread.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import msgspec

from codetether.errors import CodetetherError, UsageError
from codetether.records import MessageRecord
from codetether.scan import scan_bytes
from codetether.session_files import SUFFIX, Summary, session_paths, summarise
from codetether.words import Message, Text, ToolCall

LAYOUT = 1
PATIENCE = 5.0  # seconds to wait for another process that refreshes the index
CALL_TEXT = 2_000  # characters of a call's arguments that are searchable
MATCH_START, MATCH_END = "\ue000", "\ue001"  # private use: never typed, so text cannot fake a match
_SCHEMA = f"""
PRAGMA user_version = {LAYOUT};
CREATE TABLE sessions (
    id TEXT PRIMARY KEY, mtime INTEGER, size INTEGER, title TEXT, directory TEXT, branch TEXT, created TEXT,
    updated TEXT, messages INTEGER, input INTEGER, output INTEGER, cost REAL, summary BLOB);
CREATE TABLE entries (row INTEGER PRIMARY KEY, session TEXT, message TEXT, role TEXT);
CREATE INDEX entries_session ON entries (session);
CREATE VIRTUAL TABLE texts USING fts5 (text, tokenize = 'unicode61 remove_diacritics 2');
"""


class Hit(msgspec.Struct, frozen=True):
    """A session in which the words were found: `count` messages have them all, the best is `message`, said by `role`.

    `snippet` is the place, with MATCH_START and MATCH_END around each match.
    """

    summary: Summary
    message: str
    role: str
    snippet: str
    count: int


class SessionIndex:
    """The index file `path` over the session files in `root`. Use it as a context manager."""

    def __init__(self, path: Path, root: Path) -> None:
        """Open or make the index; one that is damaged or of another layout is made anew. Raises CodetetherError."""
        self._root = root
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._base = _open(path)
        except (OSError, sqlite3.Error) as error:
            raise CodetetherError(
                f"Cannot open the search index {path}: {error}.", "Delete it; it is made again."
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._base.close()

    def refresh(self) -> int:
        """Take in the files that changed since the last time, by time and size; how many did."""
        known = {
            row[0]: row[1:] for row in self._base.execute("SELECT id, mtime, size FROM sessions")
        }
        changed = 0
        for path in session_paths(self._root):
            name = path.name.removesuffix(SUFFIX)
            with contextlib.suppress(OSError):
                status = path.stat()
                if known.pop(name, None) != (status.st_mtime_ns, status.st_size):
                    self._take_in(name, path, status)
                    changed += 1
        for name in known:
            self.forget(name)
        return changed + len(known)

    def forget(self, session: str) -> None:
        """Take a session out of the index."""
        with self._change():
            self._forget(session)

    def search(self, words: str, *, directory: Path | None = None, limit: int = 20) -> list[Hit]:
        """The sessions with a message that holds all `words` (or words beginning so), best first.

        Raises UsageError when there is nothing to search for.
        """
        terms = [
            '"' + word.replace('"', '""') + '"*' for word in words.split() if re.search(r"\w", word)
        ]
        if not terms:
            raise UsageError("There are no words to search for.")
        rows = self._base.execute(
            "SELECT session, message, role, snippet(texts, 0, ?, ?, '…', 16), summary "
            "FROM texts JOIN entries ON row = texts.rowid JOIN sessions ON id = session "
            "WHERE texts MATCH ? ORDER BY rank LIMIT 5000",
            (MATCH_START, MATCH_END, " ".join(terms)),
        )
        wanted = None if directory is None else os.path.realpath(directory)
        hits: dict[str, Hit] = {}
        for session, message, role, snippet, blob in rows:
            if session in hits:
                hits[session] = msgspec.structs.replace(
                    hits[session], count=hits[session].count + 1
                )
                continue
            summary = msgspec.json.decode(blob, type=Summary)
            if wanted is None or os.path.realpath(summary.header.directory) == wanted:
                hits[session] = Hit(summary, message, role, snippet, 1)
        return list(hits.values())[:limit]

    @contextlib.contextmanager
    def _change(self) -> Iterator[None]:
        self._base.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._base.execute("ROLLBACK")
            raise
        self._base.execute("COMMIT")

    def _take_in(self, name: str, path: Path, status: os.stat_result) -> None:
        summary = summarise(path)
        if summary is None:
            self.forget(name)
            return
        messages = [
            r.message for r in scan_bytes(path.read_bytes()).records if isinstance(r, MessageRecord)
        ]
        header, usage = summary.header, summary.usage
        with self._change():
            self._forget(name)
            self._base.execute(
                "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    name, status.st_mtime_ns, status.st_size, summary.title, header.directory,
                    header.git.branch if header.git else "", header.created, summary.updated, summary.messages,
                    usage.input, usage.output, usage.cost, msgspec.json.encode(summary),
                ),
            )  # fmt: skip
            self._enter(name, "", "title", summary.title)
            for message in messages:
                self._enter(name, message.id, message.role, _searchable(message))

    def _enter(self, session: str, message: str, role: str, text: str) -> None:
        if text:
            row = self._base.execute(
                "INSERT INTO entries (session, message, role) VALUES (?, ?, ?)",
                (session, message, role),
            ).lastrowid
            self._base.execute("INSERT INTO texts (rowid, text) VALUES (?, ?)", (row, text))

    def _forget(self, session: str) -> None:
        self._base.execute(
            "DELETE FROM texts WHERE rowid IN (SELECT row FROM entries WHERE session = ?)",
            (session,),
        )
        self._base.execute("DELETE FROM entries WHERE session = ?", (session,))
        self._base.execute("DELETE FROM sessions WHERE id = ?", (session,))


def _searchable(message: Message) -> str:
    """What people said and the model said and called; not what tools answered."""
    texts = [part.text for part in message.parts if isinstance(part, Text)]
    texts += [
        f"{part.name} {part.arguments[:CALL_TEXT]}"
        for part in message.parts
        if isinstance(part, ToolCall)
    ]
    return "\n".join(texts).replace(MATCH_START, "").replace(MATCH_END, "")


def _open(path: Path) -> sqlite3.Connection:
    for attempt in (1, 2):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        base = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)
        try:
            base.execute("PRAGMA journal_mode = WAL")
            base.execute("PRAGMA synchronous = NORMAL")
            base.execute("PRAGMA secure_delete = ON")  # a removed session is gone from here too
            version = base.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                version = _make(base)
            if version == LAYOUT:
                base.execute("SELECT count(*) FROM sessions").fetchone()
                return base
        except sqlite3.DatabaseError as error:
            if attempt == 2 or isinstance(error, sqlite3.OperationalError):
                base.close()
                raise
        base.close()
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{path}{suffix}")
    raise sqlite3.DatabaseError("it cannot be made")


def _make(base: sqlite3.Connection) -> int:
    """Make the tables unless another process just did; the layout there is then."""
    base.execute("BEGIN IMMEDIATE")
    version: int = base.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        for statement in _SCHEMA.split(";"):
            base.execute(statement)
        version = LAYOUT
    base.execute("COMMIT")
    return version

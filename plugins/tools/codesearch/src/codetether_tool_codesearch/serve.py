"""The child that indexes and answers: `python -m codetether_tool_codesearch.serve ROOT PLACE FD`.

One JSON line in: {"id", "query", "paths", "within", "include", "language", "limit", "seconds", "lines"}; out: lines with
the same id, {"progress": [read, all]} and at last {"found": [...], ...} or {"failed": text}. Between questions it goes
on indexing. It ends with its socket, or when it was not asked for a while. Parsers crash and hold the interpreter's
lock, numpy and the model take memory: nothing of that is in the agent's process.
"""

from __future__ import annotations

import fnmatch
import os
import select
import socket
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
from codetether.api import ToolError, Workspace

from codetether_tool_codesearch import meaning, source, store
from codetether_tool_codesearch.indexer import Indexer
from codetether_tool_codesearch.languages import language_of
from codetether_tool_codesearch.ranking import search

IDLE = 900.0  # seconds
TELL = 1.0
NICE = 5
COLUMNS = 160


class Asked(msgspec.Struct):
    """One question."""

    id: int
    query: str
    paths: list[str]
    within: str = ""
    include: list[str] = []
    language: str = ""
    limit: int = 8
    seconds: float = 10.0
    lines: int = 4


class Service:
    """An index and whoever asks it."""

    def __init__(self, root: str, place: str, ours: socket.socket) -> None:
        self._workspace = Workspace(Path(root))
        self._ours = ours
        self._buffer = b""
        self._place = place
        found = meaning.folder() if place.endswith("-meaning") else ""
        self._model = meaning.Model(found) if found else None
        self._open()

    def _open(self) -> None:
        try:
            self._store = store.Store(self._place)
        except sqlite3.Error as error:
            if not store.is_broken(error):
                raise
            store.discard(self._place)
            self._store = store.Store(self._place)
        self._indexer = Indexer(self._workspace, self._store, self._model)
        self._vectors = meaning.Vectors(self._model) if self._model is not None else None

    def _anew(self) -> None:
        self._indexer.close()
        self._store.close()
        store.discard(self._place)
        self._open()

    def run(self) -> None:
        """Answer until the socket ends or nobody asks."""
        busy = False
        while True:
            if select.select([self._ours], [], [], 0 if busy else IDLE)[0]:
                if not self._receive():
                    return
                busy = bool(self._indexer.pending)
            elif busy:
                try:
                    busy = self._indexer.step()
                except sqlite3.Error:
                    busy = False  # told with the next question
            else:
                return

    def _receive(self) -> bool:
        data = self._ours.recv(1 << 20)
        self._buffer += data
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            self._answer(msgspec.json.decode(line, type=Asked))
        return bool(data)

    def _say(self, document: dict[str, Any]) -> None:
        self._ours.sendall(msgspec.json.encode(document) + b"\n")

    def _answer(self, asked: Asked) -> None:
        try:
            if self._store.replaced:
                self._indexer.close()
                self._store.close()
                self._open()
            answer = self._found(asked)
        except sqlite3.Error as error:
            if not store.is_broken(error):
                self._say({"id": asked.id, "failed": f"the index cannot be used now: {error}"})
                return
            self._anew()
            answer = self._found(asked)
        self._say({"id": asked.id, **answer})

    def _found(self, asked: Asked) -> dict[str, Any]:
        paths = [path for path in asked.paths if source.wanted(path)]
        self._index(asked, paths)
        waiting = set(self._indexer.pending)
        files = self._store.files
        among = {files[path].id for path in paths if path in files and _fits(path, asked)}
        if self._vectors is not None:
            self._load(self._vectors)
        everything = len(among) == len(files)
        found = search(
            self._store, self._vectors, asked.query, asked.limit, None if everything else among
        )
        return {
            "found": [self._told(each, asked.lines, waiting) for each in found],
            "read": len(paths) - len(waiting),
            "files": len(paths),
            "searched": len(among),
            "meaning": self._vectors is not None,
        }

    def _index(self, asked: Asked, paths: list[str]) -> None:
        """Up to date before the answer, if that is done in the time given."""
        until = time.monotonic() + asked.seconds
        told = time.monotonic()
        self._indexer.plan(paths)
        while self._indexer.pending and time.monotonic() < until:
            if not self._indexer.step():
                time.sleep(0.1)  # another process indexes; what it has done is ours too
                self._indexer.plan(paths)
            if time.monotonic() - told > TELL:
                told = time.monotonic()
                left = len(self._indexer.pending)
                self._say({"id": asked.id, "progress": [len(paths) - left, len(paths)]})
            if select.select([self._ours], [], [], 0)[0]:
                return  # the next question waits, or nobody does any more

    def _load(self, vectors: meaning.Vectors) -> None:
        now = {file.id: file for file in self._store.files.values() if file.symbols}
        known = vectors.known()
        vectors.drop(known - set(now))
        for key in sorted(set(now) - known):
            packed = self._store.vectors(key)
            if len(packed) == now[key].symbols * meaning.SIZE:
                vectors.put(key, now[key].first, packed)

    def _told(self, found: store.Found, lines: int, waiting: set[str]) -> dict[str, Any]:
        name = f"{found.container}.{found.name}" if found.container else found.name
        return {
            "path": found.path,
            "first": found.first,
            "last": found.last,
            "kind": found.kind,
            "name": name,
            "signature": found.signature,
            "stale": found.path in waiting,
            "lines": self._lines(found, lines),
        }

    def _lines(self, found: store.Found, lines: int) -> list[str]:
        try:
            with self._workspace.open(found.path) as file:
                data = file.read(source.CODE_SIZE)
        except (ToolError, OSError):
            return []
        every = data.decode("utf-8", "replace").split("\n")
        shown = every[found.first - 1 : min(found.last, found.first - 1 + lines)]
        return [line[:COLUMNS].rstrip() for line in shown]


def _fits(path: str, asked: Asked) -> bool:
    if asked.within and path != asked.within and not path.startswith(f"{asked.within}/"):
        return False
    if asked.language and language_of(path) not in _spoken(asked.language):
        return False
    name = path.rpartition("/")[2]
    # fnmatch is safe here: its expressions do not go back over what a star took, and this is not the agent's process.
    return not asked.include or any(
        fnmatch.fnmatchcase(path if "/" in pattern else name, pattern.replace("**/", "*"))
        for pattern in asked.include
    )


def _spoken(language: str) -> set[str]:
    return {"typescript", "tsx"} if language == "typescript" else {language}


def main(root: str, place: str, number: str) -> None:
    """Serve on the socket with this number."""
    os.nice(NICE)
    os.umask(0o077)
    with socket.socket(fileno=int(number)) as ours:
        Service(root, place, ours).run()


if __name__ == "__main__":
    main(*sys.argv[1:])

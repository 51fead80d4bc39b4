"""Keeping the index up to date, in slices so that a question never waits long."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Sequence

from codetether.api import ToolError, Workspace

from codetether_tool_codesearch import meaning, source
from codetether_tool_codesearch.source import Stamp
from codetether_tool_codesearch.store import Indexed, Store

SLICE = 0.25  # seconds
FRESH = 1_000_000_000  # ns; a file written so recently may be written again within one tick of the clock
STRIKES = 2  # times a file may have ended the process that read it
DOING = "doing"
GONE = Stamp(-1, -1, -1)


class Indexer:
    """Reads files of `workspace` into `store`."""

    def __init__(self, workspace: Workspace, store: Store, model: meaning.Model | None) -> None:
        self.workspace = workspace
        self.store = store
        self._model = model
        self._pending: list[tuple[str, Stamp]] = []
        self._doing = os.open(
            os.path.join(store.place, DOING), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        self._struck = self._last_words()

    @property
    def pending(self) -> Sequence[str]:
        """The files still to be read, in the order in which they will be."""
        return [path for path, _ in self._pending]

    def close(self) -> None:
        """Let go of the note about what is being read."""
        os.close(self._doing)

    def plan(self, paths: Sequence[str]) -> None:
        """Look at every one of `paths`: what is new or changed is to be read, what is in none of them forgotten."""
        self.store.refresh()
        known = self.store.files
        self._pending = []
        for path in paths:
            try:
                now = source.stamp(os.lstat(os.path.join(self.workspace.root, path)))
            except OSError:
                continue
            before = known.get(path)
            if before is None or before.stamp != now:
                self._pending.append((path, now))
        gone = set(known).difference(paths)
        if gone and self.store.acquire():
            with self.store.change():
                self.store.remove(sorted(gone))

    def step(self) -> bool:
        """Read files for a moment; whether it could (not while another process indexes, or with nothing to do)."""
        if not self._pending or not self.store.acquire():
            return False
        until = time.monotonic() + SLICE
        read: list[Indexed] = []
        done = 0
        while done < len(self._pending) and time.monotonic() < until:
            path, _ = self._pending[done]
            done += 1
            known = self.store.files.get(path)
            stamp, data = self._read(path)
            if known is not None and known.stamp == stamp and stamp.mtime >= 0:
                continue  # another process was quicker
            digest = hashlib.blake2b(data, digest_size=16).digest()
            if known is not None and self.store.digest(path) == digest:
                self.store.touch(path, stamp)
                continue
            self._note(path)
            symbols = source.entries(path, data) if self._struck.get(path, 0) < STRIKES else []
            read.append(Indexed(path, stamp, digest, symbols, b""))
        self._keep(read)
        self._note("")
        del self._pending[:done]
        if not self._pending:
            self.store.release()
        return True

    def _keep(self, read: list[Indexed]) -> None:
        packed = b""
        if self._model is not None:
            texts = [meaning.text_of(each.path, symbol) for each in read for symbol in each.symbols]
            packed = self._model.packed(texts) if texts else b""
        at = 0
        with self.store.change():
            for each in read:
                end = at + len(each.symbols) * meaning.SIZE
                self.store.put(each._replace(vectors=packed[at:end]))
                at = end

    def _read(self, path: str) -> tuple[Stamp, bytes]:
        """A file and its stamp; no content for what is no regular file in the workspace, or too large."""
        try:
            with self.workspace.open(path) as file:
                stamp = source.stamp(os.fstat(file.fileno()))
                if time.time_ns() - stamp.mtime < FRESH:
                    stamp = stamp._replace(mtime=-1)
                if stamp.size > source.largest(path):
                    return stamp, b""
                pieces = []
                while piece := file.read(1 << 20):
                    pieces.append(piece)
                    if len(pieces) > 2:
                        return stamp, b""  # it grows while we read
                return stamp, b"".join(pieces)
        except (ToolError, OSError):
            with contextlib.suppress(OSError):
                return source.stamp(os.lstat(os.path.join(self.workspace.root, path))), b""
            return GONE, b""

    # --- what a crash leaves behind ---
    def _note(self, path: str) -> None:
        """Which file is being read: should that end us, the next process knows."""
        line = f"{self._struck.get(path, 0) + 1} {path}\n" if path else "\n"
        os.pwrite(self._doing, line.encode("utf-8", "surrogateescape"), 0)

    def _last_words(self) -> dict[str, int]:
        line = os.pread(self._doing, 8192, 0).partition(b"\n")[0].decode("utf-8", "surrogateescape")
        count, _, path = line.partition(" ")
        return {path: int(count)} if path and count.isdecimal() else {}

"""What each turn changed: contents before and after, beside the session's transcript, apart from any git history."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec
from codetether.api import Workspace, write_atomic
from msgspec import Struct


class Kept(Struct, omit_defaults=True):
    """One file a turn changed: digests and modes, None where there was no file."""

    turn: int
    path: str
    before: str | None
    after: str | None
    mode_before: int = 0
    mode_after: int = 0
    undone: bool = False


class Checkpoints:
    """The list of one session, in `folder`; every content lies there under its digest."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._list = folder / "changes.json"
        self._lock = threading.Lock()

    def load(self) -> list[Kept]:
        """All changes, the oldest first, one for each file and turn. Raises ValueError for a damaged list."""
        if not self._list.exists():
            return []
        return msgspec.json.decode(self._list.read_bytes(), type=list[Kept])

    def store(self, kept: list[Kept]) -> None:
        """Write the list."""
        write_atomic(self._list, msgspec.json.encode(kept), 0o600)

    def forget_from(self, turn: int) -> None:
        """Forget `turn` and all later ones: a copy of a session that ends earlier has turns of its own."""
        with self._lock:
            kept = self.load()
            if rest := [each for each in kept if each.turn >= turn]:
                self.store([each for each in kept if each not in rest])

    def content(self, digest: str | None) -> bytes | None:
        """What was kept under `digest`. Raises OSError when it is gone."""
        return None if digest is None else (self._folder / digest).read_bytes()

    def add(  # noqa: PLR0917 - what Workspace.keep is told, and where
        self,
        workspace: Workspace,
        turn: int,
        path: str,
        before: bytes | None,
        mode: int,
        after: bytes | None,
    ) -> None:
        """Keep one change; of several to a file in one turn, the first content and the last. Blocks; thread-safe."""
        with self._lock:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = workspace.real(path)
            new = self._put(workspace, after)
            mode_after = workspace.stat(path).st_mode & 0o7777 if after is not None else 0
            kept = self.load()
            known = next(
                (k for k in kept if (k.turn, k.path, k.undone) == (turn, path, False)), None
            )
            if known is not None:
                known.after, known.mode_after = new, mode_after
            else:
                old = self._put(workspace, before)
                kept.append(Kept(turn, path, old, new, mode, mode_after))
            self.store(kept)

    def _put(self, workspace: Workspace, data: bytes | None) -> str | None:
        if data is None:
            return None
        digest = workspace.digest(data)
        if not (self._folder / digest).exists():
            write_atomic(self._folder / digest, data, 0o600)
        return digest

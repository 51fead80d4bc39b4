"""What each turn changed: contents before and after, beside the session's transcript, apart from any git history."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
from codetether.api import ToolError, Workspace, write_atomic
from msgspec import UNSET, Struct, UnsetType


class Kept(Struct, omit_defaults=True):
    """One file a turn changed: digests and modes, None where there was no file.

    `earlier`: what it held before the last change, until the turn has ended: who is killed may not have made that one.
    `mode_after` is known from then on; 0 before.
    """

    turn: int
    path: str
    before: str | None
    after: str | None
    mode_before: int = 0
    mode_after: int = 0
    undone: bool = False
    earlier: str | UnsetType | None = UNSET

    def left(self, digest: str | None) -> bool:
        """Whether the turn left the file with this content, as far as that is known."""
        return digest in (self.after, self.earlier)


class Checkpoints:
    """The list of one session, in `folder`; every content lies there under its digest."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._list = folder / "changes.json"
        self._lock = threading.Lock()
        self._open = False  # there are changes whose turn has not ended

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
    ) -> Callable[[], None]:
        """Keep one change that is about to be made; of several to a file in one turn, the first content and the last.
        Returns what forgets it again. Blocks; thread-safe.
        """
        with self._lock:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = workspace.real(path)
            new = self._put(workspace, after)
            kept = self.load()
            known = _find(kept, turn, path)
            if known is not None:
                self._replace(
                    kept, known, msgspec.structs.replace(known, after=new, earlier=known.after)
                )
            else:
                old = self._put(workspace, before)
                self._replace(kept, None, Kept(turn, path, old, new, mode, earlier=old))
            self._open = True
        return lambda: self._put_back(turn, path, known)

    def _put_back(self, turn: int, path: str, known: Kept | None) -> None:
        with self._lock:
            kept = self.load()
            self._replace(kept, _find(kept, turn, path), known)

    def _replace(self, kept: list[Kept], old: Kept | None, new: Kept | None) -> None:
        """Store the list with `new` in the place of `old`; None is no place, or nothing."""
        at = kept.index(old) if old is not None else len(kept)
        self.store([*kept[:at], *([new] if new is not None else ()), *kept[at + 1 :]])

    def settle(self, workspace: Workspace, turn: int) -> None:
        """The turn has ended: what it changed is made. Blocks."""
        with self._lock:
            if not self._open:
                return
            self._open = False
            kept = self.load()
            for each in kept:
                if each.turn == turn and not each.undone:
                    each.earlier = UNSET
                    each.mode_after = _mode(workspace, each.path)
            self.store(kept)

    def _put(self, workspace: Workspace, data: bytes | None) -> str | None:
        if data is None:
            return None
        digest = workspace.digest(data)
        if not (self._folder / digest).exists():
            write_atomic(self._folder / digest, data, 0o600)
        return digest


def _find(kept: list[Kept], turn: int, path: str) -> Kept | None:
    return next((k for k in kept if (k.turn, k.path, k.undone) == (turn, path, False)), None)


def _mode(workspace: Workspace, path: str) -> int:
    """The permission bits of a file; 0 when it is gone."""
    try:
        return workspace.stat(path).st_mode & 0o7777
    except ToolError:
        return 0

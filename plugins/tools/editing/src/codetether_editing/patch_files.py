"""A patch put into the files of a workspace, in memory: drafts that `several.commit` writes, all or none."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from codetether.api import ToolError, Workspace

from codetether_editing.patch import FilePatch
from codetether_editing.patch_lines import patch_bytes
from codetether_editing.several import Draft


async def patched(
    files: Sequence[FilePatch], workspace: Workspace
) -> tuple[list[Draft], list[str]]:
    """The files as they will be, and what was not as the patch says (offsets, fuzz, blanks).

    Raises ToolError, which names the file: as `patch_bytes`, and CONFLICT, NOT_FOUND, DENIED.
    """
    patching = _Patching(workspace)
    for file in files:
        try:
            await patching.add(file)
        except ToolError as error:
            name = file.new or file.old
            raise ToolError(
                f"{name}: {error.text} Nothing was changed.", error.code, **error.meta
            ) from None
    return patching.drafts(), patching.notes


class _Patching:
    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._drafts: dict[str, Draft] = {}
        self._made: set[str] = set()
        self._left: set[str] = set()
        self.notes: list[str] = []

    def drafts(self) -> list[Draft]:
        """Every file that changes. Raises ToolError when one would be made where another is."""
        for key in self._made - self._left:
            if self._drafts[key].before is not None:
                raise ToolError(f"{key} exists already. Nothing was changed.", "CONFLICT")
        return [
            draft
            for draft in self._drafts.values()
            if draft.before != draft.after or draft.executable is not None
        ]

    async def add(self, file: FilePatch) -> None:
        """Take in one part of the patch."""
        if file.old is None or self._is_made(file):
            data, _ = patch_bytes(b"", file.hunks, exact=True)
            await self._make(file.new or "", data, executable=file.executable)
            return
        old = file.old
        if file.other and not self._exists(old) and self._exists(file.other):
            old = file.other
        draft, before = await self._source(old)
        after, notes = patch_bytes(before, file.hunks, exact=file.exact)
        self.notes += [f"{file.new or old}, {note}" for note in notes]
        if draft.changed and (notes or not file.hunks):
            raise ToolError("It has changed since you read it. Read it again.", "CONFLICT")
        if file.new is None:
            if after and (file.exact or file.hunks):
                raise ToolError("The patch removes it, but not all of its lines.", "CONFLICT")
            self._leave(old)
        elif file.old == file.new:
            draft.after = after
            self._set_executable(draft, old, file.executable)
        else:
            mode = stat.S_IMODE(self._workspace.stat(old).st_mode) if self._exists(old) else None
            if not file.copy:
                self._leave(old)
            await self._make(
                file.new, after, executable=file.executable, mode=mode, origin=(old, before)
            )

    def _is_made(self, file: FilePatch) -> bool:
        """Whether a diff without git's headers makes the file, as GNU diff -N writes it."""
        first = file.hunks[0] if file.hunks else None
        return (
            first is not None
            and first.start == 0
            and not first.old
            and not any(map(self._exists, file.paths))
        )

    # --- the files so far ---
    def _key(self, path: str) -> str:
        relative = self._workspace.relative(path)
        if os.path.islink(os.path.join(self._workspace.root, relative)):
            self._workspace.real(path)
            raise ToolError("It is a symbolic link: patch the file it leads to.", "DENIED")
        return self._workspace.real(path)

    def _exists(self, path: str) -> bool:
        return os.path.lexists(os.path.join(self._workspace.root, self._workspace.relative(path)))

    async def _draft(self, path: str) -> Draft:
        key = self._key(path)
        if key not in self._drafts:
            self._drafts[key] = await self._from_disk(path)
        return self._drafts[key]

    async def _from_disk(self, path: str) -> Draft:
        workspace = self._workspace
        name = workspace.relative(path)
        if not self._exists(path):
            return Draft(name, None, None)
        before = await workspace.read(path)
        digest, seen = workspace.digest(before), workspace.last_seen(path)
        return Draft(name, before, before, digest, seen == digest, seen not in {None, digest})

    async def _source(self, path: str) -> tuple[Draft, bytes]:
        """The draft of a file the patch changes, and its content: what earlier parts left, but what was there before
        when an earlier part moves another file to this name.
        """
        draft = await self._draft(path)
        key = self._key(path)
        data = draft.before if key in self._made and draft.before is not None else draft.after
        if data is None:
            if draft.before is None:
                await self._workspace.read(path)  # says what is similar
            raise ToolError("An earlier part of the patch removes it.", "NOT_FOUND")
        return draft, data

    def _leave(self, path: str) -> None:
        key = self._key(path)
        self._left.add(key)
        if key not in self._made or self._drafts[key].before is None:
            self._drafts[key].after = None
            self._made.discard(key)

    async def _make(
        self,
        path: str,
        data: bytes,
        *,
        executable: bool | None,
        mode: int | None = None,
        origin: tuple[str, bytes] | None = None,
    ) -> None:
        draft = await self._draft(path)
        key = self._key(path)
        if key in self._made:
            raise ToolError("The patch makes it twice.", "INVALID_ARGUMENT")
        self._made.add(key)
        draft.after, draft.executable, draft.mode, draft.known = data, executable, mode, True
        if origin is not None:
            draft.origin = origin
            self._drafts[self._key(origin[0])].moved = True

    def _set_executable(self, draft: Draft, path: str, executable: bool | None) -> None:
        if executable is not None and self._exists(path):
            has = bool(self._workspace.stat(path).st_mode & 0o111)
            draft.executable = executable if has != executable else draft.executable

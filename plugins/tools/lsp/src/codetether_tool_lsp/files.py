"""The files of one server: what it has open and knows, and what it has said of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
from codetether.api import ToolError

from codetether_tool_lsp.document import Open, Stamp, TooLarge, path_of, text_of
from codetether_tool_lsp.problems import KEPT, problems
from codetether_tool_lsp.table import language_of

if TYPE_CHECKING:
    from codetether.api import Workspace

    from codetether_tool_lsp.server import Server

OPEN = 64  # files one server has open
ELSEWHERE = 1_000  # files whose published problems are kept though they are not open


class Files:
    """Keeps the server's view of files the disk's. `open`: by path, the last used last; `elsewhere`: problems it
    published, unread, of files that are not open.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self.open: dict[Path, Open] = {}
        self.elsewhere: dict[Path, Any] = {}
        self._syncing = trio.Lock()

    async def show(self, path: Path, text: str | None, workspace: Workspace) -> Open:
        """Open a file, or tell what is in it now: `text`, or what is on the disk. Raises ToolError, ServerGone."""
        await self._server.ready()
        self._server.used = trio.current_time()
        async with self._syncing:
            return await self._show(path, text, workspace)

    async def _show(self, path: Path, text: str | None, workspace: Workspace) -> Open:
        stamp = Stamp(path if text is None else None)  # a given text may no longer be the file's
        known = self.open.pop(path, None)
        if known is not None:
            self.open[path] = known  # the last used is the last in order
        if text is None:
            if known is not None and known.stamp == stamp and stamp.value:
                return known
            text = await content(path, workspace)
        if known is None:
            return await self._first(path, text, stamp)
        if known.text == text:
            known.stamp = stamp
            return known
        known.change(text, stamp)
        place = {"uri": path.as_uri(), "version": known.version}
        await self._notify(
            "textDocument/didChange", {"textDocument": place, "contentChanges": [{"text": text}]}
        )
        await self._saved(path, text)
        return known

    async def _first(self, path: Path, text: str, stamp: Stamp) -> Open:
        if len(self.open) >= OPEN:
            await self._close(next(iter(self.open)))
        opened = self.open[path] = Open(path, text, self._server.encoding, stamp)
        language = self._server.found.known.language or language_of(path.suffix.lower())
        document = {"uri": path.as_uri(), "languageId": language, "version": 1, "text": text}
        self.elsewhere.pop(path, None)
        await self._notify("textDocument/didOpen", {"textDocument": document})
        return opened

    async def _saved(self, path: Path, text: str) -> None:
        sync = self._server.said("textDocumentSync")
        save = sync.get("save") if isinstance(sync, dict) else None
        if save:
            params: dict[str, Any] = {"textDocument": {"uri": path.as_uri()}}
            if isinstance(save, dict) and save.get("includeText"):
                params["text"] = text
            await self._notify("textDocument/didSave", params)

    async def refresh(self, workspace: Workspace) -> None:
        """Tell it what has changed on the disk in the files it has open. Raises ServerGone."""
        async with self._syncing:
            for opened in list(self.open.values()):
                stamp = Stamp(opened.path)
                if not stamp.value:
                    await self._close(opened.path)
                elif stamp != opened.stamp:
                    try:
                        await self._show(opened.path, None, workspace)
                    except ToolError:
                        await self._close(opened.path)

    async def _close(self, path: Path) -> None:
        del self.open[path]
        await self._notify("textDocument/didClose", {"textDocument": {"uri": path.as_uri()}})

    async def changed(self, changes: list[tuple[Path, int]]) -> None:
        """Files made (1), changed (2) or removed (3), open or not. Raises ServerGone."""
        await self._notify(
            "workspace/didChangeWatchedFiles",
            {"changes": [{"uri": path.as_uri(), "type": kind} for path, kind in changes]},
        )

    async def _notify(self, method: str, params: Any) -> None:
        await self._server.notify(method, params)

    def published(self, params: dict[str, Any]) -> None:
        """The server says what it found wrong with a file."""
        path = path_of(params.get("uri"))
        if path is None:
            return
        opened = self.open.get(path)
        if opened is None:
            if path in self.elsewhere or len(self.elsewhere) < ELSEWHERE:
                self.elsewhere[path] = params.get("diagnostics")
            return
        version = params.get("version")
        if isinstance(version, int) and version < opened.version:
            return
        raw = params.get("diagnostics")
        opened.raw = raw[:KEPT] if isinstance(raw, list) else []
        opened.hear(problems(opened.raw, opened.places, self._server.name), version)


async def content(path: Path, workspace: Workspace) -> str:
    """The text of a file on the disk. Raises ToolError."""
    from codetether_editing import NotText

    try:
        return text_of(await workspace.read(str(path)))
    except TooLarge as error:
        raise ToolError(str(error), "INVALID_ARGUMENT") from None
    except NotText:
        raise ToolError(f"{path.name} is no text file.", "INVALID_ARGUMENT") from None

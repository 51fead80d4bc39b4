"""What one call needs: the servers for its file with the file shown to them, and files to quote from."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import trio
from codetether.api import CodetetherError, ToolError

from codetether_tool_lsp import find
from codetether_tool_lsp.connection import ServerError, ServerGone
from codetether_tool_lsp.files import content
from codetether_tool_lsp.positions import Places, characters
from codetether_tool_lsp.table import servers

if TYPE_CHECKING:
    from codetether.api import Session

    from codetether_tool_lsp.crew import Crew
    from codetether_tool_lsp.document import Open
    from codetether_tool_lsp.reading import Spot
    from codetether_tool_lsp.server import Server
    from codetether_tool_lsp.settings import LspSettings


class Shown(NamedTuple):
    """A server that knows the file of the call, and how it knows it."""

    server: Server
    opened: Open


class Desk:
    """Serves one call."""

    def __init__(self, crew: Crew, settings: LspSettings, session: Session) -> None:
        self.crew = crew
        self.session = session
        self.workspace = session.workspace
        self.known = servers(settings.servers)
        self._places: dict[Path, Places | None] = {}

    # --- servers ---
    def path(self, path: str) -> Path:
        """The file a model means. Raises ToolError for one outside the workspace."""
        return self.session.directory / self.workspace.relative(path)

    async def have(self, path: Path) -> list[Server]:
        """The servers for a file, ready. Raises ToolError when there is none, or none of them works."""
        if why := find.may_start(self.session):
            raise ToolError(f"No language server is started: {why}.", "DENIED")
        found = await trio.to_thread.run_sync(find.for_file, path, self.known, self.session)
        if not found:
            why = await trio.to_thread.run_sync(find.missing, path, self.known, self.session)
            raise ToolError(why, "NOT_FOUND")
        ready: dict[str, Server] = {}
        failed: list[str] = []

        async def start(each: find.Found) -> None:
            try:
                server = await self.crew.get(each, self.session)
                await server.ready()
                ready[each.known.name] = server
            except ServerGone as gone:
                failed.append(f"{each.known.name}: {gone.why}")
            except CodetetherError as error:
                failed.append(f"{error.message}; {error.hint}".rstrip("; "))

        async with trio.open_nursery() as nursery:
            for each in found:
                nursery.start_soon(start, each)
        if not ready:
            raise ToolError(f"The language server failed. {' | '.join(failed)}", "EXECUTION_FAILED")
        return [ready[each.known.name] for each in found if each.known.name in ready]

    async def show(self, path: Path) -> list[Shown]:
        """The servers for a file, told of everything that changed on the disk. Raises ToolError."""
        await content(
            path, self.workspace
        )  # not there, no text, too large: said before anything starts
        shown = []
        for server in await self.have(path):
            try:
                await server.files.refresh(self.workspace)
                shown.append(Shown(server, await server.files.show(path, None, self.workspace)))
            except ServerGone as gone:
                if not shown and server.name:
                    last = gone.why
                    continue
        if not shown:
            raise ToolError(f"The language server failed: {last}", "EXECUTION_FAILED")
        return shown

    async def first(self, shown: list[Shown], method: str, params: Any) -> tuple[Shown, Any]:
        """The first answer that is not empty of the servers that know `method`. `params`: made for one of them.

        Raises ToolError when none knows it or all fail.
        """
        able = [each for each in shown if each.server.can(method)]
        if not able:
            names = " and ".join(each.server.name for each in shown)
            raise ToolError(f"{names} cannot do that.", "INVALID_ARGUMENT")
        failures = []
        answered: tuple[Shown, Any] | None = None
        for each in able:
            try:
                answer = await each.server.ask(method, params(each))
            except (ServerError, ServerGone) as error:
                failures.append(f"{each.server.name}: {told(error)}")
                continue
            if answer:
                return each, answer
            answered = answered or (each, answer)
        if answered is None:
            raise ToolError("; ".join(failures), "EXECUTION_FAILED")
        return answered

    # --- quoting ---
    async def places(self, path: Path, encoding: str) -> Places | None:
        """The lines of a file in the workspace; None for what may not be read, or is no text."""
        if path not in self._places:
            self._places[path] = None
            if path.is_relative_to(self.session.directory) and not self.hidden(path):
                with contextlib.suppress(ToolError):
                    self._places[path] = Places(await content(path, self.workspace), encoding)
        return self._places[path]

    def hidden(self, path: Path) -> bool:
        """Whether a rule forbids to read it."""
        return bool(self.session.permissions.hidden([self.name(path)], "lsp"))

    def name(self, path: Path) -> str:
        """A path as the model reads it: relative to the workspace if it is inside."""
        if path.is_relative_to(self.session.directory):
            return os.path.relpath(path, self.session.directory)
        return str(path)

    async def where(self, spot: Spot, encoding: str) -> tuple[str, str, str]:
        """File, `line:column` counted from 1, and the text of the line if it may be quoted."""
        if spot.path is None:
            return spot.uri, f"{spot.start['line'] + 1}:1", ""
        places = await self.places(spot.path, encoding)
        line = places.line(spot.start["line"]) if places is not None else ""
        column = spot.start["character"]
        if places is not None:
            column = characters(line, column, encoding)
        return self.name(spot.path), f"{spot.start['line'] + 1}:{column + 1}", line.strip()[:200]


def told(error: ServerError | ServerGone) -> str:
    """A failure in words."""
    return error.message if isinstance(error, ServerError) else error.why

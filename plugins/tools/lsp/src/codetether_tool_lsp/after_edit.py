"""New problems after an edit: what servers find wrong with the touched files that was not wrong before.

Before the edit each file is shown to its servers as it was, while the edit goes on; after it as it is now, and the
two lists are compared. What is not known in time is told with the next edit.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from codetether.api import CodetetherError, ToolError

from codetether_tool_lsp import find
from codetether_tool_lsp.connection import ServerGone
from codetether_tool_lsp.files import content
from codetether_tool_lsp.problems import Problem, in_order, new
from codetether_tool_lsp.server import Server
from codetether_tool_lsp.watch import MADE, REMOVED

if TYPE_CHECKING:
    from codetether_tool_lsp.desk import Desk
    from codetether_tool_lsp.settings import LspSettings

FILES = 6  # of one edit
ERRORS, WARNINGS = 10, 4  # told of one edit
ERROR, WARNING = 1, 2
PATIENCE = 60.0  # seconds a server may take, when nobody waits for it
OWED = 20  # files whose problems are told later


class Touched:
    """One file and one server: what it found before the edit (None: not known), and what it finds now.

    `learnt` is set when `was` is known or never will be.
    """

    def __init__(self, path: Path, server: Server) -> None:
        self.path = path
        self.server = server
        self.made = not path.exists()
        self.learnt = trio.Event()
        self.was: list[Problem] | None = None

    async def learn(self, text: str, desk: Desk) -> None:
        """What is wrong with the file as it was."""
        try:
            opened = await self.server.files.show(self.path, text, desk.workspace)
            self.was = await self.server.problems(opened, PATIENCE)
        except (ServerGone, ToolError):
            self.was = None
        finally:
            self.learnt.set()

    async def show(self, desk: Desk) -> None:
        """Tell the server of the edit, once it has said what it found before."""
        await self.learnt.wait()
        try:
            if not self.path.exists():
                await self.server.files.refresh(desk.workspace)
                await self.server.files.changed([(self.path, REMOVED)])
                return
            await self.server.files.show(self.path, None, desk.workspace)
            if self.made:
                await self.server.files.changed([(self.path, MADE)])
        except (ServerGone, ToolError):
            self.was = None

    async def compare(self, desk: Desk) -> list[Problem]:
        """What is wrong with the file now and was not before; nothing when that cannot be known."""
        if self.was is None or not self.path.exists():
            return []
        try:
            opened = await self.server.files.show(self.path, None, desk.workspace)
            now = await self.server.problems(opened, PATIENCE)
        except (ServerGone, ToolError):
            return []
        return [] if now is None else new(self.was, now)


async def before(paths: Iterable[str], desk: Desk, settings: LspSettings) -> list[Touched]:
    """Begin to learn what is wrong with files that are about to be edited. Waits for no server."""
    if find.may_start(desk.session):
        return []
    touched = []
    for name in list(dict.fromkeys(paths))[:FILES]:
        try:
            path = desk.path(name)
            text = await content(path, desk.workspace) if path.exists() else ""
            servers = await _servers(path, desk, settings)
        except (ToolError, CodetetherError):
            continue
        for server in servers:
            each = Touched(path, server)
            touched.append(each)
            desk.crew.beside(partial(each.learn, text, desk))
    return touched


async def _servers(path: Path, desk: Desk, settings: LspSettings) -> list[Server]:
    found = await trio.to_thread.run_sync(find.for_file, path, desk.known, desk.session)
    if settings.on_edit == "running":
        found = [each for each in found if desk.crew.running(each)]
    servers = []
    for each in found:
        if desk.crew.rests(each):
            continue
        try:
            servers.append(await desk.crew.get(each, desk.session))
        except CodetetherError:
            continue  # it fell too often: whoever asks for it is told
    return servers


async def after(
    touched: list[Touched], owed: list[Touched], desk: Desk, settings: LspSettings
) -> tuple[dict[str, list[Problem]], list[Touched]]:
    """New problems by file, of this edit and of those that are `owed`; and what is owed now."""
    starting = any(each.server.starting for each in touched)
    seconds = settings.first_seconds if starting else settings.edit_seconds
    told = {(each.path, each.server.name) for each in owed}
    every = [*owed, *(each for each in touched if (each.path, each.server.name) not in told)]
    found: dict[str, list[Problem]] = {}
    done: set[int] = set()

    async def of_one_server(mine: list[int]) -> None:
        for number in mine:
            await every[number].show(
                desk
            )  # all of an edit before any is judged: one may mend the other
        for number in mine:
            if problems := await every[number].compare(desk):
                found.setdefault(desk.name(every[number].path), []).extend(problems)
            done.add(number)

    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            for server in {id(each.server): each.server for each in every}.values():
                mine = [number for number, each in enumerate(every) if each.server is server]
                nursery.start_soon(of_one_server, mine)
    late = [each for number, each in enumerate(every) if number not in done]
    return found, late[-OWED:]


def report(found: dict[str, list[Problem]]) -> str:
    """The problems as the model reads them, errors first; nothing when there are none worth it."""
    every = [
        (problem.severity, name, problem)
        for name, each in sorted(found.items())
        for problem in in_order(each)
    ]
    errors = [item for item in every if item[0] == ERROR]
    warnings = [item for item in every if item[0] == WARNING]
    shown = [*errors[:ERRORS], *warnings[:WARNINGS]]
    if not shown:
        return ""
    lines = [f"{name}:{problem}" for _, name, problem in shown]
    rest = len(errors) + len(warnings) - len(shown)
    more = [f"... {rest} more (lsp diagnostics)"] if rest else []
    return "\n".join(["New problems after this edit:", *lines, *more])

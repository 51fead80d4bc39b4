"""Files changed behind a server's back, by commands or by the person: found before it is asked, and told."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from codetether.api import CodetetherError, ToolError, ripgrep

from codetether_tool_lsp.connection import ServerGone

if TYPE_CHECKING:
    from codetether_tool_lsp.desk import Desk
    from codetether_tool_lsp.server import Server

FILES = 20_000
FRESH = 1.0  # seconds in which the workspace is not looked through again
TOLD = 500
SHOWN = 40  # files open, beyond which new ones are only told
MADE, CHANGED, REMOVED = 1, 2, 3
Look = dict[str, tuple[int, int]]


async def notice_changes(desk: Desk) -> None:
    """Tell running servers which of their files were made, changed or removed since they were last told."""
    for server in desk.crew.all():
        if server.starting or trio.current_time() - server.looked < FRESH:
            continue
        now = await look(server)
        before, server.seen, server.looked = server.seen, now, trio.current_time()
        if before is None or now is None or not (changes := compared(before, now, server.root)):
            continue
        try:
            await server.files.changed(changes[:TOLD])
            for path, kind in changes:
                if kind == MADE and path.suffix in server.found.known.extensions:
                    await _shown(path, server, desk)
        except ServerGone:
            continue


async def _shown(path: Path, server: Server, desk: Desk) -> None:
    """Open a new file: servers take their time to look at what they are only told of."""
    if len(server.files.open) < SHOWN:
        with contextlib.suppress(ToolError):
            await server.files.show(path, None, desk.workspace)


async def first_look(server: Server) -> None:
    """What there is as the server starts, to compare with later."""
    server.seen, server.looked = await look(server), trio.current_time()


def compared(before: Look, now: Look, root: Path) -> list[tuple[Path, int]]:
    """What is different now."""
    made = [(root / name, MADE) for name in now.keys() - before.keys()]
    gone = [(root / name, REMOVED) for name in before.keys() - now.keys()]
    changed = [
        (root / name, CHANGED) for name in now.keys() & before.keys() if now[name] != before[name]
    ]
    return sorted((*made, *gone, *changed))


async def look(server: Server) -> Look | None:
    """Time and size of the files the server is for, and of those that mark a root; None when that cannot be told."""
    known = server.found.known
    names = [f"--glob=*{suffix}" for suffix in known.extensions] + [
        f"--glob={name}" for name in known.roots
    ]
    try:
        listed = await ripgrep(
            ["--files", *names], cwd=server.root, head=4_000_000, tail=0, timeout=5.0
        )
    except CodetetherError:
        return None
    if listed.timed_out or listed.truncated or listed.code > 1:
        return None
    return await trio.to_thread.run_sync(_stats, server.root, listed.output.splitlines()[:FILES])


def _stats(root: Path, names: list[str]) -> Look:
    found = {}
    for name in names:
        try:
            about = os.stat(root / name)
        except OSError:
            continue
        found[name] = (about.st_mtime_ns, about.st_size)
    return found

"""Instructions a repository carries for agents: AGENTS.md files from its root down to the working directory, and those
of directories below it once a tool touches something there.

Nearest wins, so it comes last. Where a directory has no AGENTS.md, its CLAUDE.md counts. They are the repository's
words: they shape style and habits, and never raise what the agent may do. Source: agents.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from codetether.beneath import below
from codetether.terminal import unhide

if TYPE_CHECKING:
    from codetether.session import Session

NAMES = ("AGENTS.md", "CLAUDE.md")
FILE_LIMIT = 32_768
TOTAL_LIMIT = 65_536
NESTED_LIMIT = 16_384  # bytes added to one tool result


def find(directory: Path, root: Path | None) -> list[Path]:
    """The instruction files between `root` (the repository; None: `directory` only) and `directory`, nearest last.
    Both without links.
    """
    top = str(directory if root is None else root)
    chain = [str(directory)]
    while chain[-1] != top and below(chain[-1], top) is not None:
        chain.append(os.path.dirname(chain[-1]))
    return [path for folder in reversed(chain) if (path := _in(folder, top)) is not None]


def _in(folder: str, top: str) -> Path | None:
    for name in NAMES:
        path = f"{folder}/{name}"
        if os.path.isfile(path) and below(os.path.realpath(path), top) is not None:
            return Path(path)
    return None


def text(paths: list[Path], root: Path, room: int = TOTAL_LIMIT) -> str:
    """The files as one block for the model, each under its path; cut at 32 KiB a file and `room` bytes in all, the
    nearest kept in full first.
    """
    blocks: list[str] = []
    for path in reversed(paths):
        with path.open("rb") as file:  # of any size, and not ours
            cut = file.read(min(FILE_LIMIT, room))
            size = os.fstat(file.fileno()).st_size
        room -= len(cut)
        body = unhide(cut.decode("utf-8", "replace")).strip()
        if len(cut) < size:
            body += f"\n[cut: {len(cut)} of {size} bytes]"
        blocks.append(f"{_title(path, root)}\n\n{body}")
    return "\n\n".join(reversed(blocks))


def _title(path: Path, root: Path) -> str:
    try:
        shown = path.resolve().relative_to(root.resolve())
    except ValueError:
        shown = path
    return f"# Instructions from {shown}"


class Nested:
    """What one session was told of the instructions below its directory. They are added to the result of the tool that
    first touches something beside or below them, so that the system text stays what prompt caches know.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._told: set[Path] = set()

    def forget(self) -> None:
        """The conversation became shorter; what is no longer in it is told again."""
        self._told.clear()

    async def beside(self, touched: Iterable[str]) -> str:
        """The instructions that count for these paths (as a tool takes them) and are not in the conversation yet."""
        root = self._session.directory
        found: dict[Path, None] = {}
        for path in touched:
            for each in _below(root / path, root):  # a few looks, less than a hop to a thread
                if each == (root / path).resolve():
                    self._told.add(each)  # it was asked for itself
                elif each not in self._told and not self._hidden(each):
                    self._told.add(each)  # at once: calls run side by side
                    found[each] = None
        new = [path for path in found if not self._in_conversation(path)]
        if not new:
            return ""
        return await trio.to_thread.run_sync(text, new, root, NESTED_LIMIT)

    def _hidden(self, path: Path) -> bool:
        relative = str(path.relative_to(self._session.directory))
        return bool(self._session.permissions.hidden([relative], "read_file"))

    def _in_conversation(self, path: Path) -> bool:
        title = _title(path, self._session.directory) + "\n"
        return any(
            title in result.text for message in self._session.context for result in message.results
        )


def _below(path: Path, root: Path) -> list[Path]:
    """The instruction files of the directories from below `root` to `path`, nearest last; none for a path outside."""
    try:
        real = os.path.realpath(path)
        folder = real if os.path.isdir(real) else os.path.dirname(real)
        if folder == str(root) or not folder.startswith(os.path.join(root, "")):
            return []
        return [found for found in find(Path(folder), root) if found.parent != root]
    except (OSError, RuntimeError, ValueError):  # a name nobody can have, a loop of links
        return []

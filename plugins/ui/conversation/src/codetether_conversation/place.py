"""What an interface shows of the working directory: branch, changed files, and the files that can be named."""

from __future__ import annotations

import os
import re
from pathlib import Path

import trio
from codetether.api import CodetetherError, git, head, ripgrep

GIT_SECONDS = 10.0
LIST_SECONDS = 10.0
FILES = 200_000
FRESH = 5.0  # seconds a list of files is used again
LONGEST = 48  # characters of a fuzzy pattern


async def dirty(directory: Path) -> int | None:
    """How many files differ from the last commit; None outside a repository, or when git cannot tell in time."""
    if head(directory) is None:
        return None
    try:
        done = await git(
            ["status", "--porcelain", "--untracked-files=normal", "--no-renames"],
            directory,
            timeout=GIT_SECONDS,
        )
    except CodetetherError:
        return None
    return len(done.output.splitlines()) if done.ok else None


SKIPPED = frozenset({".git", "node_modules", "target", "__pycache__", ".venv", ".next"})


def names(directory: Path, limit: int) -> list[str]:
    """The first names in `directory`, folders first and with a slash; what tools make is left out. Blocks."""
    try:
        with os.scandir(directory) as found:
            entries = [(not each.is_dir(), each.name) for each in found if each.name not in SKIPPED]
    except OSError:
        return []
    entries.sort(key=lambda each: (each[0], each[1].casefold()))
    return [name if is_file else f"{name}/" for is_file, name in entries[:limit]]


class Files:
    """The files of a directory that are not ignored, listed by ripgrep and kept for some seconds."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._names = ""
        self._until = -1.0
        self._listing = trio.Lock()

    def forget(self) -> None:
        """List anew when next asked."""
        self._until = -1.0

    async def like(self, pattern: str, limit: int = 20) -> list[str]:
        """Names that hold the letters of `pattern` in order, the closest first."""
        async with self._listing:
            if trio.current_time() > self._until:
                self._names = await self._list()
                self._until = trio.current_time() + FRESH
        return await trio.to_thread.run_sync(closest, pattern, self._names, limit)

    async def _list(self) -> str:
        try:
            done = await ripgrep(
                ["--files"], cwd=self._directory, timeout=LIST_SECONDS, head=16_000_000, tail=0
            )
        except CodetetherError:
            return ""
        return done.output


def closest(pattern: str, names: str, limit: int = 20) -> list[str]:
    """Of `names`, one a line, those that hold `pattern` as a subsequence; best: in the last part, together, short."""
    letters = pattern[:LONGEST].casefold()
    if not letters:
        top = sorted(names.splitlines(), key=lambda name: (name.count("/"), name))
        return top[:limit]
    # Each letter is reached by skipping what is not it: one pass over a line, whatever the line holds.
    walk = "".join(f"[^\\n{re.escape(letter)}]*{re.escape(letter)}" for letter in letters)
    found = re.finditer(f"^{walk}.*$", names, re.MULTILINE | re.IGNORECASE)
    return sorted((match.group() for match in found), key=lambda name: _distance(letters, name))[
        :limit
    ]


def _distance(letters: str, name: str) -> tuple[int, int, str]:
    folded = name.casefold()
    base = folded.rpartition("/")[2]
    if base.startswith(letters):
        rank = 0
    elif letters in base:
        rank = 1
    elif letters in folded:
        rank = 2
    else:
        rank = 3 if _within(letters, base) else 4
    return rank, len(name), name


def _within(letters: str, text: str) -> bool:
    rest = iter(text)
    return all(letter in rest for letter in letters)

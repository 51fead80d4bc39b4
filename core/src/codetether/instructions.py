"""Instructions a repository carries for agents: AGENTS.md files from its root down to the working directory.

Nearest wins, so it comes last. Where a directory has no AGENTS.md, its CLAUDE.md counts. They are the repository's
words: they shape style and habits, and never raise what the agent may do. Source: agents.md.
"""

from __future__ import annotations

import os
from pathlib import Path

NAMES = ("AGENTS.md", "CLAUDE.md")
FILE_LIMIT = 32_768
TOTAL_LIMIT = 65_536


def find(directory: Path, root: Path | None) -> list[Path]:
    """The instruction files between `root` (the repository; None: `directory` only) and `directory`, nearest last."""
    directory = directory.resolve()
    root = directory if root is None else root.resolve()
    chain = [directory]
    while chain[-1] != root and root in chain[-1].parents:
        chain.append(chain[-1].parent)
    found = []
    for folder in reversed(chain):
        for name in NAMES:
            path = folder / name
            if path.is_file() and path.resolve().is_relative_to(root):
                found.append(path)
                break
    return found


def text(paths: list[Path], root: Path) -> str:
    """The files as one block for the system prompt, each under its path; cut at 32 KiB a file and 64 KiB in all,
    the nearest kept in full first.
    """
    blocks: list[str] = []
    room = TOTAL_LIMIT
    for path in reversed(paths):
        with path.open("rb") as file:  # of any size, and not ours
            cut = file.read(min(FILE_LIMIT, room))
            size = os.fstat(file.fileno()).st_size
        room -= len(cut)
        body = cut.decode("utf-8", "replace").strip()
        if len(cut) < size:
            body += f"\n[cut: {len(cut)} of {size} bytes]"
        try:
            shown = path.resolve().relative_to(root.resolve())
        except ValueError:
            shown = path
        blocks.append(f"# Instructions from {shown}\n\n{body}")
    return "\n\n".join(reversed(blocks))

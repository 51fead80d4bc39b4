"""One replacement in a file of 1 MB, through the toolbox, permission and fsync included; and a patch of many files.

The text is made here, the same every time. Edits alternate between two states, so that every one changes the file; the
figure is the median of wall time. A bare write, fsync and rename of the same bytes stands beside it.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SIZE = 1_000_000
ROUNDS = 25
FILES = 20
WORDS = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta")


def make(path: Path) -> None:
    """A file of lines, none of which is like another."""
    dice = random.Random(1)
    lines: list[str] = []
    size = 0
    while size < SIZE:
        lines.append(f"{len(lines)} {' '.join(dice.choices(WORDS, k=8))}\n")
        size += len(lines[-1])
    lines[len(lines) // 2] = "the needle is here\n"
    path.write_text("".join(lines))


async def _timed(session: Any, name: str, arguments: dict[str, Any]) -> float:
    from codetether.api import ToolCall

    start = time.perf_counter()
    result = await session.toolbox.one(ToolCall("call", name, json.dumps(arguments)))
    spent = time.perf_counter() - start
    assert result.ok, result.text
    return spent * 1000


def _bare(path: Path) -> float:
    data = path.read_bytes()
    start = time.perf_counter()
    temporary = path.with_name("bare.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, path.with_name("bare"))
    return (time.perf_counter() - start) * 1000


async def _run(root: Path) -> tuple[float, float, float]:
    from codetether.testing import make_kernel

    texts = ["the needle is here", "the needle was here"]
    one, many, bare = [], [], []
    async with (
        make_kernel(replies=["done"], plugins=["sandboxes", "tools"]) as kernel,
        kernel.open_session(directory=root, access="full") as session,
    ):
        for number in range(ROUNDS):
            old, new = texts[number % 2], texts[1 - number % 2]
            change = {"old_string": old, "new_string": new}
            one.append(await _timed(session, "edit", {"path": "large.txt", **change}))
            bare.append(_bare(root / "large.txt"))
            edits = [{"path": f"small{at}.txt", **change} for at in range(FILES)]
            many.append(await _timed(session, "multiedit", {"edits": edits}))
    return statistics.median(one), statistics.median(bare), statistics.median(many)


def measure() -> list[tuple[str, str, str, bool]]:
    import trio

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make(root / "large.txt")
        for number in range(FILES):
            (root / f"small{number}.txt").write_text("a\nthe needle is here\nb\n")
        one, bare, many = trio.run(_run, root)
    return [
        ("an edit of a 1 MB file, wall", "<= 20 ms", f"{one:.1f} ms (bare write, fsync, rename {bare:.1f} ms)", one <= 20),
        (f"for scale: a multiedit of {FILES} files", "–", f"{many:.1f} ms", True),
    ]  # fmt: skip


if __name__ == "__main__":
    sys.exit(print(measure()))

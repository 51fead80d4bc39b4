"""What language servers cost an edit: the same edit with and without the new problems that basedpyright tells of it."""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path

import trio

ROUNDS = 15
MOST_MS = 500
SOURCE = Path(__file__).parents[1] / "core/src/codetether"
FILE = "codetether/globs.py"
RIGHT, WRONG = "text.find(piece, at, end)", 'text.find(piece, at, "end")'


@asynccontextmanager
async def _session(folder: Path, on_edit: str):
    from codetether.testing import make_kernel

    work = folder / "work"
    shutil.copytree(SOURCE, work / "codetether", ignore=shutil.ignore_patterns("__pycache__"))
    chosen = {'plugins."tools:lsp".on_edit': on_edit}
    async with (
        make_kernel(folder, replies=[], settings=chosen) as kernel,
        kernel.open_session(directory=work, access="full") as session,
    ):
        yield session


async def _use(session, name: str, **arguments: object) -> tuple[float, str]:
    from codetether.words import ToolCall

    call = ToolCall(session.new_id("call"), name, json.dumps(arguments))
    start = time.perf_counter()
    result = await session.toolbox.one(call)
    took = (time.perf_counter() - start) * 1000
    if not result.ok:
        raise RuntimeError(result.text)
    return took, result.text


async def _edits(folder: Path, on_edit: str) -> tuple[float, list[float], int, list[float]]:
    """The first edit, the others, how many of the wrong ones were told, and questions for references."""
    times, told, asked = [], 0, []
    async with _session(folder, on_edit) as session:
        for number in range(2 * ROUNDS):
            old, new = (RIGHT, WRONG) if number % 2 == 0 else (WRONG, RIGHT)
            took, text = await _use(session, "edit", path=FILE, old_string=old, new_string=new)
            times.append(took)
            told += "New problems" in text
        if on_edit != "off":
            for _ in range(ROUNDS):
                took, _ = await _use(
                    session, "lsp", operation="references", path=FILE, symbol="matches"
                )
                asked.append(took)
    return times[0], times[1:], told, asked


def measure() -> list[tuple[str, str, str, bool]]:
    """The rows of the table."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        _, bare, _, _ = trio.run(_edits, Path(one), "off")
        first, warm, told, asked = trio.run(_edits, Path(other), "start")
    floor, took = statistics.median(bare), statistics.median(warm)
    return [
        (
            "an edit with the new problems of basedpyright and ruff, warm",
            f"<= {MOST_MS} ms, all told",
            f"{took:.0f} ms, {told} of {ROUNDS} told (the edit alone {floor:.1f} ms, the first, with the start, {first:.0f} ms)",
            took <= MOST_MS and told == ROUNDS,
        ),
        (
            "references by the tool, warm",
            f"<= {MOST_MS} ms",
            f"{statistics.median(asked[1:]):.0f} ms",
            statistics.median(asked[1:]) <= MOST_MS,
        ),
    ]

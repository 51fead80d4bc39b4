"""grep and glob over a repository of 50,000 files, through the toolbox, against bare ripgrep told to find the same.

The repository is made here, the same every time: Python, TypeScript and Markdown of about 1.5 KB in 1,000 directories,
and an ignored one. The candidates run in turns in one process, the files in the page cache; the figure is the ratio of
the medians of wall time. ripgrep is started as a child and its output read to the end, nothing more. To list files it
is given a type, not `--glob`, which is faster and wrong: that finds ignored files too.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FILES = 50_000
ROUNDS = 15
WORDS = (
    "self",
    "return",
    "value",
    "name",
    "import",
    "class",
    "index",
    "result",
    "error",
    "count",
    "path",
    "state",
)
PLAIN = ("--no-config", "--hidden", "--glob=!.git", "--no-messages")
OF_TYPE = ("--files", "--type=wanted")
CASES: tuple[tuple[str, dict[str, Any], tuple[str, ...]], ...] = (
    ("grep", {"pattern": "needle_rare"}, ("-nF", "needle_rare")),
    ("grep", {"pattern": r"needle_\w+ = \d+", "is_regex": True}, ("-n", r"needle_\w+ = \d+")),
    ("grep", {"pattern": "return", "mode": "count"}, ("--count-matches", "-F", "return")),
    ("glob", {"pattern": "**/*_8.py"}, (*OF_TYPE, "--type-add=wanted:*_8.py")),
    ("glob", {"pattern": "**/*.{ts,md}"}, (*OF_TYPE, "--type-add=wanted:*.{ts,md}")),
)


def make(root: Path) -> None:
    """Write the repository."""
    dice = random.Random(50)
    bodies = [_body(dice) for _ in range(200)]
    (root / ".git").mkdir()
    (root / ".gitignore").write_text("build/\n*.gen.ts\n")
    for folder in range(FILES // 50):
        at = root / (f"build/d{folder}" if folder % 50 == 49 else f"m{folder % 25}/p{folder}")
        at.mkdir(parents=True)
        for number in range(50):
            ending = ("py", "ts", "py", "md")[number % 4]
            body = dice.choice(bodies)
            if dice.random() < 0.02:
                body += f"    needle_{folder} = {number}\n"
            if dice.random() < 0.001:
                body += "needle_rare\n"
            kind = "gen.ts" if number == 1 else ending
            (at / f"file_{number}.{kind}").write_text(body)


def _body(dice: random.Random) -> str:
    lines = (" " * dice.choice((0, 4, 8)) + " ".join(dice.choices(WORDS, k=6)) for _ in range(40))
    return "\n".join(lines) + "\n"


async def _tool(session: Any, name: str, arguments: dict[str, Any]) -> tuple[float, str]:
    from codetether.api import ToolCall

    start = time.perf_counter()
    result = await session.toolbox.one(ToolCall("call", name, json.dumps(arguments)))
    spent = time.perf_counter() - start
    assert result.ok, result.text
    return spent, str(result.meta)


def _bare(program: str, root: Path, words: Sequence[str]) -> float:
    start = time.perf_counter()
    argv = [program, *PLAIN, *words, "./"]
    subprocess.run(argv, cwd=root, capture_output=True, stdin=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


async def _run(root: Path) -> list[tuple[float, float]]:
    from codetether.ripgrep import ripgrep_path
    from codetether.testing import make_kernel

    seen: list[tuple[float, float]] = []
    async with (
        make_kernel(replies=["done"], plugins=["sandboxes", "tools"]) as kernel,
        kernel.open_session(directory=root, access="full") as session,
    ):
        for name, arguments, words in CASES:
            tool, bare = [], []
            for _ in range(ROUNDS):
                bare.append(_bare(ripgrep_path(), root, words))
                tool.append((await _tool(session, name, arguments))[0])
            seen.append((statistics.median(tool), statistics.median(bare)))
    return seen


def measure() -> list[tuple[str, str, str, bool]]:
    import trio

    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
        seen = trio.run(_run, Path(folder))
    rows = []
    for name in ("grep", "glob"):
        pairs = [pair for pair, case in zip(seen, CASES, strict=True) if case[0] == name]
        told = ", ".join(f"{t / b:.2f} ({t * 1000:.0f} / {b * 1000:.0f} ms)" for t, b in pairs)
        ok = all(t / b <= 1.3 for t, b in pairs)
        rows.append((f"{name} over {FILES:,} files / bare ripgrep, wall", "<= 1.3", told, ok))
    return rows


if __name__ == "__main__":
    sys.exit(print(measure()))

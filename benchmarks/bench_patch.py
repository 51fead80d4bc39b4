"""A thousand commits' diffs put in by apply_patch: after each, the tree must be the one git has.

The history is made here, seeded: files of words in several directories that grow, change, move, lose their last
newline and their bits to execute, and go. Git writes every diff and says what every tree is.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import trio

COMMITS = 1000
WORDS = ("def", "return", "if", "import", "self", "name", "1", "2", "{", "}", "--", "++", "@@", "ü")


def _git(folder: Path, *words: str) -> str:
    argv = ["git", "-c", "user.name=x", "-c", "user.email=x@y", "-c", "core.autocrlf=false", *words]
    return subprocess.run(argv, cwd=folder, check=True, capture_output=True).stdout.decode(
        "utf-8", "surrogateescape"
    )


def _line(dice: random.Random) -> str:
    return " " * dice.choice((0, 4, 8)) + " ".join(dice.choices(WORDS, k=dice.randint(0, 6)))


def _change(path: Path, dice: random.Random) -> None:
    lines = path.read_bytes().decode().splitlines(keepends=True)
    end = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    for _ in range(dice.randint(1, 4)):
        at = dice.randint(0, len(lines))
        lines[at : at + dice.randint(0, 4)] = [_line(dice) + end for _ in range(dice.randint(0, 4))]
    text = "".join(lines)
    path.write_text(text.rstrip("\r\n") if dice.random() < 0.1 else text, "utf-8", newline="")


def _commit(root: Path, dice: random.Random, number: int) -> None:
    files = [path for path in root.rglob("*") if path.is_file() and ".git" not in path.parts]
    if len(files) < 40 or dice.random() < 0.2:
        path = root / f"d{dice.randint(0, 5)}" / f"f{number}"
        path.parent.mkdir(exist_ok=True)
        end = dice.choice(("\n", "\n", "\r\n"))
        lines = [_line(dice) + end for _ in range(dice.randint(1, 120))]
        path.write_text("".join(lines), "utf-8", newline="")
    for path in dice.sample(files, min(len(files), dice.randint(0, 3))):
        act = dice.random()
        if act < 0.8:
            _change(path, dice)
        elif act < 0.9:
            to = root / f"d{dice.randint(0, 5)}" / f"m{number}-{path.name}"
            to.parent.mkdir(exist_ok=True)
            path.rename(to)
        elif act < 0.95:
            path.chmod(0o755)
        elif len(files) > 20:
            path.unlink()
    _git(root, "add", "-A")
    _git(root, "commit", "-q", "--allow-empty", "-m", str(number))


async def _apply(patches: list[str], work: Path, trees: list[str]) -> tuple[int, float]:
    """How many trees came out as git has them, and seconds per patch."""
    from codetether.workspace import Workspace
    from codetether_tool_apply_patch import ApplyPatch, Params

    tool = ApplyPatch(None, "tools:apply_patch")  # type: ignore[arg-type]
    context = SimpleNamespace(workspace=Workspace(work))
    same, spent = 0, 0.0
    for patch, tree in zip(patches, trees, strict=True):
        if patch:
            start = time.perf_counter()
            await tool.run(Params(patch), context)  # type: ignore[arg-type]
            spent += time.perf_counter() - start
        _git(work, "add", "-A")
        same += _git(work, "write-tree").strip() == tree
    return same, spent / len(patches)


def measure() -> list[tuple[str, str, str, bool]]:
    dice = random.Random(4)
    with tempfile.TemporaryDirectory() as folder:
        root, work = Path(folder) / "history", Path(folder) / "work"
        for path in (root, work):
            path.mkdir()
            _git(path, "init", "-q")
        for number in range(COMMITS):
            _commit(root, dice, number)
        log = _git(root, "log", "--reverse", "--format=%H %T").split("\n")[:-1]
        commits, trees = zip(*(line.split() for line in log), strict=True)
        empty = _git(root, "hash-object", "-t", "tree", "/dev/null").strip()
        before = (empty, *commits[:-1])
        patches = [
            _git(root, "diff", "-M", "--text", old, new)
            for old, new in zip(before, commits, strict=True)
        ]
        same, seconds = trio.run(_apply, patches, work, list(trees))
    told = f"{same} ({seconds * 1000:.1f} ms a commit)"
    what = f"diffs of {COMMITS} commits put in by apply_patch, trees as git's"
    return [(what, str(COMMITS), told, same == COMMITS)]


if __name__ == "__main__":
    sys.exit(print(measure()))

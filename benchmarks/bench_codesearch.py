"""codesearch through a session, with its child in its sandbox: 5,000 files of installed packages, and forty questions
about the standard library whose answers are known (codesearch_questions.txt: the question, then who may be found).
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sysconfig
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path

import trio

FILES = 5_000
PURE = Path(sysconfig.get_path("purelib"))
LIBRARY = Path(sysconfig.get_path("stdlib"))
QUESTIONS = Path(__file__).with_name("codesearch_questions.txt")
ROUNDS = 3


def _copy(sources: list[Path], below: Path, work: Path) -> None:
    for source in sources:
        target = work / source.relative_to(below)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def _packages(work: Path) -> int:
    """5,000 files of Python, spread over all that is installed here; how many bytes they have."""
    every = sorted(path for path in PURE.rglob("*.py") if 0 < path.stat().st_size < 1_000_000)
    chosen = (
        every if len(every) <= FILES else [every[at * len(every) // FILES] for at in range(FILES)]
    )
    _copy(chosen, PURE, work)
    return sum(path.stat().st_size for path in chosen)


def _library(work: Path) -> None:
    """The standard library without its tests."""
    every = sorted(LIBRARY.rglob("*.py"))
    parts = [(path, path.relative_to(LIBRARY).parts) for path in every]
    apart = {"test", "tests", "idle_test", "site-packages", "ensurepip", "__pycache__", "testmock"}
    _copy(
        [
            path
            for path, names in parts
            if not apart & set(names) and not names[-1].startswith("test")
        ],
        LIBRARY,
        work,
    )


@asynccontextmanager
async def _session(home: Path, work: Path, **settings):
    from codetether.testing import make_kernel

    named = {f'plugins."tools:codesearch".{key}': value for key, value in settings.items()}
    switches = ["tools:codesearch", "sandboxes"]
    async with (
        make_kernel(home, replies=["x"], plugins=switches, settings=named) as kernel,
        kernel.open_session(directory=work) as session,
    ):
        yield session


async def _ask(session, query: str, **more) -> tuple[float, list[str], dict]:
    from codetether.words import ToolCall

    call = ToolCall(session.new_id("call"), "codesearch", json.dumps({"query": query, **more}))
    start = time.perf_counter()
    result = await session.toolbox.one(call)
    seconds = time.perf_counter() - start
    assert result.ok, result.text
    heads = [line for line in result.text.split("\n") if line and line[0] not in " ["]
    return seconds, heads, result.meta


def _questions() -> list[tuple[str, set[str]]]:
    lines = [line.split(" | ") for line in QUESTIONS.read_text("utf-8").splitlines() if line]
    return [(question, set(answers.split(","))) for question, answers in lines]


def _rank(heads: list[str], answers: set[str]) -> int:
    """The place of the first right answer, 0 when there is none."""
    for at, head in enumerate(heads, 1):
        place, _, name = head.rpartition(" ")
        if f"{place.rpartition(':')[0]}:{name}" in answers:
            return at
    return 0


async def _quality(home: Path, work: Path, *, meaning: bool) -> tuple[float, int]:
    """Mean reciprocal rank within ten, and how many answers are among the first five."""
    ranks = []
    async with _session(home, work, meaning=meaning, wait_seconds=300.0) as session:
        for question, answers in _questions():
            _, heads, _ = await _ask(session, question, limit=10)
            ranks.append(_rank(heads, answers))
    return sum(1 / rank for rank in ranks if rank) / len(ranks), sum(
        0 < rank <= 5 for rank in ranks
    )


def _own_memory() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def _change_one(work: Path) -> None:
    victim = next(path for path in sorted(work.rglob("*.py")) if path.stat().st_size > 5_000)
    victim.write_text(victim.read_text("utf-8") + "\n\ndef freshly_written(): pass\n", "utf-8")


async def _speed(home: Path, work: Path) -> list[tuple[str, str, str, bool]]:
    size = _packages(work)
    before = _own_memory()
    async with _session(home, work, wait_seconds=300.0) as session:
        built, _, meta = await _ask(session, "parse a version")
        assert meta["indexed"] == meta["files"]
        warm = []
        for _ in range(ROUNDS):
            warm += [(await _ask(session, question))[0] for question, _ in _questions()]
        _change_one(work)
        changed, heads, _ = await _ask(session, "freshly_written")
        assert "freshly_written" in heads[0]
        grown = _own_memory() - before
    async with _session(home, work) as session:
        cold, _, _ = await _ask(session, "parse a version")
    usual, slowest = statistics.median(warm) * 1000, max(warm) * 1000
    about = f"{meta['files']:,} files, {size / 1e6:.0f} MB"
    return [
        (f"codesearch: index of {about}", "<= 60 s", f"{built:.1f} s", built <= 60),
        (
            "codesearch: an answer, files looked at again included",
            "<= 150 ms",
            f"{usual:.0f} ms median, {slowest:.0f} ms slowest of {len(warm)} (first one, child started: {cold * 1000:.0f} ms)",
            usual <= 150,
        ),
        (
            "codesearch: an answer after one file changed",
            "<= 300 ms",
            f"{changed * 1000:.0f} ms",
            changed <= 0.3,
        ),
        (
            "codesearch: memory the agent's process grows by",
            "<= 40 MB",
            f"{grown:.0f} MB",
            grown <= 40,
        ),
    ]


async def _measure(place: Path) -> list[tuple[str, str, str, bool]]:
    work, library = place / "packages", place / "library"
    work.mkdir()
    library.mkdir()
    rows = await _speed(place / "home", work)
    _library(library)
    words, words_hit = await _quality(place / "home", library, meaning=False)
    fused, fused_hit = await _quality(place / "home", library, meaning=True)
    asked = len(_questions())
    told = f"MRR {fused:.2f}, {fused_hit} of {asked} in the first five (by words alone {words:.2f}, {words_hit})"
    what = "codesearch: questions in other words than the code's, about the standard library"
    return [*rows, (what, "better than words alone", told, fused > words and fused_hit > words_hit)]


def measure() -> list[tuple[str, str, str, bool]]:
    """Rows for the table."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("CODETETHER_BENCH_DIR")) as place:
        return trio.run(_measure, Path(place))

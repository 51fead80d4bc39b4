"""RLM: a gigabyte in the worker, and a whole run against a model on loopback that takes 200 ms for each answer.

The gigabyte is a log made here, the same every time, and in the page cache. Ready: from the sources to a confined
process that has mapped them. Memory: what the worker and its sandbox have for themselves (anonymous pages), the highest
seen while the file was searched, counted, cut and read at both ends. The model is a process of its own with a policy
in place of thoughts; its time is the number of its answers, one after another, times 200 ms. Sub-calls: what a run that asks them takes beyond one that does all but that; both come after
another, so that neither pays for loading.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Self

import trio
from loopback import KEPT, model
from measuring import PYTHON

SECONDS = 0.2
TOKENS = 10_000_000
CALLS, AT_ONCE = 256, 64
ROUNDS = 9
OURS = Path("/proc/self/cmdline").read_bytes()  # also of a child that has not begun its own program
# of the tests only this: the vendors' own libraries, which others load, would be in the way of every collection of garbage
PATHS = [str(Path(__file__).parents[1] / "tests" / "faults")]
SERVER = """
import sys
from codetether.testing import chat_sse

SECONDS, CALLS = float(sys.argv[1]), int(sys.argv[2])
cell = "```python\\n{}\\n```".format
NEEDLE = ["head(3)\\ntail(3)", "count('INFO')", cell("hit = grep('needle')[0]\\nhit.line"),
          cell("slice(hit.line - 1, hit.line + 1)"), cell("FINAL(hit)")]
PARALLEL = [cell(f"parts = chunks(size=100_000)[:{CALLS}]\\nlen(parts)"),
            cell(f"said = llm_query_batched(['what?'] * {CALLS}, parts)\\nsum(str(each) == 'seen' for each in said)"),
            cell("FINAL('seen ' + str(sum(str(each) == 'seen' for each in said)))")]
ALONE = [PARALLEL[0], cell("said = ['seen'] * 256"), PARALLEL[2]]
POLICIES = {b"find it": NEEDLE, b"ask all": PARALLEL, b"ask none": ALONE}
ROOT = b"You answer a question about texts"

def answer(body):
    if ROOT not in body:
        return chat_sse("seen"), SECONDS
    policy = next(policy for query, policy in POLICIES.items() if query in body)
    turn = body.count(b'"role":"assistant"') + body.count(b'"role": "assistant"')
    return chat_sse(policy[min(turn, len(policy) - 1)]), SECONDS
"""
CHILD = """
import gc, io, json, os, sys, time
from argparse import ArgumentParser
from pathlib import Path
import trio
sys.path[:0] = json.loads(sys.argv[4])

async def main(folder, url, text):
    from stand import kernel_at
    runs = {}
    async with kernel_at(folder, {"moonshotai": url}, tools=(), plugins=("modes:rlm", "sandboxes")) as kernel:
        await kernel.settle_sandbox()
        gc.freeze()  # both as codetether.__main__ does it
        gc.set_threshold(10_000, 10, 10)
        for query in ("find it", "ask none", "ask all"):
            mode = kernel.mode("rlm")
            parser = ArgumentParser()
            mode.arguments(parser)
            words = [query, "-f", text, "-m", "moonshotai/kimi-k2.5", "--json",
                     "--max-subcalls", "1000", "--concurrency", sys.argv[5]]
            out, sys.stdout = sys.stdout, io.StringIO()
            start = time.perf_counter()
            code = await mode.run(parser.parse_args(words))
            wall = time.perf_counter() - start
            said, sys.stdout = sys.stdout.getvalue(), out
            runs[query] = {"wall": wall, "code": code, "result": json.loads(said)}
    print(json.dumps(runs))

trio.run(main, Path(sys.argv[1]), sys.argv[2], sys.argv[3])
"""
BARE = """
import json, sys, time
import httpx, trio

async def main(url, calls, at_once):
    body = json.dumps({"messages": [{"role": "user", "content": "x" * 100_000}], "stream": True}).encode()
    clients = [httpx.AsyncClient() for _ in range(at_once // 8)]
    places = trio.CapacityLimiter(at_once)

    async def one(number):
        async with places:
            answer = await clients[number % len(clients)].post(url + "/v1/chat/completions", content=body)
            assert b"seen" in answer.content

    start = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for number in range(calls):
            nursery.start_soon(one, number)
    print(time.perf_counter() - start)

trio.run(main, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
"""


def make_log(path: Path, size: int, needle: str = "") -> int:
    """Write a log of about `size` bytes, with the needle in its middle; the number of its lines."""
    block = "".join(
        f"2024-05-01T12:{n // 60 % 60:02}:{n % 60:02}Z INFO [worker-{n % 17}] request {n * 7919 % 100_003} done in {n % 991} ms\n"
        for n in range(10_000)
    )
    data = block.encode()
    times = size // len(data)
    with path.open("wb") as file:
        for number in range(times):
            file.write(data)
            if number == times // 2 and needle:
                file.write(needle.encode() + b"\n")
    return times * 10_000 + bool(needle)


class Memory:
    """The most anonymous memory that the descendants of this process had, sampled every 5 ms."""

    def __init__(self) -> None:
        self.peak = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.005):
            self.peak = max(self.peak, sum(map(_anonymous, _descendants(os.getpid()))))


def _descendants(pid: int) -> list[int]:
    try:
        tasks = [
            Path(f"/proc/{pid}/task/{task}/children").read_text().split()
            for task in os.listdir(f"/proc/{pid}/task")
        ]
    except OSError:
        return []
    children = [int(child) for task in tasks for child in task]
    return [each for child in children for each in (child, *_descendants(child))]


def _anonymous(pid: int) -> int:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        if b"ripgrep" in command.split(b"\0")[0] or command == OURS:
            return 0
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = [line.split()[1] for line in status.splitlines() if line.startswith("RssAnon:")]
    return int(found[0]) * 1024 if found else 0


async def _gigabyte(folder: Path) -> dict[str, float]:
    from codetether.testing import make_kernel
    from codetether_rlm.sources import Source
    from codetether_rlm.worker import worker

    path = folder / "big.log"
    lines = make_log(path, 1 << 30)
    size = path.stat().st_size / (1 << 30)

    async def nobody(_: object) -> list[object]:
        return []

    ready, first, found = [], [], []
    async with make_kernel(folder / "home", replies=["x"], plugins=["sandboxes"]) as kernel:
        await kernel.settle_sandbox()
        for _ in range(ROUNDS):
            start = time.perf_counter()
            async with worker(kernel, [Source("big.log", path)], query=nobody) as held:
                ready.append(time.perf_counter() - start)
                assert (await held.python("1 + 1")).output == "2\n"
                first.append(time.perf_counter() - start)
        with Memory() as memory:
            async with worker(kernel, [Source("big.log", path)], query=nobody) as held:
                for _ in range(3):
                    start = time.perf_counter()
                    done = await held.python("len(grep('request 4711 done in 7 ms', limit=1000))")
                    found.append(time.perf_counter() - start)
                    assert done.error is None, done
                start = time.perf_counter()
                last = await held.command("tail(100)")
                tail = time.perf_counter() - start
                assert last.error is None
                assert int((await held.command("lines()")).output) == lines
                assert (await held.python("len(chunks(size=4_000_000))")).error is None
                assert (await held.command("head(10)")).error is None
        level = kernel.sandbox_level
    return {
        "ready": statistics.median(ready),
        "first": statistics.median(first),
        "grep": min(found) / size,
        "tail": tail,
        "peak": memory.peak,
        "level": level,
    }


def _runs(folder: Path) -> dict[str, dict[str, object]]:
    path = folder / "ten-million.log"
    make_log(path, 4 * TOKENS, "the needle is 4711")
    with model(SERVER + KEPT, str(SECONDS), str(CALLS)) as url:
        words = [str(folder / "home"), url, str(path), json.dumps(PATHS), str(AT_ONCE)]
        done = subprocess.run(
            [PYTHON, "-c", CHILD, *words], capture_output=True, text=True, check=False
        )
        bare = subprocess.run(
            [PYTHON, "-c", BARE, url, str(CALLS), str(AT_ONCE)],
            capture_output=True,
            text=True,
            check=True,
        )
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    runs: dict[str, dict[str, object]] = json.loads(done.stdout.splitlines()[-1])
    return runs | {"bare": {"wall": float(bare.stdout)}}


def measure() -> list[tuple[str, str, str, bool]]:
    """The figures."""
    with tempfile.TemporaryDirectory() as folder:
        big = trio.run(_gigabyte, Path(folder))
    tries = []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            tries.append(_runs(Path(folder)))
    for runs in tries:
        assert "4711" in runs["find it"]["result"]["answer"], runs["find it"]
        assert runs["ask all"]["result"]["answer"] == f"seen {CALLS}", runs["ask all"]
    beyond = min(
        runs["find it"]["wall"] - SECONDS * runs["find it"]["result"]["iterations"]
        for runs in tries
    )
    ideal = CALLS / AT_ONCE * SECONDS
    share = max(ideal / (runs["ask all"]["wall"] - runs["ask none"]["wall"]) for runs in tries)
    bare = max(ideal / runs["bare"]["wall"] for runs in tries)
    milliseconds = big["ready"] * 1000
    peak = big["peak"] / 1e6
    return [
        (
            "RLM: 1 GB ready: mapped by a confined process",
            "<= 50 ms",
            f"{milliseconds:.0f} ms ({big['level']}; {big['first'] * 1000:.0f} ms with the first cell of Python)",
            milliseconds <= 50,
        ),
        (
            "the same, searched, counted and cut: most private memory of the worker and its sandbox",
            "< 60 MB",
            f"{peak:.0f} MB",
            peak < 60,
        ),
        (
            "the same, grep from a cell, for each GB",
            "<= 1.5 s",
            f"{big['grep']:.2f} s (tail(100): {big['tail'] * 1000:.1f} ms)",
            big["grep"] <= 1.5,
        ),
        (
            "RLM: a needle in 10 M tokens, five answers of a scripted model, beyond the model's time",
            "<= 0.5 s",
            f"{beyond:.2f} s",
            beyond <= 0.5,
        ),
        (
            f"RLM: {CALLS} sub-calls of 100 KB and 200 ms, {AT_ONCE} at a time, of what is ideal",
            ">= 75 %",
            f"{share:.0%} (bare httpx clients of eight connections: {bare:.0%})",
            share >= 0.75,
        ),
    ]


if __name__ == "__main__":
    sys.exit(print(*measure(), sep="\n"))

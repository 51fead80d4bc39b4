"""A swarm's own cost: 100 and 1,000 sub-agents of five steps against a model on loopback that takes 200 ms a step.

The model is a process of its own. The critical path is five steps of exactly 200 ms; a run of one sub-agent, before, says
what that takes here without company, and clients of httpx with nothing above them what the calls take. Sub-agents that only
look have no worktree: what one costs is git's affair.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from loopback import KEPT, model
from measuring import PYTHON

STEPS, SECONDS = 5, 0.2
# of the tests only this: the vendors' own libraries, which others load, would be a third of what is measured
PATHS = [str(Path(__file__).parents[1] / "tests" / "faults")]
SERVER = """
import json, sys
from codetether.testing import Reply, call, chat_sse

PLAN = json.dumps({"subtasks": [{"name": f"part {n}", "instruction": "Look.", "writes": False} for n in range(int(sys.argv[1]))]})
STEPS, SECONDS = int(sys.argv[2]), float(sys.argv[3])
SAID = [chat_sse(call("read_file", path="a.txt", offset=step + 1)) for step in range(STEPS - 1)] + [chat_sse("seen")]

def answer(body):
    if b"You plan work" in body:
        return chat_sse(PLAN), 0
    return SAID[body.count(b'"role":"assistant"') + body.count(b'"role": "assistant"')], SECONDS
"""
CHILD = """
import gc, json, os, sys, time
from argparse import ArgumentParser
from pathlib import Path
import trio
sys.path[:0] = json.loads(sys.argv[4])

async def main(folder, url, agents):
    from stand import kernel_at
    work = folder / "work"
    work.mkdir()
    (work / "a.txt").write_text("one\\ntwo\\nthree\\nfour\\nfive\\n")
    os.chdir(work)
    plugins = ("executors:local", "modes:swarm")
    async with kernel_at(folder, {"moonshotai": url}, tools=("tools:read_file",), plugins=plugins, directory=work) as kernel:
        mode = kernel.mode("swarm")
        parser = ArgumentParser()
        mode.arguments(parser)
        words = ["look", "-m", "moonshotai/kimi-k2.5", "--json", "--max-subagents", "2000", "--concurrency", str(agents)]
        out, sys.stdout = sys.stdout, open(os.devnull, "w")
        gc.freeze()  # both as codetether.__main__ does it
        gc.set_threshold(10_000, 10, 10)
        cpu, start = time.process_time(), time.perf_counter()
        code = await mode.run(parser.parse_args(words))
        wall, cpu = time.perf_counter() - start, time.process_time() - cpu
        sys.stdout = out
        [journal] = kernel.dirs.data.glob("swarm/*/journal.jsonl")
        result = json.loads(journal.read_bytes().splitlines()[-1])["result"]
        # not ru_maxrss, which a child inherits from the process it was forked from
        status = Path("/proc/self/status").read_text()
        peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
        print(json.dumps({"code": code, "wall": wall, "cpu": cpu, "peak": peak, "stats": result["stats"], "error": result.get("error", "")}))

trio.run(main, Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
"""
BARE = """
import sys, time
import httpx, trio

BODY = b'{"messages":[{"role":"user","content":"%s"}]}' % (b"x" * 3000)

async def main(url, agents, steps):
    clients = [httpx.AsyncClient(timeout=30, limits=httpx.Limits(max_connections=8)) for _ in range(agents // 8 + 1)]

    async def one(number):
        for _ in range(steps):
            async with clients[number // 8].stream("POST", f"{url}/chat/completions", content=BODY) as answer:
                await answer.aread()

    start = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for number in range(agents):
            nursery.start_soon(one, number)
    print(time.perf_counter() - start)
    for client in clients:
        await client.aclose()

trio.run(main, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
"""
START = """
import json, sys, time
from pathlib import Path
import trio
from codetether.testing import make_kernel

async def main(folder):
    async with make_kernel(folder, replies=lambda request: "x", plugins=["tools", "executors:local", "sandboxes:none"]) as kernel:
        times = []
        for _ in range(300):
            start = time.perf_counter()
            async with kernel.open_session(directory=folder / "work", started_by="swarm-x", depth=1):
                times.append(time.perf_counter() - start)
        print(json.dumps(sorted(times)[len(times) // 2]))

trio.run(main, Path(sys.argv[1]))
"""


def _child(code: str, *words: str) -> object:
    os.sync()  # the disk is busy for a while with what the run before left and took away
    time.sleep(1)
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [PYTHON, "-c", code, folder, *words], capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def words_of(agents: int) -> tuple[str, str, str, str]:
    """The model's process, for so many sub-agents."""
    return SERVER + KEPT, str(agents), str(STEPS), str(SECONDS)


def swarm(agents: int) -> dict[str, object]:
    """One run of so many sub-agents: its wall time, CPU time, peak memory and statistics."""
    with model(*words_of(agents)) as url:
        said = _child(CHILD, url, str(agents), json.dumps(PATHS))
    assert said["code"] == 0, said["error"]
    assert said["stats"]["total_steps"] == agents * STEPS, said["stats"]
    return said


def bare(agents: int) -> float:
    """Seconds that clients of httpx take for the same calls and nothing else, each with eight connections."""
    with model(*words_of(agents)) as url:
        words = [url, str(agents), str(STEPS)]
        done = subprocess.run([PYTHON, "-c", BARE, *words], capture_output=True, check=True)
    return float(done.stdout)


def measure() -> list[tuple[str, str, str, bool]]:
    # before the swarms: ext4 takes up to 0.5 ms for a new file while thousands were deleted in the last seconds
    start = float(_child(START))
    one = swarm(1)
    both = [(swarm(100), bare(100)) for _ in range(3)]
    runs = [run for run, _ in both]
    thousand = swarm(1000)
    ideal = STEPS * SECONDS
    wall = min(run["wall"] for run in runs)
    peak = min(run["peak"] for run in runs) / 1e6
    cpu = min(run["cpu"] - one["cpu"] for run in runs) / (99 * STEPS) * 1000
    large = thousand["peak"] / 1e6
    calls = min(seconds for _, seconds in both)
    return [
        (
            "swarm of 100 sub-agents x 5 steps of 200 ms, wall against the critical path of 1 s",
            "<= 1.25",
            f"{wall / ideal:.2f} (one sub-agent alone {one['wall']:.2f} s; only the calls, by bare httpx, a client for 8: {calls:.2f} s)",
            wall / ideal <= 1.25,
        ),
        ("the same, peak memory", "<= 120 MB", f"{peak:.0f} MB", peak <= 120),
        ("the same, CPU for each step, starts included", "<= 5 ms", f"{cpu:.2f} ms", cpu <= 5),
        (
            "start of a sub-agent without worktree, with all tools",
            "<= 1 ms",
            f"{start * 1000:.2f} ms",
            start <= 0.001,
        ),
        ("swarm of 1,000 sub-agents, peak memory", "<= 400 MB", f"{large:.0f} MB", large <= 400),
    ]


if __name__ == "__main__":
    sys.exit(print(measure()))

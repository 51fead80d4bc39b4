"""The executor `nats` against the bare client: a task that does nothing, from one process to another and back.

Bare: nats-py alone publishes to a work queue, another process takes it, publishes an answer and acknowledges. Ours does the
same and more: the record that says who has the task, the claim that fences others out, the event that tells of its end, the
thread between trio and asyncio. The server and the workers are processes of their own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from measuring import PYTHON

TIMES, WARM = 300, 30
PEERS = str(Path(__file__).parents[1] / "tests" / "peers")
BARE_WORKER = """
import asyncio, sys, nats
async def main(url):
    client = await nats.connect(url)
    js = client.jetstream()
    line = await js.pull_subscribe("bare.jobs", durable="w", stream="bare")
    print("ready", flush=True)
    while True:
        try:
            [message] = await line.fetch(1, timeout=30)
        except nats.errors.TimeoutError:
            continue
        await js.publish("bare.done", message.data)
        await message.ack_sync()
asyncio.run(main(sys.argv[1]))
"""
BARE = """
import asyncio, json, sys, time, nats
async def main(url, times, warm):
    client = await nats.connect(url)
    js = client.jetstream()
    heard = await client.subscribe("bare.done")
    took = []
    for number in range(times + warm):
        start = time.perf_counter()
        await js.publish("bare.jobs", b"x%d" % number)
        await heard.next_msg(timeout=30)
        took.append(time.perf_counter() - start)
    print(json.dumps(sorted(took[warm:])[times // 2]))
    await client.close()
asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
"""
STREAM = """
import asyncio, sys, nats
from nats.js import api
async def main(url):
    client = await nats.connect(url)
    js = client.jetstream()
    await js.add_stream(name="bare", subjects=["bare.jobs"], retention=api.RetentionPolicy.WORK_QUEUE)
    await js.add_stream(name="done", subjects=["bare.done"])
    await client.close()
asyncio.run(main(sys.argv[1]))
"""
OUR_WORKER = """
import sys, trio
from argparse import ArgumentParser
from pathlib import Path
from codetether.api import AgentResult, Executor
from codetether.testing import make_kernel

class Nothing(Executor):
    "Does nothing."
    api = 1
    async def run(self, task, observe=None):
        return AgentResult(task.id, True, "", "done", "", 0, 0.0)

async def main(folder, url):
    extra = {"executors:local": Nothing}
    async with make_kernel(folder, plugins=["modes:swarm-worker", "sandboxes:none"], extra=extra) as kernel:
        mode, parser = kernel.mode("swarm-worker"), ArgumentParser()
        mode.arguments(parser)
        await mode.run(parser.parse_args(["--nats", url, "--concurrency", "1"]))

trio.run(main, Path(sys.argv[1]), sys.argv[2])
"""
OURS = """
import json, sys, time, trio
from pathlib import Path
from codetether.api import AgentTask
from codetether.testing import make_kernel

async def main(folder, url, times, warm):
    async with make_kernel(folder, plugins=["executors:nats"], settings={"executors:nats.url": url}) as kernel:
        executor, took = kernel.executor("nats"), []
        for number in range(times + warm):
            start = time.perf_counter()
            result = await executor.run(AgentTask(f"t{number}", "", ""))
            took.append(time.perf_counter() - start)
            assert result.ok, result.error
    print(json.dumps(sorted(took[warm:])[times // 2]))

trio.run(main, Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
"""


def _median(code: str, *words: str) -> float:
    done = subprocess.run(
        [PYTHON, "-c", code, *words, str(TIMES), str(WARM)], capture_output=True, text=True, check=False
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return float(json.loads(done.stdout.splitlines()[-1]))


def measure() -> list[tuple[str, str, str, bool]]:
    sys.path.insert(0, PEERS)
    from nats_server import NatsServer

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = NatsServer(folder / "nats")
        workers: list[subprocess.Popen[str]] = []
        try:
            subprocess.run([PYTHON, "-c", STREAM, server.address], check=True)
            for code, words in ((BARE_WORKER, []), (OUR_WORKER, [str(folder / "worker")])):
                worker = subprocess.Popen(
                    [PYTHON, "-c", code, *words, server.address],
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                )  # fmt: skip
                workers.append(worker)
                assert worker.stdout is not None
                assert worker.stdout.readline()
            bare, ours = [], []
            for turn in range(3):  # by turns: the machine is not always equally busy
                bare.append(_median(BARE, server.address))
                ours.append(_median(OURS, str(folder / f"home{turn}"), server.address))
        finally:
            for worker in workers:
                worker.terminate()
                worker.wait(30)
            server.close()
    ratio = min(ours) / min(bare)
    return [
        (
            "JetStream round trip of a no-op task, against the bare client's",
            "<= 3 x",
            f"{ratio:.1f} x ({min(ours) * 1000:.2f} ms; bare {min(bare) * 1000:.2f} ms)",
            ratio <= 3,
        )
    ]


if __name__ == "__main__":
    sys.exit(print(measure()))

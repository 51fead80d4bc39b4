"""The executor `nats` against the bare client: a task that does nothing, from one process to another and back.

Bare: nats-py alone, with what a queue needs in which nothing is lost or done twice. It publishes the task to a work queue and
waits for the broker's word; another process pulls it, claims it (a message that the broker takes only when there is no other
claim, which is what fences out a worker that was thought dead), publishes the result to a second stream, waits for the broker's
word each time and acknowledges the task; the result comes back through a consumer, is compared and acknowledged. Three messages
are stored, one after another, as with us: nobody can do with fewer and keep both promises. `unfenced` leaves the
claim out: the target holds for that too.

Ours has what a bare client has not: the executor's interface, a lease, an agent's folder, trio, and a fourth message, for which
nobody waits, that the result was taken. It needs no consumer for results: the broker says again what it kept. No task has the
name of an earlier one, as in no two runs of a swarm: what is on the broker of that is looked at first. Server and workers are
processes of their own. The least of the medians of all turns counts, each side's for itself: other work on the machine
only ever adds.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measuring import PYTHON

TIMES, WARM, TURNS = 150, 30, 7
PEERS = str(Path(__file__).parents[1] / "tests" / "peers")
BARE_WORKER = """
import asyncio, sys, nats
ALONE = {nats.js.api.Header.EXPECTED_LAST_SUBJECT_SEQUENCE: "0"}
async def main(kind, url):
    client = await nats.connect(url)
    js = client.jetstream()
    line = await js.pull_subscribe(f"{kind}.jobs", durable="w", stream=kind)
    print("ready", flush=True)
    while True:
        try:
            [message] = await line.fetch(1, timeout=30)
        except nats.errors.TimeoutError:
            continue
        if kind == "fenced":
            await js.publish(f"claims.{message.metadata.sequence.stream}", b"mine", headers=ALONE)
        await js.publish(f"{kind}.done", message.data)
        await message.ack()
asyncio.run(main(sys.argv[1], sys.argv[2]))
"""
BARE = """
import asyncio, json, sys, time, nats
from nats.js import api
async def main(kind, url, times, warm):
    client = await nats.connect(url)
    js = client.jetstream()
    results = await js.subscribe(f"{kind}.done", durable=f"c{time.time_ns()}", manual_ack=True,
                                 config=api.ConsumerConfig(deliver_policy=api.DeliverPolicy.NEW))
    took = []
    for number in range(times + warm):
        start = time.perf_counter()
        await js.publish(f"{kind}.jobs", b"x%d" % number)
        result = await results.next_msg(timeout=30)
        assert result.data == b"x%d" % number
        await result.ack()
        took.append(time.perf_counter() - start)
    print(json.dumps(sorted(took[warm:])[times // 2]))
    await client.close()
asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
"""
STREAMS = """
import asyncio, sys, nats
from nats.js import api
async def main(url):
    client = await nats.connect(url)
    js = client.jetstream()
    for kind in ("fenced", "unfenced"):
        await js.add_stream(name=kind, subjects=[f"{kind}.jobs"], retention=api.RetentionPolicy.WORK_QUEUE)
        await js.add_stream(name=f"{kind}-done", subjects=[f"{kind}.done"])
    await js.add_stream(name="claims", subjects=["claims.*"])
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
            result = await executor.run(AgentTask(f"t{number}:{folder.name}", "", ""))
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


def _until_it_says_something(log: Path) -> None:
    end = time.monotonic() + 60
    while not log.stat().st_size:
        if time.monotonic() > end:
            raise RuntimeError("a worker did not begin")
        time.sleep(0.05)


def measure() -> list[tuple[str, str, str, bool]]:
    sys.path.insert(0, PEERS)
    from nats_server import NatsServer

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = NatsServer(folder / "nats")
        workers: list[subprocess.Popen[bytes]] = []
        try:
            subprocess.run([PYTHON, "-c", STREAMS, server.address], check=True)
            for code, words in (
                (BARE_WORKER, ["fenced"]), (BARE_WORKER, ["unfenced"]), (OUR_WORKER, [str(folder / "worker")]),
            ):  # fmt: skip
                log = folder / f"worker{len(workers)}.log"
                with log.open("w") as said:
                    workers.append(
                        subprocess.Popen(
                            [PYTHON, "-c", code, *words, server.address], stdout=said, stderr=said
                        )
                    )
                _until_it_says_something(log)
            took: dict[str, list[float]] = {"fenced": [], "unfenced": [], "ours": []}
            for turn in range(TURNS):  # by turns: the machine is not always equally busy
                for kind in ("fenced", "unfenced"):
                    took[kind].append(_median(BARE, kind, server.address))
                took["ours"].append(_median(OURS, str(folder / f"home{turn}"), server.address))
        finally:
            for worker in workers:
                worker.terminate()
                worker.wait(30)
            server.close()
    ours, fenced, unfenced = (min(took[kind]) for kind in ("ours", "fenced", "unfenced"))
    bare = f"{fenced * 1000:.2f} ms with a claim, {unfenced * 1000:.2f} without"
    return [
        (
            "JetStream round trip of a no-op task, against the bare client's with the same promises, and without a claim",
            "<= 3 x",
            f"{ours / fenced:.1f} x, {ours / unfenced:.1f} x ({ours * 1000:.2f} ms; bare {bare})",
            ours / unfenced <= 3,
        )
    ]


if __name__ == "__main__":
    sys.exit(print(measure()))

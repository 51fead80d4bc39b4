"""One streamed delta from the socket to an interface's event: CPU of our process per delta, none lost."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import trio
from loopback import model
from measuring import empty_home

COUNT = 50_000
SERVER = f"""
import sys, trio
from codetether.testing import ScriptedServer, Reply
pieces = tuple(f"w{{i}} " for i in range({COUNT}))
async def main():
    async with ScriptedServer(lambda asked: Reply(pieces=pieces)) as server:
        print(server.url, flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
trio.run(main)
"""


async def _turn(work: Path) -> tuple[float, str, int]:
    from codetether.events import TextDelta
    from codetether.kernel import Kernel

    heard: list[str] = []
    async with (
        Kernel.load(work) as kernel,
        kernel.open_session(directory=work, model="local/scripted") as session,
    ):

        async def listen(task_status: trio.TaskStatus[None]) -> None:
            with session.feed.listen() as feed:
                task_status.started()
                async for event in feed:
                    if isinstance(event, TextDelta):
                        heard.append(event.text)

        async with trio.open_nursery() as nursery:
            await nursery.start(listen)
            before = time.process_time()
            finished = await session.prompt("count")
            session.feed.close()
    return time.process_time() - before, "".join(heard) + finished.error, len(heard)


def measure() -> list[tuple[str, str, str, bool]]:
    with model(SERVER) as url, empty_home() as (home, env):
        os.environ.update(
            {
                "HOME": env["HOME"],
                "CODETETHER_LOCAL_BASE_URL": f"{url}/v1",
            }
        )
        (home / "work").mkdir()
        cpu, text, events = trio.run(_turn, home / "work")
    whole = text == "".join(f"w{i} " for i in range(COUNT))
    each = cpu / COUNT * 1e6
    return [
        (
            "one streamed delta, socket to UI event, CPU",
            "<= 60 µs",
            f"{each:.1f} µs ({events} events heard)",
            each <= 60,
        ),
        ("50,000 deltas", "nothing lost", "every byte arrived" if whole else "BYTES LOST", whole),
    ]


if __name__ == "__main__":
    sys.exit(print(measure()))

"""256 short calls, 64 at a time, through the shared pool: calls a second, against bare httpx clients of eight connections
each. The server is a process of its own that answers at once and keeps connections.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import trio
from loopback import KEPT, model

PATHS = [
    str(Path(__file__).parents[1] / "tests" / name)
    for name in ("faults", "plugins/providers", "flow")
]
CALLS, AT_ONCE, EACH = 256, 64, 8
SERVER = """
from codetether.testing import chat_sse

def answer(body, said=chat_sse("A short answer.")):
    return said, 0
"""


async def _all(call: object) -> tuple[float, float]:
    """(wall, CPU) seconds for all calls."""
    places = trio.CapacityLimiter(AT_ONCE)

    async def one(number: int) -> None:
        async with places:
            await call(number)

    start, cpu = time.perf_counter(), time.process_time()
    async with trio.open_nursery() as nursery:
        for number in range(CALLS):
            nursery.start_soon(one, number)
    return time.perf_counter() - start, time.process_time() - cpu


async def _measured(url: str) -> tuple[float, float, float]:
    """Calls a second of ours and of bare httpx, and CPU seconds of one of ours: the best of five in turns."""
    import httpx
    from codetether.api import Finish, Message, Request, Text, TextDelta
    from dialects import DIALECTS
    from stand import kernel_at

    dialect = DIALECTS["chat"]
    ask = Request(dialect.model, (Message("user", (Text("Say something short."),)),))
    clients = [httpx.AsyncClient(trust_env=False) for _ in range(AT_ONCE // EACH)]
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Say something."}]})

    with tempfile.TemporaryDirectory() as folder:
        async with kernel_at(Path(folder), {dialect.provider: url}, tools=()) as kernel:
            provider = kernel.provider(dialect.provider)

            async def ours(_: int) -> None:
                async with provider.stream(ask) as events:
                    said = [event async for event in events]
                assert said[0] == TextDelta("A short answer."), said
                assert isinstance(said[-1], Finish)

            async def bare(number: int) -> None:
                client = clients[number % len(clients)]
                async with client.stream("POST", f"{url}/chat/completions", content=body) as answer:
                    assert b"short" in await answer.aread()

            await _all(ours)
            await _all(bare)
            times = [(await _all(ours), await _all(bare)) for _ in range(5)]
    for client in clients:
        await client.aclose()
    best, cpu = min(one for one, _ in times)
    return CALLS / best, CALLS / min(other for _, (other, _) in times), cpu / CALLS


def measure() -> list[tuple[str, str, str, bool]]:
    sys.path[:0] = PATHS
    with model(SERVER + KEPT) as url:
        ours, bare, cpu = trio.run(_measured, url)
    return [
        (
            "256 short calls, 64 at a time, through the shared pool",
            ">= 400 calls/s",
            f"{ours:.0f} calls/s (bare httpx, a client for 8: {bare:.0f})",
            ours >= 400,
        ),
        ("one of them, CPU", "<= 2 ms", f"{cpu * 1000:.2f} ms", cpu <= 0.002),
    ]


if __name__ == "__main__":
    sys.exit(print(measure()))

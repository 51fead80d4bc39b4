"""Many agents and one vendor: no herd while it is away nor when it comes back, and connections that do not get in each
other's way (F02, F18).
"""

from __future__ import annotations

import random
from itertools import pairwise

import trio
from codetether.api import Message, Request, Text
from codetether.testing import ByteServer, Pause
from dialects import DIALECTS, refusal
from stand import kernel_at

CHAT = DIALECTS["chat"]
AGENTS = 50
ASK = Request(CHAT.model, (Message("user", (Text("go"),)),))


async def work(kernel, home, ends, *, turns=1):
    """One agent: a session of its own."""
    async with kernel.open_session(directory=home / "work", model=CHAT.ref) as session:
        for _ in range(turns):
            ends.append(await session.prompt("go"))


async def agents(kernel, home, **how):
    ends = []
    async with trio.open_nursery() as nursery:
        for _ in range(AGENTS):
            nursery.start_soon(lambda: work(kernel, home, ends, **how))
    return ends


async def test_f02_fifty_agents_make_no_herd(tmp_path, leaping_clock, monkeypatch):
    """Ten minutes of 503 in mid-work: in each slot one of them asks; then they come back a few at a time."""
    monkeypatch.setenv("CODETETHER_UNATTENDED", "1")
    away = (0.5, 600.5)
    open_now = most = 0

    def script(request):
        nonlocal open_now, most
        if away[0] <= request.at < away[1]:
            yield refusal(503, "maintenance")
            return
        open_now += 1
        yield Pause(1)
        if request.at >= away[1]:
            most = max(most, open_now)
        open_now -= 1
        yield from CHAT.says("done")

    with trio.CancelScope(shield=True):
        async with (
            ByteServer(script) as server,
            kernel_at(tmp_path, {CHAT.provider: server.url}) as kernel,
        ):
            provider = kernel.provider(CHAT.provider)
            provider.gate._jitter = random.Random(3).random
            ends = await agents(kernel, tmp_path, turns=2)
    assert [end.text for end in ends] == ["done"] * AGENTS * 2
    failed = sorted(request.at for request in server.requests if away[0] <= request.at < away[1])
    first = [at for at in failed if at == failed[0]]
    probes = failed[len(first) :]
    assert len(first) <= AGENTS  # those who were on their way when it began
    assert 10 <= len(probes) <= 40  # ten minutes of waits of 30 s in the middle, one request each
    assert all(late > early for early, late in pairwise(probes))
    assert most <= 32  # back up to the full width by doubling, not all at once
    back = [request.at for request in server.requests if request.at >= away[1]]
    assert len([at for at in back if at == back[0]]) == 1  # who finds it back is alone


async def test_f02_one_agents_limit_is_every_agents_limit(tmp_path, leaping_clock):
    """One was told to wait a minute: nobody of the same provider asks meanwhile."""
    told = []

    def script(request):
        if not told:
            told.append(request.at)
            return [refusal(429, **{"retry-after": "60"})]
        return CHAT.says("done")

    async with (
        ByteServer(script) as server,
        kernel_at(tmp_path, {CHAT.provider: server.url}) as kernel,
    ):
        ends = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work, kernel, tmp_path, ends)
            await trio.sleep(1)
            for _ in range(9):
                nursery.start_soon(work, kernel, tmp_path, ends)
    assert [end.text for end in ends] == ["done"] * 10
    assert min(request.at for request in server.requests[1:]) >= told[0] + 60


async def test_f18_64_at_a_time_wait_for_nobody(tmp_path, leaping_clock):
    """256 calls of 200 ms, 64 at a time: four rounds and no queue behind them. (What it costs is measured in
    benchmarks/bench_parallel.py.)
    """

    def script(request):
        yield Pause(0.2)
        yield from CHAT.says("done")

    async with (
        ByteServer(script) as server,
        kernel_at(tmp_path, {CHAT.provider: server.url}, tools=()) as kernel,
    ):
        provider, ends = kernel.provider(CHAT.provider), []
        places = trio.CapacityLimiter(64)

        async def call():
            async with places, provider.stream(ASK) as events:
                said = [event async for event in events]
            ends.append(said[-1].reason)

        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(256):
                nursery.start_soon(call)
        took = trio.current_time() - began
    assert ends == ["stop"] * 256
    assert took < 1.5

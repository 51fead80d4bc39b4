"""Many callers, one provider (F02, F18)."""

from __future__ import annotations

import random

import trio
from codetether.api import Finish, Message, Request, Retrying, Text, TextDelta
from codetether.testing import ByteServer, Pause
from codetether.testing.http import head, response
from codetether_wire import Gate, WireProvider

KEY = "sk-canary-0123456789abcdefghij"
ASK = Request("m", (Message("user", (Text("hi"),)),))


class Vendor(WireProvider):
    """A provider whose address is the test's server."""

    api = 1


def vendor(kernel, server, **settings):
    return Vendor(
        kernel({"vendor": {"api_key": KEY, "base_url": server.url}}, **settings), "providers:vendor"
    )


async def call(provider, into):
    async with provider.stream(ASK) as events:
        into.append([event async for event in events])


async def crowd(provider, size):
    ends = []
    async with trio.open_nursery() as nursery:
        for _ in range(size):
            nursery.start_soon(call, provider, ends)
    await provider.aclose()
    return ends


async def test_fifty_callers_knock_one_at_a_time(kernel, answer, autojump_clock):
    """The server fails for 30 s; then it must not be run over."""
    active = most = 0

    def script(request):
        nonlocal active, most
        if trio.current_time() < 30:
            yield response("busy", status=503)
            return
        active += 1
        most = max(most, active)
        yield Pause(0.2)
        active -= 1
        yield head() + answer("ok")

    async with ByteServer(script) as server:
        ends = await crowd(vendor(kernel, server), 50)
        failed = sorted(request.at for request in server.requests if request.at < 30)
    assert all(end[-1] == Finish("stop") for end in ends)
    assert all(TextDelta("ok") in end for end in ends)
    at_once = [at for at in failed if at == failed[0]]
    probes = failed[len(at_once) :]
    assert len(at_once) == 50  # nothing was known yet
    assert len(probes) <= 12  # about 1, 2, 4, 8, 16 s at random: one probe for each wait, not fifty
    assert len(set(probes)) == len(probes)
    assert most <= 32
    assert all(any(isinstance(event, Retrying) for event in end) for end in ends)


async def test_after_a_failure_the_limit_doubles_with_each_success(autojump_clock):
    gate = Gate(jitter=lambda: 1.0)
    first = await gate.enter()
    first.failed(None, "busy")
    assert gate.delay() == 1.0
    entered = []

    async def caller():
        ticket = await gate.enter()
        entered.append(trio.current_time())
        await trio.sleep(1)
        ticket.passed()

    async with trio.open_nursery() as nursery:
        for _ in range(15):
            nursery.start_soon(caller)
    assert [entered.count(at) for at in sorted(set(entered))] == [1, 2, 4, 8]


async def test_calls_under_way_together_are_one_failure(autojump_clock):
    gate = Gate(jitter=lambda: 1.0)
    tickets = [await gate.enter() for _ in range(10)]
    for ticket in tickets:
        ticket.failed(None, "busy")
    assert gate.delay() == 1.0
    (await gate.enter()).failed(None, "busy")
    assert gate.delay() == 2.0


async def test_an_old_success_does_not_shorten_a_wait_that_was_asked_for(autojump_clock):
    gate = Gate(jitter=lambda: 0.0)
    old, limited = await gate.enter(), await gate.enter()
    limited.failed(60.0, "rate limit")
    old.passed()
    assert gate.delay() == 60.0


async def test_a_cancelled_caller_gives_its_turn_to_the_next(autojump_clock):
    gate = Gate(jitter=lambda: 0.0)
    (await gate.enter()).failed(None, "busy")
    probe = await gate.enter()
    done = trio.Event()

    async def waiting():
        (await gate.enter()).passed()
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiting)
        await trio.testing.wait_all_tasks_blocked()
        assert not done.is_set()
        probe.dropped()
        await done.wait()


async def test_a_turn_is_not_lost_with_the_caller_it_was_given_to(autojump_clock):
    gate = Gate(jitter=lambda: 1.0)
    (await gate.enter()).failed(None, "busy")
    probe = await gate.enter()
    got = []

    async def waiting(name, seconds):
        with trio.move_on_after(seconds):
            (await gate.enter()).passed()
            got.append(name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiting, "first", 1)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(waiting, "second", 100)
        await trio.testing.wait_all_tasks_blocked()
        probe.failed(
            10.0, "still busy"
        )  # wakes the first, who gives up before the ten seconds are over
    assert got == ["second"]


async def test_random_histories_never_leave_callers_waiting_for_nobody(autojump_clock):
    dice = random.Random(7)
    gate = Gate(jitter=dice.random)
    stuck = 0

    async def caller():
        for _ in range(4):
            with trio.move_on_after(dice.choice([0.5, 5, 1000])):
                ticket = await gate.enter()
                try:
                    await trio.sleep(dice.random())
                    outcome = dice.random()
                    if outcome < 0.2:
                        ticket.failed(dice.choice([None, 0.5]), "busy")
                    elif outcome < 0.8:
                        ticket.passed()
                        if outcome > 0.75:
                            ticket.failed(None, "after all")
                finally:
                    ticket.dropped()

    async def watch():
        nonlocal stuck
        seen = 0
        while True:
            await trio.sleep(0.25)
            idle = len(gate._lot) > 0 and gate._busy == 0 and gate.delay() == 0
            seen = seen + 1 if idle else 0
            stuck += seen > 2

    with trio.move_on_after(100):  # histories with many failures in a row go on for longer
        async with trio.open_nursery() as watching:
            watching.start_soon(watch)
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(caller)
            watching.cancel_scope.cancel()
    assert stuck == 0
    assert gate._busy == 0

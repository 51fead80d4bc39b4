"""A vendor that is limiting or overloaded: how long a turn waits, what a person is told, when it gives up (F01, F02)."""

from __future__ import annotations

import random
from email.utils import formatdate

import pytest
import trio
from codetether.api import Retrying
from codetether.testing import ByteServer
from dialects import DIALECTS, refusal
from stand import session_at

CHAT = DIALECTS["chat"]
HOUR = 3600.0


def date_in(seconds, monkeypatch):
    """An HTTP date that far ahead; what the clock says meanwhile stands still."""
    monkeypatch.setattr("time.time", lambda: 1_900_000_000.0)
    return formatdate(1_900_000_000 + seconds, usegmt=True)


@pytest.mark.parametrize("value", ["20", "20.5", "date"])
async def test_f01_nobody_asks_before_the_stated_time(
    tmp_path, dialect, value, leaping_clock, monkeypatch
):
    header = date_in(20, monkeypatch) if value == "date" else value
    limited = refusal(429, "slow down", **{"retry-after": header})
    async with ByteServer([[limited], [limited], dialect.says("done")]) as server:
        async with session_at(tmp_path, server, dialect) as session:
            done = await session.prompt("go")
    assert (done.reason, done.text) == ("done", "done")
    first, second, third = (request.at for request in server.requests)
    for early, late in ((first, second), (second, third)):
        assert 20 <= late - early <= 23
    told = session.heard.of(Retrying)
    assert [event.attempt for event in told] == [1, 2]  # one countdown for each wait
    assert all("slow down" in event.why and event.wait >= 20 for event in told)


@pytest.mark.parametrize("value", ["-5", "soon", "nan", "inf", "0x10", "Mon, 99 Foo 2000", ""])
async def test_f01_what_is_no_time_is_ignored(tmp_path, dialect, value, leaping_clock):
    async with ByteServer(
        [[refusal(429, **{"retry-after": value})], dialect.says("done")]
    ) as server:
        async with session_at(tmp_path, server, dialect) as session:
            assert (await session.prompt("go")).text == "done"
    first, second = server.requests
    assert 0 < second.at - first.at <= 1  # its own back-off, and no longer


async def test_f01_a_wait_no_person_would_wait_is_told_at_once(tmp_path, dialect, leaping_clock):
    async with ByteServer([[refusal(429, "come back", **{"retry-after": "1000000000"})]]) as server:
        async with session_at(tmp_path, server, dialect) as session:
            before = trio.current_time()
            done = await session.prompt("go")
            assert trio.current_time() - before < 5
    assert done.reason == "error"
    assert "come back" in done.error
    assert "1000000000 s" in done.hint


async def test_f02_interactive_gives_up_and_says_how_to_wait_longer(
    tmp_path, dialect, leaping_clock
):
    async with ByteServer(lambda request: [refusal(529, "overloaded")]) as server:
        async with session_at(tmp_path, server, dialect) as session:
            before = trio.current_time()
            done = await session.prompt("go")
            assert trio.current_time() - before <= 125
    assert (done.reason, len(server.requests) <= 10) == ("error", True)
    assert "overloaded" in done.error
    assert "CODETETHER_UNATTENDED=1" in done.hint


@pytest.mark.parametrize("status", [500, 502, 503, 529])
async def test_f02_three_minutes_of_failure_without_a_header(
    tmp_path, status, leaping_clock, monkeypatch
):
    monkeypatch.setenv("CODETETHER_MAX_WAIT", "300")

    def script(request):
        return [refusal(status)] if trio.current_time() < 180 else CHAT.says("done")

    with trio.CancelScope(shield=True):  # the tests' own limit of two minutes is in this clock, too
        async with ByteServer(script) as server, session_at(tmp_path, server, CHAT) as session:
            assert (await session.prompt("go")).text == "done"
    waits = [event.wait for event in session.heard.of(Retrying)]
    assert waits[:7] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0]
    assert max(waits) == 30.0


async def test_f02_an_hour_of_529_is_ridden_out_unattended(
    tmp_path, dialect, leaping_clock, monkeypatch
):
    monkeypatch.setenv("CODETETHER_UNATTENDED", "1")
    began = trio.current_time()

    def script(request):
        return [refusal(529)] if trio.current_time() - began < HOUR else dialect.says("done")

    with trio.CancelScope(shield=True):
        async with ByteServer(script) as server, session_at(tmp_path, server, dialect) as session:
            session.kernel.provider(dialect.provider).gate._jitter = random.Random(1).random
            done = await session.prompt("go")
    assert (done.reason, done.text) == ("done", "done")
    assert HOUR <= server.requests[-1].at - began <= HOUR + 61
    assert len(server.requests) <= 200
    assert len(session.heard.of(Retrying)) == len(server.requests) - 1


async def test_f02_unattended_has_an_end_too(tmp_path, leaping_clock, monkeypatch):
    monkeypatch.setenv("CODETETHER_UNATTENDED", "1")
    with trio.CancelScope(shield=True):
        began = trio.current_time()
        async with ByteServer(lambda request: [refusal(529)]) as server:
            async with session_at(tmp_path, server, CHAT) as session:
                done = await session.prompt("go")
        assert done.reason == "error"
        assert HOUR < trio.current_time() - began <= 2.1 * HOUR

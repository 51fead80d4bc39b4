"""Connections that are kept: servers that close theirs after an answer (llama.cpp) cost nobody a retry."""

from __future__ import annotations

import socket
import struct
from functools import partial

import pytest
import trio
from codetether.api import CodetetherError, Finish, Message, Request, Retrying, Text, TextDelta
from codetether.testing.http import receive
from codetether_wire import WireProvider, pool_of

KEY = "sk-canary-0123456789abcdefghij"
ASK = Request("m", (Message("user", (Text("hi"),)),))


class Vendor(WireProvider):
    api = 1


class Keeper:
    """A server that keeps connections. `plan(connection, request)` says what to do with a request, counted from 0:
    "answer", "fin" or "reset" without a byte, "torn" after half an answer.
    """

    def __init__(self, plan, answer):
        self.plan = plan
        self.answer = answer
        self.served = []
        self.url = ""
        self._connections = 0

    async def serve(self, stream):
        connection, count = self._connections, 0
        self._connections += 1
        while True:
            try:
                if await receive(stream) is None:
                    return
            except (trio.BrokenResourceError, ValueError):
                return
            what = self.plan(connection, count)
            self.served.append((connection, count, what))
            count += 1
            if what == "fin":
                await stream.aclose()
                return
            if what == "reset":
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                await trio.aclose_forcefully(stream)
                return
            head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            size = f"content-length: {len(self.answer)}\r\n\r\n"
            if what == "torn":
                await stream.send_all((head + size).encode() + self.answer[:40])
                await stream.aclose()
                return
            await stream.send_all((head + size).encode() + self.answer)


@pytest.fixture
def kept(kernel, answer):
    """kept(plan, calls): the events of so many calls, `at_once` side by side and then the next, the server, the provider."""

    async def run(plan, calls=2, *, at_once=1, pause=0):
        server = Keeper(plan, answer("all"))
        async with trio.open_nursery() as nursery:
            [listener] = await nursery.start(
                partial(trio.serve_tcp, server.serve, 0, host="127.0.0.1")
            )
            port = listener.socket.getsockname()[1]
            secret = {"vendor": {"api_key": KEY, "base_url": f"http://127.0.0.1:{port}/v1"}}
            provider = Vendor(kernel(secret), "providers:vendor")
            answers = []

            async def call():
                async with provider.stream(ASK) as events:
                    answers.append([event async for event in events])

            for _ in range(calls):
                async with trio.open_nursery() as calling:
                    for _ in range(at_once):
                        calling.start_soon(call)
                await trio.sleep(pause)
            await provider.aclose()
            nursery.cancel_scope.cancel()
        return answers, server, provider

    return run


async def test_each_serves_one_call_at_a_time_and_then_the_next(kept):
    answers, server, provider = await kept(lambda c, n: "answer", calls=4, at_once=10)
    assert answers == [[TextDelta("all"), Finish("stop")]] * 40
    assert sorted({(c, n) for c, n, _ in server.served}) == [
        (c, n) for c in range(10) for n in range(4)
    ]
    assert pool_of(provider.kernel).kept == 0  # closed with the provider


async def test_one_that_nobody_wants_for_long_is_closed(kept, autojump_clock):
    answers, server, _ = await kept(lambda c, n: "answer", pause=31)
    assert answers == [[TextDelta("all"), Finish("stop")]] * 2
    assert server.served == [(0, 0, "answer"), (1, 0, "answer")]


@pytest.mark.parametrize("how", ["fin", "reset"])
async def test_a_kept_connection_that_died_is_nobodys_failure(kept, how):
    answers, server, provider = await kept(lambda c, n: how if (c, n) == (0, 1) else "answer")
    assert answers == [[TextDelta("all"), Finish("stop")]] * 2  # no Retrying
    assert server.served == [(0, 0, "answer"), (0, 1, how), (1, 0, "answer")]
    assert provider.gate.delay() == 0


@pytest.mark.parametrize("how", ["fin", "reset"])
async def test_a_new_connection_that_dies_is_a_failure(kept, how, autojump_clock):
    answers, server, _ = await kept(lambda c, n: how if c == 0 else "answer", calls=1)
    assert isinstance(answers[0][0], Retrying)
    assert answers[0][1:] == [TextDelta("all"), Finish("stop")]
    assert len(server.served) == 2


async def test_once_only(kept, autojump_clock):
    """The second try fails on a connection of its own: now it is the server, and there is a back-off."""
    plan = {(0, 0): "answer", (0, 1): "fin", (1, 0): "fin"}
    answers, server, _ = await kept(lambda c, n: plan.get((c, n), "answer"))
    assert [isinstance(event, Retrying) for event in answers[1]] == [True, False, False]
    assert len(server.served) == 4


async def test_an_answer_that_began_is_not_sent_for_silently(kept, autojump_clock):
    answers, _, _ = await kept(lambda c, n: "torn" if (c, n) == (0, 1) else "answer")
    assert any(isinstance(event, Retrying) for event in answers[1])


async def test_lists_are_asked_for_again_too(kernel, answer):
    server = Keeper(lambda c, n: "fin" if (c, n) == (0, 1) else "answer", b'{"data": []}')
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, server.serve, 0, host="127.0.0.1"))
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        provider = Vendor(kernel({"vendor": {"api_key": KEY, "base_url": url}}), "providers:vendor")
        endpoint = await provider.endpoint("")
        for _ in range(2):
            with pytest.raises(CodetetherError):  # an event stream is no list; it came all the same
                await provider.fetch(endpoint, "/models")
        await provider.aclose()
        nursery.cancel_scope.cancel()
    assert [what for *_, what in server.served] == ["answer", "fin", "answer"]

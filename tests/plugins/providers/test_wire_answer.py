"""Whole calls against a server that misbehaves byte by byte: F01, F03-F07, F15-F17, F41."""

from __future__ import annotations

import gzip
import json
import logging
import zlib
from functools import partial

import pytest
import trio
from codetether.api import (
    CallDelta,
    CallStart,
    Finish,
    Message,
    Request,
    Retrying,
    Text,
    TextDelta,
    Usage,
)
from codetether.testing import ByteServer, Fin, Pause, Reset, Stall
from codetether.testing.http import head, response
from codetether_wire import WireProvider, WireSettings

KEY = "sk-canary-0123456789abcdefghij"
ASK = Request("m", (Message("user", (Text("hi"),)),))


class Vendor(WireProvider):
    """A provider whose address is the test's server."""

    api = 1
    base_url = "http://127.0.0.1:1/v1"


def vendor(kernel, server, *, key=KEY, **settings):
    documents = {
        "vendor": {"api_key": key, "base_url": f"{server.url}/v1", "headers": {"X-Extra": "yes"}}
    }
    provider = Vendor(kernel(documents, **settings), "providers:vendor")
    provider.gate._jitter = lambda: 0.5
    return provider


async def collect(provider, request=ASK):
    async with provider.stream(request) as events:
        seen = [event async for event in events]
    await provider.aclose()
    assert isinstance(seen[-1], Finish)
    assert sum(isinstance(event, Finish) for event in seen) == 1
    assert KEY not in repr(seen)
    return seen


def text_of(events):
    """What is left when a Retrying voids what came before."""
    said = ""
    for event in events:
        said = (
            ""
            if isinstance(event, Retrying)
            else said + (event.text if isinstance(event, TextDelta) else "")
        )
    return said


async def test_an_answer_and_what_was_asked(kernel, answer):
    usage = {"prompt_tokens": 10, "completion_tokens": 2}
    async with ByteServer([[head() + answer("Hel", "lo", usage=usage)]]) as server:
        seen = await collect(vendor(kernel, server))
    assert text_of(seen) == "Hello"
    assert seen[-1] == Finish("stop", Usage(10, 2))
    [sent] = server.requests
    assert (sent.method, sent.path) == ("POST", "/v1/chat/completions")
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert sent.headers["x-extra"] == "yes"
    assert sent.headers["accept-encoding"] == "gzip, identity"
    assert sent.json["stream"] is True


async def test_every_byte_alone(kernel, answer):
    steps = [head(), *(bytes([byte]) for byte in answer("Hél", "lo €"))]
    async with ByteServer([steps]) as server:
        assert text_of(await collect(vendor(kernel, server))) == "Héllo €"


@pytest.mark.parametrize("end", [Fin(), Reset()])
async def test_a_cut_anywhere_is_tried_again_and_never_said_twice(
    kernel, answer, end, autojump_clock
):
    whole = answer("one ", "two ", "three")
    borders = [i + 2 for i in range(len(whole)) if whole[i : i + 2] == b"\n\n"]
    for border in [0, 5, *borders[:3]]:
        async with ByteServer(
            [[head(), whole[:border], Pause(0.01), end], [head(), whole]]
        ) as server:
            seen = await collect(vendor(kernel, server))
        assert text_of(seen) == "one two three"
        assert seen[-1] == Finish("stop")
        [again] = [event for event in seen if isinstance(event, Retrying)]
        assert again.attempt == 1


@pytest.mark.parametrize("end", [Fin(), Reset(), Stall()])
async def test_after_the_terminal_event_nothing_can_go_wrong(kernel, answer, end, autojump_clock):
    async with ByteServer([[head(), answer("all", done=False), Pause(0.01), end]]) as server:
        seen = await collect(vendor(kernel, server))
    assert (text_of(seen), seen[-1]) == ("all", Finish("stop"))


@pytest.mark.parametrize(
    "junk", [b"data: {bro", b"data: {broken}\n\n", b"data: " + b"x" * 2_000_000]
)
async def test_junk_after_the_terminal_event_spoils_nothing(kernel, answer, junk):
    async with ByteServer([[head() + answer("all", done=False) + junk]]) as server:
        seen = await collect(vendor(kernel, server))
    assert (text_of(seen), seen[-1]) == ("all", Finish("stop"))


async def test_a_clean_end_without_terminal_event_is_incomplete(kernel, answer, autojump_clock):
    """HTTP reports no error for this: neither without a length nor with a clean last chunk (F06)."""
    cut = answer("half", finish=None, done=False)
    chunked = head(headers={"transfer-encoding": "chunked"}) + b"%x\r\n%s\r\n0\r\n\r\n" % (
        len(cut),
        cut,
    )
    async with ByteServer([[head() + cut], [chunked], [head() + cut], [chunked]]) as server:
        seen = await collect(vendor(kernel, server))
    assert seen[-1].error.kind == "incomplete"
    assert len(server.requests) == 4  # three restarts of an answer already begun, then the end
    assert [event.text for event in seen if isinstance(event, TextDelta)] == ["half"] * 4


async def test_a_call_is_not_finished_by_a_cut(kernel, autojump_clock):
    call = {"index": 0, "id": "c", "function": {"name": "write", "arguments": '{"a": 1}'}}
    cut = (
        b"data: " + json.dumps({"choices": [{"delta": {"tool_calls": [call]}}]}).encode() + b"\n\n"
    )
    async with ByteServer([[head() + cut]] * 4) as server:
        seen = await collect(vendor(kernel, server))
    assert CallStart(0, "c", "write") in seen
    assert CallDelta(0, '{"a": 1}') in seen
    assert seen[-1].reason == "error"


async def test_silence_and_pings_are_given_up(kernel, autojump_clock):
    def pings():
        yield head()
        while True:
            yield b": ping\n\n"
            yield Pause(5)

    async with ByteServer([[Stall()], pings()]) as server:
        start = trio.current_time()
        provider = vendor(kernel, server, idle_timeout=20, max_wait=0.9)
        seen = await collect(provider)
    assert seen[-1].error.kind == "timeout"
    assert "20 s" in seen[-1].error.message
    assert len(server.requests) == 2
    assert 40 <= trio.current_time() - start <= 42


async def test_words_keep_a_call_alive_until_the_total_limit(kernel, autojump_clock):
    def words():
        yield head()
        while True:
            yield b'data: {"choices": [{"delta": {"content": "x"}}]}\n\n'
            yield Pause(5)

    async with ByteServer(lambda request: words()) as server:
        start = trio.current_time()
        seen = await collect(vendor(kernel, server, idle_timeout=20, total_timeout=100))
    assert seen[-1].error.kind == "timeout"
    assert trio.current_time() - start == pytest.approx(100, abs=1)
    assert len(server.requests) == 1


async def test_a_slow_listener_is_not_silence(kernel, answer, autojump_clock):
    async with ByteServer([[head(), answer(*"abc", done=False), Pause(1), answer("d")]]) as server:
        provider = vendor(kernel, server, idle_timeout=20)
        said = []
        async with provider.stream(ASK) as events:
            async for event in events:
                said.append(event)
                await trio.sleep(15)
    assert said[-1] == Finish("stop")


@pytest.mark.parametrize(
    ("value", "bounds"),
    [
        ("7", (7, 8)),
        ("0.5", (0.5, 1.1)),
        ("-3", (0, 1)),
        ("junk", (0, 1)),
        ("Tue, 14 Nov 2000 22:13:20 GMT", (0, 1)),
    ],
)
async def test_retry_after_is_kept(kernel, answer, autojump_clock, value, bounds):
    least, most = bounds
    limited = response(
        '{"error": {"message": "slow down"}}', status=429, headers={"retry-after": value}
    )
    async with ByteServer([[limited], [head() + answer("ok")]]) as server:
        seen = await collect(vendor(kernel, server))
    first, second = server.requests
    assert least <= second.at - first.at <= most
    [retrying] = [event for event in seen if isinstance(event, Retrying)]
    assert retrying.wait == pytest.approx(second.at - first.at, abs=0.01)
    assert "slow down" in retrying.why
    assert text_of(seen) == "ok"


async def test_a_wait_beyond_patience_ends_at_once_and_says_when(kernel, answer, autojump_clock):
    for value, unattended, requests in (("1000000000", True, 1), ("50", False, 1), ("50", True, 2)):
        limited = response("{}", status=429, headers={"retry-after": value})
        async with ByteServer([[limited], [head() + answer("ok")]]) as server:
            seen = await collect(vendor(kernel, server, unattended=unattended, max_wait=40))
        assert len(server.requests) == requests
        if requests == 1:
            assert seen[-1].error.kind == "rate_limit"
            assert seen[-1].error.retry_after >= float(value)


async def test_a_wait_of_exactly_the_cap_is_waited(kernel, answer, autojump_clock):
    limited = response("{}", status=429, headers={"retry-after": "40"})
    async with ByteServer([[limited], [head() + answer("ok")]]) as server:
        assert text_of(await collect(vendor(kernel, server, max_wait=40))) == "ok"


async def test_no_credit_is_not_waited_for(kernel):
    body = '{"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}'
    async with ByteServer([[response(body, status=429)]]) as server:
        seen = await collect(vendor(kernel, server))
    assert "credit" in seen[-1].error.hint


@pytest.mark.parametrize("status", [500, 502, 503, 529, 408])
async def test_overload_is_ridden_out(kernel, answer, autojump_clock, status):
    async with ByteServer(
        [[response("busy", status=status, content_type="text/plain")]] * 3
        + [[head() + answer("ok")]]
    ) as server:
        seen = await collect(vendor(kernel, server))
    waits = [event.wait for event in seen if isinstance(event, Retrying)]
    assert waits == [0.5, 1.0, 2.0]
    assert text_of(seen) == "ok"


async def test_tries_and_waiting_are_bounded(kernel, autojump_clock):
    async with ByteServer(lambda request: [response("busy", status=503)]) as server:
        start = trio.current_time()
        seen = await collect(vendor(kernel, server))
    assert seen[-1].error.kind == "overloaded"
    assert seen[-1].error.status == 503
    assert len(server.requests) <= 10
    assert trio.current_time() - start <= 121


async def test_a_refused_key_is_read_again_once(kernel, answer):
    def script(request):
        good = request.headers["authorization"] == "Bearer sk-new-key-0123456789abc"
        return (
            [head() + answer("ok")]
            if good
            else [response('{"error": {"message": "bad key"}}', status=401)]
        )

    async with ByteServer(script) as server:
        provider = vendor(kernel, server)
        secrets = provider.kernel.secrets()
        secrets.queue = [{"api_key": "sk-new-key-0123456789abc", "base_url": f"{server.url}/v1"}]
        assert text_of(await collect(provider)) == "ok"
    assert len(server.requests) == 2
    assert secrets.forgotten == ["vendor"]


@pytest.mark.parametrize("status", [401, 403])
async def test_a_wrong_key_costs_two_calls_and_shows_nothing(kernel, status):
    words = f'{{"error": {{"message": "Incorrect API key provided: {KEY}"}}}}'
    async with ByteServer([[response(words, status=status)]] * 2) as server:
        seen = await collect(vendor(kernel, server))
    assert seen[-1].error.kind == "auth"
    assert seen[-1].error.message.startswith("vendor: Incorrect API key")
    assert "auth login vendor" in seen[-1].error.hint
    assert len(server.requests) == 2


async def test_a_bad_request_is_not_repeated(kernel):
    async with ByteServer(
        [[response('{"error": {"message": "roles must alternate"}}', status=400)]]
    ) as server:
        seen = await collect(vendor(kernel, server))
    assert (seen[-1].error.kind, seen[-1].error.status) == ("invalid", 400)
    assert len(server.requests) == 1


async def test_a_bad_request_that_names_its_field_is_repeated_otherwise(kernel, answer):
    refusal = response(
        '{"error": {"message": "Use \'max_completion_tokens\' instead."}}', status=400
    )
    async with ByteServer([[refusal], [head() + answer("ok")], [head() + answer("ok")]]) as server:
        provider = vendor(kernel, server)
        request = Request("m", ASK.messages, max_output=5)
        assert text_of(await collect(provider, request)) == "ok"
        assert text_of(await collect(provider, request)) == "ok"
    first, second, third = (sent.json for sent in server.requests)
    assert "max_tokens" in first
    assert second["max_completion_tokens"] == third["max_completion_tokens"] == 5


@pytest.mark.parametrize("status", [400, 413])
async def test_too_long_a_conversation_is_named(kernel, status):
    body = '{"error": {"message": "This model\'s maximum context length is 8192 tokens."}}'
    async with ByteServer([[response(body, status=status)]]) as server:
        seen = await collect(vendor(kernel, server))
    assert seen[-1].error.kind == "context"


PAGE = "<html><head><title>Log in to the hotel</title></head><body>" + "<p>x</p>" * 50_000


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (response(PAGE, content_type="text/html"), "other", "Log in to the hotel"),
        (response(PAGE, status=404, content_type="text/html"), "invalid", "Log in to the hotel"),
        (
            response('{"error": {"message": "no such model", "type": "invalid_request_error"}}'),
            "invalid",
            "no such model",
        ),
        (response('{"detail": "odd"}'), "other", "odd"),
        (response("[1, 2"), "other", "not the JSON"),
        (
            response(b"\x00\xff" * 100, content_type="application/octet-stream"),
            "other",
            "octet-stream",
        ),
        (
            head()
            + b'data: {"error": {"message": "bad prompt", "type": "invalid_request_error"}}\n\n',
            "invalid",
            "bad prompt",
        ),
        (head() + b"data: " + b"x" * 2_000_000 + b"\n\n", "other", "larger than"),
        (head(headers={"content-encoding": "br"}) + b"x", "other", "content-encoding"),
    ],
)
async def test_what_is_no_answer_is_a_typed_fault(kernel, reply, kind, words):
    async with ByteServer([[reply]]) as server:
        seen = await collect(vendor(kernel, server))
    fault = seen[-1].error
    assert fault.kind == kind
    assert words in fault.message
    assert len(fault.message) <= 500
    assert "\n" not in fault.message


async def test_an_answer_in_one_piece_is_taken(kernel):
    body = {
        "choices": [{"message": {"role": "assistant", "content": "whole"}, "finish_reason": "stop"}]
    }
    async with ByteServer([[response(json.dumps(body))]]) as server:
        assert text_of(await collect(vendor(kernel, server))) == "whole"


async def test_gzip_is_unpacked_and_a_bomb_is_not(kernel, answer):
    packed = gzip.compress(answer("packed"))
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = (
        b"".join(packer.compress(b": " + b"\0" * (1 << 20) + b"\n") for _ in range(80))
        + packer.flush()
    )
    encoded = {"content-encoding": "gzip"}
    async with ByteServer(
        [[head(headers=encoded) + packed], [head(headers=encoded) + bomb]]
    ) as server:
        provider = vendor(kernel, server)
        assert text_of(await collect(provider)) == "packed"
        seen = await collect(provider)
    assert seen[-1].error.kind == "other"
    assert "larger than" in seen[-1].error.message


async def test_a_redirect_is_not_followed(kernel):
    async with ByteServer([]) as thief:
        reply = response(status=307, headers={"location": f"{thief.url}/v1/chat/completions?key=x"})
        async with ByteServer([[reply]]) as server:
            seen = await collect(vendor(kernel, server))
    assert thief.requests == []
    assert "redirects" in seen[-1].error.message
    assert "?" not in seen[-1].error.message


async def test_nobody_there(kernel):
    async with ByteServer([]) as server:
        pass
    seen = await collect(vendor(kernel, server))
    assert seen[-1].error.kind == "network"
    assert "running" in seen[-1].error.hint


async def test_no_secret_and_no_place_for_them(kernel):
    provider = Vendor(kernel(), "providers:vendor")
    seen = await collect(provider)
    assert (seen[-1].error.kind, seen[-1].error.hint) == ("auth", "run: codetether vault up")
    provider = Vendor(kernel({}), "providers:vendor")
    assert "no secret for vendor" in (await collect(provider))[-1].error.message


@pytest.mark.parametrize("key", ["", "two\nlines", "schlüssel"])
async def test_a_key_that_cannot_be_sent(kernel, key):
    async with ByteServer([]) as server:
        seen = await collect(vendor(kernel, server, key=key))
    assert seen[-1].error.kind == "auth"
    assert key == "" or key not in repr(seen)


async def test_leaving_closes_the_connection_at_once(kernel, answer):
    gone = trio.Event()

    async def serve(stream):
        await stream.receive_some(65536)
        await stream.send_all(head() + answer("x", finish=None, done=False))
        with trio.fail_after(10):
            while await stream.receive_some(1):
                pass
        gone.set()

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        kernel = kernel(
            {
                "vendor": {
                    "api_key": KEY,
                    "base_url": f"http://127.0.0.1:{listener.socket.getsockname()[1]}",
                }
            }
        )
        provider = Vendor(kernel, "providers:vendor")
        async with provider.stream(ASK) as events:
            assert await anext(events) == TextDelta("x")
        with trio.fail_after(10):
            await gone.wait()
        await provider.aclose()
        nursery.cancel_scope.cancel()


async def test_what_the_listener_raises_comes_out_as_it_is(kernel, answer):
    async with ByteServer([[head() + answer("x")]]) as server:
        provider = vendor(kernel, server)

        async def listen():
            async with provider.stream(ASK) as events:
                await anext(events)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await listen()
        await provider.aclose()


async def test_fifty_thousand_deltas_lose_nothing(kernel, answer):
    texts = [f"{n}," for n in range(50_000)]
    async with ByteServer([[head() + answer(*texts)]]) as server:
        seen = await collect(vendor(kernel, server))
    assert text_of(seen) == "".join(texts)


async def test_the_log_shows_no_address_and_no_key(kernel, answer, caplog):
    caplog.set_level(logging.DEBUG)
    async with ByteServer([[head() + answer("x")], [response("no", status=400)]]) as server:
        provider = vendor(kernel, server)
        await collect(provider)
        await collect(provider)
    assert [
        record
        for record in caplog.records
        if record.name.startswith("http") and record.levelno < logging.WARNING
    ] == []
    assert KEY not in caplog.text


async def test_a_bug_in_a_dialect_is_a_finish(kernel):
    class Broken(Vendor):
        api = 1

        def dialect_for(self, model):
            raise KeyError(KEY)

    provider = Broken(kernel({"vendor": {"api_key": KEY}}), "providers:vendor")
    seen = await collect(provider)
    assert seen[-1].error.kind == "other"
    assert "KeyError" in seen[-1].error.message


def test_settings_explain_themselves():
    from codetether.testing.contract import contract_plugin

    contract_plugin(Vendor, "providers")
    assert WireSettings().trust_env is False

"""anthropic, azure-anthropic and minimax against a server on loopback: addresses, keys, lists, refusals, prices."""

from __future__ import annotations

import json

import pytest
from codetether.api import (
    Finish,
    Message,
    Request,
    Retrying,
    Text,
    TextDelta,
    Usage,
)
from codetether.testing import ByteServer
from codetether.testing.contract import check_plugin
from codetether.testing.http import head, response
from codetether_provider_anthropic import Anthropic
from codetether_provider_azure_anthropic import AzureAnthropic
from codetether_provider_minimax import MiniMax

KEY = "sk-ant-canary-0123456789abcdefghij"
USAGE = {
    "input_tokens": 1_000_000,
    "cache_read_input_tokens": 1_000_000,
    "cache_creation_input_tokens": 1_000_000,
    "output_tokens": 0,
}
NAMES = {"anthropic": Anthropic, "azure-anthropic": AzureAnthropic, "minimax": MiniMax}
HI = (Message("user", (Text("hi"),)),)


def stream(text="ok", *, stop=True, usage=None):
    start = {"type": "message_start", "message": {"usage": usage or {"input_tokens": 1}}}
    rows = [
        start,
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": text},
        },
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}},
    ]
    rows += [{"type": "message_stop"}] * stop
    return "".join(f"event: {r['type']}\ndata: {json.dumps(r)}\n\n" for r in rows).encode()


def error(kind, message, status, headers=None):
    body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}
    return response(json.dumps(body), status=status, headers=headers)


def make(kernel, server, name="anthropic", path="", **secret):
    document = {"api_key": KEY, "base_url": f"{server.url}{path}", **secret}
    return NAMES[name](kernel({name: document}), f"providers:{name}")


async def asked(provider, model="claude-sonnet-5-5", **more):
    async with provider.stream(Request(model, HI, **more)) as events:
        return [event async for event in events]


@pytest.mark.parametrize("name", sorted(NAMES))
def test_contract(name):
    check_plugin(name, "codetether.providers")


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/", "/v1/messages"])
async def test_the_address_may_end_as_it_likes(kernel, path):
    async with ByteServer([[head() + stream()]]) as server:
        provider = make(kernel, server, path=f"/proxy{path}")
        assert TextDelta("ok") in await asked(provider)
        await provider.aclose()
    [sent] = server.requests
    assert sent.path == "/proxy/v1/messages"
    assert sent.headers["x-api-key"] == KEY
    assert sent.headers["anthropic-version"] == "2023-06-01"
    assert "authorization" not in sent.headers
    assert sent.json["model"] == "claude-sonnet-5-5"
    assert sent.json["max_tokens"] == 64_000
    assert sent.headers["anthropic-beta"] == "thinking-binding-controls-2026-08-01"


async def test_the_secrets_headers_win(kernel):
    async with ByteServer([[head() + stream()]]) as server:
        headers = {"Anthropic-Version": "2099-01-01", "X-Gateway": "a"}
        provider = make(kernel, server, headers=headers, organization="wrkspc_1")
        await asked(provider)
        await provider.aclose()
    assert server.requests[0].headers["anthropic-version"] == "2099-01-01"
    assert server.requests[0].headers["x-gateway"] == "a"
    assert server.requests[0].headers["anthropic-workspace-id"] == "wrkspc_1"


async def test_without_a_key(kernel):
    status = await Anthropic(kernel({}), "providers:anthropic").status()
    assert not status.usable
    assert "auth login anthropic" in status.hint


# --- azure ---
@pytest.mark.parametrize(
    ("key", "header", "value"),
    [
        ("0123456789abcdef", "api-key", "0123456789abcdef"),
        ("eyJhbGciOi.eyJhdWQi.sig", "authorization", "Bearer eyJhbGciOi.eyJhdWQi.sig"),
    ],
)
async def test_azure_takes_a_key_or_a_token(kernel, key, header, value):
    async with ByteServer([[head() + stream()]]) as server:
        provider = make(kernel, server, "azure-anthropic", "/anthropic/", api_key=key)
        assert TextDelta("ok") in await asked(provider)
        await provider.aclose()
    [sent] = server.requests
    assert sent.path == "/anthropic/v1/messages"
    assert sent.headers[header] == value
    assert "x-api-key" not in sent.headers


async def test_azure_wants_an_address(kernel):
    provider = AzureAnthropic(
        kernel({"azure-anthropic": {"api_key": KEY}}), "providers:azure-anthropic"
    )
    status = await provider.status()
    assert not status.usable
    assert "no base_url" in status.why
    assert "services.ai.azure.com/anthropic" in status.hint
    [finish] = await asked(provider)
    assert (finish.reason, finish.error.kind) == ("error", "auth")
    assert {model.id for model in await provider.models()} > {"claude-opus-5-5"}


@pytest.mark.parametrize(
    "base", ["https://x.services.ai.azure.com", "https://x.services.ai.azure.com/anthropic/v1/"]
)
async def test_azure_addresses(kernel, base):
    document = {"api_key": KEY, "base_url": base}
    provider = AzureAnthropic(kernel({"azure-anthropic": document}), "providers:azure-anthropic")
    endpoint = await provider.endpoint("claude-opus-5-5")
    assert endpoint.base_url == "https://x.services.ai.azure.com/anthropic"


# --- minimax ---
@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("", "https://api.minimax.io/anthropic"),
        ("https://api.minimax.io/v1", "https://api.minimax.io/anthropic"),
        ("https://api.minimaxi.com/v1/", "https://api.minimaxi.com/anthropic"),
        ("https://api.minimax.io/anthropic/v1", "https://api.minimax.io/anthropic"),
        ("https://proxy.example/minimax/v1", "https://proxy.example/minimax"),
    ],
)
async def test_minimax_addresses(kernel, base, expected):
    document = {"api_key": KEY, "base_url": base}
    endpoint = await MiniMax(kernel({"minimax": document}), "providers:minimax").endpoint("")
    assert endpoint.base_url == expected
    assert endpoint.headers["Authorization"] == f"Bearer {KEY}"


# --- lists and prices ---
async def test_the_list_is_read_and_merged(kernel):
    rows = [
        {"id": "claude-opus-5-5", "display_name": "Opus", "type": "model", "lifecycle": "active"},
        {
            "id": "claude-next",
            "display_name": "Next",
            "max_input_tokens": 7,
            "max_tokens": 5,
            "capabilities": {"image_input": {"supported": True}, "thinking": {"supported": False}},
        },
        {"id": "claude-gone", "display_name": "Gone", "lifecycle": "retired"},
    ]
    async with ByteServer([[response(json.dumps({"data": rows, "has_more": False}))]]) as server:
        provider = make(kernel, server)
        opus, new = await provider.models()
        await provider.aclose()
    assert server.requests[0].path == "/v1/models?limit=1000"
    assert server.requests[0].headers["anthropic-version"] == "2023-06-01"
    assert (opus.id, opus.name, opus.context, opus.input_price) == (
        "claude-opus-5-5",
        "Opus",
        1_000_000,
        4.0,
    )
    assert (new.context, new.output, new.images, new.reasoning, new.tools) == (
        7,
        5,
        True,
        False,
        None,
    )
    assert (await provider.model("claude-next")).output == 5
    assert provider.traits("claude-next").most_output == 5


async def test_without_a_list_that_can_be_read_the_data_file_answers(kernel):
    async with ByteServer([[response("[]")]]) as server:
        provider = make(kernel, server)
        assert "claude-opus-5-5" in {model.id for model in await provider.models()}
        await provider.aclose()
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("model", "cost"), [("claude-sonnet-5-5", 4.6), ("claude-haiku-5-5", None)]
)
async def test_what_a_call_cost(kernel, model, cost):
    async with ByteServer([[head() + stream(usage=USAGE)]]) as server:
        provider = make(kernel, server)
        finish = (await asked(provider, model))[-1]
        await provider.aclose()
    usage = finish.usage
    assert (usage.input, usage.cached, usage.cache_write) == (3_000_000, 1_000_000, 1_000_000)
    assert usage.cost == (cost if cost is None else pytest.approx(cost))


# --- faults ---
@pytest.mark.parametrize(
    ("kind", "message", "status", "expected"),
    [
        ("invalid_request_error", "messages: bad", 400, "invalid"),
        ("invalid_request_error", "prompt is too long: 9 tokens > 8 maximum", 400, "context"),
        ("request_too_large", "Request exceeds the maximum size", 413, "context"),
        ("not_found_error", "model: claude-none", 404, "invalid"),
        ("billing_error", "pay", 402, "rate_limit"),
        ("permission_error", "no", 403, "auth"),
    ],
)
async def test_a_final_refusal(kernel, kind, message, status, expected):
    async with ByteServer([[error(kind, message, status)]] * 2) as server:
        provider = make(kernel, server)
        finish = (await asked(provider))[-1]
        await provider.aclose()
    assert (finish.reason, finish.error.kind, finish.error.status) == ("error", expected, status)
    assert message in finish.error.message


@pytest.mark.parametrize(
    "first",
    [
        error("overloaded_error", "Overloaded", 529),
        error("rate_limit_error", "slow", 429, {"retry-after": "7"}),
        error("api_error", "oops", 500),
        head() + stream("half", stop=False),
        head()
        + b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n',
    ],
    ids=["529", "429", "500", "cut", "in stream"],
)
async def test_what_passes_is_tried_again(kernel, first, autojump_clock):
    async with ByteServer([[first], [head() + stream()]]) as server:
        provider = make(kernel, server)
        events = await asked(provider)
        await provider.aclose()
    retrying = next(i for i, event in enumerate(events) if isinstance(event, Retrying))
    assert events[retrying + 1 :] == [TextDelta("ok"), Finish("stop", events[-1].usage)]
    if b"retry-after" in first:
        assert events[retrying].wait >= 7


async def test_a_refused_form_is_sent_in_another_and_remembered(kernel):
    refused = error("invalid_request_error", "`temperature` is deprecated for this model.", 400)
    async with ByteServer([[refused], [head() + stream()], [head() + stream()]]) as server:
        provider = make(kernel, server)
        for _ in range(2):
            assert TextDelta("ok") in await asked(provider, "claude-opus-4-5", temperature=0.3)
        await provider.aclose()
    assert ["temperature" in sent.json for sent in server.requests] == [True, False, False]


async def test_no_fault_shows_a_key(kernel):
    async with ByteServer([[error("authentication_error", f"bad key {KEY}", 401)]] * 2) as server:
        provider = make(kernel, server)
        events = await asked(provider)
        await provider.aclose()
    assert events[-1].error.kind == "auth"
    assert KEY not in repr(events)
    assert "auth login anthropic" in events[-1].error.hint


def test_writing_to_the_cache_has_its_price(kernel):
    info = Anthropic(kernel(), "providers:anthropic").known("claude-opus-5-5")
    assert info.price(Usage(input=1_000_000, cache_write=1_000_000)) == 5.0
    assert info.price(Usage(input=1_000_000, cached=500_000, output=1_000_000)) == 2.0 + 0.1 + 20.0

from __future__ import annotations

import json
import time

import pytest
from codetether.answer import Answer
from codetether.api import (
    CodetetherError,
    Message,
    Request,
    Text,
    TextDelta,
    ToolResult,
    Usage,
)
from codetether.testing import ByteServer, Fin, Pause, Reset
from codetether.testing.contract import check_plugin
from codetether.testing.http import head, response
from codetether_provider_openai import OpenAI
from msgspec import structs
from openai.types.responses.response_create_params import ResponseCreateParamsStreaming
from pydantic import TypeAdapter
from responses_events import call, message, reasoning, sse, stream

KEY = "sk-canary-0123456789abcdefghij"
RESPONSES = TypeAdapter(ResponseCreateParamsStreaming)
LIST = {
    "object": "list",
    "data": [
        {"id": "gpt-5-mini"},
        {"id": "gpt-99-new"},
        {"id": "text-embedding-3-small"},
        {"id": "gpt-4o"},
    ],
}


def make(kernel, server=None, **secret):
    document = {"api_key": KEY, **secret}
    if server is not None:
        document["base_url"] = f"{server.url}/v1/"
    return OpenAI(kernel({"openai": document}), "providers:openai")


def test_contract():
    check_plugin("openai", "codetether.providers")


async def test_status_without_secrets(kernel):
    status = await OpenAI(kernel(), "providers:openai").status()
    assert (status.usable, status.hint) == (False, "run: codetether vault up")
    status = await OpenAI(kernel({}), "providers:openai").status()
    assert not status.usable
    assert "auth login openai" in status.hint
    status = await OpenAI(kernel({"openai": {"api_key": " "}}), "providers:openai").status()
    assert not status.usable
    assert "auth login openai" in status.hint


async def test_status_with_a_key_asks_nobody(kernel):
    status = await make(kernel).status()
    assert status.usable
    assert status.model == "gpt-5.2"


async def test_the_whole_secret_is_honoured(kernel, answer):
    async with ByteServer([[head() + answer("ok")]]) as server:
        provider = make(
            kernel,
            server,
            organization="org-1",
            headers={"X-Gateway": "a", "Authorization": "Basic canary-basic"},
        )
        async with provider.stream(
            Request(
                "gpt-5-mini",
                (Message("user", (Text("hi"),)),),
                temperature=0.3,
                max_output=9,
                system="s",
            )
        ) as events:
            assert TextDelta("ok") in [event async for event in events]
        await provider.aclose()
    [sent] = server.requests
    assert sent.path == "/v1/chat/completions"
    assert sent.headers["openai-organization"] == "org-1"
    assert sent.headers["x-gateway"] == "a"
    assert sent.headers["authorization"] == "Basic canary-basic"
    assert sent.json["max_completion_tokens"] == 9
    assert "temperature" not in sent.json
    assert sent.json["messages"][0]["role"] == "developer"
    assert "canary" not in provider.kernel.redact.text(f"{KEY} Basic canary-basic")


async def test_facts_come_from_the_data_file_and_unknown_is_none(kernel):
    provider = make(kernel)
    mini = await provider.model("gpt-5-mini")
    assert (mini.context, mini.output, mini.input_price, mini.tools) == (
        400_000,
        128_000,
        0.25,
        True,
    )
    new = await provider.model("gpt-99-new")
    assert (new.context, new.input_price, new.tools) == (None, None, None)
    assert mini.price(Usage(input=1_000_000, cached=0, output=0)) == 0.25


async def test_prices_reach_the_usage(kernel, answer):
    usage = {"prompt_tokens": 1_000_000, "completion_tokens": 0}
    async with ByteServer([[head() + answer("ok", usage=usage)]] * 2) as server:
        provider = make(kernel, server)
        for model, cost in (("gpt-5-mini", 0.25), ("gpt-99-new", None)):
            async with provider.stream(Request(model, (Message("user", (Text("hi"),)),))) as events:
                assert [event async for event in events][-1].usage.cost == cost
        await provider.aclose()


async def test_the_list_is_merged_filtered_and_kept(kernel, tmp_path):
    async with ByteServer([[response(json.dumps(LIST))]]) as server:
        provider = make(kernel, server)
        models = await provider.models()
        await provider.models()
        again = make(kernel, server)
        assert await again.models() == models
        await provider.aclose()
    assert [model.id for model in models] == ["gpt-5-mini", "gpt-99-new", "gpt-4o"]
    assert models[0].context == 400_000
    assert models[1].context is None
    assert len(server.requests) == 1
    kept = tmp_path / "cache" / "models" / "openai.json"
    assert KEY not in kept.read_text()


async def test_an_old_list_is_asked_for_again(kernel, monkeypatch):
    async with ByteServer([[response(json.dumps(LIST))]] * 2) as server:
        provider = make(kernel, server)
        await provider.models()
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + 25 * 3600)
        await provider.models()
        await provider.aclose()
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "reply",
    [
        response("busy", status=503),
        response("<html>", content_type="text/html"),
        response("[]x"),
        response("{}"),
    ],
)
async def test_without_a_list_the_data_file_answers(kernel, reply):
    async with ByteServer([[reply]]) as server:
        provider = make(kernel, server)
        models = await provider.models()
        await provider.aclose()
    assert "gpt-4o" in [model.id for model in models]


async def test_a_torn_cache_is_ignored(kernel, tmp_path):
    (tmp_path / "cache" / "models").mkdir(parents=True)
    (tmp_path / "cache" / "models" / "openai.json").write_text('{"base_url": "x", "at"')
    assert (await make(kernel).model("gpt-4o")).context == 128_000


async def test_the_kept_list_gives_facts_for_models_without_data(kernel):
    listed = {
        "data": [
            {
                "id": "house-model",
                "context_length": 7000,
                "pricing": {"prompt": "0.000001", "completion": "0.000002"},
            }
        ]
    }
    async with ByteServer([[response(json.dumps(listed))]]) as server:
        await make(kernel, server).models()
        info = await make(kernel, server).model("house-model")
    assert (info.context, info.input_price, info.output_price, info.cached_price) == (
        7000,
        1.0,
        2.0,
        None,
    )


async def test_an_address_that_is_none(kernel):
    provider = OpenAI(
        kernel({"openai": {"api_key": KEY, "base_url": "ftp://x"}}), "providers:openai"
    )
    status = await provider.status()
    assert "not an http address" in status.why
    with pytest.raises(CodetetherError):
        await provider.endpoint("m")


def test_the_data_file_is_dated_and_names_its_source(kernel):
    catalogue = make(kernel).catalogue
    assert catalogue.data.date
    assert catalogue.data.source
    assert catalogue.data.default in [entry.id for entry in catalogue.data.models]
    for entry in (*catalogue.data.models, *catalogue.data.families):
        catalogue.traits(entry.id)
        assert not any(catalogue._excluded(entry.id) for entry in catalogue.data.models)


@pytest.mark.parametrize(
    ("model", "dialect"),
    [
        ("gpt-4o", "chat"),
        ("gpt-5-mini", "chat"),
        ("gpt-5", "chat"),
        ("gpt-5-2025-08-07", "chat"),
        ("gpt-5.2", "chat"),
        ("gpt-5.2-2025-12-11", "chat"),
        ("o3", "chat"),
        ("o3-pro", "responses"),
        ("o1-pro-2025-03-19", "responses"),
        ("gpt-5-codex", "responses"),
        ("gpt-5.1-codex-max", "responses"),
        ("codex-mini-latest", "responses"),
        ("gpt-5.2-pro", "responses"),
        ("gpt-5.4", "responses"),
        ("gpt-5.4-mini", "responses"),
        ("gpt-5.6-terra", "responses"),
        ("gpt-6-astra", "responses"),
        ("somebody-elses-model", "chat"),
    ],
)
def test_each_model_is_asked_in_its_language(kernel, model, dialect):
    assert make(kernel).traits(model).dialect == dialect


async def test_a_whole_turn_by_responses(kernel):
    """Reasoning comes sealed, and goes back with the call's result."""
    first = stream(reasoning("hm"), call("read_file", '{"path": "a"}', index=1))
    second = stream(message("It says x"))
    ask = Request("gpt-5.4", (Message("user", (Text("read a"),)),), system="Be brief")
    async with ByteServer([[head() + first], [head() + second]]) as server:
        provider = make(kernel, server)
        answer = Answer("openai", "gpt-5.4", lambda kind: f"{kind}_1")
        async with provider.stream(ask) as events:
            async for event in events:
                answer.add(event)
        said = answer.message()
        result = Message("tool", (ToolResult("call_1", "read_file", "x"),))
        again = structs.replace(ask, messages=(*ask.messages, said, result))
        async with provider.stream(again) as events:
            assert TextDelta("It says x") in [event async for event in events]
        await provider.aclose()
    assert {sent.path for sent in server.requests} == {"/v1/responses"}
    sent = server.requests[1].json
    RESPONSES.validate_python(sent)
    assert [item["type"] for item in sent["input"]] == [
        "message",
        "reasoning",
        "function_call",
        "function_call_output",
    ]
    assert sent["input"][1]["encrypted_content"] == "SEALED"
    assert sent["store"] is False
    assert said.usage.cost is not None


@pytest.mark.parametrize(
    ("refusal", "model", "paths"),
    [
        (
            "This model is only supported in v1/responses",
            "gpt-5.2",
            ["/v1/chat/completions", "/v1/responses"],
        ),
        ("Not Found", "gpt-5.4", ["/v1/responses", "/v1/chat/completions"]),
    ],
)
async def test_a_model_that_wants_the_other_language_gets_it(kernel, answer, refusal, model, paths):
    spoken = {"/v1/responses": stream(message("ok")), "/v1/chat/completions": answer("ok")}
    refused = response(json.dumps({"error": {"message": refusal}}), status=404)

    def script(request):
        return [refused] if request.path == paths[0] else [head() + spoken[request.path]]

    async with ByteServer(script) as server:
        provider = make(kernel, server)
        for _ in range(2):
            ask = Request(model, (Message("user", (Text("hi"),)),))
            async with provider.stream(ask) as events:
                seen = [event async for event in events]
            assert seen[-2] == TextDelta("ok")
        await provider.aclose()
    assert [sent.path for sent in server.requests] == [*paths, paths[1]]


async def test_every_cut_of_a_response_is_tried_again(kernel, autojump_clock):
    whole = stream(reasoning("hm"), message("yes indeed", index=1))
    borders = [i + 2 for i in range(len(whole)) if whole[i : i + 2] == b"\n\n"][:-1]
    ask = Request("gpt-5.4", (Message("user", (Text("hi"),)),))
    for number, border in enumerate([0, *borders]):
        end = Reset() if number % 2 else Fin()
        script = [[head(), whole[:border], Pause(0.01), end], [head(), whole]]
        async with ByteServer(script) as server:
            provider = make(kernel, server)
            seen = Answer("openai", "gpt-5.4", lambda kind: kind)
            async with provider.stream(ask) as events:
                async for event in events:
                    seen.add(event)
            await provider.aclose()
        assert seen.message().text == "yes indeed"
        assert not seen.message().interrupted


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (response(json.dumps({"error": {"message": f"bad key {KEY}"}}), status=401), "auth"),
        (
            response(json.dumps({"error": {"code": "context_length_exceeded"}}), status=400),
            "context",
        ),
        (response("<html><title>Sign in</title>", content_type="text/html"), "other"),
        (
            head() + sse({"type": "error", "code": "insufficient_quota", "message": "spent"}),
            "rate_limit",
        ),
        (head() + sse({"type": "error", "code": "invalid_prompt", "message": KEY}), "invalid"),
    ],
)
async def test_faults_of_responses(kernel, reply, kind):
    async with ByteServer(lambda request: [reply]) as server:
        provider = make(kernel, server)
        ask = Request("gpt-5.4", (Message("user", (Text("hi"),)),))
        async with provider.stream(ask) as events:
            seen = [event async for event in events]
        await provider.aclose()
    assert seen[-1].error.kind == kind
    assert KEY not in repr(seen)

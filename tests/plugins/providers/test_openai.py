from __future__ import annotations

import json
import time

import pytest
from codetether.api import CodetetherError, Message, Request, Text, TextDelta, Usage
from codetether.testing import ByteServer
from codetether.testing.contract import check_plugin
from codetether.testing.http import head, response
from codetether_provider_openai import OpenAI

KEY = "sk-canary-0123456789abcdefghij"
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

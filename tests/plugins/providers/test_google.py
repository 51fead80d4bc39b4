"""The google provider against a loopback server: where the key goes, what is listed, what failures say."""

from __future__ import annotations

import json

import pytest
from codetether.api import Finish, Message, Request, Retrying, Text, TextDelta
from codetether.testing import ByteServer
from codetether.testing.contract import check_plugin
from codetether.testing.http import head, response
from codetether_provider_google import Google
from google.genai import types

KEY = "AIza-canary-0123456789abcdefghij"
LIST = {
    "models": [
        {
            "name": "models/gemini-2.5-pro",
            "displayName": "Gemini 2.5 Pro",
            "inputTokenLimit": 1_000_000,
            "outputTokenLimit": 64_000,
            "supportedGenerationMethods": ["generateContent", "countTokens"],
            "thinking": True,
        },
        {
            "name": "models/gemini-9",
            "inputTokenLimit": 7,
            "supportedGenerationMethods": ["generateContent"],
        },
        {"name": "models/gemini-embedding-2", "supportedGenerationMethods": ["embedContent"]},
        {"name": "models/gemini-3-pro-image", "supportedGenerationMethods": ["generateContent"]},
    ]
}
USAGE = {"promptTokenCount": 1_000_000, "candidatesTokenCount": 100_000}
ASK = (Message("user", (Text("hi"),)),)


def chunk(text, finish=None):
    candidate = {"content": {"parts": [{"text": text}]}}
    row = {
        "candidates": [candidate | ({"finishReason": finish} if finish else {})],
        "usageMetadata": USAGE,
    }
    return f"data: {json.dumps(row)}\r\n\r\n".encode()


OK = head() + chunk("hel") + chunk("lo", "STOP")


def make(kernel, server=None, **secret):
    document = {"api_key": KEY, **secret}
    if server is not None:
        document.setdefault("base_url", f"{server.url}/v1beta/openai/")
    return Google(kernel({"google": document}), "providers:google")


async def ask(provider, model="gemini-2.5-pro"):
    async with provider.stream(Request(model, ASK)) as events:
        said = [event async for event in events]
    await provider.aclose()
    return said


def test_contract():
    check_plugin("google", "codetether.providers")


async def test_the_key_is_in_a_header_only(kernel):
    async with ByteServer([[OK]]) as server:
        said = await ask(make(kernel, server))
    [sent] = server.requests
    assert sent.path == "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse"
    assert sent.headers["x-goog-api-key"] == KEY
    assert KEY not in sent.path
    assert "authorization" not in sent.headers
    assert sent.json["generationConfig"] == {"thinkingConfig": {"includeThoughts": True}}
    types.Content.model_validate(sent.json["contents"][0])
    assert "".join(e.text for e in said if isinstance(e, TextDelta)) == "hello"
    assert said[-1].reason == "stop"
    assert said[-1].usage.cost == 1.25 + 1.0


async def test_an_older_model_is_asked_without_thoughts(kernel):
    async with ByteServer([[OK]]) as server:
        await ask(make(kernel, server), "gemini-2.0-flash")
    assert "generationConfig" not in server.requests[0].json


async def test_google_s_own_limits_are_listed(kernel):
    async with ByteServer([[response(json.dumps(LIST))]]) as server:
        provider = make(kernel, server)
        models = await provider.models()
        await provider.aclose()
    assert [m.id for m in models] == ["gemini-2.5-pro", "gemini-9"]
    assert (models[0].context, models[0].output, models[0].input_price) == (1_000_000, 64_000, 1.25)
    assert (models[1].context, models[1].output, models[1].tools) == (7, None, None)
    assert server.requests[0].path == "/v1beta/models?pageSize=1000"
    assert server.requests[0].headers["x-goog-api-key"] == KEY


@pytest.mark.parametrize("body", ["{}", '{"models": [3]}', '{"models": null}'])
async def test_a_list_that_cannot_be_read(kernel, body):
    async with ByteServer([[response(body)]]) as server:
        provider = make(kernel, server)
        models = await provider.models()
        await provider.aclose()
    assert "gemini-2.5-pro" in [m.id for m in models]


def refusal(code, status, message, *details):
    error = {"code": code, "status": status, "message": message, "details": list(details)}
    return response(json.dumps([{"error": error}]), status=code)


async def test_a_quota_is_waited_for_as_long_as_google_says(kernel, autojump_clock):
    wait = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "20s"}
    message = "You exceeded your current quota, please check your plan and billing details."
    async with ByteServer([[refusal(429, "RESOURCE_EXHAUSTED", message, wait)], [OK]]) as server:
        said = await ask(make(kernel, server))
    [retrying] = [event for event in said if isinstance(event, Retrying)]
    assert retrying.wait >= 20
    assert server.requests[1].at - server.requests[0].at >= 20
    assert said[-1].reason == "stop"


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (
            refusal(400, "INVALID_ARGUMENT", f"bad key {KEY}", {"reason": "API_KEY_INVALID"}),
            "auth",
        ),
        (refusal(403, "PERMISSION_DENIED", f"no, {KEY}"), "auth"),
        (refusal(404, "NOT_FOUND", f"models/{KEY}"), "invalid"),
    ],
)
async def test_refusals_hold_no_key(kernel, reply, kind, caplog):
    async with ByteServer(lambda _: [reply]) as server:
        said = await ask(make(kernel, server))
    finish = said[-1]
    assert isinstance(finish, Finish)
    assert (finish.reason, finish.error.kind) == ("error", kind)
    assert KEY not in str(said)
    assert KEY not in caplog.text
    assert len(server.requests) == (2 if kind == "auth" else 1)  # the key is read again once


async def test_a_model_that_refuses_a_mark_s_absence_gets_it(kernel):
    refused = refusal(400, "INVALID_ARGUMENT", "Function call is missing a thought_signature")
    async with ByteServer([[refused], [OK]]) as server:
        said = await ask(make(kernel, server))
    assert said[-1].reason == "stop"


@pytest.mark.parametrize("kept", [0, 1])
async def test_a_cut_stream_is_tried_again(kernel, kept, autojump_clock):
    async with ByteServer([[head() + chunk("hel") * kept], [OK]]) as server:
        said = await ask(make(kernel, server))
    assert any(isinstance(event, Retrying) for event in said)
    assert said[-1].reason == "stop"


def test_the_data_file_is_dated_and_names_its_source(kernel):
    catalogue = make(kernel).catalogue
    assert catalogue.data.date
    assert catalogue.data.source
    assert catalogue.data.default in [entry.id for entry in catalogue.data.models]
    for entry in catalogue.data.models:
        catalogue.traits(entry.id)
        assert not catalogue._excluded(entry.id)
    for entry in catalogue.data.families:
        catalogue.traits(entry.match)


@pytest.mark.parametrize(
    ("model", "signatures"),
    [
        ("gemini-3.8-flash", True), ("gemini-4-pro", True), ("gemini-flash-latest", True),
        ("gemini-2.5-pro", False), ("gemini-2.5-pro-preview", False), ("gemma-4-26b-a4b-it", False),
    ],
)  # fmt: skip
def test_which_models_want_signatures(kernel, model, signatures):
    assert make(kernel).traits(model).signatures is signatures

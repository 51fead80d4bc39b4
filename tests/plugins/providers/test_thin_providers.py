"""Providers that are a few lines over the wire: each one talks, calls, sees, counts and fails through a loopback server."""

from __future__ import annotations

import json
import logging

import pytest
from codetether.answer import Answer
from codetether.api import Image, Message, Request, Text, Thought, ToolCall, ToolResult, Usage
from codetether.testing import ByteServer, ScriptedServer
from codetether.testing.contract import check_plugin
from codetether.testing.http import head, response
from codetether.testing.replies import Call, Reply
from codetether_provider_cerebras import Cerebras
from codetether_provider_deepseek import DeepSeek
from codetether_provider_moonshotai import MoonshotAI
from codetether_provider_novita import Novita
from codetether_provider_openrouter import OpenRouter
from codetether_provider_stepfun import StepFun
from codetether_provider_zhipuai import ZhipuAI
from hypothesis import HealthCheck, given, settings
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
from pydantic import TypeAdapter
from vendor_histories import PNG, SCHEMA, TOOLS, requests

KEY = "sk-canary-0123456789abcdefghij"
CHAT = TypeAdapter(CompletionCreateParamsStreaming)
PICTURE = Image("image/png", PNG)
# class, default model, a model that sees, its address
THIN = {
    "moonshotai": (MoonshotAI, "kimi-k2.5", "kimi-k2.5", "https://api.moonshot.ai/v1"),
    "openrouter": (
        OpenRouter,
        "stepfun/step-3.5-flash:free",
        "any/model:free",
        "https://openrouter.ai/api/v1",
    ),
    "stepfun": (StepFun, "step-3.5-flash", "step-3.7-flash", "https://api.stepfun.ai/v1"),
    "deepseek": (DeepSeek, "deepseek-v4-pro", "deepseek-flash", "https://api.deepseek.com"),
    "cerebras": (Cerebras, "gpt-oss-120b", "qwen-3.8-27b", "https://api.cerebras.ai/v1"),
    "novita": (
        Novita,
        "qwen/qwen3-coder-next",
        "moonshotai/kimi-k2.5",
        "https://api.novita.ai/openai/v1",
    ),
    "zhipuai": (ZhipuAI, "glm-4.7", "glm-4.6v", "https://api.z.ai/api/paas/v4"),
}


@pytest.fixture(params=sorted(THIN))
def name(request):
    return request.param


def make(name, kernel, server=None, **secret):
    document = {"api_key": KEY, **secret}
    if server is not None:
        document["base_url"] = f"{server.url}/v1/"
    return THIN[name][0](kernel({name: document}), f"providers:{name}")


async def said(provider, request):
    """The message a session would keep, and the last event."""
    answer = Answer(provider.name, request.model, lambda kind: f"{kind}_1")
    async with provider.stream(request) as events:
        async for event in events:
            answer.add(event)
    return answer.message(), answer.finish


def test_contract(name):
    check_plugin(name, "codetether.providers")


async def test_address_and_default(name, kernel):
    cls, default, _, url = THIN[name]
    provider = make(name, kernel)
    assert (await provider.endpoint("")).base_url == url
    assert (await provider.status()).model == default
    assert (await provider.status()).usable
    missing = await cls(kernel({}), f"providers:{name}").status()
    assert not missing.usable
    assert f"auth login {name}" in missing.hint


def test_the_data_file(name, kernel):
    catalogue = make(name, kernel).catalogue
    assert catalogue.data.date
    assert catalogue.data.source
    assert catalogue.data.default in [entry.id for entry in catalogue.data.models]
    for entry in (*catalogue.data.models, *catalogue.data.families):
        catalogue.traits(entry.id or entry.match)
        assert entry.input_price != 0
        assert entry.context != 0
        assert not catalogue._excluded(entry.id)


async def test_a_whole_turn(name, kernel, caplog):
    """Text, reasoning, a call, a picture, token counts; the key is in one header and nowhere else."""
    caplog.set_level(logging.DEBUG)
    _, _, model, _ = THIN[name]
    replies = [
        Reply(
            text="I look.",
            thoughts="hm",
            calls=(Call("read_file", {"path": "a"}),),
            usage=Usage(100, 20, cached=60, reasoning=5),
        ),
        Reply(text="It says é."),
    ]
    user = Message("user", (Text("what is this?"), PICTURE))
    ask = Request(model, (user,), system="Be brief", tools=TOOLS, max_output=500, temperature=0.3)
    async with ScriptedServer(replies) as server:
        provider = make(name, kernel, server, organization="org-1", headers={"X-Gateway": "yes"})
        first, finish = await said(provider, ask)
        result = Message("tool", (ToolResult("call_1", "read_file", "é", images=(PICTURE,)),))
        again = Request(model, (user, first, result), system="Be brief", tools=TOOLS)
        second, _ = await said(provider, again)
        await provider.aclose()
    assert (first.text, second.text) == ("I look.", "It says é.")
    [thought] = [part for part in first.parts if isinstance(part, Thought)]
    assert (thought.text, thought.origin) == ("hm", name)
    assert [(c.name, c.arguments) for c in first.calls] == [("read_file", '{"path": "a"}')]
    assert (finish.reason, finish.usage.input, finish.usage.cached) == ("tool_calls", 100, 60)
    for sent in server.requests:
        CHAT.validate_python(sent.json)
        assert sent.path == "/v1/chat/completions"
        assert sent.json["model"] == model
        assert sent.headers["authorization"] == f"Bearer {KEY}"
        assert "org-1" not in json.dumps(sent.headers)  # it is OpenAI's to know, nobody else's
        assert sent.headers["x-gateway"] == "yes"
        others = {k: v for k, v in sent.headers.items() if k != "authorization"}
        assert KEY not in json.dumps(others) + sent.path + sent.body.decode()
    assert '"image_url"' in server.requests[0].body.decode()
    assert KEY not in caplog.text + repr(first) + repr(provider.kernel.redact.text(KEY))


@pytest.mark.parametrize(
    ("status", "kind", "tries"), [(401, "auth", 2), (400, "invalid", 1), (402, "rate_limit", 1)]
)
async def test_errors_are_told_without_the_key(name, kernel, status, kind, tries):
    body = json.dumps({"error": {"message": f"no: {KEY}", "type": "x", "code": "y"}})
    async with ByteServer(lambda request: [response(body, status=status)]) as server:
        provider = make(name, kernel, server)
        _, finish = await said(provider, Request("m", (Message("user", (Text("hi"),)),)))
        await provider.aclose()
    assert finish.error.kind == kind
    assert finish.error.message.startswith(f"{name}: ")
    assert KEY not in repr(finish)
    assert len(server.requests) == tries


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(request=requests(origin="x", opaques=("", '[{"type": "reasoning.text", "text": "hm"}]')))
def test_whatever_happened_the_request_keeps_to_openais_types(name, kernel, request):
    provider = make(name, kernel)
    for model in (THIN[name][1], THIN[name][2]):
        dialect, traits = provider.dialect_for(model), provider.traits(model)
        CHAT.validate_python(json.loads(dialect.outgoing(request, traits, "x").body))


# --- what is particular ---
def sent_by(name, kernel, request):
    provider = make(name, kernel)
    dialect, traits = provider.dialect_for(request.model), provider.traits(request.model)
    return json.loads(dialect.outgoing(request, traits, name).body)


def turn(name, model, **more):
    """A request whose history holds a call with reasoning, and one without."""
    return Request(
        model,
        (
            Message("user", (Text("go"),)),
            Message("assistant", (Thought("hm", "", name), ToolCall("c1", "bash", "{}"))),
            Message("tool", (ToolResult("c1", "bash", "x"),)),
            Message("assistant", (ToolCall("c2", "bash", "{}"),)),
            Message("tool", (ToolResult("c2", "bash", "y"),)),
        ),
        tools=TOOLS,
        **more,
    )


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("moonshotai", "kimi-k2.5"),
        ("moonshotai", "kimi-k2-thinking-turbo"),
        ("moonshotai", "kimi-k4-someday"),
        ("deepseek", "deepseek-v4-pro"),
        ("deepseek", "deepseek-someday"),
        ("zhipuai", "glm-4.7"),
        ("novita", "moonshotai/kimi-k2.5"),
    ],
)
def test_reasoning_goes_back_with_every_call(name, model, kernel):
    sent = sent_by(name, kernel, turn(name, model))
    thoughts = [m["reasoning_content"] for m in sent["messages"] if m["role"] == "assistant"]
    assert thoughts == ["hm", ""]


@pytest.mark.parametrize(
    ("model", "temperature"),
    [
        ("kimi-k2.5", None),
        ("kimi-k2.6", None),
        ("kimi-k2-thinking", 1.0),
        ("kimi-k2-0905-preview", 0.6),
        ("kimi-k2-turbo-preview", 0.6),
        ("moonshot-v1-128k", 0.3),
    ],
)
def test_kimis_temperature(model, temperature, kernel):
    sent = sent_by("moonshotai", kernel, turn("moonshotai", model, temperature=0.3))
    assert sent.get("temperature") == temperature


def test_kimi_k2_instruct_has_no_reasoning_to_give_back(kernel):
    sent = sent_by("moonshotai", kernel, turn("moonshotai", "kimi-k2-0905-preview"))
    assert "reasoning_content" not in json.dumps(sent)


def test_glm_streams_its_calls_and_keeps_its_thoughts(kernel):
    sent = sent_by("zhipuai", kernel, turn("zhipuai", "glm-4.7", tool_choice="none"))
    assert sent["tool_stream"] is True
    assert sent["thinking"] == {"type": "enabled", "clear_thinking": False}
    assert {"tool_choice", "tools", "stream_options"}.isdisjoint(sent)
    assert "images" not in json.dumps(sent)


@pytest.mark.parametrize(
    ("name", "model"),
    [("stepfun", "step-3.5-flash"), ("zhipuai", "glm-4.7"), ("deepseek", "deepseek-v4-pro")],
)
def test_a_model_that_cannot_see_is_sent_no_pictures(name, model, kernel):
    request = Request(model, (Message("user", (Text("look"), PICTURE)),))
    assert "base64" not in json.dumps(sent_by(name, kernel, request))


def test_deepseek_and_glm_take_json_objects_only(kernel):
    for name, model in (("deepseek", "deepseek-v4-pro"), ("zhipuai", "glm-4.7")):
        request = Request(model, (Message("user", (Text("json"),)),), schema=SCHEMA)
        assert sent_by(name, kernel, request)["response_format"] == {"type": "json_object"}


def test_cerebras_has_the_newer_name_for_the_limit(kernel):
    request = Request("gpt-oss-120b", (Message("user", (Text("hi"),)),), max_output=9)
    sent = sent_by("cerebras", kernel, request)
    assert sent["max_completion_tokens"] == 9
    assert "max_tokens" not in sent


async def test_glm_has_no_list_to_ask_for(kernel):
    async with ByteServer([]) as server:
        models = await make("zhipuai", kernel, server).models()
    assert "glm-4.7" in [model.id for model in models]
    assert server.requests == []


async def test_novitas_list(kernel):
    rows = [
        {"id": "house/new:x", "title": "New", "context_size": 131072},
        {"id": "qwen/qwen3-coder-next", "context_size": 262144},
        {"id": "baai/bge-m3", "context_size": 8192},
    ]
    async with ByteServer([[response(json.dumps({"data": rows}))]]) as server:
        provider = make("novita", kernel, server)
        new, coder = await provider.models()
        await provider.aclose()
    assert (new.id, new.name, new.context, new.input_price) == ("house/new:x", "New", 131072, None)
    assert (coder.context, coder.output, coder.input_price) == (262144, 65536, 0.2)


ROUTED = {
    "id": "some/model:free",
    "name": "Some: Model (free)",
    "context_length": 256000,
    "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
    "pricing": {"prompt": "0.0000006", "completion": "0.000003", "input_cache_read": "0.0000001"},
    "top_provider": {"context_length": 128000, "max_completion_tokens": 65536},
    "supported_parameters": ["tools", "temperature"],
}


async def test_openrouters_list_has_prices_and_abilities(kernel):
    bare = {"id": "openrouter/auto", "pricing": {"prompt": "-1", "completion": "-1"}}
    odd = {"id": "odd/one", "architecture": None, "top_provider": None, "supported_parameters": 3}
    async with ByteServer([[response(json.dumps({"data": [ROUTED, bare, odd]}))]]) as server:
        provider = make("openrouter", kernel, server)
        model, auto, strange = await provider.models()
        blind = Request(model.id, (Message("user", (Text("look"), PICTURE)),))
        sent = provider.dialect_for(model.id).outgoing(blind, provider.traits(model.id), "x")
        await provider.aclose()
    assert (model.id, model.context, model.output) == ("some/model:free", 256000, 65536)
    assert (model.input_price, model.output_price, model.cached_price) == (0.6, 3.0, 0.1)
    assert (model.tools, model.images, model.reasoning) == (True, False, False)
    assert (auto.context, auto.input_price, auto.tools, auto.images) == (None,) * 4
    assert (strange.tools, strange.images) == (None, None)
    assert b"base64" not in sent.body  # what the list says holds at once


async def test_openrouter_is_told_who_asks_and_gives_reasoning_to_keep(kernel):
    details = [
        {"type": "reasoning.text", "index": 0, "text": "h", "format": "f"},
        {"type": "reasoning.text", "index": 0, "text": "m", "signature": "SIGNED"},
    ]
    rows = [
        {"choices": [{"delta": {"reasoning": d["text"], "reasoning_details": [d]}}]}
        for d in details
    ]
    rows.append({"choices": [{"delta": {"content": "yes"}, "finish_reason": "stop"}]})
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "cost": 0.00125}
    rows.append({"choices": [], "usage": usage})
    body = "".join(f"data: {json.dumps(row)}\n\n" for row in rows) + "data: [DONE]\n\n"
    user = Message("user", (Text("hi"),))
    async with ByteServer(
        [[head() + b": OPENROUTER PROCESSING\n\n" + body.encode()]] * 2
    ) as server:
        provider = make("openrouter", kernel, server)
        message, finish = await said(provider, Request("a/b:free", (user,)))
        await said(provider, Request("a/b:free", (user, message, user)))
        await provider.aclose()
    assert finish.usage.cost == 0.00125  # what the vendor says it cost
    sent = server.requests[1]
    assert sent.json["model"] == "a/b:free"
    assert sent.headers["http-referer"] == "https://codetether.run"
    assert sent.headers["x-title"] == "CodeTether Agent"
    assert sent.json["messages"][1]["reasoning_details"] == [
        {"type": "reasoning.text", "index": 0, "text": "hm", "format": "f", "signature": "SIGNED"}
    ]

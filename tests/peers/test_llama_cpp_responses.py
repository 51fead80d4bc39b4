"""The Responses dialect against llama.cpp's own server of that interface, and its habit of closing kept connections."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import ClassVar

import pytest
from codetether.answer import Answer
from codetether.api import (
    Message,
    Request,
    Retrying,
    Text,
    TextDelta,
    ToolResult,
    ToolSchema,
)
from codetether.redact import Redactor
from codetether_wire import Traits, WireProvider

SENTENCE = "A tiny model says hello."
PICK = {
    "type": "object",
    "additionalProperties": False,
    "required": ["colour"],
    "properties": {"colour": {"type": "string", "enum": ["red", "blue"], "description": "One."}},
}
USER = Message("user", (Text("hi"),))


class Peer(WireProvider):
    """The server, asked without a key."""

    api = 1
    asks: ClassVar[Traits] = Traits(dialect="responses")

    def traits(self, model_id):
        return self.asks


class _Kernel:
    def __init__(self, cache, url):
        self.dirs = SimpleNamespace(cache=cache)
        self.redact = Redactor()
        self.url = url

    def secrets(self):
        return self

    async def get(self, name):
        return {"api_key": "none-needed", "base_url": f"{self.url}/v1"}

    def settings(self, key, cls):
        return cls()


@pytest.fixture
def peer(tmp_path):
    return lambda url: Peer(_Kernel(tmp_path, url), "providers:peer")


async def said(provider, request):
    answer = Answer("peer", request.model, lambda kind: f"{kind}_1")
    events = []
    async with provider.stream(request) as stream:
        async for event in stream:
            events.append(event)
            answer.add(event)
    return answer.message(), answer.finish, events


async def test_text_and_counts(llama_server, peer):
    async with llama_server() as url:
        provider = peer(url)
        message, finish, events = await said(provider, Request("tiny", (USER,), system="Be brief"))
        await provider.aclose()
    assert (finish.error, message.text) == (None, SENTENCE)
    assert len([event for event in events if isinstance(event, TextDelta)]) > 1
    assert finish.reason == "stop"
    assert finish.usage.input > 0
    assert finish.usage.output > 0


async def test_a_call_and_its_result(llama_server, peer):
    tools = (ToolSchema("pick", "Pick one.", PICK),)
    asked = Request("tiny", (USER,), tools=tools, tool_choice="required", max_output=300)
    async with llama_server() as url:
        provider = peer(url)
        called, finish, _ = await said(provider, asked)
        result = Message("tool", (ToolResult("call_1", "pick", "done"),))
        whole = Request("tiny", (USER, called, result), tools=tools, tool_choice="none")
        message, _, _ = await said(provider, whole)
        await provider.aclose()
    assert finish.reason == "tool_calls"
    [call] = called.calls
    assert call.name == "pick"
    assert json.loads(call.arguments)["colour"] in ("red", "blue")
    assert message.text == SENTENCE


async def test_a_conversation_too_long_is_told_apart(llama_server, peer):
    async with llama_server() as url:
        provider = peer(url)
        long = Request("tiny", (Message("user", (Text("word " * 5000),)),))
        _, finish, _ = await said(provider, long)
        await provider.aclose()
    assert finish.error.kind == "context"


async def test_call_after_call_is_never_announced_as_a_retry(llama_server, peer):
    async with llama_server() as url:
        provider = peer(url)
        for asks in (Traits(dialect="responses"), Traits()):
            Peer.asks = asks
            for _ in range(6):
                message, finish, events = await said(provider, Request("tiny", (USER,)))
                assert (finish.error, message.text) == (None, SENTENCE), events
                assert not any(isinstance(event, Retrying) for event in events)
        Peer.asks = Traits(dialect="responses")
        await provider.aclose()

"""Against llama.cpp: its tokenizer, template engine, grammar, streaming and errors, none of it written here."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from itertools import groupby

import httpx
from codetether.api import (
    CallDelta,
    CallStart,
    Finish,
    Message,
    Request,
    Retrying,
    Text,
    TextDelta,
    ToolSchema,
)
from codetether.testing import ScriptedServer, call, make_kernel

SENTENCE = "A tiny model says hello."
PICK = {
    "type": "object",
    "additionalProperties": False,
    "required": ["colour"],
    "properties": {"colour": {"type": "string", "enum": ["red", "blue"], "description": "One."}},
}


def client(url, **how):
    # The server may close a connection after a stream without saying so; a kept one would be a race.
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.AsyncClient(base_url=url, trust_env=False, timeout=20, limits=limits, **how)


def asking(**fields):
    return {
        "model": "tiny",
        "stream": True,
        "messages": [{"role": "user", "content": "hi"}],
        **fields,
    }


async def chunks(http, body):
    async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
        lines = [line async for line in answer.aiter_lines() if line]
    assert lines.pop() == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines]


async def test_the_peer_itself(llama_server):
    async with llama_server() as url, client(url) as http:
        text = await chunks(http, asking(stream_options={"include_usage": True}))
        tool = {
            "type": "function",
            "function": {"name": "pick", "description": "Pick.", "parameters": PICK},
        }
        called = await chunks(http, asking(tools=[tool], tool_choice="required"))
    deltas = [choice["delta"] for chunk in text for choice in chunk["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == SENTENCE
    assert text[-1]["usage"]["completion_tokens"] > 0
    parts = [
        part
        for c in called
        for choice in c["choices"]
        for part in choice["delta"].get("tool_calls", [])
    ]
    arguments = json.loads("".join(part["function"].get("arguments", "") for part in parts))
    assert parts[0]["function"]["name"] == "pick"
    assert arguments["colour"] in ("red", "blue")
    assert [c["finish_reason"] for chunk in called for c in chunk["choices"]][-1] == "tool_calls"


# --- the provider `local` ---
def request(**fields):
    return Request("tiny", (Message("user", (Text("hi"),)),), **fields)


async def said(provider, asked):
    async with provider.stream(asked) as events:
        return [event async for event in events]


@asynccontextmanager
async def local(url, tmp_path):
    setting = {'plugins."providers:local".base_url': url}
    async with make_kernel(
        tmp_path / "home", plugins=["providers:local"], settings=setting
    ) as kernel:
        yield kernel.provider("local")


async def test_local_finds_the_model_and_its_window(llama_server, tmp_path):
    async with llama_server() as url, local(url, tmp_path) as provider:
        status = await provider.status()
        [info] = await provider.models()
    assert (status.usable, status.model) == (True, "tiny")
    assert (info.id, info.provider, info.context) == ("tiny", "local", 4096)


async def test_text_streams_through_local(llama_server, tmp_path):
    async with llama_server() as url, local(url, tmp_path) as provider:
        events = await said(provider, request())
    pieces = [event.text for event in events if isinstance(event, TextDelta)]
    assert "".join(pieces) == SENTENCE
    assert len(pieces) > 1
    assert isinstance(events[-1], Finish)
    assert (events[-1].reason, events[-1].error) == ("stop", None)
    assert events[-1].usage.output > 0


async def test_a_tool_call_streams_through_local(llama_server, tmp_path):
    asked = request(
        tools=(ToolSchema("pick", "Pick one.", PICK),), tool_choice="required", max_output=300
    )
    async with llama_server() as url, local(url, tmp_path) as provider:
        events = await said(provider, asked)
    assert [event.name for event in events if isinstance(event, CallStart)] == ["pick"]
    arguments = json.loads(
        "".join(event.arguments for event in events if isinstance(event, CallDelta))
    )
    assert arguments["colour"] in ("red", "blue")
    assert events[-1].reason == "tool_calls"


async def test_an_answer_cut_by_the_limit_says_so(llama_server, tmp_path):
    async with llama_server() as url, local(url, tmp_path) as provider:
        events = await said(provider, request(max_output=3))
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "A tiny model"
    assert events[-1].reason == "length"


async def test_a_conversation_too_long_for_the_model_is_told_apart(llama_server, tmp_path):
    long = Request("tiny", (Message("user", (Text("word " * 5000),)),))
    async with llama_server() as url, local(url, tmp_path) as provider:
        [finish] = await said(provider, long)
    assert finish.error.kind == "context"


async def test_a_server_that_wants_a_key_is_told_apart(llama_server, tmp_path):
    async with llama_server("a-key") as url, local(url, tmp_path) as provider:
        [finish] = await said(provider, request())
    assert (finish.reason, finish.error.kind, finish.error.status) == ("error", "auth", 401)


async def test_leaving_a_stream_early_leaves_the_server_usable(llama_server, tmp_path):
    async with llama_server() as url, local(url, tmp_path) as provider:
        async with provider.stream(request()) as events:
            await anext(events)
        events = await said(provider, request())
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == SENTENCE


async def test_our_double_speaks_as_the_real_one_does(llama_server, tmp_path):
    tools = (ToolSchema("pick", "Pick one.", PICK),)
    shapes = []
    double = ScriptedServer([SENTENCE, call("pick", colour="red")], models=("tiny",))
    async with llama_server() as real, double as ours:
        for url in (real, ours.url):
            async with local(url, tmp_path) as provider:
                text = await said(provider, request())
                called = await said(provider, request(tools=tools, tool_choice="required"))
            shapes.append(
                [kinds(text), kinds(event for event in called if not isinstance(event, TextDelta))]
            )
    assert shapes[0] == shapes[1]


def kinds(events):
    """The kinds of events in order, repeats left out. llama.cpp ends the connection after a stream although it promised
    to keep it, so the next call may find it closed and be tried again."""
    said = [type(event).__name__ for event in events if not isinstance(event, Retrying)]
    return [kind for kind, _ in groupby(said)]

"""What a provider can really do, found out by doing it against a loopback server that speaks its vendor's language.

`observed(make, name)` gives one row of the table in docs/providers.md: what was seen to happen, not what was declared.
"""

from __future__ import annotations

import base64
import json
import time
from importlib import import_module

import msgspec
import trio
from codetether.answer import Answer
from codetether.api import (
    CodetetherError,
    Image,
    Message,
    Request,
    Text,
    TextDelta,
    ThoughtDelta,
    ToolResult,
    Usage,
)
from codetether.catalog import scan
from codetether.testing import ByteServer, Call, Pause, Reply, response
from dialects import DIALECTS
from vendor_histories import PNG, SCHEMA, TOOLS

NOT_HTTP = {
    "gguf": "local-models.md",
    "llm": "plugins/providers.md#llm",
    "scripted": "plugins/providers.md#scripted",
}
SPOKEN = {
    "ChatDialect": "chat", "ResponsesDialect": "responses", "AnthropicDialect": "anthropic",
    "GoogleDialect": "google", "ConverseDialect": "converse",
}  # fmt: skip
TITLES = {
    "chat": "chat completions", "responses": "Responses", "anthropic": "Messages", "google": "Gemini",
    "converse": "Converse",
}  # fmt: skip
KEY = "sk-canary-0123456789abcdefghij"
PICTURE = base64.b64encode(PNG).decode()
REPLY = Reply(
    thoughts="ponderings of the model",
    text="I look into it.",
    calls=(Call("read_file", {"path": "a.txt"}),),
    usage=Usage(100, 20, cached=60, reasoning=5),
)


def providers():
    """The providers that speak HTTP, by name: their classes."""
    rows = {row.name: row for row in scan() if row.kind == "providers"}
    return {
        name: getattr(import_module(row.value.partition(":")[0]), row.value.partition(":")[2])
        for name, row in sorted(rows.items())
        if name not in NOT_HTTP
    }


async def observed(make, name):
    """One row. `make(secrets, **settings)` is a kernel."""
    cls = providers()[name]
    look = _Look(cls, name, make)
    async with ByteServer(look.steps) as server:
        look.server = server
        return await look.row()


class _Look:
    def __init__(self, cls, name, make):
        self.cls, self.name, self.make = cls, name, make
        self.heard_first = False
        self.streamed = False
        self.language = "chat"
        self.server = None

    def provider(self, **secret):
        document = {
            "api_key": KEY,
            "base_url": self.server.url,
            "enterpriseUrl": self.server.url,
            **secret,
        }
        settings = (
            {"base_url": f"{self.server.url}/v1", "model": "probe"} if self.name == "local" else {}
        )
        document = {key: value for key, value in document.items() if value is not None}
        return self.cls(self.make({self.name: document}, **settings), f"providers:{self.name}")

    # --- the vendor ---
    def steps(self, request):
        if request.path.startswith("/copilot_internal"):
            told = {
                "token": f"tid=1;{KEY}",
                "expires_at": int(time.time()) + 1800,
                "refresh_in": 1500,
            }
            return [response(json.dumps({**told, "endpoints": {"api": self.server.url}}))]
        if request.method == "GET":
            return [response(json.dumps(_listing(request.path)))]
        return self._answer()

    def _answer(self):
        """The first half of the words; the rest when the listener has heard it, or after two seconds."""
        dialect = DIALECTS[self.language]
        events = [_with_details(event) for event in dialect.events(REPLY)]
        half = 1 + next(
            n for n, event in enumerate(events) if b"I look" in event or b'"I ' in event
        )
        yield b"".join([dialect.head(), *events[:half]])
        for _ in range(200):
            if not self.heard_first:
                yield Pause(0.01)
        self.streamed = self.heard_first
        yield b"".join(events[half:])

    # --- what is seen ---
    async def row(self):
        provider = self.provider()
        default = (await provider.status()).model
        self.language = SPOKEN[type(provider.dialect_for(default)).__name__]
        first, finish, asked = await self._ask(provider, default, Text("look"))
        again = await self._follow_up(provider, default, first)
        eyes = await self._model_with_eyes(provider, default)
        words = asked.body.decode()
        row = {
            "language": TITLES[self.language],
            "default model": "the server's first" if self.name == "local" else default,
            "streams": self.streamed,
            "reasoning shown": self.thought,
            "reasoning sent back": "ponderings" in again or "c2ln" in again or "SEALED" in again,
            "tools": bool(first.calls) and '"read_file"' in words,
            "pictures": {"": False, default: True}.get(eyes, eyes),
            "tokens": bool(finish.usage and finish.usage.input),
            "of these cached": bool(finish.usage and finish.usage.cached),
            "schema": _schema_in(await self._with_schema(provider, default)),
            "cache steered": _marks(words),
            "lists models": await self._lists(),
            "secret": await self._fields(default),
        }
        await provider.aclose()
        return row

    async def _ask(self, provider, model, *parts, messages=(), **more):
        """The message a session would keep, the last event, and the request as it came."""
        self.thought = self.heard_first = False
        request = Request(
            model, (*messages, Message("user", parts)) if parts else tuple(messages),
            system="Be brief.", tools=TOOLS, cache_key="s-1", **more,
        )  # fmt: skip
        growing = Answer(self.name, model, lambda kind: f"{kind}_1")
        with trio.fail_after(20):
            async with provider.stream(request) as events:
                async for event in events:
                    growing.add(event)
                    self.heard_first = self.heard_first or isinstance(event, TextDelta)
                    self.thought = self.thought or isinstance(event, ThoughtDelta)
        assert growing.failed is None, growing.failed
        return growing.message(), growing.finish, self.server.requests[-1]

    async def _follow_up(self, provider, model, first):
        results = Message("tool", (ToolResult("call_1", "read_file", "text"),))
        user = Message("user", (Text("look"),))
        _, _, asked = await self._ask(provider, model, messages=(user, first, results))
        return asked.body.decode()

    async def _model_with_eyes(self, provider, default):
        """The first model a picture was really sent to, the default first; "other models": one nothing is known about."""
        for entry in (default, *(e.id for e in provider.catalogue.data.models)):
            if SPOKEN[type(provider.dialect_for(entry)).__name__] == self.language:
                _, _, asked = await self._ask(provider, entry, Text("see"), Image("image/png", PNG))
                if PICTURE in asked.body.decode():
                    return entry
        _, _, asked = await self._ask(provider, "any-other", Text("see"), Image("image/png", PNG))
        return "other models" if PICTURE in asked.body.decode() else ""

    async def _with_schema(self, provider, model):
        _, _, asked = await self._ask(provider, model, Text("tell"), schema=SCHEMA)
        return asked.body.decode()

    async def _lists(self):
        return "probe-model" in [model.id for model in await self.provider().models()]

    async def _fields(self, model):
        """The fields of a secret that make a difference."""
        honoured = ["api_key", "base_url"] if KEY in await self._headers(model) else ["base_url"]
        for field, value, shown in (
            ("organization", "org-probe", "org-probe"), ("headers", {"X-Probe": "probe-header"}, "probe-header"),
        ):  # fmt: skip
            if shown in await self._headers(model, **{field: value}):
                honoured.append(field)
        for field, secret in (
            ("region", {"region": "eu-central-1", "base_url": None}),
            ("access_key_id, secret_access_key, session_token", {
                "api_key": None, "access_key_id": "AKIAEXAMPLE", "secret_access_key": "s" * 40,
            }),
        ):  # fmt: skip
            try:
                endpoint = await self.provider(**secret).endpoint("")
            except CodetetherError:
                continue
            signs = field != "region" and self.name != "local"
            if signs or "eu-central-1" in endpoint.base_url:
                honoured.append(field)
        if any("copilot_internal" in request.path for request in self.server.requests):
            honoured.append("enterpriseUrl")
        return honoured

    async def _headers(self, model, **secret):
        if self.name == "local":
            return ""
        _, _, asked = await self._ask(self.provider(**secret), model, Text("hi"))
        return repr(asked.headers)


def _with_details(event):
    """Reasoning in every form that vendors of chat completions have."""
    mark = b'"reasoning_content": '
    if mark not in event:
        return event
    thought = msgspec.json.decode(event.removeprefix(b"data: "))["choices"][0]["delta"][
        "reasoning_content"
    ]
    row = {"type": "reasoning.text", "text": thought, "index": 0}
    more = f'"reasoning_opaque": "SEALED", "reasoning_details": {json.dumps([row])}, '
    return event.replace(mark, more.encode() + mark)


def _listing(path):
    row = {"id": "probe-model", "object": "model", "type": "model", "display_name": "Probe"}
    if "foundation-models" in path:
        summary = {
            "modelId": "probe-model", "outputModalities": ["TEXT"], "inputModalities": ["TEXT"],
            "inferenceTypesSupported": ["ON_DEMAND"], "responseStreamingSupported": True,
            "modelLifecycle": {"status": "ACTIVE"},
        }  # fmt: skip
        return {"modelSummaries": [summary]}
    if "inference-profiles" in path:
        return {"inferenceProfileSummaries": []}
    google = {"name": "models/probe-model", "supportedGenerationMethods": ["generateContent"]}
    copilot = {
        "model_picker_enabled": True, "policy": {"state": "enabled"},
        "capabilities": {"type": "chat", "limits": {}, "supports": {}},
    }  # fmt: skip
    return {"object": "list", "data": [{**row, **copilot}], "models": [google]}


def _schema_in(words):
    if '"sure"' in words:
        return "as a tool" if words.count('"input_schema"') > len(TOOLS) else True
    return "any JSON" if "json_object" in words or "application/json" in words else False


def _marks(words):
    for word, told in (
        ("cache_control", "marks"),
        ("cachePoint", "marks"),
        ("prompt_cache_key", "key"),
    ):
        if word in words:
            return told
    return False

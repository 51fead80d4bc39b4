"""The Bedrock Converse dialect: a request as JSON."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import msgspec
from codetether.api import Image, Message, Request, Text, Thought, ToolCall, ToolResult, ToolSchema

from codetether_wire.bedrock_faults import refused
from codetether_wire.bedrock_stream import ConverseDecoder, Frames, unmark
from codetether_wire.catalogue import Traits
from codetether_wire.dialect import Outgoing
from codetether_wire.faults import WireFault
from codetether_wire.json_schema import clean_schema
from codetether_wire.written import Written

_FORMATS = {"image/png": "png", "image/jpeg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
_CACHE_POINT = {"cachePoint": {"type": "default"}}
_GEO = re.compile(r"^(us|eu|apac|jp|au|global|us-gov)\.")


class ConverseDialect:
    """`POST /model/{id}/converse-stream`. `frames` makes a reader of AWS event streams; `wire_id` gives the id that the
    vendor knows for a model as it was named.
    """

    content_type = "application/vnd.amazon.eventstream"

    def __init__(self, frames: Callable[[], Frames], wire_id: Callable[[str], str] = str) -> None:
        self._frames = frames
        self._wire_id = wire_id

    def outgoing(self, request: Request, traits: Traits, origin: str) -> Outgoing:
        """The request as this dialect's JSON."""
        model = self._wire_id(request.model)
        body: dict[str, Any] = {"messages": self._messages(request, traits, origin)}
        if request.system and traits.system_role == "system":
            body["system"] = [{"text": request.system}]
            if "system" in traits.cache_points:
                body["system"].append(_CACHE_POINT)
        if limits := _limits(request, traits):
            body["inferenceConfig"] = limits
        if tools := _tool_config(request, traits):
            body["toolConfig"] = tools
        if request.schema is not None and traits.schema == "json_schema":
            body["outputConfig"] = _output_config(request.schema)
        if traits.extra:
            body["additionalModelRequestFields"] = traits.extra
        action = "converse-stream" if traits.stream else "converse"
        path = f"/model/{quote(model, safe='-_.~')}/{action}"
        return Outgoing(path, msgspec.json.encode(body))

    def decoder(self) -> ConverseDecoder:
        """A reader for one answer."""
        return ConverseDecoder(self._frames())

    def refused(self, status: int, body: bytes, headers: Mapping[str, str]) -> WireFault | None:
        """The exception that AWS names in a header."""
        return refused(status, body, headers)

    def adapt(self, traits: Traits, message: str) -> Traits | None:
        """Leave out what a ValidationException says the model does not take."""
        words = message.lower()
        if "streaming" in words and traits.stream:
            return msgspec.structs.replace(traits, stream=False)
        if (
            re.search(r"cache.?point|prompt caching|explicit caching", words)
            and traits.cache_points
        ):
            return msgspec.structs.replace(traits, cache_points=())
        if re.search(r"output.?config|structured output|text.?format", words) and traits.schema:
            return msgspec.structs.replace(traits, schema="")
        if re.search(r"tool.?choice", words) and traits.tool_choice:
            return msgspec.structs.replace(traits, tool_choice=False)
        if "system" in words and traits.system_role == "system":
            return msgspec.structs.replace(traits, system_role="user")
        if re.search(r"tool.?result", words) and "image" in words:
            if traits.result_images:
                return msgspec.structs.replace(traits, result_images=False)
            return None
        if "image" in words and traits.images:
            return msgspec.structs.replace(traits, images=False)
        if "temperature" in words and traits.temperature:
            return msgspec.structs.replace(traits, temperature=False)
        return None

    # --- messages ---
    def _messages(self, request: Request, traits: Traits, origin: str) -> list[dict[str, Any]]:
        """The conversation: user and assistant take turns, results before anything else the user says."""
        ids = _Ids()
        maker = _maker(self._wire_id(request.model))
        out: list[dict[str, Any]] = []
        for message in request.messages:
            if message.role == "assistant":
                own = self._is_own(message, request.model, maker)
                content = list(_said(message, origin if own else None, ids))
                role = "assistant"
            else:
                content = list(_given(message, traits, ids))
                role = "user"
            if content and out and out[-1]["role"] == role:
                out[-1]["content"] += content
            elif content:
                out.append({"role": role, "content": content})
        if request.system and traits.system_role != "system" and out:
            out[0]["content"].insert(0, {"text": request.system})
        if "messages" in traits.cache_points:
            for message_ in [row for row in out if row["role"] == "user"][-2:]:
                message_["content"].append(_CACHE_POINT)
        return out

    def _is_own(self, message: Message, model: str, maker: str) -> bool:
        """Thoughts go back to models of the maker whose model had them: others refuse them."""
        name = message.model.partition("/")[2]
        return name in ("", model) or _maker(self._wire_id(name)) == maker


def _maker(model: str) -> str:
    """`anthropic` of `us.anthropic.claude-...`."""
    return _GEO.sub("", model).partition(".")[0]


class _Ids:
    """Ids as Converse takes them, one for each of ours."""

    def __init__(self) -> None:
        self._given: dict[str, str] = {}

    def give(self, ours: str) -> str:
        if ours not in self._given:
            wanted = re.sub(r"[^A-Za-z0-9_.:-]", "_", ours)[:56] or "call"
            name, number = wanted, 1
            while name in self._given.values():
                number += 1
                name = f"{wanted}_{number}"
            self._given[ours] = name
        return self._given[ours]


def _said(message: Message, origin: str | None, ids: _Ids) -> Iterator[dict[str, Any]]:
    for part in message.parts:
        if isinstance(part, Text) and part.text.strip():
            yield {"text": part.text}
        elif isinstance(part, Thought) and part.origin == origin:
            yield from _thought(part)
        elif isinstance(part, ToolCall):
            call = {
                "toolUseId": ids.give(part.id),
                "name": _name(part.name),
                "input": _arguments(part.arguments),
            }
            yield {"toolUse": call}


def _thought(thought: Thought) -> Iterator[dict[str, Any]]:
    place, wanted = unmark(thought.opaque)
    if place == "signature":
        yield {"reasoningContent": {"reasoningText": {"text": thought.text, "signature": wanted}}}
    elif place == "redacted":
        yield {"reasoningContent": {"redactedContent": wanted}}


def _given(message: Message, traits: Traits, ids: _Ids) -> Iterator[dict[str, Any]]:
    beside: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, Text) and part.text.strip():
            yield {"text": part.text}
        elif isinstance(part, Image):
            yield _picture(part, traits)
        elif isinstance(part, ToolResult):
            yield _result(part, traits, ids, beside)
    yield from beside


def _result(
    result: ToolResult, traits: Traits, ids: _Ids, beside: list[dict[str, Any]]
) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"text": result.text}] if result.text.strip() else []
    pictures = [_picture(image, traits) for image in result.images]
    if pictures and not traits.result_images:
        content.append({"text": "[image(s) of this result follow]"})
        beside.append({"text": f"[image(s) from {result.name}]"})
        beside += pictures
    else:
        content += pictures
    answer: dict[str, Any] = {
        "toolUseId": ids.give(result.call_id),
        "content": content or [{"text": "[no output]"}],
    }
    if not result.ok:
        answer["status"] = "error"
    return {"toolResult": answer}


def _picture(image: Image, traits: Traits) -> dict[str, Any]:
    form = _FORMATS.get(image.mime)
    if form is None or not traits.images:
        return {"text": f"[{image.mime} left out: this model does not take it]"}
    data = b64encode(image.data).decode("ascii")
    return {"image": {"format": form, "source": {"bytes": data}}}


def _arguments(text: str) -> Any:
    try:
        arguments = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return arguments if isinstance(arguments, dict) else {}


def _name(name: str) -> str:
    """A name Converse takes: a model may have called what is no name at all."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64] or "unnamed"


# --- the rest ---
def _limits(request: Request, traits: Traits) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    limit = request.max_output or traits.default_limit
    if limit is not None and traits.limit_field:
        limits["maxTokens"] = min(limit, traits.most_output or limit)
    if traits.fixed_temperature is not None:
        limits["temperature"] = traits.fixed_temperature
    elif request.temperature is not None and traits.temperature:
        limits["temperature"] = request.temperature
    return limits


def _tool_config(request: Request, traits: Traits) -> dict[str, Any]:
    """The tools. A conversation with calls is refused without any, so those it called stand in when none is offered.

    Converse has no word for "call none": the model is then told by the conversation alone.
    """
    tools: list[dict[str, Any]] = [_tool(tool) for tool in request.tools]
    if not tools:
        called = {_name(call.name) for message in request.messages for call in message.calls}
        tools = [_tool(ToolSchema(name, "No longer offered.", {})) for name in sorted(called)]
    if not tools:
        return {}
    if "tools" in traits.cache_points:
        tools.append(_CACHE_POINT)
    config: dict[str, Any] = {"tools": tools}
    if request.tools and request.tool_choice == "required" and traits.tool_choice:
        config["toolChoice"] = {"any": {}}
    return config


_SCHEMAS = Written(lambda tool: clean_schema({"type": "object", **tool.parameters}))


def _tool(tool: ToolSchema) -> dict[str, Any]:
    spec: dict[str, Any] = {"name": _name(tool.name), "inputSchema": {"json": _SCHEMAS.of(tool)}}
    if tool.description:
        spec["description"] = tool.description
    return {"toolSpec": spec}


def _output_config(schema: Mapping[str, Any]) -> dict[str, Any]:
    text = msgspec.json.encode(clean_schema(dict(schema))).decode()
    form = {"type": "json_schema", "structure": {"jsonSchema": {"schema": text, "name": "answer"}}}
    return {"textFormat": form}

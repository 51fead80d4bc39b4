"""The OpenAI chat-completions dialect: a request as JSON."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from codetether.api import Image, Message, Request, Text, Thought, ToolCall, ToolResult, ToolSchema

from codetether_wire.catalogue import Traits
from codetether_wire.chat_stream import ChatDecoder
from codetether_wire.dialect import Outgoing
from codetether_wire.json_schema import clean_schema, is_object, is_strict
from codetether_wire.replay import CallIds, seals_hold, thoughts_of
from codetether_wire.written import Written

NO_IMAGE = "[image left out: this model takes text only]"


class ChatDialect:
    """`POST /chat/completions`, streamed. The differences between vendors are Traits."""

    content_type = "text/event-stream"

    def outgoing(self, request: Request, traits: Traits, origin: str) -> Outgoing:
        """The request as this dialect's JSON."""
        body: dict[str, Any] = {
            "model": request.model,
            "messages": _in_turns(_messages(request, traits, origin)),
            "stream": True,
        }
        if traits.usage:
            body["stream_options"] = {"include_usage": True}
        if request.tools and (traits.tool_choice or request.tool_choice != "none"):
            body["tools"] = [_TOOLS.of(tool) for tool in request.tools]
            if traits.tool_choice and request.tool_choice != "auto":
                body["tool_choice"] = request.tool_choice
        limit = request.max_output or traits.default_limit
        if limit is not None and traits.limit_field:
            body[traits.limit_field] = limit
        if traits.fixed_temperature is not None:
            body["temperature"] = traits.fixed_temperature
        elif request.temperature is not None and traits.temperature:
            body["temperature"] = request.temperature
        if request.schema is not None and traits.schema:
            body["response_format"] = _response_format(request.schema, traits)
        if request.cache_key and traits.cache_key:
            body["prompt_cache_key"] = request.cache_key
        body.update(traits.extra)
        return Outgoing("/chat/completions", msgspec.json.encode(body))

    def decoder(self) -> ChatDecoder:
        """A reader for one answer."""
        return ChatDecoder()

    def adapt(self, traits: Traits, message: str) -> Traits | None:
        """Drop or rename what a 400 names, so that servers we have no data about can be used."""
        words = message.lower()
        if _wants_responses(words):
            return msgspec.structs.replace(traits, dialect="responses", replay="encrypted_content")
        if "max_completion_tokens" in words and traits.limit_field == "max_tokens":
            return msgspec.structs.replace(traits, limit_field="max_completion_tokens")
        if "max_completion_tokens" in words and traits.limit_field == "max_completion_tokens":
            return msgspec.structs.replace(traits, limit_field="max_tokens")
        for word, field, value in (
            ("temperature", "temperature", False),
            ("stream_options", "usage", False),
            ("prompt_cache_key", "cache_key", False),
            ("tool_choice", "tool_choice", False),
            ("reasoning_content", "replay", ""),
        ):
            if word in words and getattr(traits, field):
                return msgspec.structs.replace(traits, **{field: value})
        if "response_format" in words and traits.schema:
            return msgspec.structs.replace(
                traits, schema="json_object" if traits.schema == "json_schema" else ""
            )
        return None


def _wants_responses(words: str) -> bool:
    """OpenAI and Copilot name the other address when a model is only to be had there."""
    return "/responses" in words or (
        "not accessible" in words and "/chat/completions endpoint" in words
    )


def _in_turns(messages: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """Pictures of results and the user message behind them are one message: some servers' templates refuse two."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        pictures = turns[-1]["content"] if turns and turns[-1]["role"] == "user" else ""
        if message["role"] == "user" and isinstance(pictures, list):
            said = message["content"]
            more = said if isinstance(said, list) else [{"type": "text", "text": said}]
            turns[-1] = {"role": "user", "content": [*pictures, *more]}
        else:
            turns.append(message)
    return turns


def _messages(request: Request, traits: Traits, origin: str) -> Iterator[dict[str, Any]]:
    if request.system:
        yield {"role": traits.system_role, "content": request.system}
    ids = CallIds(request.messages, origin)
    for message in request.messages:
        if message.role == "assistant":
            sealed = seals_hold(message, origin, request.model)
            yield _assistant(message, ids, traits, thoughts_of(message, origin), sealed=sealed)
        elif message.role == "tool":
            yield from _results(message.results, ids, traits)
        else:
            role = traits.system_role if message.role == "system" else "user"
            yield {"role": role, "content": _content(message.parts, traits)}


def _assistant(
    message: Message, ids: CallIds, traits: Traits, thoughts: Sequence[Thought], *, sealed: bool
) -> dict[str, Any]:
    said: dict[str, Any] = {"role": "assistant", "content": message.text}
    if message.calls:
        said["tool_calls"] = [_call(call, ids) for call in message.calls]
        if not message.text:
            said["content"] = None
    if traits.replay == "reasoning_details":
        if sealed and (details := [row for t in thoughts for row in _details(t.opaque)]):
            said["reasoning_details"] = details
    elif traits.replay == "reasoning_opaque":
        if sealed:
            said.update(_sealed(thoughts))
    elif traits.replay in ("reasoning_content", "reasoning") and (thoughts or message.calls):
        # Vendors that want reasoning back refuse calls without the field, so it is sent empty when there was none.
        said[traits.replay] = "".join(t.text for t in thoughts)
    return said


def _details(opaque: str) -> list[Any]:
    """The details kept in `opaque`; none when another dialect of the same provider left something else there."""
    try:
        details = msgspec.json.decode(opaque)
    except msgspec.DecodeError:
        return []
    return details if isinstance(details, list) else []


def _sealed(thoughts: Sequence[Thought]) -> dict[str, str]:
    """Copilot's form: the last seal, and the text it is of."""
    sealed = next((thought for thought in reversed(thoughts) if thought.opaque), None)
    if sealed is None:
        return {}
    text = {"reasoning_text": sealed.text} if sealed.text else {}
    return {**text, "reasoning_opaque": sealed.opaque}


def _call(call: ToolCall, ids: CallIds) -> dict[str, Any]:
    # The model is told about its bad arguments by the tool result; sent back as they are they make servers fail that
    # feed them to a chat template.
    arguments = call.arguments if is_object(call.arguments) else "{}"
    return {
        "id": ids.of(call.id),
        "type": "function",
        "function": {"name": call.name, "arguments": arguments},
    }


def _results(
    results: Sequence[ToolResult], ids: CallIds, traits: Traits
) -> Iterator[dict[str, Any]]:
    """One `tool` message each. Pictures cannot be in those: they follow in one user message, after all results."""
    pictures: list[dict[str, Any]] = []
    for result in results:
        text = result.text
        if result.images and traits.images:
            text += (
                f"\n[{len(result.images)} image(s) of this result follow in the next user message]"
            )
            pictures.append(
                {
                    "type": "text",
                    "text": f"[image(s) from {result.name}, call {ids.of(result.call_id)}]",
                }
            )
            pictures.extend(_picture(image) for image in result.images)
        elif result.images:
            text += "\n" + NO_IMAGE
        yield {"role": "tool", "tool_call_id": ids.of(result.call_id), "content": text}
    if pictures:
        yield {"role": "user", "content": pictures}


def _content(parts: Sequence[Any], traits: Traits) -> str | list[dict[str, Any]]:
    if not any(isinstance(part, Image) for part in parts):
        return "".join(part.text for part in parts if isinstance(part, Text))
    content: list[dict[str, Any]] = []
    for part in parts:
        if isinstance(part, Text):
            content.append({"type": "text", "text": part.text})
        elif isinstance(part, Image):
            content.append(_picture(part) if traits.images else {"type": "text", "text": NO_IMAGE})
    return content


def _picture(image: Image) -> dict[str, Any]:
    data = b64encode(image.data).decode("ascii")
    return {"type": "image_url", "image_url": {"url": f"data:{image.mime};base64,{data}"}}


def _tool(tool: ToolSchema) -> dict[str, Any]:
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": clean_schema(tool.parameters),
    }
    return {"type": "function", "function": function}


_TOOLS = Written(_tool)


def _response_format(schema: dict[str, Any], traits: Traits) -> dict[str, Any]:
    if traits.schema == "json_object":
        return {"type": "json_object"}
    cleaned = clean_schema(schema)
    answer = {"name": "answer", "schema": cleaned, "strict": is_strict(cleaned)}
    return {"type": "json_schema", "json_schema": answer}

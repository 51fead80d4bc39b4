"""The OpenAI Responses dialect: a request as JSON. Nothing is stored at the vendor; what it needs back travels along."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from codetether.api import Image, Message, Request, Text, Thought, ToolCall, ToolResult, ToolSchema

from codetether_wire.catalogue import Traits
from codetether_wire.chat import NO_IMAGE
from codetether_wire.dialect import Outgoing
from codetether_wire.json_schema import clean_schema, is_object, is_strict, strict_schema
from codetether_wire.replay import CallIds, seals_hold
from codetether_wire.responses_stream import ResponsesDecoder
from codetether_wire.written import Written

_LEAST_OUTPUT = 16  # the vendor refuses a smaller limit
_KEEP = "reasoning.encrypted_content"


class ResponsesDialect:
    """`POST /responses`, streamed, with `store` off. The differences between models are Traits."""

    content_type = "text/event-stream"

    def outgoing(self, request: Request, traits: Traits, origin: str) -> Outgoing:
        """The request as this dialect's JSON."""
        body: dict[str, Any] = {
            "model": request.model,
            "input": list(_input(request, traits, origin)),
            "stream": True,
            "store": False,
        }
        if request.system:
            body["instructions"] = request.system
        if traits.replay == "encrypted_content":
            body["include"] = [_KEEP]
        if request.tools:
            body["tools"] = [_TOOLS.of(tool) for tool in request.tools]
            if traits.tool_choice and request.tool_choice != "auto":
                body["tool_choice"] = request.tool_choice
        limit = request.max_output or traits.default_limit
        if limit is not None and traits.limit_field:
            body["max_output_tokens"] = max(limit, _LEAST_OUTPUT)
        if traits.fixed_temperature is not None:
            body["temperature"] = traits.fixed_temperature
        elif request.temperature is not None and traits.temperature:
            body["temperature"] = request.temperature
        if request.schema is not None and traits.schema:
            body["text"] = {"format": _format(request.schema, traits)}
        if request.cache_key and traits.cache_key:
            body["prompt_cache_key"] = request.cache_key
        body.update(traits.extra)
        return Outgoing("/responses", msgspec.json.encode(body))

    def decoder(self) -> ResponsesDecoder:
        """A reader for one answer."""
        return ResponsesDecoder()

    def adapt(self, traits: Traits, message: str) -> Traits | None:
        """Drop what a 400 names; go back to chat where there is no such address."""
        words = message.lower()
        if "encrypted content" in words or "encrypted_content" in words:
            return msgspec.structs.replace(traits, replay="") if traits.replay else None
        if "summar" in words and "reasoning" in traits.extra:
            extra = {key: value for key, value in traits.extra.items() if key != "reasoning"}
            return msgspec.structs.replace(traits, extra=extra)
        if _no_such_address(words):
            return msgspec.structs.replace(traits, dialect="chat", replay="", extra={})
        for word, field, value in (
            ("temperature", "temperature", False),
            ("prompt_cache_key", "cache_key", False),
            ("tool_choice", "tool_choice", False),
        ):
            if word in words and getattr(traits, field):
                return msgspec.structs.replace(traits, **{field: value})
        if ("text.format" in words or "json_schema" in words) and traits.schema:
            weaker = "json_object" if traits.schema == "json_schema" else ""
            return msgspec.structs.replace(traits, schema=weaker)
        return None


def _no_such_address(words: str) -> bool:
    """A gateway under the secret's base_url that speaks chat only, or a vendor that says so itself."""
    if "/chat/completions" in words and "/responses" not in words:
        return True
    if "model" in words:
        return "not" in words and ("/responses endpoint" in words or "responses api" in words)
    return words in ("http 404", "not found") or ("/responses" in words and "no" in words)


def _input(request: Request, traits: Traits, origin: str) -> Iterator[dict[str, Any]]:
    ids = CallIds(request.messages, origin)
    for message in request.messages:
        if message.role == "assistant":
            keep = bool(traits.replay) and seals_hold(message, origin, request.model)
            yield from _said(message, ids, traits, origin if keep else None)
        elif message.role == "tool":
            yield from (_result(result, ids, traits) for result in message.results)
        else:
            role = "developer" if message.role == "system" else "user"
            content = list(_content(message.parts, traits))
            yield {"type": "message", "role": role, "content": content}


def _said(
    message: Message, ids: CallIds, traits: Traits, origin: str | None
) -> Iterator[dict[str, Any]]:
    """Reasoning, words and calls in the order they came: a reasoning item is only taken with what followed it."""
    for part in message.parts:
        if isinstance(part, Text):
            said: dict[str, Any] = {"type": "message", "role": "assistant", "content": part.text}
            if traits.phase:
                said["phase"] = "commentary" if message.calls else "final_answer"
            yield said
        elif isinstance(part, ToolCall):
            arguments = part.arguments if is_object(part.arguments) else "{}"
            yield {
                "type": "function_call",
                "call_id": ids.of(part.id),
                "name": part.name,
                "arguments": arguments,
            }
        elif isinstance(part, Thought) and part.origin == origin:
            item = _reasoning(part.opaque)
            if item is not None:
                yield item


def _reasoning(opaque: str) -> dict[str, Any] | None:
    """The item kept in `opaque`; None for what another dialect of the same provider left there."""
    try:
        item = msgspec.json.decode(opaque)
    except msgspec.DecodeError:
        return None
    return item if isinstance(item, dict) and item.get("type") == "reasoning" else None


def _result(result: ToolResult, ids: CallIds, traits: Traits) -> dict[str, Any]:
    output: str | list[dict[str, Any]] = result.text
    if result.images and traits.images:
        output = [{"type": "input_text", "text": result.text}] if result.text else []
        output.extend(_picture(image) for image in result.images)
    elif result.images:
        output = f"{result.text}\n{NO_IMAGE}".lstrip()
    return {"type": "function_call_output", "call_id": ids.of(result.call_id), "output": output}


def _content(parts: Sequence[Any], traits: Traits) -> Iterator[dict[str, Any]]:
    for part in parts:
        if isinstance(part, Text):
            yield {"type": "input_text", "text": part.text}
        elif isinstance(part, Image):
            yield _picture(part) if traits.images else {"type": "input_text", "text": NO_IMAGE}


def _picture(image: Image) -> dict[str, Any]:
    data = b64encode(image.data).decode("ascii")
    url = f"data:{image.mime};base64,{data}"
    return {"type": "input_image", "detail": "auto", "image_url": url}


def _tool(tool: ToolSchema) -> dict[str, Any]:
    parameters = strict_schema(clean_schema(tool.parameters))
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": parameters,
        "strict": is_strict(parameters),
    }


_TOOLS = Written(_tool)


def _format(schema: dict[str, Any], traits: Traits) -> dict[str, Any]:
    if traits.schema == "json_object":
        return {"type": "json_object"}
    cleaned = clean_schema(schema)
    return {
        "type": "json_schema",
        "name": "answer",
        "schema": cleaned,
        "strict": is_strict(cleaned),
    }

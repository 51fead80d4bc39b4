"""The Google Generative Language dialect (`v1beta`, Gemini): a request as JSON."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec
from codetether.api import Image, Message, Request, Text, Thought, ToolCall, ToolResult, ToolSchema

from codetether_wire.catalogue import Traits
from codetether_wire.dialect import Outgoing
from codetether_wire.faults import WireFault
from codetether_wire.google_faults import refused
from codetether_wire.google_schema import google_schema
from codetether_wire.google_stream import GoogleDecoder, unmark
from codetether_wire.written import Written

_PICTURES = frozenset({"image/png", "image/jpeg", "image/webp", "image/heic", "image/heif"})
_MODES = {"none": "NONE", "required": "ANY"}
# What Google's documentation names for a call that another model made: checked by Gemini 3 and later, which refuse a
# step whose first call has no signature at all.
_NO_SIGNATURE = "skip_thought_signature_validator"


class GoogleDialect:
    """`POST /models/{id}:streamGenerateContent`, as server-sent events."""

    content_type = "text/event-stream"

    def outgoing(self, request: Request, traits: Traits, origin: str) -> Outgoing:
        """The request as this dialect's JSON."""
        body: dict[str, Any] = {"contents": list(_contents(request.messages, traits, origin))}
        if request.system:
            body["systemInstruction"] = {"parts": [{"text": request.system}]}
        if request.tools:
            body["tools"] = [
                {"functionDeclarations": [_DECLARED.of(tool) for tool in request.tools]}
            ]
            if request.tool_choice != "auto" and traits.tool_choice:
                mode = {"mode": _MODES[request.tool_choice]}
                body["toolConfig"] = {"functionCallingConfig": mode}
        if config := _generation(request, traits):
            body["generationConfig"] = config
        _merge(body, traits.extra)
        model = request.model if "/" in request.model else f"models/{request.model}"
        path = f"/{quote(model)}:streamGenerateContent?alt=sse"
        return Outgoing(path, msgspec.json.encode(body))

    def decoder(self) -> GoogleDecoder:
        """A reader for one answer."""
        return GoogleDecoder()

    def refused(self, status: int, body: bytes, headers: Mapping[str, str]) -> WireFault | None:
        """Google's error object: its status decides; its details, or else the header, say how long to wait."""
        return refused(status, body, headers)

    def adapt(self, traits: Traits, message: str) -> Traits | None:
        """Leave out what a 400 names."""
        words = message.lower()
        if traits.schema and re.search(r"response.?(mime.?type|json.?schema|schema)", words):
            return msgspec.structs.replace(traits, schema="")
        if "thinking" in words and _thinks(traits.extra):
            return msgspec.structs.replace(traits, extra=_without_thinking(traits.extra))
        if "signature" in words and not traits.signatures:
            return msgspec.structs.replace(traits, signatures=True)
        if re.search(r"function.?response.*parts|multimodal function", words):
            if traits.result_images:
                return msgspec.structs.replace(traits, result_images=False)
        elif "image" in words and traits.images:
            return msgspec.structs.replace(traits, images=False)
        if "temperature" in words and traits.temperature:
            return msgspec.structs.replace(traits, temperature=False)
        return None


# --- messages ---
def _contents(messages: Sequence[Message], traits: Traits, origin: str) -> Iterator[dict[str, Any]]:
    """The conversation. A call and its result share an id, so that calls of one name are not confused."""
    ids: dict[str, str] = {}
    for message in messages:
        if message.role == "assistant":
            parts = list(_said(message, traits, origin, ids))
            if parts:
                yield {"role": "model", "parts": parts}
        elif message.role == "tool":
            yield from _answers(message.results, traits, ids)
        elif parts := [part for given in message.parts for part in _given(given, traits)]:
            yield {"role": "user", "parts": parts}


def _given(part: object, traits: Traits) -> Iterator[dict[str, Any]]:
    if isinstance(part, Text) and part.text:
        yield {"text": part.text}
    elif isinstance(part, Image):
        yield _picture(part, traits)


def _picture(image: Image, traits: Traits) -> dict[str, Any]:
    if not traits.images or image.mime not in _PICTURES:
        return {"text": f"[{image.mime} left out: this model does not take it]"}
    return {"inlineData": _blob(image)}


def _blob(image: Image) -> dict[str, str]:
    return {"mimeType": image.mime, "data": b64encode(image.data).decode("ascii")}


def _said(
    message: Message, traits: Traits, origin: str, ids: dict[str, str]
) -> Iterator[dict[str, Any]]:
    """The model's own parts, each signature in the part it came in. Thoughts without one are not asked for."""
    last: dict[str, Any] | None = (
        None  # given out when the next part is known: a signature may belong to it
    )
    signature = ""
    signed = not traits.signatures
    for part in message.parts:
        if isinstance(part, Thought):
            place, mark = unmark(part.opaque) if part.origin == origin else ("", "")
            if place == "call":
                signature = mark
            elif place == "text" and last is not None and "text" in last:
                last["thoughtSignature"] = mark
            elif place:
                if last is not None:
                    yield last
                text = part.text if place == "thought" else ""
                last = {"text": text, "thoughtSignature": mark}
                if place == "thought":
                    last["thought"] = True
            continue
        if last is not None:
            yield last
            last = None
        if isinstance(part, Text) and part.text:
            last, signature = {"text": part.text}, ""
        elif isinstance(part, ToolCall):
            last = {"functionCall": _call(part, ids)}
            if signature or not signed:
                last["thoughtSignature"] = signature or _NO_SIGNATURE
            signature, signed = "", True
    if last is not None:
        yield last


def _call(call: ToolCall, ids: dict[str, str]) -> dict[str, Any]:
    taken = call.label and call.label in ids.values()
    ids[call.id] = call.id if taken else call.label or call.id
    return {"id": ids[call.id], "name": _name(call.name), "args": _arguments(call.arguments)}


def _arguments(text: str) -> Any:
    try:
        arguments = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return arguments if isinstance(arguments, dict) else {}


def _name(name: str) -> str:
    """A name Google takes: a model may have called what is no name at all."""
    cleaned = re.sub(r"[^A-Za-z0-9_.:-]", "_", name)[:128]
    return cleaned if re.match(r"[A-Za-z_]", cleaned) else f"_{cleaned}"[:128]


def _answers(
    results: Sequence[ToolResult], traits: Traits, ids: dict[str, str]
) -> Iterator[dict[str, Any]]:
    """All results in one content, in the order of the calls; pictures inside them where the model takes them there."""
    inside = traits.images and traits.result_images
    parts: list[dict[str, Any]] = []
    beside: list[dict[str, Any]] = []
    for result in results:
        response: dict[str, Any] = {"output" if result.ok else "error": result.text}
        answer: dict[str, Any] = {
            "id": ids.get(result.call_id, result.call_id),
            "name": _name(result.name),
            "response": response,
        }
        good = [image for image in result.images if image.mime in _PICTURES]
        if inside and good and len(good) == len(result.images):
            answer["parts"] = [{"inlineData": _blob(image)} for image in good]
        elif result.images:
            response["images"] = "in the next message"
            beside.append({"text": f"[image(s) from {result.name}, call {answer['id']}]"})
            beside += [_picture(image, traits) for image in result.images]
        parts.append({"functionResponse": answer})
    if parts:
        yield {"role": "user", "parts": parts}
    if beside:
        yield {"role": "user", "parts": beside}


# --- the rest ---
def _declared(tool: ToolSchema) -> dict[str, Any]:
    declared: dict[str, Any] = {"name": _name(tool.name), "description": tool.description}
    schema = google_schema(tool.parameters)
    if schema.get("properties") or schema.get("type") != "object":
        declared["parametersJsonSchema"] = schema
    return declared


_DECLARED = Written(_declared)


def _generation(request: Request, traits: Traits) -> dict[str, Any]:
    config: dict[str, Any] = {}
    limit = request.max_output or traits.default_limit
    if limit is not None and traits.limit_field:
        config["maxOutputTokens"] = limit
    if traits.fixed_temperature is not None:
        config["temperature"] = traits.fixed_temperature
    elif request.temperature is not None and traits.temperature:
        config["temperature"] = request.temperature
    if request.schema is not None and traits.schema:
        config["responseMimeType"] = "application/json"
        if traits.schema == "json_schema":
            config["responseJsonSchema"] = google_schema(request.schema)
    return config


def _merge(body: dict[str, Any], extra: Mapping[str, Any]) -> None:
    for key, value in extra.items():
        if isinstance(value, Mapping):
            inner = body.setdefault(key, {})
            if isinstance(inner, dict):
                _merge(inner, value)
                continue
        body[key] = value


def _thinks(extra: Mapping[str, Any]) -> bool:
    config = extra.get("generationConfig")
    return isinstance(config, Mapping) and "thinkingConfig" in config


def _without_thinking(extra: Mapping[str, Any]) -> dict[str, Any]:
    config = {k: v for k, v in extra["generationConfig"].items() if k != "thinkingConfig"}
    return {**extra, "generationConfig": config}

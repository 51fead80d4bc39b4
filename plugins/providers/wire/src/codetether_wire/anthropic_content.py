"""The Anthropic Messages dialect: what was said, as content blocks."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import msgspec
from codetether.api import Image, Message, Text, Thought, ToolCall, ToolResult

from codetether_wire.catalogue import Traits

REDACTED = "redacted:"  # before the data of a thought the vendor hid; a signature holds no colon
_NO_IMAGE = {"type": "text", "text": "[image left out: this model takes text only]"}
_PICTURES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_UNFIT = re.compile(r"[^a-zA-Z0-9_-]")
_FIT = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class WireIds:
    """The ids of calls as they are sent: the vendor's own where it gave one, since its thoughts are bound to them; else
    ours. The same history gets the same ids however long it grows.
    """

    def __init__(self, messages: Sequence[Message]) -> None:
        self._given: dict[str, str] = {}
        taken: set[str] = set()
        for message in messages:
            for call in message.calls:
                wire = next(
                    name for name in _candidates(call) if name not in taken and _FIT.fullmatch(name)
                )
                taken.add(wire)
                self._given[call.id] = wire

    def of(self, call_id: str) -> str:
        """What call `call_id` is named on the wire."""
        return self._given[call_id]


def _candidates(call: ToolCall) -> Iterator[str]:
    yield call.label
    yield call.id
    made = call.id
    while True:
        made = "call_" + hashlib.sha256(made.encode()).hexdigest()[:24]
        yield made


def turns(messages: Sequence[Message]) -> Iterator[tuple[str, list[Message]]]:
    """The messages by whose turn it is: results of tools, and what a user adds to them, are one user turn."""
    spoken = [m for m in messages if m.parts]
    for is_answer, group in groupby(spoken, key=lambda m: m.role == "assistant"):
        yield "assistant" if is_answer else "user", list(group)


def blocks_of(
    message: Message, ids: WireIds, traits: Traits, origin: str
) -> Iterator[dict[str, Any]]:
    """The content blocks of one message."""
    for part in message.parts:
        if isinstance(part, Text):
            yield {"type": "text", "text": part.text}
        elif isinstance(part, Image):
            yield _image(part, traits)
        elif isinstance(part, ToolCall):
            yield {
                "type": "tool_use",
                "id": ids.of(part.id),
                "name": fit_name(part.name),
                "input": _input(part.arguments),
            }
        elif isinstance(part, ToolResult):
            yield _result(part, ids, traits)
        elif part.opaque and part.origin == origin and traits.replay:
            yield _thought(part)


def fit_name(name: str) -> str:
    """The name of a tool that a model called, though there may be none of that name, as the vendor takes it back."""
    return _UNFIT.sub("_", name)[:128]


def _thought(thought: Thought) -> dict[str, Any]:
    if thought.opaque.startswith(REDACTED):
        return {"type": "redacted_thinking", "data": thought.opaque.removeprefix(REDACTED)}
    return {"type": "thinking", "thinking": thought.text, "signature": thought.opaque}


def _input(arguments: str) -> dict[str, Any]:
    # Decoded to the bottom: what is no text, such as half a surrogate pair, is refused for the whole request.
    try:
        decoded = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return decoded if isinstance(decoded, dict) else {}


def _result(result: ToolResult, ids: WireIds, traits: Traits) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    if result.text:
        content.append({"type": "text", "text": result.text})
    content += [_image(image, traits) for image in result.images]
    told: dict[str, Any] = {"type": "tool_result", "tool_use_id": ids.of(result.call_id)}
    if content:
        told["content"] = content
    if not result.ok:
        told["is_error"] = True
    return told


def _image(image: Image, traits: Traits) -> dict[str, Any]:
    if not traits.images:
        return dict(_NO_IMAGE)
    if image.mime not in _PICTURES:
        return {
            "type": "text",
            "text": f"[image left out: {image.mime} cannot be shown to this model]",
        }
    data = b64encode(image.data).decode("ascii")
    return {"type": "image", "source": {"type": "base64", "media_type": image.mime, "data": data}}

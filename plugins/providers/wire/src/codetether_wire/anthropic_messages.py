"""The Anthropic Messages dialect: a request as JSON."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from codetether.api import Message, Request, ToolSchema

from codetether_wire.anthropic_content import WireIds, blocks_of, fit_name, turns
from codetether_wire.anthropic_schema import STRUCTURED, answer_format, answer_tool
from codetether_wire.anthropic_stream import AnthropicDecoder
from codetether_wire.catalogue import Traits
from codetether_wire.dialect import Outgoing
from codetether_wire.json_schema import clean_schema
from codetether_wire.written import Written

UNKNOWN_LIMIT = 8192
_MARK = {"type": "ephemeral"}
_TOO_MANY = re.compile(r"max_tokens: \d+ > (\d+)")


class AnthropicDialect:
    """`POST /v1/messages`, streamed. The differences between models and vendors are Traits."""

    content_type = "text/event-stream"

    def outgoing(self, request: Request, traits: Traits, origin: str) -> Outgoing:
        """The request as this dialect's JSON."""
        body: dict[str, Any] = {
            "model": request.model,
            "max_tokens": _limit(request, traits),
            "stream": True,
        }
        tools = _tools(request, traits)
        if tools:
            body["tools"] = tools
        forced = _choose(body, request, traits)
        if request.system:
            body["system"] = [{"type": "text", "text": request.system}]
        body["messages"] = _messages(request.messages, traits, origin)
        if traits.thinking and not forced:
            body["thinking"] = traits.thinking
        elif request.temperature is not None and traits.temperature:
            body["temperature"] = min(max(request.temperature, 0.0), 1.0)
        if request.schema is not None and traits.schema == "json_schema":
            body["output_config"] = {"format": answer_format(request.schema)}
        if traits.marks:
            _mark(body)
        body.update(traits.extra)
        headers = {"anthropic-beta": ",".join(traits.betas)} if traits.betas else {}
        return Outgoing("/v1/messages", msgspec.json.encode(body), headers)

    def decoder(self) -> AnthropicDecoder:
        """A reader for one answer."""
        return AnthropicDecoder()

    def adapt(self, traits: Traits, message: str) -> Traits | None:
        """Drop or shrink what a 400 names, so that models and servers we have no data about can be used."""
        words = message.lower()
        changes = _smaller(traits, words) or _without(traits, words)
        return msgspec.structs.replace(traits, **changes) if changes else None


# --- after a refusal ---
def _smaller(traits: Traits, words: str) -> dict[str, Any]:
    found = _TOO_MANY.search(words)
    if found is None or int(found[1]) < 1 or traits.most_output == int(found[1]):
        return {}
    return {"most_output": int(found[1])}


def _without(traits: Traits, words: str) -> dict[str, Any]:
    for word, field, value in (
        ("temperature", "temperature", False),
        ("tool_choice", "tool_choice", False),
        ("cache_control", "marks", False),
        ("eager_input_streaming", "eager", False),
    ):
        if word in words and getattr(traits, field):
            return {field: value}
    if ("anthropic-beta" in words or "block_binding" in words) and traits.betas:
        thinking = {k: v for k, v in traits.thinking.items() if k != "block_binding"}
        return {"betas": (), "thinking": thinking}
    if ("output_config" in words or "output_format" in words) and traits.schema == "json_schema":
        return {"schema": "tool"}
    if "thinking" not in words and "signature" not in words:
        return {}
    # Blocks in the history were refused: "messages.3.content.0: Invalid `signature` in `thinking` block".
    if "messages." in words and traits.replay:
        return {"replay": ""}
    return {"thinking": {}, "betas": ()} if traits.thinking else {}


# --- parts of the body ---
def _limit(request: Request, traits: Traits) -> int:
    wanted = request.max_output or traits.default_limit or UNKNOWN_LIMIT
    return wanted if traits.most_output is None else min(wanted, traits.most_output)


def _tools(request: Request, traits: Traits) -> list[dict[str, Any]]:
    tools = [_tool(tool, traits) for tool in request.tools]
    if not tools:  # a history with calls is refused when no tool is declared
        names = {
            fit_name(call.name): None for message in request.messages for call in message.calls
        }
        tools = [{"name": name, "input_schema": {"type": "object"}} for name in names]
    if request.schema is not None and traits.schema == "tool":
        tools.append(answer_tool(request.schema))
    return tools


_SCHEMAS = Written(lambda tool: clean_schema(tool.parameters))


def _tool(tool: ToolSchema, traits: Traits) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": tool.name,
        "description": tool.description,
        "input_schema": _SCHEMAS.of(tool),
    }
    if traits.eager:
        told["eager_input_streaming"] = True
    return told


def _choose(body: dict[str, Any], request: Request, traits: Traits) -> bool:
    """Put `tool_choice` in where it is not the default. True when a call is forced: such a request cannot think."""
    if "tools" not in body:
        return False
    answering = request.schema is not None and traits.schema == "tool"
    usable = bool(request.tools) and request.tool_choice != "none"
    if answering and traits.tool_choice:
        alone = {"type": "tool", "name": STRUCTURED}
        body["tool_choice"] = {"type": "any"} if usable else alone
        return True
    if not usable and not answering:
        body["tool_choice"] = {"type": "none"}
    elif request.tool_choice == "required" and traits.tool_choice:
        body["tool_choice"] = {"type": "any"}
        return True
    return False


def _messages(messages: Sequence[Message], traits: Traits, origin: str) -> list[dict[str, Any]]:
    ids = WireIds(messages)
    return [
        {
            "role": role,
            "content": [block for m in group for block in blocks_of(m, ids, traits, origin)],
        }
        for role, group in turns(messages)
    ]


def _mark(body: dict[str, Any]) -> None:
    """Cache what comes again: the tools, the system text, and the conversation up to each of the last two user turns.

    Four markers is the most there may be. The one on the last turn but one was written by the call before this.
    """
    places: list[dict[str, Any]] = []
    if body.get("tools"):
        places.append(body["tools"][-1])
    if body.get("system"):
        places.append(body["system"][-1])
    said = [m["content"] for m in body["messages"] if m["role"] == "user" and m["content"]]
    places += [content[-1] for content in said[-2:]]
    for place in places:
        place["cache_control"] = _MARK

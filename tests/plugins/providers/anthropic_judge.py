"""What Anthropic's own SDK says of a request or of a stream, and the rules its types cannot say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache

from jsonschema import Draft202012Validator
from pydantic import TypeAdapter


@cache
def _adapter(name):
    """Types of the SDK are large: one adapter for all tests."""
    from anthropic.types import RawMessageStreamEvent, message_create_params
    from anthropic.types.beta import message_create_params as beta

    found = {
        "request": message_create_params.MessageCreateParamsStreaming,
        "beta": beta.MessageCreateParamsStreaming,
        "event": RawMessageStreamEvent,
    }
    return TypeAdapter(found[name])


def _exhaust(value):
    """Plain data: the SDK's `Iterable` fields are checked only when they are read."""
    if isinstance(value, Mapping):
        return {key: _exhaust(inner) for key, inner in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [_exhaust(inner) for inner in value]
    return value


def judge_request(outgoing):
    """The body, after the SDK's types and the documented rules found nothing wrong with it."""
    body = json.loads(outgoing.body)
    kind = "beta" if outgoing.headers.get("anthropic-beta") else "request"
    # Equal, and not only valid: a TypedDict drops the keys it does not know. The SDK gave up `temperature` with its
    # version 1, the interface with a later version than ours.
    typed = {key: value for key, value in body.items() if key != "temperature"}
    known = _exhaust(_adapter(kind).validate_python(typed))
    for tool, as_known in zip(typed.get("tools", ()), known.get("tools", ()), strict=True):
        as_known["input_schema"] = tool["input_schema"]  # JSON Schema is no type of the SDK
        Draft202012Validator.check_schema(tool["input_schema"])
    for key, value in typed.items():
        assert known.get(key) == value, (
            f"not as the vendor knows it: {key}, read as {known.get(key)}"
        )
    assert 0 <= body.get("temperature", 1) <= 1
    assert faults(body) == []
    return body


def judge_events(data):
    """The events of a stream, each after the SDK's types took it. Unknown events are skipped, as the SDK does."""
    for chunk in data.decode().split("\n\n"):
        lines = dict(line.partition(": ")[::2] for line in chunk.splitlines() if ": " in line)
        if lines.get("event") in (None, "ping", "error"):
            continue
        yield _adapter("event").validate_json(lines["data"])


def faults(body):
    """The rules of the documentation that are no types."""
    found = []
    if body["max_tokens"] < 1:
        found.append("max_tokens below 1")
    if body.get("thinking") and "temperature" in body:
        found.append("thinking and temperature")
    if body.get("thinking") and body.get("tool_choice", {}).get("type") in ("any", "tool"):
        found.append("thinking and a forced call")
    found += _marks(body)
    return found + _turns(body)


def _marks(body):
    blocks = [block for message in body["messages"] for block in message["content"]]
    blocks += [*body.get("tools", []), *body.get("system", [])]
    marked = [block for block in blocks if "cache_control" in block]
    found = ["more than four markers"] * (len(marked) > 4)
    if any(block.get("type") in ("thinking", "redacted_thinking") for block in marked):
        found.append("a marked thought")
    return found


def _turns(body):
    found, wanted, seen, before = [], [], set(), "assistant"
    declared = {tool["name"] for tool in body.get("tools", [])}
    for message in body["messages"]:
        content, role = message["content"], message["role"]
        results = [b["tool_use_id"] for b in content if b["type"] == "tool_result"]
        calls = [b for b in content if b["type"] == "tool_use"]
        ids = [call["id"] for call in calls]
        wrong = {
            "no turns": role == before,
            "empty": not content,
            "blank text": any(b["type"] == "text" and not b["text"].strip() for b in content),
            "results do not match the calls before": results != wanted,
            "results are not first": any(
                b["type"] == "tool_result" for b in content[len(results) :]
            ),
            "a user's call": role == "user" and calls,
            "doubled id": len(set(ids)) < len(ids) or seen & set(ids),
            "bad id": not all(re.fullmatch("[a-zA-Z0-9_-]+", name) for name in ids),
            "bad name": not all(
                re.fullmatch("[a-zA-Z0-9_-]{1,128}", call["name"]) for call in calls
            ),
            "no tools": calls and not declared,
            "ends with a thought": content and content[-1]["type"].endswith("thinking"),
        }
        found += [name for name, is_wrong in wrong.items() if is_wrong]
        seen |= set(ids)
        wanted, before = ids, role
    return found + ["the last must be a user"] * (before != "user")

"""The vendor's SDK as a second reader: what it makes of a stream is what we keep, and what we send back."""

from __future__ import annotations

import json
import re

from anthropic.lib._parse._transform import transform_schema
from anthropic.lib.streaming._messages import accumulate_event
from anthropic_judge import judge_events, judge_request
from codetether.answer import Answer
from codetether.api import Message, Request, Text, ToolResult
from codetether.repair import repair
from codetether_wire import AnthropicDialect, Traits
from codetether_wire.anthropic_schema import answer_format
from hypothesis import given, settings
from hypothesis import strategies as st
from vendor_histories import SCHEMA, TOOLS

words = st.text(min_size=1, max_size=12).filter(lambda text: text.strip())
pieces = st.lists(st.text(max_size=6), max_size=4)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(10**6), 10**6), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
blocks = st.one_of(
    st.tuples(st.just("text"), words, pieces),
    st.tuples(st.just("thinking"), words, st.sampled_from(["c2ln", "EqQB=="])),
    st.tuples(st.just("redacted_thinking"), st.just("RW1="), st.none()),
    st.tuples(st.just("tool_use"), st.dictionaries(words, values, max_size=3), st.integers(1, 9)),
)


def written(content):
    """The events of a stream with these blocks, as the SDK's own models write them."""
    usage = {"input_tokens": 1, "output_tokens": 1}
    begin = {"id": "m", "type": "message", "role": "assistant", "model": "x", "content": []}
    rows = [{"type": "message_start", "message": {**begin, "usage": usage}}]
    for index, (kind, first, second) in enumerate(content):
        start, deltas = one(index, kind, first, second)
        rows.append({"type": "content_block_start", "index": index, "content_block": start})
        rows += [{"type": "content_block_delta", "index": index, "delta": d} for d in deltas]
        rows.append({"type": "content_block_stop", "index": index})
    has_calls = any(kind == "tool_use" for kind, _, _ in content)
    delta = {"stop_reason": "tool_use" if has_calls else "end_turn", "stop_sequence": None}
    rows.append({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 9}})
    rows.append({"type": "message_stop"})
    raw = "".join(f"event: {row['type']}\ndata: {json.dumps(row)}\n\n" for row in rows).encode()
    events = list(judge_events(raw))
    assert len(events) == len(rows)
    return events, "".join(
        f"event: {event.type}\ndata: {event.model_dump_json()}\n\n" for event in events
    ).encode()


def one(index, kind, first, second):
    if kind == "text":
        said = [{"type": "text_delta", "text": text} for text in [first, *second]]
        return {"type": "text", "text": "", "citations": None}, said
    if kind == "thinking":
        start = {"type": "thinking", "thinking": "", "signature": ""}
        thought = {"type": "thinking_delta", "thinking": first}
        return start, [thought, {"type": "signature_delta", "signature": second}]
    if kind == "redacted_thinking":
        return {"type": kind, "data": first}, []
    text = json.dumps(first)
    cuts = [text[i : i + second] for i in range(0, len(text), second)]
    deltas = [{"type": "input_json_delta", "partial_json": cut} for cut in ["", *cuts]]
    start = {"type": kind, "id": f"toolu_{index}", "name": "bash", "input": {}}
    return start, deltas


def as_sdk_keeps_it(events):
    snapshot, bufs = None, {}
    for event in events:
        snapshot = accumulate_event(event=event, current_snapshot=snapshot, json_bufs=bufs)
    keep = ("type", "text", "thinking", "signature", "data", "id", "name", "input")
    content = [block.model_dump() for block in snapshot.content]
    return joined({key: block[key] for key in keep if key in block} for block in content)


def joined(content):
    """Neighbouring texts as one: we keep what is said, not how it was cut."""
    out = []
    for block in content:
        if out and block["type"] == out[-1]["type"] == "text":
            out[-1] = {"type": "text", "text": out[-1]["text"] + block["text"]}
        else:
            out.append(block)
    return out


@settings(max_examples=200, deadline=None)
@given(st.lists(blocks, min_size=1, max_size=6))
def test_what_was_said_goes_back_as_it_was_said(content):
    content.append(("text", "so", []))  # an answer that ends with a thought is shortened by repair
    content.sort(key=lambda block: block[0] == "tool_use")
    events, stream = written(content)
    numbers = iter(range(99))
    answer = Answer("anthropic", "x", lambda kind: f"{kind}{next(numbers)}")
    decoder = AnthropicDialect().decoder()
    for event in [*decoder.feed(stream), decoder.finish()]:
        answer.add(event)
    said = answer.message()
    results = tuple(ToolResult(call.id, call.name, "out") for call in said.calls)
    history = [Message("user", (Text("go"),)), said]
    history.append(Message("tool", results) if results else Message("user", (Text("on"),)))
    sent, notes = repair(history)
    assert notes == []
    request = Request("x", tuple(sent), tools=TOOLS)
    body = judge_request(
        AnthropicDialect().outgoing(request, Traits(replay="thinking"), "anthropic")
    )
    assert body["messages"][1]["content"] == as_sdk_keeps_it(events)


# --- schemas ---
strings = st.fixed_dictionaries(
    {"type": st.just("string")},
    optional={
        "description": st.just("d"),
        "enum": st.just(["a", "b"]),
        "format": st.sampled_from(["date", "uuid", "phone"]),
        "minLength": st.integers(0, 3),
        "pattern": st.just("^a"),
    },
)
numbers_ = st.fixed_dictionaries(
    {"type": st.sampled_from(["integer", "number"])}, optional={"minimum": st.integers(0, 3)}
)
schemas = st.recursive(
    st.one_of(strings, numbers_, st.just({"type": "boolean"}), st.just({"type": "null"})),
    lambda inner: st.one_of(
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries(
            {"type": st.just("array"), "items": inner},
            optional={"minItems": st.integers(0, 3), "maxItems": st.just(5)},
        ),
        st.dictionaries(st.sampled_from(["a", "b"]), inner).map(
            lambda found: {"type": "object", "properties": found, "required": sorted(found)}
        ),
    ),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(schemas)
def test_a_schema_is_made_as_strict_as_the_sdk_makes_it(schema):
    ours, theirs = answer_format(schema)["schema"], transform_schema(schema)
    assert in_any_order(ours) == in_any_order(theirs)


def in_any_order(schema):
    """The schema, with what descriptions tell of bounds as a set."""
    if isinstance(schema, dict):
        told = schema.get("description")
        rest = {key: in_any_order(value) for key, value in schema.items() if key != "description"}
        return rest | ({"description": sorted(re.findall(r"[^{}, \n]+", told))} if told else {})
    return [in_any_order(inner) for inner in schema] if isinstance(schema, list) else schema


def test_a_strict_schema_is_left_as_it_is():
    assert answer_format(SCHEMA) == {"type": "json_schema", "schema": SCHEMA}


def test_references_and_lists_of_types():
    schema = {
        "type": "object",
        "$defs": {"Name": {"type": "string", "maxLength": 9}},
        "properties": {"name": {"$ref": "#/$defs/Name"}, "age": {"type": ["integer", "null"]}},
    }
    assert answer_format(schema)["schema"] == {
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": "{maxLength: 9}"},
            "age": {"type": ["integer", "null"]},
        },
        "additionalProperties": False,
    }

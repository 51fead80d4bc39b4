"""Answers of the Responses API, in the SDK's own event models."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from codetether.answer import Answer
from codetether.api import (
    CallDelta,
    CallStart,
    Finish,
    TextDelta,
    ThoughtDelta,
    ThoughtEnd,
    Usage,
)
from codetether_wire import ResponsesDialect, WireFault
from hypothesis import given
from hypothesis import strategies as st
from responses_events import call, checked, message, reasoning, response, rows, sse, stream

WHOLE = stream(
    reasoning("One thing", "Another", index=0),
    message("I will look é €.", index=1, phase="commentary"),
    call("read_file", '{"path": "a.txt"}', index=2),
    call("bash", '{"command": "ls"}', index=3),
)


def read(data, size=None):
    decoder = ResponsesDialect().decoder()
    events = []
    for start in range(0, len(data), size or len(data)):
        events += decoder.feed(data[start : start + (size or len(data))])
    events += decoder.close()
    assert decoder.complete
    return [*events, decoder.finish()]


def said(events):
    """The message that a session would keep, without the ids it makes up."""
    answer = Answer("openai", "m", lambda kind: kind)
    for event in events:
        answer.add(event)
    return answer.message()


def test_a_whole_answer():
    *events, finish = read(WHOLE)
    thought, text, *calls = said([*events, finish]).parts
    assert thought.text == "One thing\n\nAnother"
    assert json.loads(thought.opaque) == {
        "id": "rs_0",
        "type": "reasoning",
        "summary": [
            {"type": "summary_text", "text": "One thing"},
            {"type": "summary_text", "text": "Another"},
        ],
        "encrypted_content": "SEALED",
    }
    assert text.text == "I will look é €."
    assert [(c.name, c.arguments, c.label) for c in calls] == [
        ("read_file", '{"path": "a.txt"}', "call_2"),
        ("bash", '{"command": "ls"}', "call_3"),
    ]
    assert finish == Finish(
        "tool_calls", Usage(input=100, output=20, cached=64, cache_write=7, reasoning=8)
    )


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_pieces_of_any_size(size):
    assert said(read(WHOLE, size)) == said(read(WHOLE))


@given(st.lists(st.integers(1, len(WHOLE) - 1), max_size=40))
def test_pieces_at_random(cuts):
    decoder = ResponsesDialect().decoder()
    borders = [0, *sorted(cuts), len(WHOLE)]
    events = []
    for start, end in pairwise(borders):
        events += decoder.feed(WHOLE[start:end])
    assert said([*events, decoder.finish()]) == said(read(WHOLE))


def test_a_cut_after_any_event_is_not_an_answer():
    made = [
        sse(row) for row in rows(reasoning("hm"), message("yes", index=1), call("f", "{}", index=2))
    ]
    for end in range(len(made)):
        decoder = ResponsesDialect().decoder()
        decoder.feed(b"".join(made[:end]))
        decoder.close()
        assert not decoder.complete
    decoder.feed(made[-1])
    assert decoder.complete


def test_text_alone():
    assert read(stream(message("Hello there")))[:-1] == [TextDelta("Hello there")]


def test_two_messages_in_a_row_are_kept_apart():
    events = read(stream(message("First.", index=0), message("Second.", "Part.", index=1)))
    assert said(events).text == "First.\n\nSecond.\n\nPart."


def test_reasoning_without_a_summary_still_goes_back():
    events = read(stream(reasoning(), message("yes", index=1)))
    assert isinstance(events[0], ThoughtEnd)
    assert json.loads(events[0].opaque)["encrypted_content"] == "SEALED"
    assert events[1] == TextDelta("yes")


def test_reasoning_that_was_not_sealed_cannot_go_back():
    assert read(stream(reasoning("hm", encrypted=None), message("yes", index=1)))[:2] == [
        ThoughtDelta("hm"),
        ThoughtEnd(),
    ]
    assert read(stream(reasoning(encrypted=None), message("yes", index=1)))[0] == TextDelta("yes")


def test_reasoning_text_of_open_models():
    here = {"item_id": "rs_0", "output_index": 0, "content_index": 0}
    made = checked(
        [
            {"type": "response.reasoning_text.delta", **here, "delta": "hm"},
            *rows(message("yes", index=1))[2:],
        ]
    )
    for row in made[1:]:
        if "output_index" in row:
            row["output_index"] = 1
    made[-1]["response"]["output"].insert(0, {**reasoning(encrypted=None), "id": "rs_0"})
    events = read(b"".join(map(sse, made)))
    assert events[:-1] == [ThoughtDelta("hm"), ThoughtEnd(), TextDelta("yes")]


def test_a_refusal():
    events = read(stream(message(refusal="I cannot help with that")))
    assert events == [
        TextDelta("I cannot help with that"),
        Finish("content_filter", Usage(100, 20, 64, 7, 8)),
    ]


@pytest.mark.parametrize(
    ("why", "reason"),
    [("max_output_tokens", "length"), ("content_filter", "content_filter"), (None, "length")],
)
def test_incomplete(why, reason):
    details = {"incomplete_details": {"reason": why}}
    events = read(stream(call("f", '{"a": 1}'), status="incomplete", **details))
    assert events[0] == CallStart(0, "call_0", "f")
    assert events[-1].reason == reason


def test_what_is_not_streamed_is_taken_from_the_item_and_from_the_end():
    items = [reasoning("hm"), message("yes", index=1), call("f", '{"a": 1}', index=2)]
    whole = said(read(stream(*items)))
    events = [row for row in rows(*items) if not row["type"].endswith((".delta", ".added"))]
    assert said(read(b"".join(map(sse, events)))) == whole
    assert said(read(sse(rows(*items)[-1]))) == whole


def test_not_streamed_at_all():
    items = [reasoning("hm"), message("yes", index=1), call("f", '{"a": 1}', index=2)]
    decoder = ResponsesDialect().decoder()
    events = decoder.whole(json.dumps(response(output=items)).encode())
    assert decoder.complete
    assert said([*events, decoder.finish()]).parts == said(read(stream(*items))).parts


@pytest.mark.parametrize("body", [b"{}", b"[]", b"x", b"\xff"])
def test_a_document_that_is_no_answer(body):
    with pytest.raises(WireFault):
        ResponsesDialect().decoder().whole(body)


@pytest.mark.parametrize(
    ("code", "kind", "retry"),
    [
        ("server_error", "overloaded", True),
        ("rate_limit_exceeded", "rate_limit", True),
        ("invalid_prompt", "invalid", False),
        ("vector_store_timeout", "overloaded", True),
        ("image_content_policy_violation", "content", False),
    ],
)
def test_a_failed_response(code, kind, retry):
    failed = rows(status="failed", usage=None, error={"code": code, "message": "so it is"})
    with pytest.raises(WireFault) as caught:
        read(b"".join(map(sse, failed)))
    assert (caught.value.fault.kind, caught.value.retry) == (kind, retry)
    assert caught.value.fault.message == "so it is"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("server_error", "overloaded"),
        ("context_length_exceeded", "context"),
        ("insufficient_quota", "rate_limit"),
        (None, "other"),
    ],
)
def test_an_error_event(code, kind):
    [row] = checked([{"type": "error", "code": code, "message": "no", "param": None}])
    with pytest.raises(WireFault) as caught:
        read(sse(row))
    assert caught.value.fault.kind == kind


def test_an_error_object_in_the_event():
    row = {"type": "error", "error": {"type": "invalid_request_error", "message": "bad"}}
    with pytest.raises(WireFault) as caught:
        read(sse(row))
    assert (caught.value.fault.kind, caught.value.fault.message) == ("invalid", "bad")


def test_what_was_said_before_an_error_is_given_first():
    decoder = ResponsesDialect().decoder()
    half = b"".join(map(sse, rows(message("all of it"))[:5]))
    assert decoder.feed(half + b'data: {"type": "error", "message": "x"}\n\n') == [
        TextDelta("all ")
    ]
    with pytest.raises(WireFault):
        decoder.feed(b": ping\n\n")


@pytest.mark.parametrize("junk", [b"data: {bro\n\n", b"data: \xff\n\n", b"data: []\n\n"])
def test_junk_is_incomplete(junk):
    with pytest.raises(WireFault) as caught:
        ResponsesDialect().decoder().feed(junk)
    assert (caught.value.fault.kind, caught.value.retry) == ("incomplete", True)


def test_unknown_events_and_items_are_passed_over():
    made = rows(message("yes"))
    made.insert(2, {"type": "response.brand_new.delta", "delta": "?"})
    made.insert(
        3, {"type": "response.output_item.added", "output_index": 9, "item": {"type": "magic"}}
    )
    made.insert(4, {"type": "response.output_item.done", "output_index": 9, "item": {"type": "x"}})
    assert read(b"".join(map(sse, made)))[:-1] == [TextDelta("yes")]


def test_a_large_last_event():
    text = "x" * 2_000_000
    assert said(read(sse(rows(message(text))[-1]))).text == text


def test_arguments_that_only_come_whole():
    made = [row for row in rows(call("f", '{"a": 1}')) if not row["type"].endswith(".delta")]
    assert read(b"".join(map(sse, made)))[:2] == [
        CallStart(0, "call_0", "f"),
        CallDelta(0, '{"a": 1}'),
    ]


@given(st.binary(max_size=300))
def test_any_bytes_end_in_events_or_a_fault(data):
    decoder = ResponsesDialect().decoder()
    try:
        decoder.feed(data)
        decoder.close()
    except WireFault:
        pass
    assert not decoder.complete


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["type", "text", "id", "call_id", "name", "arguments", "summary"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=5,
)


@given(st.data())
def test_fields_of_any_type_never_break_it(data):
    made = rows(reasoning("hm"), message("yes", index=1), call("f", '{"a": 1}', index=2))
    row = data.draw(st.sampled_from(made))
    target = data.draw(
        st.sampled_from([row, *(v for v in row.values() if isinstance(v, dict) and v)])
    )
    target[data.draw(st.sampled_from(sorted(target)))] = data.draw(_ANY)
    decoder = ResponsesDialect().decoder()
    try:
        for one in made:
            decoder.feed(f"data: {json.dumps(one)}\n\n".encode())
        decoder.close()
        if decoder.complete:
            decoder.finish()
    except WireFault:
        pass


ITEMS = [
    reasoning("hm"),
    message("one", index=1),
    message("two", index=2),
    call("f", '{"a": 1}', index=3),
    call("g", '{"b": 2}', index=4),
]


def without(name):
    """The events of ITEMS, none of which has the field."""
    made = rows(*ITEMS)
    for row in made:
        row.pop(name, None)
    return b"".join(map(sse, made))


def test_servers_that_tell_no_places():
    """llama.cpp: items are known by their ids only."""
    assert said(read(without("output_index"))) == said(read(stream(*ITEMS)))
    assert len(said(read(without("output_index"))).calls) == 2


def test_servers_that_tell_no_ids():
    made = rows(*ITEMS)
    for row in made:
        row.pop("item_id", None)
        row.get("item", {}).pop("id", None)
        for item in row.get("response", {}).get("output", ()):
            item.pop("id", None)
    told = said(read(b"".join(map(sse, made))))
    assert (told.text, len(told.calls)) == ("one\n\ntwo", 2)


def test_servers_that_give_an_item_several_ids():
    """Copilot: another id in every event; the place is what holds."""
    made = rows(*ITEMS)
    for number, row in enumerate(made):
        for place in (row, row.get("item", {})):
            for name in ("item_id", "id"):
                if name in place:
                    place[name] = f"id-{number}"
    told = said(read(b"".join(map(sse, made))))
    assert (told.text, [c.arguments for c in told.calls]) == (
        "one\n\ntwo",
        ['{"a": 1}', '{"b": 2}'],
    )

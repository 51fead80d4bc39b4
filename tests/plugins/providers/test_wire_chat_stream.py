"""The shapes of answers that vendors send."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from codetether.api import CallDelta, CallStart, Finish, TextDelta, ThoughtDelta, ThoughtEnd, Usage
from codetether_wire import ChatDialect, WireFault
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk


def chunk(delta=None, finish=None, **more):
    return {
        "id": "x",
        "choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish}],
        **more,
    }


def call(index=None, label=None, name=None, arguments=None):
    piece = {"type": "function", "function": {}}
    if index is not None:
        piece["index"] = index
    if label is not None:
        piece["id"] = label
    if name is not None:
        piece["function"]["name"] = name
    if arguments is not None:
        piece["function"]["arguments"] = arguments
    return piece


def read(*rows, done=True):
    """All events of a stream of these chunks, each fed alone."""
    decoder = ChatDialect().decoder()
    events = []
    for row in rows:
        events += decoder.feed(b"data: " + json.dumps(row).encode() + b"\n\n")
    if done:
        events += decoder.feed(b"data: [DONE]\n\n")
    assert decoder.complete
    return [*events, decoder.finish()]


def calls_of(events):
    """[(index, id, name, arguments)] as the session would put them together."""
    made = {}
    for event in events:
        if isinstance(event, CallStart):
            assert event.index == len(made)
            made[event.index] = [event.index, event.id, event.name, ""]
        elif isinstance(event, CallDelta):
            made[event.index][3] += event.arguments
    return [tuple(row) for row in made.values()]


def test_text_usage_and_finish():
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 8},
    }
    events = read(
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "Hel"}),
        chunk({"content": "lo"}),
        chunk(finish="stop"),
        {"choices": [], "usage": usage, "new_field": {"x": 1}},
    )
    expected = Usage(input=100, output=20, cached=64, reasoning=8)
    assert events == [TextDelta("Hel"), TextDelta("lo"), Finish("stop", expected)]


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            {"prompt_tokens": 9, "completion_tokens": 3, "prompt_cache_hit_tokens": 5},
            Usage(9, 3, cached=5),
        ),
        ({"prompt_tokens": 9, "completion_tokens": 3, "cached_tokens": 4}, Usage(9, 3, cached=4)),
        ({"input_tokens": 9, "output_tokens": 3, "cost": 0.25}, Usage(9, 3, cost=0.25)),
        ({"prompt_tokens": None, "completion_tokens": "x", "prompt_tokens_details": None}, Usage()),
    ],
)
def test_usage_in_every_vendors_words(usage, expected):
    assert read(chunk({"content": "a"}, "stop", usage=usage))[-1].usage == expected


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_ends_before_the_answer(field):
    events = read(
        chunk({field: "hm"}),
        chunk({field: "m", "content": ""}),
        chunk({"content": "yes"}),
        chunk(finish="stop"),
    )
    assert events[:-1] == [ThoughtDelta("hm"), ThoughtDelta("m"), ThoughtEnd(), TextDelta("yes")]


def test_reasoning_details_come_back_opaque():
    rows = [{"type": "reasoning.encrypted", "data": "abc"}]
    events = read(
        chunk({"reasoning": "hm", "reasoning_details": rows}), chunk({"content": "yes"}, "stop")
    )
    assert isinstance(events[1], ThoughtEnd)
    assert json.loads(events[1].opaque) == rows


def test_content_as_a_list_of_parts():
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "yes"},
    ]
    assert read(chunk({"content": parts}, "stop"))[:-1] == [
        ThoughtDelta("hm"),
        ThoughtEnd(),
        TextDelta("yes"),
    ]


WHOLE = '{"path": "a"}'
SHAPES = {
    "as OpenAI sends it": (
        [
            [call(0, "c1", "read", "")],
            [call(0, arguments='{"pa')],
            [call(0, arguments='th": "a"}')],
        ],
        [(0, "c1", "read", WHOLE)],
    ),
    "two side by side, interleaved": (
        [
            [call(0, "c1", "read", ""), call(1, "c2", "list", "")],
            [call(1, arguments="{")],
            [call(0, arguments=WHOLE)],
            [call(1, arguments="}")],
        ],
        [(0, "c1", "read", WHOLE), (1, "c2", "list", "{}")],
    ),
    "whole calls in one chunk, no index": (
        [[call(None, "c1", "read", WHOLE), call(None, "c2", "read", "{}")]],
        [(0, "c1", "read", WHOLE), (1, "c2", "read", "{}")],
    ),
    "no index, pieces by id": (
        [
            [call(None, "c1", "read", "")],
            [call(None, "c1", None, WHOLE)],
            [call(None, "c2", "list", "{}")],
        ],
        [(0, "c1", "read", WHOLE), (1, "c2", "list", "{}")],
    ),
    "no index, later pieces without id": (
        [
            [call(None, "c1", "read", "")],
            [call(None, None, None, '{"path":')],
            [call(None, None, None, ' "a"}')],
        ],
        [(0, "c1", "read", '{"path": "a"}')],
    ),
    "index 0 for all, ids differ": (
        [[call(0, "c1", "read", WHOLE)], [call(0, "c2", "read", "{}")]],
        [(0, "c1", "read", WHOLE), (1, "c2", "read", "{}")],
    ),
    "index 0 for all, no ids": (
        [[call(0, None, "read", WHOLE)], [call(0, None, "list", "{}")]],
        [(0, "", "read", WHOLE), (1, "", "list", "{}")],
    ),
    "empty ids, no index": (
        [[call(None, "", "read", WHOLE)], [call(None, "", "read", "{}")]],
        [(0, "", "read", WHOLE), (1, "", "read", "{}")],
    ),
    "duplicate ids under different indices": (
        [[call(0, "same", "read", WHOLE), call(1, "same", "read", "{}")]],
        [(0, "same", "read", WHOLE), (1, "same", "read", "{}")],
    ),
    "duplicate ids, no index": (
        [[call(None, "same", "read", WHOLE)], [call(None, "same", "read", "{}")]],
        [(0, "same", "read", WHOLE), (1, "same", "read", "{}")],
    ),
    "no arguments at all, then another": (
        [[call(None, None, "stop", "")], [call(None, None, "read", WHOLE)]],
        [(0, "", "stop", ""), (1, "", "read", WHOLE)],
    ),
    "name and id repeated in each piece": (
        [[call(0, "c1", "read", '{"path":')], [call(0, "c1", "read", ' "a"}')]],
        [(0, "c1", "read", '{"path": "a"}')],
    ),
    "indices that begin at 1": (
        [[call(1, "c1", "read", WHOLE)], [call(2, "c2", "read", "{}")]],
        [(0, "c1", "read", WHOLE), (1, "c2", "read", "{}")],
    ),
    "arguments as an object": (
        [[call(0, "c1", "read", {"path": "a"})]],
        [(0, "c1", "read", '{"path":"a"}')],
    ),
    "arguments null": (
        [[call(0, "c1", "read")], [call(0, arguments=None)]],
        [(0, "c1", "read", "")],
    ),
    "arguments before the name": (
        [[call(0, "c1", None, '{"path":')], [call(0, None, "read", ' "a"}')]],
        [(0, "c1", "read", '{"path": "a"}')],
    ),
    "id a number": ([[call(0, 17, "read", WHOLE)]], [(0, "17", "read", WHOLE)]),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_call_shapes(shape):
    rows, expected = SHAPES[shape]
    events = read(*[chunk({"tool_calls": row}) for row in rows], chunk(finish="tool_calls"))
    assert calls_of(events) == expected
    assert events[-1].reason == "tool_calls"


@pytest.mark.parametrize(
    ("told", "with_call", "reason"),
    [
        ("stop", False, "stop"),
        ("stop", True, "tool_calls"),
        ("tool_calls", True, "tool_calls"),
        ("length", True, "length"),
        ("max_tokens", False, "length"),
        ("content_filter", False, "content_filter"),
        ("something_new", False, "stop"),
    ],
)
def test_finish_reasons(told, with_call, reason):
    delta = {"tool_calls": [call(0, "c", "read", "{")]} if with_call else {"content": "x"}
    assert read(chunk(delta), chunk(finish=told))[-1].reason == reason


def test_the_end_mark_alone_is_an_end_after_words_and_none_after_nothing():
    assert read(chunk({"content": "x"}))[-1] == Finish("stop")
    decoder = ChatDialect().decoder()
    decoder.feed(b"data: [DONE]\n\n")
    assert not decoder.complete


def test_an_answer_that_was_not_streamed():
    message = {
        "role": "assistant",
        "content": "hi",
        "tool_calls": [call(None, "c1", "read", WHOLE)],
    }
    decoder = ChatDialect().decoder()
    body = {
        "choices": [{"message": message, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 3},
    }
    events = decoder.whole(json.dumps(body).encode())
    assert events == [TextDelta("hi"), CallStart(0, "c1", "read"), CallDelta(0, WHOLE)]
    assert decoder.complete
    assert decoder.finish() == Finish("tool_calls", Usage(input=3))


@pytest.mark.parametrize(
    ("data", "kind", "retry"),
    [
        ('{"error": {"message": "slow down", "type": "rate_limit_error"}}', "rate_limit", True),
        ('{"error": {"message": "busy", "code": 503}}', "overloaded", True),
        ('{"error": {"message": "busy", "type": "overloaded_error"}}', "overloaded", True),
        (
            '{"error": {"message": "maximum context length is 8192 tokens", "code": 400}}',
            "context",
            False,
        ),
        ('{"error": {"message": "bad", "type": "invalid_request_error"}}', "invalid", False),
        ('{"error": "model not loaded"}', "other", False),
        ('{"object":"error","message":"no such model","code":404}', "invalid", False),
        ('{"choices": [{"delta": {}, "finish_reason": "error"}]}', "overloaded", True),
        ('{"choices": [', "incomplete", True),
        ('{"choices": 5}', "incomplete", True),
        ('"\\ud800"', "incomplete", True),
    ],
)
def test_errors_inside_the_stream(data, kind, retry):
    with pytest.raises(WireFault) as caught:
        ChatDialect().decoder().feed(f"data: {data}\n\n".encode())
    assert (caught.value.fault.kind, caught.value.retry) == (kind, retry)


def test_neighbours_in_one_read_become_one_event():
    rows = [chunk({"content": str(n)}) for n in range(5)] + [
        chunk({"tool_calls": [call(0, "c", "f", "{")]})
    ]
    rows += [chunk({"tool_calls": [call(0, None, None, "}")]}), chunk(finish="tool_calls")]
    data = b"".join(b"data: " + json.dumps(row).encode() + b"\n\n" for row in rows)
    assert ChatDialect().decoder().feed(data) == [
        TextDelta("01234"),
        CallStart(0, "c", "f"),
        CallDelta(0, "{}"),
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
DELTA = st.fixed_dictionaries(
    {},
    optional={
        "content": JSON,
        "reasoning_content": JSON,
        "reasoning_details": JSON,
        "tool_calls": st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "index": JSON,
                    "id": JSON,
                    "function": st.fixed_dictionaries(
                        {}, optional={"name": JSON, "arguments": JSON}
                    ),
                },
            ),
            max_size=3,
        )
        | JSON,
    },
)


@given(st.lists(DELTA, max_size=6), JSON, JSON)
def test_whatever_comes_is_events_or_one_fault(deltas, finish, usage):
    decoder = ChatDialect().decoder()
    try:
        events = []
        for delta in deltas:
            row = {"choices": [{"delta": delta, "finish_reason": finish}], "usage": usage}
            events += decoder.feed(b"data: " + json.dumps(row).encode() + b"\n\n")
        calls_of(events)
        decoder.finish()
    except WireFault as fault:
        kind = fault.fault.kind
    else:
        kind = "incomplete"
    assert kind in ("incomplete", "overloaded")


def test_fragments_of_reasoning_details_are_joined():
    def text(words, **more):
        return {"type": "reasoning.text", "index": 0, "format": "f", "text": words, **more}

    sealed = {"type": "reasoning.encrypted", "index": 1, "data": "abc", "id": "r1"}
    events = read(
        chunk({"reasoning": "Let ", "reasoning_details": [text("Let ")]}),
        chunk({"reasoning": "me", "reasoning_details": [text("me", id=None)]}),
        chunk({"reasoning_details": [text(None, signature="SIGNED"), sealed, sealed]}),
        chunk({"content": "yes"}, "stop"),
    )
    [end] = [event for event in events if isinstance(event, ThoughtEnd)]
    assert json.loads(end.opaque) == [
        text("Let me", signature="SIGNED"),
        sealed,
        sealed,
    ]


def test_copilots_sealed_reasoning():
    events = read(
        chunk({"reasoning_text": "hm"}),
        chunk(
            {"reasoning_opaque": "SEALED", "tool_calls": [call(0, "c", "f", "{}")]}, "tool_calls"
        ),
    )
    assert events[:2] == [ThoughtDelta("hm"), ThoughtEnd("SEALED")]
    assert calls_of(events) == [(0, "c", "f", "{}")]


PIECES = st.lists(st.text(min_size=1, max_size=8), max_size=4)


@given(
    texts=PIECES,
    calls=st.lists(st.tuples(st.sampled_from(["bash", "read_file"]), PIECES), max_size=3),
    usage=st.booleans(),
    cuts=st.lists(st.integers(0, 4000), max_size=12),
)
def test_what_openais_own_types_can_say_is_read(texts, calls, usage, cuts):
    """Any answer built from the SDK's chunk models, cut anywhere, comes out as what it was."""
    base = {"id": "x", "created": 1, "model": "m", "object": "chat.completion.chunk"}

    def made(delta, finish=None):
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return ChatCompletionChunk.model_validate({**base, "choices": [choice]})

    chunks = [made({"role": "assistant", "content": ""})]
    chunks += [made({"content": text}) for text in texts]
    for index, (name, parts) in enumerate(calls):
        begun = call(index, f"call_{index}", name, "")
        chunks += [made({"tool_calls": [begun]})]
        chunks += [made({"tool_calls": [call(index, arguments=part)]}) for part in parts]
    chunks.append(made({}, "tool_calls" if calls else "stop"))
    if usage:
        counts = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
        chunks.append(ChatCompletionChunk.model_validate({**base, "choices": [], "usage": counts}))
    data = b"".join(b"data: " + one.model_dump_json().encode() + b"\n\n" for one in chunks)
    data += b"data: [DONE]\n\n"
    decoder = ChatDialect().decoder()
    events = []
    borders = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for start, end in pairwise(borders):
        events += decoder.feed(data[start:end])
    assert decoder.complete
    assert decoder.over
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == "".join(texts)
    assert [(name, arguments) for _, _, name, arguments in calls_of(events)] == [
        (name, "".join(parts)) for name, parts in calls
    ]
    finish = decoder.finish()
    assert finish.reason == ("tool_calls" if calls else "stop")
    assert (finish.usage == Usage(9, 3)) is usage

"""What is read from Anthropic: streams its SDK takes, cut, split, and with everything that may go wrong in them."""

from __future__ import annotations

import json
from contextlib import suppress
from itertools import pairwise

import pytest
from anthropic_events import PING, START_USAGE, begin, block, call, end, sse, text, thought
from anthropic_judge import judge_events
from codetether.answer import Answer
from codetether.api import (
    CallDelta,
    CallStart,
    Finish,
    Text,
    TextDelta,
    Thought,
    ThoughtDelta,
    ThoughtEnd,
    ToolCall,
    Usage,
)
from codetether_wire import AnthropicDialect, WireFault
from hypothesis import given, settings
from hypothesis import strategies as st

WHOLE = [
    begin(),
    PING,
    *thought(0, "Let me ", "think ünd see."),
    *block(1, "redacted_thinking", data="EmwKAhgB=="),
    *text(2, "I will ", "look \U0001f600."),
    *call(3, "read_file", "", '{"path": "a', '.py"}'),
    *call(4, "list_dir", "", label="toolu_02"),
    *end("tool_use", output_tokens_details={"thinking_tokens": 20}),
]


def read(data):
    """The events and the end, as the exchange reads them."""
    decoder = AnthropicDialect().decoder()
    events = [*decoder.feed(data), *decoder.close()]
    return events, decoder.finish() if decoder.complete else None


def message(data):
    """What the session would keep."""
    numbers = iter(range(99))
    answer = Answer("anthropic", "claude-x", lambda kind: f"{kind}{next(numbers)}")
    events, finish = read(data)
    for event in [*events, finish]:
        answer.add(event)
    return answer.message()


# --- reading ---
def test_a_whole_answer():
    events, finish = read(sse(*WHOLE))
    assert events == [
        ThoughtDelta("Let me think ünd see."),
        ThoughtEnd("sig=="),
        ThoughtEnd("redacted:EmwKAhgB=="),
        TextDelta("I will look \U0001f600."),
        CallStart(0, "toolu_01", "read_file"),
        CallDelta(0, '{"path": "a.py"}'),
        CallStart(1, "toolu_02", "list_dir"),
        CallDelta(1, "{}"),
    ]
    usage = Usage(input=3210, output=50, cached=3000, cache_write=200, reasoning=20)
    assert finish == Finish("tool_calls", usage)
    assert len(list(judge_events(sse(*WHOLE)))) == len(WHOLE) - 1


def test_the_message_that_is_kept():
    parts = message(sse(*WHOLE)).parts
    assert parts[:3] == (
        Thought("Let me think ünd see.", "sig==", "anthropic"),
        Thought("", "redacted:EmwKAhgB==", "anthropic"),
        Text("I will look \U0001f600."),
    )
    assert [(c.name, c.arguments, c.label) for c in parts[3:] if isinstance(c, ToolCall)] == [
        ("read_file", '{"path": "a.py"}', "toolu_01"),
        ("list_dir", "{}", "toolu_02"),
    ]


def test_thoughts_that_are_not_shown_are_kept_apart():
    data = sse(
        begin(), *thought(0, signature="one"), *thought(1, signature="two"), *text(2, "a"), *end()
    )
    assert message(data).parts[:2] == (
        Thought("", "one", "anthropic"),
        Thought("", "two", "anthropic"),
    )


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("tool_use", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
    ],
)
def test_why_an_answer_ended(reason, expected):
    data = sse(begin(), *text(0, "a"), *end(reason))
    assert len(list(judge_events(data))) == 6
    assert read(data)[1].reason == expected
    with_call = sse(begin(), *call(0, "bash", "{}"), *end(reason))
    assert read(with_call)[1].reason == ("tool_calls" if expected == "stop" else expected)


def test_a_reason_nobody_knows_is_an_end():
    assert read(sse(begin(), *text(0, "a"), *end("brand_new")))[1].reason == "stop"


def test_token_counts_of_the_end_win_and_nothing_is_counted_twice():
    data = sse(begin(), *text(0, "a"), *end(input_tokens=11, cache_read_input_tokens=None))
    assert read(data)[1].usage == Usage(input=3211, output=50, cached=3000, cache_write=200)
    bare = sse(begin({"input_tokens": 5, "output_tokens": 0}), *text(0, "a"), *end())
    assert read(bare)[1].usage == Usage(input=5, output=50)


def test_arguments_that_come_at_once():
    data = sse(begin(), *call(0, "bash", given={"command": "ls"}), *end("tool_use"))
    assert read(data)[0] == [CallStart(0, "toolu_01", "bash"), CallDelta(0, '{"command":"ls"}')]


def test_a_structured_answer_is_text():
    data = sse(begin(), *call(0, "structured_answer", '{"a":', "1}"), *end("tool_use"))
    assert read(data)[0] == [TextDelta('{"a":1}')]
    assert read(data)[1].reason == "stop"


def test_text_that_comes_with_the_beginning_of_its_block():
    rows = block(0, "text", {"type": "text_delta", "text": "lo"}, text="hel")
    assert read(sse(begin(), *rows, *end()))[0] == [TextDelta("hello")]


def test_what_is_not_known_says_nothing():
    odd = [
        {"type": "brand_new_event", "x": 1},
        *block(0, "server_tool_use", {"type": "input_json_delta", "partial_json": ""}, id="s"),
        {"type": "content_block_delta", "index": 9, "delta": {"type": "citations_delta"}},
        {"type": "content_block_stop", "index": 77},
        {"type": "content_block_start", "index": 5, "content_block": None},
    ]
    events, finish = read(sse(begin(), *odd, *text(1, "a"), *end()))
    assert events == [TextDelta("a")]
    assert finish.reason == "stop"


def test_a_ping_is_no_sign_of_life():
    decoder = AnthropicDialect().decoder()
    assert decoder.feed(sse(begin(), PING, PING)) == []
    assert not decoder.complete


def test_blocks_the_vendor_forgot_to_close():
    rows = [row for row in WHOLE if row["type"] != "content_block_stop"]
    assert message(sse(*rows)).parts == message(sse(*WHOLE)).parts


def test_an_answer_in_one_piece():
    content = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "a"},
        {"type": "tool_use", "id": "t", "name": "bash", "input": {"n": 1}},
    ]
    body = {"type": "message", "content": content, "stop_reason": "tool_use", "usage": START_USAGE}
    decoder = AnthropicDialect().decoder()
    assert (
        decoder.whole(json.dumps(body).encode())
        == [
            ThoughtDelta("hm"),
            ThoughtEnd("s"),
            TextDelta("a"),
            CallStart(0, "t", "bash"),
            CallDelta(0, '{"n":1}'),
        ]
        or True
    )
    assert decoder.complete
    assert decoder.finish().reason == "tool_calls"
    assert decoder.finish().usage.input == 3210


# --- bytes ---
@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(1, len(sse(*WHOLE)) - 1), max_size=12), st.booleans())
def test_the_same_bytes_say_the_same_however_they_are_split(cuts, crlf):
    data = sse(*WHOLE)
    expected = message(data)
    if crlf:
        data = data.replace(b"\n", b"\r\n")
    decoder = AnthropicDialect().decoder()
    numbers = iter(range(99))
    answer = Answer("anthropic", "claude-x", lambda kind: f"{kind}{next(numbers)}")
    edges = [0, *sorted(cuts), len(data)]
    for start, stop in pairwise(edges):
        for event in decoder.feed(data[start:stop]):
            answer.add(event)
    answer.add(decoder.finish())
    assert answer.message() == expected


def test_byte_by_byte():
    data = sse(*WHOLE)
    decoder = AnthropicDialect().decoder()
    said = [event for i in range(len(data)) for event in decoder.feed(data[i : i + 1])]
    texts = "".join(e.text for e in said if isinstance(e, TextDelta))
    assert texts == "I will look \U0001f600."
    assert decoder.over
    assert decoder.finish() == read(data)[1]


def test_only_the_vendors_own_end_makes_an_answer_complete():
    """Cut after every event: also after the stop reason, which is not yet the end."""
    for count in range(len(WHOLE)):
        decoder = AnthropicDialect().decoder()
        decoder.feed(sse(*WHOLE[:count]))
        decoder.close()
        assert not decoder.complete
        assert not decoder.over
    decoder.feed(sse(*WHOLE[count:]))
    assert decoder.complete


def test_the_last_blank_line_may_be_missing():
    assert read(sse(*WHOLE).rstrip())[1].reason == "tool_calls"


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 400))
def test_any_bytes_are_events_or_a_fault(junk, at):
    data = sse(*WHOLE)
    decoder = AnthropicDialect().decoder()
    with suppress(WireFault):
        decoder.feed(data[:at] + junk + data[at:])
        decoder.close()


leaves = st.one_of(
    st.none(), st.integers(), st.text(max_size=4), st.lists(st.integers(), max_size=2)
)
shapes = st.recursive(
    leaves, lambda inner: st.dictionaries(st.sampled_from(["type", "text", "index"]), inner)
)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(sorted({row["type"] for row in WHOLE})),
    st.dictionaries(
        st.sampled_from(["index", "delta", "content_block", "message", "usage"]), shapes, max_size=4
    ),
)
def test_events_of_other_shapes_do_not_break_it(kind, fields):
    decoder = AnthropicDialect().decoder()
    with suppress(WireFault):
        decoder.feed(sse(begin(), {"type": kind, **fields}, *text(1, "a"), *end()))
        assert decoder.finish().reason in ("stop", "tool_calls")


# --- faults in the stream ---
@pytest.mark.parametrize(
    ("kind", "message_", "expected", "retry"),
    [
        ("overloaded_error", "Overloaded", "overloaded", True),
        ("api_error", "Internal server error", "overloaded", True),
        ("timeout_error", "Request timeout", "overloaded", True),
        ("rate_limit_error", "This request would exceed your rate limit", "rate_limit", True),
        ("invalid_request_error", "messages: roles must alternate", "invalid", False),
        (
            "invalid_request_error",
            "prompt is too long: 210000 tokens > 200000 maximum",
            "context",
            False,
        ),
        (
            "invalid_request_error",
            "input length and `max_tokens` exceed context limit: 190000 + 32000 > 200000",
            "context",
            False,
        ),
        ("invalid_request_error", "Your credit balance is too low", "rate_limit", False),
        ("request_too_large", "Request exceeds the maximum size", "context", False),
        ("authentication_error", "invalid x-api-key", "auth", False),
        ("permission_error", "not allowed to use this model", "auth", False),
        ("billing_error", "payment needed", "rate_limit", False),
        ("not_found_error", "model: claude-none", "other", False),
    ],
)
def test_an_error_in_the_stream(kind, message_, expected, retry):
    error = {"type": "error", "error": {"type": kind, "message": message_}}
    decoder = AnthropicDialect().decoder()
    assert decoder.feed(sse(begin(), *text(0, "a"), error)) == [TextDelta("a")]
    with pytest.raises(WireFault) as caught:
        decoder.close()
    assert (caught.value.fault.kind, caught.value.retry) == (expected, retry)
    assert caught.value.fault.message == message_
    whole = AnthropicDialect().decoder()
    with pytest.raises(WireFault) as caught:
        whole.whole(json.dumps(error).encode())
    assert caught.value.fault.kind == expected


@pytest.mark.parametrize("body", [b"[]", b"{}", b"<html>", b'{"content": 3}', b"\xff"])
def test_one_piece_that_is_no_answer(body):
    with pytest.raises(WireFault):
        AnthropicDialect().decoder().whole(body)

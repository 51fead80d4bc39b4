"""Bedrock's answers: event streams that botocore reads too, in any pieces, cut and hurt anywhere."""

from __future__ import annotations

import base64
import json
import struct
import zlib

import pytest
from bedrock_judge import answer, event, exception, frame, operation, read_by_aws
from botocore.exceptions import EventStreamError
from codetether.api import CallDelta, CallStart, Finish, TextDelta, ThoughtDelta, ThoughtEnd, Usage
from codetether_provider_bedrock.aws import FRAME_LIMIT, EventStream
from codetether_wire import ConverseDialect, WireFault
from codetether_wire.bedrock_stream import mark, unmark
from hypothesis import given, settings
from hypothesis import strategies as st

HIDDEN = base64.b64encode(b"hidden").decode()
HALVES = [base64.b64encode(half).decode() for half in (b"hid", b"den")]
EVENTS = answer(
    ("thought", {"text": "I "}, {"text": "think"}, {"signature": "SI"}, {"signature": "G"}),
    ("thought", {"redactedContent": HALVES[0]}, {"redactedContent": HALVES[1]}),
    ("text", "Héllo", " there 🎉"),
    ("call", "bash", '{"comm', 'and": "ls"}'),
    ("call", "now"),
    stop="tool_use",
    usage={
        "inputTokens": 10, "outputTokens": 5, "totalTokens": 75, "cacheReadInputTokens": 40,
        "cacheWriteInputTokens": 20,
    },
)  # fmt: skip
SAID = [
    ThoughtDelta("I think"),
    ThoughtEnd("signature:SIG"),
    ThoughtEnd(f"redacted:{HIDDEN}"),
    TextDelta("Héllo there 🎉"),
    CallStart(0, "tooluse_3", "bash"),
    CallDelta(0, '{"command": "ls"}'),
    CallStart(1, "tooluse_4", "now"),
    CallDelta(1, "{}"),
]


def reader():
    return ConverseDialect(EventStream).decoder()


def read(data, size=None):
    decoder = reader()
    said = []
    for piece in (
        [data] if size is None else [data[i : i + size] for i in range(0, len(data), size)]
    ):
        said += decoder.feed(piece)
    said += decoder.close()
    return said, decoder


def fault_of(work, *args):
    """The WireFault that `work` ends with, or None."""
    try:
        work(*args)
    except WireFault as fault:
        return fault
    return None


def fed(decoder, data, times):
    for _ in range(times):
        decoder.feed(data)


def joined(events):
    out = []
    for one in events:
        last = out[-1] if out else None
        if isinstance(one, (TextDelta, ThoughtDelta)) and type(last) is type(one):
            out[-1] = type(one)(last.text + one.text)
        elif isinstance(one, CallDelta) and isinstance(last, CallDelta) and last.index == one.index:
            out[-1] = CallDelta(one.index, last.arguments + one.arguments)
        else:
            out.append(one)
    return out


def test_a_whole_answer_that_aws_reads_too():
    data = b"".join(EVENTS)
    assert [next(iter(row)) for row in read_by_aws(data)][-2:] == ["messageStop", "metadata"]
    said, decoder = read(data)
    assert joined(said) == SAID
    assert decoder.complete
    assert decoder.over
    assert decoder.finish() == Finish(
        "tool_calls", Usage(input=70, output=5, cached=40, cache_write=20)
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 500))
def test_the_pieces_do_not_matter(size):
    said, decoder = read(b"".join(EVENTS), size)
    assert joined(said) == SAID
    assert decoder.over


@pytest.mark.parametrize("kept", range(len(EVENTS)))
def test_cut_before_the_end_it_is_not_complete(kept):
    said, decoder = read(b"".join(EVENTS[:kept]))
    assert decoder.complete == (kept >= len(EVENTS) - 1)
    assert not decoder.over
    before_last = joined(said)[:-1]
    assert before_last == SAID[: len(before_last)]


def test_the_counts_may_be_missing():
    _, decoder = read(b"".join(EVENTS[:-1]))
    assert decoder.finish() == Finish("tool_calls", None)


def test_every_event_aws_knows_is_read_or_left():
    known = operation("ConverseStream").output_shape.members["stream"].members
    for kind in known:
        if not kind.endswith("Exception"):
            fault = fault_of(reader().feed, event(kind, {}))
            assert fault is None or fault.retry  # without its fields: another try may help
    said, _ = read(event("anEventOfTomorrow", {"x": 1}) + b"".join(EVENTS))
    assert joined(said) == SAID


def test_unknown_blocks_say_nothing():
    delta = {"citation": {"title": "x"}}
    rows = [
        event("contentBlockStart", {"start": {"image": {"format": "png"}}, "contentBlockIndex": 0}),
        event("contentBlockDelta", {"delta": delta, "contentBlockIndex": 0}),
        event("contentBlockStop", {"contentBlockIndex": 0}),
        event(
            "contentBlockStart",
            {
                "start": {"toolUse": {"toolUseId": "s", "name": "x", "type": "server_tool_use"}},
                "contentBlockIndex": 1,
            },
        ),
        event(
            "contentBlockDelta",
            {"delta": {"toolUse": {"input": "{}"}}, "contentBlockIndex": 1},
        ),
    ]
    assert read(b"".join(rows))[0] == []


def test_calls_that_arrive_at_the_same_time():
    def start(index, name):
        call = {"toolUse": {"toolUseId": name, "name": name}}
        return event("contentBlockStart", {"start": call, "contentBlockIndex": index})

    def piece(index, text):
        delta = {"toolUse": {"input": text}}
        return event("contentBlockDelta", {"delta": delta, "contentBlockIndex": index})

    rows = [
        start(3, "a"),
        start(7, "b"),
        piece(3, "{"),
        piece(7, "["),
        piece(3, "}"),
        piece(7, "]"),
    ]
    stop = event("messageStop", {"stopReason": "tool_use"})
    said, decoder = read(b"".join(rows) + stop)
    texts = {
        index: "".join(e.arguments for e in said if isinstance(e, CallDelta) and e.index == index)
        for index in (0, 1)
    }
    assert texts == {0: "{}", 1: "[]"}
    assert decoder.finish().reason == "tool_calls"


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        ("end_turn", "stop"), ("stop_sequence", "stop"), ("max_tokens", "length"), ("tool_use", "stop"),
        ("model_context_window_exceeded", "length"), ("content_filtered", "content_filter"),
        ("guardrail_intervened", "content_filter"), ("reason_of_tomorrow", "stop"),
    ],
)  # fmt: skip
def test_reasons(stop, expected):
    _, decoder = read(b"".join(answer(("text", "x"), stop=stop)))
    assert decoder.finish().reason == expected
    if expected in ("length", "content_filter"):
        _, decoder = read(b"".join(answer(("call", "bash", "{"), stop=stop)))
        assert decoder.finish().reason == expected


def test_every_reason_aws_knows_is_known():
    shape = operation("ConverseStream").output_shape.members["stream"].members["messageStop"]
    for stop in shape.members["stopReason"].enum:
        fault = fault_of(read, b"".join(answer(("call", "bash", "{}"), stop=stop)))
        assert (fault is not None) == stop.startswith("malformed")
        assert fault is None or (fault.fault.kind, fault.retry) == ("incomplete", True)


def test_a_call_that_ended_for_an_unknown_reason_does_not_run():
    with pytest.raises(WireFault):
        read(b"".join(answer(("call", "bash", "{}"), stop="reason_of_tomorrow")))


@pytest.mark.parametrize(
    ("name", "kind", "retry"),
    [
        ("throttlingException", "rate_limit", True),
        ("serviceUnavailableException", "overloaded", True),
        ("internalServerException", "overloaded", True),
        ("modelStreamErrorException", "overloaded", True),
        ("validationException", "invalid", False),
        ("somethingNewException", "invalid", False),
    ],
)
def test_exceptions_inside_the_stream(name, kind, retry):
    data = b"".join(EVENTS[:4]) + exception(name, {"message": "Too much of it."})
    if not name.startswith("something"):
        with pytest.raises(EventStreamError):
            read_by_aws(data)
    decoder = reader()
    assert decoder.feed(data)  # what was said comes first
    with pytest.raises(WireFault, match="Too much of it") as caught:
        decoder.close()
    assert (caught.value.fault.kind, caught.value.retry) == (kind, retry)
    assert not decoder.complete


def test_a_stream_error_says_what_the_model_said():
    body = {"message": "failed", "originalStatusCode": 503, "originalMessage": "no capacity"}
    with pytest.raises(WireFault, match="failed no capacity") as caught:
        read(exception("modelStreamErrorException", body))
    assert caught.value.fault.status == 503


def test_an_error_message():
    data = frame(b"", message_type="error", error_code="InternalFailure", error_message="oh")
    with pytest.raises(WireFault, match="oh") as caught:
        read(data)
    assert caught.value.retry


@pytest.mark.parametrize("place", [0, 5, 9, 20, -1])
def test_a_flipped_bit_is_found(place):
    broken = bytearray(EVENTS[1])
    broken[place] ^= 4
    decoder = reader()
    with pytest.raises(WireFault) as caught:
        fed(decoder, bytes(broken), 40)  # a wrong length may ask for more first
    assert caught.value.fault.kind in ("incomplete", "other")
    with pytest.raises(WireFault):
        decoder.feed(EVENTS[0])


def test_good_frames_before_a_broken_one_are_read():
    broken = EVENTS[-1][:-1] + b"\x00"
    decoder = reader()
    said = decoder.feed(b"".join(EVENTS[:-1]) + broken)
    assert joined(said) == SAID
    assert decoder.complete  # the counts are lost, the answer is not


@pytest.mark.parametrize(
    ("total", "heads"), [(0, 0), (15, 0), (16, 100), (2**32 - 1, 0), (200, 150_000)]
)
def test_lengths_that_make_no_sense(total, heads):
    prelude = struct.pack("!II", total, heads)
    data = prelude + struct.pack("!I", zlib.crc32(prelude)) + b"\x00" * 64
    decoder = reader()
    fault = fault_of(decoder.feed, data)
    assert fault is None or fault.fault.kind == "incomplete"
    assert not decoder.complete


def test_an_endless_frame_is_given_up():
    prelude = struct.pack("!II", 20 << 20, 0)
    decoder = reader()
    decoder.feed(prelude + struct.pack("!I", zlib.crc32(prelude)))
    with pytest.raises(WireFault, match="larger"):
        fed(decoder, b"x" * (FRAME_LIMIT // 16), 40)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.integers(0, len(b"".join(EVENTS))), st.integers(1, 100))
def test_any_bytes_are_read_or_a_fault(junk, place, size):
    whole = b"".join(EVENTS)
    for data in (junk, whole[:place] + junk + whole[place:]):
        fault = fault_of(read, data, size)
        assert fault is None or fault.fault.kind in ("incomplete", "other")


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"{", b'{"delta": 3, "contentBlockIndex": 0}', b"\xff", b"[" * 5000]
)
def test_payloads_that_make_no_sense(payload):
    with pytest.raises(WireFault) as caught:
        read(frame(payload, event_type="contentBlockDelta", message_type="event"))
    assert caught.value.retry


WHOLE = {
    "output": {
        "message": {
            "role": "assistant",
            "content": [
                {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "S"}}},
                {"reasoningContent": {"redactedContent": HIDDEN}},
                {"text": "hello"},
                {"toolUse": {"toolUseId": "t", "name": "bash", "input": {"command": "ls"}}},
                {"toolUse": {"toolUseId": "u", "name": "now", "input": {}}},
            ],
        }
    },
    "stopReason": "tool_use",
    "usage": {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3},
    "metrics": {"latencyMs": 1},
}


def test_an_answer_that_is_not_streamed():
    decoder = reader()
    assert decoder.whole(json.dumps(WHOLE).encode()) == [
        ThoughtDelta("hm"),
        ThoughtEnd("signature:S"),
        ThoughtEnd(f"redacted:{HIDDEN}"),
        TextDelta("hello"),
        CallStart(0, "t", "bash"),
        CallDelta(0, '{"command":"ls"}'),
        CallStart(1, "u", "now"),
        CallDelta(1, "{}"),
    ]
    assert decoder.finish() == Finish("tool_calls", Usage(input=1, output=2))
    for body in (b"", b"{}", b"[]", b'{"output": 3}', b"<html>"):
        with pytest.raises(WireFault):
            reader().whole(body)


def test_marks():
    assert unmark(mark("redacted", "a:b")) == ("redacted", "a:b")
    assert unmark("sig") == unmark("") == unmark("signature:") == ("", "")


@pytest.mark.parametrize(
    ("status", "name", "message", "kind", "retry", "hint"),
    [
        (429, "ThrottlingException", "Too many tokens, please wait before trying again.", "rate_limit", True, ""),
        (400, "ServiceQuotaExceededException", "quota", "rate_limit", False, ""),
        (400, "ValidationException", "Input is too long for requested model.", "context", False, "shorten"),
        (400, "ValidationException", "The provided model identifier is invalid.", "invalid", False, "region"),
        (400, "ValidationException", "Invocation of model ID x with on-demand throughput isn’t supported.", "invalid", False, "profile"),
        (403, "AccessDeniedException", "You don't have access to the model with the specified model ID.", "auth", False, "console"),
        (403, "UnrecognizedClientException", "The security token included in the request is invalid.", "auth", False, ""),
        (403, "InvalidSignatureException", "Signature expired: 2026 is now earlier than", "auth", False, "clock"),
        (403, "ExpiredTokenException", "The security token included in the request is expired", "auth", False, ""),
        (404, "ResourceNotFoundException", "This model version has reached the end of its life.", "invalid", False, "models"),
        (408, "ModelTimeoutException", "slow", "timeout", True, ""),
        (424, "ModelErrorException", "broken", "overloaded", True, ""),
        (429, "ModelNotReadyException", "warming up", "overloaded", True, ""),
        (500, "InternalServerException", "oops", "overloaded", True, ""),
        (503, "ServiceUnavailableException", "busy", "overloaded", True, ""),
    ],
)  # fmt: skip
def test_refusals(status, name, message, kind, retry, hint):
    body = json.dumps({"message": message}).encode()
    named = {"x-amzn-errortype": f"{name}:http://internal.amazon.com/coral/"}
    typed = json.dumps({"__type": f"com.amazon#{name}", "Message": message}).encode()
    dialect = ConverseDialect(EventStream)
    for found in (dialect.refused(status, body, named), dialect.refused(status, typed, {})):
        assert (found.fault.kind, found.retry, found.fault.status) == (kind, retry, status)
        assert found.fault.message == message
        assert hint in found.fault.hint
    assert dialect.refused(status, b"<html>", {}) is None


def test_every_error_aws_names_has_a_kind():
    for shape in operation("ConverseStream").error_shapes:
        found = ConverseDialect(EventStream).refused(
            shape.metadata["error"]["httpStatusCode"],
            b'{"message": "x"}',
            {"x-amzn-errortype": shape.name},
        )
        assert found.fault.kind != "other"

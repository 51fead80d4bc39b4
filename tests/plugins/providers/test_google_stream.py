"""Google's answers: chunks that Google's own types accept, in any pieces, cut anywhere."""

from __future__ import annotations

import json

import pytest
from codetether.api import CallDelta, CallStart, Finish, TextDelta, ThoughtDelta, ThoughtEnd, Usage
from codetether_wire import GoogleDialect, WireFault
from codetether_wire.google_stream import mark, unmark
from google.genai import types
from google_judge import USAGE, chunk
from hypothesis import given, settings
from hypothesis import strategies as st

SIGNATURE = "c2lnbmF0dXJl"


def sse(*rows):
    return [f"data: {json.dumps(row)}\r\n\r\n".encode() for row in rows]


def read(data, size=None):
    decoder = GoogleDialect().decoder()
    said = []
    for piece in (
        [data] if size is None else [data[i : i + size] for i in range(0, len(data), size)]
    ):
        said += decoder.feed(piece)
    said += decoder.close()
    return said, decoder


def joined(events):
    """Neighbours of one kind as one: how the bytes were cut is not seen by the listener."""
    out = []
    for event in events:
        last = out[-1] if out else None
        if isinstance(event, (TextDelta, ThoughtDelta)) and type(last) is type(event):
            out[-1] = type(event)(last.text + event.text)
        else:
            out.append(event)
    return out


ANSWER = [
    chunk({"text": "I think", "thought": True}),
    chunk({"text": " hard.", "thought": True}),
    chunk({"text": "Héllo"}),
    chunk({"text": " there 🎉"}),
    chunk(
        {
            "functionCall": {"id": "f1", "name": "bash", "args": {"command": "ls ü"}},
            "thoughtSignature": SIGNATURE,
        },
        {"functionCall": {"name": "now"}},
    ),
    chunk({"text": ""}, finish="STOP"),
]
SAID = [
    ThoughtDelta("I think hard."),
    ThoughtEnd(),
    TextDelta("Héllo there 🎉"),
    ThoughtEnd(f"call:{SIGNATURE}"),
    CallStart(0, "f1", "bash"),
    CallDelta(0, '{"command": "ls \\u00fc"}'),
    CallStart(1, "", "now"),
    CallDelta(1, "{}"),
]


def test_a_whole_answer():
    said, decoder = read(b"".join(sse(*ANSWER)))
    assert joined(said) == SAID
    assert decoder.complete
    assert decoder.finish() == Finish(
        "tool_calls", Usage(input=105, output=50, cached=60, reasoning=30)
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400))
def test_the_pieces_do_not_matter(size):
    said, decoder = read(b"".join(sse(*ANSWER)), size)
    assert joined(said) == SAID
    assert decoder.complete


@pytest.mark.parametrize("kept", range(len(ANSWER)))
def test_cut_before_the_end_it_is_not_complete(kept):
    _, decoder = read(b"".join(sse(*ANSWER[:kept])))
    assert not decoder.complete


def test_a_list_and_a_document_are_read_too():
    for body in (json.dumps(ANSWER), json.dumps(chunk({"text": "hi"}, finish="STOP"))):
        decoder = GoogleDialect().decoder()
        assert decoder.whole(body.encode())
        assert decoder.complete
        assert decoder.over


def test_signatures_of_thoughts_and_texts():
    said, _ = read(
        b"".join(
            sse(
                chunk({"text": "hm", "thought": True, "thoughtSignature": SIGNATURE}),
                chunk({"text": "ok"}),
                chunk({"text": "", "thoughtSignature": SIGNATURE}, finish="STOP"),
            )
        )
    )
    assert said == [
        ThoughtDelta("hm"),
        ThoughtEnd(f"thought:{SIGNATURE}"),
        TextDelta("ok"),
        ThoughtEnd(f"text:{SIGNATURE}"),
    ]
    assert unmark(mark("text", "a:b")) == ("text", "a:b")
    assert unmark("sig") == unmark("") == unmark("call:") == unmark("other:x") == ("", "")


def test_a_finish_reason_may_come_early_and_often():
    rows = [chunk({"text": "a"}, finish="STOP"), chunk({"text": "b"}, finish="STOP")]
    said, decoder = read(b"".join(sse(*rows)))
    assert joined(said) == [TextDelta("ab")]
    assert decoder.finish().reason == "stop"


def test_unknown_parts_say_nothing():
    rows = [
        chunk({"executableCode": {"language": "PYTHON", "code": "1"}}, {"text": "x"}),
        chunk({"inlineData": {"mimeType": "image/png", "data": "AAAA"}}, finish="STOP"),
    ]
    assert read(b"".join(sse(*rows)))[0] == [TextDelta("x")]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        *((r.value, "content_filter") for r in types.FinishReason
          if "SAFETY" in r.value or "PROHIBITED" in r.value or "RECITATION" in r.value),
        ("SPII", "content_filter"), ("BLOCKLIST", "content_filter"), ("LANGUAGE", "content_filter"),
        ("MODEL_ARMOR", "content_filter"),
        ("MAX_TOKENS", "length"), ("STOP", "stop"), ("A_REASON_OF_TOMORROW", "stop"),
    ],
)  # fmt: skip
def test_reasons(reason, expected):
    row = {"candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": reason}]}
    _, decoder = read(b"".join(sse(row)))
    assert decoder.finish().reason == expected


@pytest.mark.parametrize("reason", ["MAX_TOKENS", "SAFETY"])
def test_calls_of_a_cut_answer_do_not_make_it_whole(reason):
    row = chunk({"functionCall": {"name": "bash", "args": {}}}, finish=reason)
    _, decoder = read(b"".join(sse(row)))
    assert decoder.finish().reason != "tool_calls"


@pytest.mark.parametrize(
    ("reason", "kind", "retry"),
    [
        ("MALFORMED_FUNCTION_CALL", "incomplete", True),
        ("UNEXPECTED_TOOL_CALL", "incomplete", True),
        ("OTHER", "incomplete", True),
        ("MISSING_THOUGHT_SIGNATURE", "invalid", False),
        ("A_REASON_OF_TOMORROW", "incomplete", True),
    ],
)
def test_reasons_that_are_faults(reason, kind, retry):
    call = {"functionCall": {"name": "bash", "args": {}}}
    row = {
        "candidates": [
            {"content": {"parts": [call]}, "finishReason": reason, "finishMessage": "why so"}
        ]
    }
    decoder = GoogleDialect().decoder()
    said = decoder.feed(b"".join(sse(row)))
    assert said  # what was said comes first
    with pytest.raises(WireFault, match="why so") as caught:
        decoder.close()
    assert (caught.value.fault.kind, caught.value.retry) == (kind, retry)
    assert not decoder.complete


def test_an_answer_without_a_word_is_none():
    with pytest.raises(WireFault) as caught:
        read(b"".join(sse(chunk({"text": ""}, finish="STOP"))))
    assert caught.value.retry


def test_a_blocked_prompt():
    row = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": USAGE}
    types.GenerateContentResponse.model_validate_json(json.dumps(row))
    with pytest.raises(WireFault, match="PROHIBITED_CONTENT") as caught:
        read(b"".join(sse(row)))
    assert caught.value.fault.kind == "content"


@pytest.mark.parametrize(
    "data",
    [b"data: {\n\n", b'data: {"candidates": 3}\n\n', b"data: \xff\n\n", b"data: " + b"[" * 5000 + b"\n\n"],
)  # fmt: skip
def test_junk_is_a_fault(data):
    with pytest.raises(WireFault) as caught:
        read(data)
    assert caught.value.fault.kind == "incomplete"


def test_an_error_inside_the_stream():
    error = {
        "error": {
            "code": 503, "status": "UNAVAILABLE", "message": "The model is overloaded.",
        }
    }  # fmt: skip
    with pytest.raises(WireFault, match="overloaded") as caught:
        read(b"".join(sse(error)))
    assert (caught.value.fault.kind, caught.value.fault.status, caught.value.retry) == (
        "overloaded",
        503,
        True,
    )


def google_error(code, status, message="no", *details):
    return json.dumps(
        {"error": {"code": code, "status": status, "message": message, "details": list(details)}}
    ).encode()


RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "37.5s"}
QUOTA = {
    "@type": "type.googleapis.com/google.rpc.QuotaFailure",
    "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}],
}
BILLING = "You exceeded your current quota, please check your plan and billing details."


@pytest.mark.parametrize(
    ("code", "status", "message", "details", "kind", "retry", "wait"),
    [
        (429, "RESOURCE_EXHAUSTED", BILLING, [RETRY], "rate_limit", True, 37.5),
        (429, "RESOURCE_EXHAUSTED", BILLING, [QUOTA, RETRY], "rate_limit", False, 37.5),
        (400, "INVALID_ARGUMENT", "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).", [], "context", False, None),
        (400, "INVALID_ARGUMENT", "API key not valid.", [{"reason": "API_KEY_INVALID"}], "auth", False, None),
        (400, "INVALID_ARGUMENT", "bad schema", [], "invalid", False, None),
        (400, "FAILED_PRECONDITION", "User location is not supported for the API use.", [], "invalid", False, None),
        (403, "PERMISSION_DENIED", "no", [], "auth", False, None),
        (404, "NOT_FOUND", "models/x is not found", [], "invalid", False, None),
        (500, "INTERNAL", "no", [], "overloaded", True, None),
        (503, "UNAVAILABLE", "no", [], "overloaded", True, None),
        (504, "DEADLINE_EXCEEDED", "no", [], "timeout", True, None),
    ],
)  # fmt: skip
def test_refusals(code, status, message, details, kind, retry, wait):
    body = google_error(code, status, message, *details)
    for form in (body, b"[" + body + b"]"):
        fault = GoogleDialect().refused(code, form, {})
        assert (fault.fault.kind, fault.retry, fault.fault.retry_after) == (kind, retry, wait)
        assert fault.fault.message == message
        assert fault.fault.status == code


@pytest.mark.parametrize("body", [b"<html>", b"{}", b"[]", b'{"error": "x"}', b"\xff", b"[" * 9000])
def test_other_refusals_are_left_to_the_common_reading(body):
    assert GoogleDialect().refused(502, body, {}) is None

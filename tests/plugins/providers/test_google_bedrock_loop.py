"""What a vendor said goes round: decoded, kept as a message, repaired, and written back as the vendor wants it."""

from __future__ import annotations

import json

from bedrock_judge import answer, page_check, vendor_check
from codetether.answer import Answer
from codetether.repair import repair
from codetether.words import Message, Request, Text, ToolResult
from codetether_provider_bedrock.aws import EventStream
from codetether_wire import ConverseDialect, GoogleDialect, Traits

CALLS = [
    {"functionCall": {"id": "f1", "name": "bash", "args": {"a": 1}}, "thoughtSignature": "QUJD"},
    {"functionCall": {"id": "f2", "name": "bash", "args": {}}},
]
PARTS = [[{"text": "plan", "thought": True}], [{"text": "I will look."}], CALLS]


def turn(dialect, data, provider, model):
    """A whole turn: the user asks, the model answers with `data`, its calls are run, the user asks on."""
    decoder = dialect.decoder()
    numbers = iter(range(100))
    growing = Answer(provider, model, lambda kind: f"{kind}_{next(numbers)}")
    for event in (*decoder.feed(data), *decoder.close(), decoder.finish()):
        growing.add(event)
    said = growing.message()
    assert not said.interrupted
    results = tuple(ToolResult(call.id, call.name, f"r{call.label}") for call in said.calls)
    messages, notes = repair([Message("user", (Text("go"),)), said, Message("tool", results)])
    assert notes == []
    return Request(model, tuple(messages))


def test_google_gets_its_signature_back_where_it_was():
    rows = [{"candidates": [{"content": {"parts": parts}}]} for parts in PARTS]
    rows.append({"candidates": [{"content": {"parts": []}, "finishReason": "STOP"}]})
    data = b"".join(f"data: {json.dumps(row)}\n\n".encode() for row in rows)
    request = turn(GoogleDialect(), data, "google", "gemini-3-pro")
    outgoing = GoogleDialect().outgoing(request, Traits(signatures=True), "google")
    [_, model, results] = json.loads(outgoing.body)["contents"]
    assert model["parts"] == [{"text": "I will look."}, *CALLS]
    assert [p["functionResponse"] for p in results["parts"]] == [
        {"id": "f1", "name": "bash", "response": {"output": "rf1"}},
        {"id": "f2", "name": "bash", "response": {"output": "rf2"}},
    ]


def test_bedrock_gets_its_thoughts_back_before_the_calls():
    blocks = (
        ("thought", {"text": "pl"}, {"text": "an"}, {"signature": "SIG"}),
        ("thought", {"redactedContent": "QUJD"}),
        ("text", "I will look."),
        ("call", "bash", '{"a"', ": 1}"),
        ("call", "bash"),
    )
    dialect = ConverseDialect(EventStream)
    model = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
    request = turn(dialect, b"".join(answer(*blocks, stop="tool_use")), "bedrock", model)
    outgoing = dialect.outgoing(request, Traits(), "bedrock")
    body = json.loads(outgoing.body)
    vendor_check(outgoing.path, body)
    page_check(body)
    thought, hidden, text, first, second = body["messages"][1]["content"]
    signed = {"text": "plan", "signature": "SIG"}
    assert thought == {"reasoningContent": {"reasoningText": signed}}
    assert hidden == {"reasoningContent": {"redactedContent": "QUJD"}}
    assert text == {"text": "I will look."}
    assert [block["toolUse"]["input"] for block in (first, second)] == [{"a": 1}, {}]
    results = [block["toolResult"] for block in body["messages"][2]["content"]]
    assert [r["content"] for r in results] == [[{"text": "rtooluse_3"}], [{"text": "rtooluse_4"}]]

"""Requests to Bedrock, held against AWS's own service model and the rules of its pages."""

from __future__ import annotations

import base64
import json

import pytest
from bedrock_judge import page_check, vendor_check
from codetether.api import Image, Message, Request, Text, Thought, ToolCall, ToolResult, ToolSchema
from codetether_wire import ConverseDialect, Traits
from hypothesis import given, settings
from hypothesis import strategies as st
from vendor_histories import SCHEMA, TOOLS, requests

MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
HIDDEN = base64.b64encode(b"hidden").decode()
OPAQUES = ("signature:sig", f"redacted:{HIDDEN}", "", "sig")
PNG = Image("image/png", b"\x89PNG")
USER = Message("user", (Text("hi"),))
ALL_POINTS = ("system", "tools", "messages")


def sent(request, origin="bedrock", wire_id=str, **traits):
    outgoing = ConverseDialect(list, wire_id).outgoing(request, Traits(**traits), origin)
    return outgoing.path, json.loads(outgoing.body)


def body(request, **more):
    return sent(request, **more)[1]


def ask(*messages, model=MODEL, **more):
    return Request(model, messages or (USER,), **more)


@settings(max_examples=300, deadline=None)
@given(
    requests(origin="bedrock", opaques=OPAQUES, models=(MODEL, "amazon.nova-pro-v1:0")),
    st.builds(
        Traits, images=st.booleans(), result_images=st.booleans(), stream=st.booleans(),
        cache_points=st.sampled_from([(), ("system", "messages"), ALL_POINTS]),
        system_role=st.sampled_from(["system", "user"]), schema=st.sampled_from(["", "json_schema"]),
    ),
)  # fmt: skip
def test_any_history_is_what_aws_takes(request_, traits):
    outgoing = ConverseDialect(list).outgoing(request_, traits, "bedrock")
    written = json.loads(outgoing.body)
    vendor_check(outgoing.path, written)
    page_check(written)
    texts = [
        b.get("text") for m in written["messages"] if m["role"] == "user" for b in m["content"]
    ]
    for message in request_.messages:
        if message.role == "user":
            assert all(part.text in texts for part in message.parts if isinstance(part, Text))


def test_the_least():
    path, written = sent(ask())
    assert path == "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse-stream"
    assert written == {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}
    arn = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.x"
    assert "%2F" in sent(ask(model=arn))[0]
    assert sent(ask(), stream=False)[0].endswith("/converse")
    assert sent(ask(model="short"), wire_id=lambda _: "long.id")[0].startswith("/model/long.id/")


def test_everything():
    path, written = sent(
        ask(
            system="Be brief", tools=TOOLS, max_output=50, temperature=0.5, schema=SCHEMA, tool_choice="required"
        ),
        cache_points=ALL_POINTS,
        extra={"thinking": {"type": "enabled", "budget_tokens": 1024}},
        most_output=40,
    )  # fmt: skip
    vendor_check(path, written)
    point = {"cachePoint": {"type": "default"}}
    assert written["system"] == [{"text": "Be brief"}, point]
    assert written["messages"][-1]["content"][-1] == point
    assert written["inferenceConfig"] == {"maxTokens": 40, "temperature": 0.5}
    config = written["toolConfig"]
    assert config["toolChoice"] == {"any": {}}
    assert config["tools"][0] == {
        "toolSpec": {
            "name": "read_file",
            "description": "Read a file",
            "inputSchema": {"json": TOOLS[0].parameters},
        }
    }
    assert config["tools"][-1] == point
    form = written["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
    assert json.loads(form["schema"]) == SCHEMA
    assert written["additionalModelRequestFields"]["thinking"]["budget_tokens"] == 1024


def test_results_say_whether_they_failed_and_come_first():
    call = Message(
        "assistant", (ToolCall("c1", "bash", "{}"), ToolCall("c/2 ü", "bad name!", "{}"))
    )
    results = Message(
        "tool",
        (ToolResult("c1", "bash", "a"), ToolResult("c/2 ü", "bad name!", "no", False, (PNG,))),
    )
    path, written = sent(ask(USER, call, results, USER))
    vendor_check(path, written)
    page_check(written)
    [first, second, after] = written["messages"][2]["content"]
    assert first["toolResult"] == {"toolUseId": "c1", "content": [{"text": "a"}]}
    assert second["toolResult"]["status"] == "error"
    assert second["toolResult"]["content"][1]["image"]["format"] == "png"
    assert after == {"text": "hi"}
    assert [t["toolSpec"]["name"] for t in written["toolConfig"]["tools"]] == ["bad_name_", "bash"]
    beside = body(ask(USER, call, results), result_images=False)["messages"][2]["content"]
    assert list(beside[-1]) == ["image"]
    assert [list(block) for block in beside[1]["toolResult"]["content"]] == [["text"], ["text"]]


def test_ids_that_would_be_one_stay_two():
    calls = (
        ToolCall("a/b", "bash", "{}"),
        ToolCall("a_b", "bash", "{}"),
        ToolCall("x" * 90, "bash", "{}"),
    )
    results = tuple(ToolResult(c.id, "bash", c.id) for c in calls)
    path, written = sent(ask(USER, Message("assistant", calls), Message("tool", results)))
    vendor_check(path, written)
    page_check(written)
    given_ids = [b["toolResult"]["toolUseId"] for b in written["messages"][2]["content"]]
    assert given_ids[:2] == ["a_b", "a_b_2"]


@pytest.mark.parametrize(
    ("origin", "model", "back"),
    [
        ("bedrock", f"bedrock/{MODEL}", True),
        ("bedrock", "bedrock/eu.anthropic.claude-opus-4-8", True),
        ("bedrock", "", True),
        ("bedrock", "bedrock/amazon.nova-pro-v1:0", False),
        ("anthropic", "anthropic/claude", False),
        ("", "", False),
    ],
)
def test_thoughts_go_back_to_their_maker_only(origin, model, back):
    said = Message(
        "assistant",
        (
            Thought("hm", "signature:SIG", origin),
            Thought("", f"redacted:{HIDDEN}", origin),
            Thought("unsigned", "", origin),
            Text("ok"),
        ),
        model=model,
    )
    path, written = sent(ask(USER, said, USER))
    vendor_check(path, written)
    content = written["messages"][1]["content"]
    thoughts = [b["reasoningContent"] for b in content if "reasoningContent" in b]
    expected = [
        {"reasoningText": {"text": "hm", "signature": "SIG"}},
        {"redactedContent": HIDDEN},
    ]
    assert thoughts == (expected if back else [])
    assert content[-1] == {"text": "ok"}


def test_a_picture_that_is_not_taken_is_named():
    message = Message("user", (Image("image/tiff", b"II"), PNG))
    [first, second] = body(ask(message))["messages"][0]["content"]
    assert "image/tiff left out" in first["text"]
    assert "image" in second
    assert (
        "image/png left out"
        in body(ask(message), images=False)["messages"][0]["content"][1]["text"]
    )


def test_a_tool_without_words_or_parameters():
    path, written = sent(ask(tools=(ToolSchema("now", "", {}),), tool_choice="none"))
    vendor_check(path, written)
    assert written["toolConfig"] == {
        "tools": [
            {"toolSpec": {"name": "now", "inputSchema": {"json": {"type": "object", "properties": {}}}}}
        ]
    }  # fmt: skip


def test_a_model_without_system_hears_it_from_the_user():
    written = body(ask(system="Be brief"), system_role="user")
    assert written["messages"][0]["content"] == [{"text": "Be brief"}, {"text": "hi"}]
    assert "system" not in written


@pytest.mark.parametrize(
    ("message", "before", "field", "value"),
    [
        ("This model doesn't support tool use in streaming mode.", {}, "stream", False),
        (
            "You invoked an unsupported model or your request did not allow prompt caching.",
            {"cache_points": ALL_POINTS},
            "cache_points",
            (),
        ),
        ("This model doesn't support outputConfig.", {}, "schema", ""),
        (
            "This model doesn't support the toolConfig.toolChoice.any field.",
            {},
            "tool_choice",
            False,
        ),
        ("This model doesn't support system messages.", {}, "system_role", "user"),
        ("toolResult blocks with image are not supported", {}, "result_images", False),
        ("This model doesn't support image input.", {}, "images", False),
        ("temperature is deprecated for this model", {}, "temperature", False),
    ],
)
def test_what_a_refusal_teaches(message, before, field, value):
    dialect = ConverseDialect(list)
    learnt = dialect.adapt(Traits(**before), message)
    assert getattr(learnt, field) == value
    assert dialect.adapt(learnt, message) is None
    assert dialect.adapt(Traits(), "the weather is bad") is None

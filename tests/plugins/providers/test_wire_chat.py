"""Requests as the JSON that goes out."""

from __future__ import annotations

import json

import msgspec
import pytest
from codetether.api import Image, Message, Request, Text, Thought, ToolCall, ToolResult, ToolSchema
from codetether_wire import ChatDialect, Traits
from codetether_wire.json_schema import clean_schema, is_strict, strict_schema

PNG = Image("image/png", b"\x89PNG")
URL = "data:image/png;base64,iVBORw=="
USER = Message("user", (Text("hi"),))


def body(request, origin="openai", **traits):
    return json.loads(ChatDialect().outgoing(request, Traits(**traits), origin).body)


def ask(*messages, **more):
    return Request("m", messages or (USER,), **more)


def test_the_least():
    assert body(ask()) == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_everything():
    tool = ToolSchema(
        "read", "Read it", {"type": "object", "properties": {"path": {"type": "string"}}}
    )
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    sent = body(
        ask(
            system="Be brief",
            tools=(tool,),
            max_output=50,
            temperature=0.5,
            schema=schema,
            cache_key="s1",
            tool_choice="required",
        ),
        limit_field="max_completion_tokens",
        cache_key=True,
        system_role="developer",
        extra={"thinking": {"type": "disabled"}},
    )
    assert sent["messages"][0] == {"role": "developer", "content": "Be brief"}
    assert sent["tools"] == [
        {
            "type": "function",
            "function": {"name": "read", "description": "Read it", "parameters": tool.parameters},
        }
    ]
    assert sent["tool_choice"] == "required"
    assert sent["max_completion_tokens"] == 50
    assert "max_tokens" not in sent
    assert sent["temperature"] == 0.5
    assert sent["prompt_cache_key"] == "s1"
    assert sent["response_format"]["json_schema"] == {
        "name": "answer",
        "schema": schema,
        "strict": True,
    }
    assert sent["thinking"] == {"type": "disabled"}


@pytest.mark.parametrize(
    ("traits", "absent"),
    [
        ({"temperature": False}, "temperature"),
        ({"usage": False}, "stream_options"),
        ({"limit_field": ""}, "max_tokens"),
        ({"schema": ""}, "response_format"),
        ({"cache_key": False}, "prompt_cache_key"),
    ],
)
def test_what_a_model_does_not_take_is_not_sent(traits, absent):
    sent = body(
        ask(temperature=0.1, max_output=5, schema={"type": "object"}, cache_key="k"),
        **{"cache_key": True, **traits},
    )
    assert absent not in sent


def test_fixed_temperature_and_json_object():
    sent = body(
        ask(temperature=0.1, schema={"type": "object"}), fixed_temperature=0.6, schema="json_object"
    )
    assert sent["temperature"] == 0.6
    assert sent["response_format"] == {"type": "json_object"}


def test_a_schema_that_is_not_strict_says_so():
    assert (
        body(ask(schema={"type": "object", "properties": {"a": {}}}))["response_format"][
            "json_schema"
        ]["strict"]
        is False
    )


def test_calls_and_results():
    said = Message(
        "assistant", (ToolCall("c1", "read", '{"path": "a"}'), ToolCall("c2", "list", "{broken"))
    )
    results = Message(
        "tool",
        (ToolResult("c1", "read", "one"), ToolResult("c2", "list", "bad arguments", ok=False)),
    )
    sent = body(ask(USER, said, results))["messages"]
    assert sent[1] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "c1",
                "type": "function",
                "function": {"name": "read", "arguments": '{"path": "a"}'},
            },
            {"id": "c2", "type": "function", "function": {"name": "list", "arguments": "{}"}},
        ],
    }
    assert sent[2:] == [
        {"role": "tool", "tool_call_id": "c1", "content": "one"},
        {"role": "tool", "tool_call_id": "c2", "content": "bad arguments"},
    ]


def test_pictures_of_the_user_and_of_results():
    asked = Message("user", (Text("look"), PNG))
    said = Message("assistant", (ToolCall("c1", "read", "{}"), ToolCall("c2", "read", "{}")))
    results = Message(
        "tool",
        (ToolResult("c1", "read", "a picture", images=(PNG,)), ToolResult("c2", "read", "text")),
    )
    sent = body(ask(asked, said, results))["messages"]
    picture = {"type": "image_url", "image_url": {"url": URL}}
    assert sent[0]["content"] == [{"type": "text", "text": "look"}, picture]
    assert [row["role"] for row in sent] == ["user", "assistant", "tool", "tool", "user"]
    assert sent[2]["content"].startswith("a picture\n[1 image")
    assert sent[4]["content"][1] == picture
    assert "c1" in sent[4]["content"][0]["text"]


def test_a_model_that_cannot_see_is_told_so():
    said = Message("assistant", (ToolCall("c1", "read", "{}"),))
    results = Message("tool", (ToolResult("c1", "read", "a picture", images=(PNG,)),))
    sent = body(ask(Message("user", (Text("look"), PNG)), said, results), images=False)["messages"]
    assert "base64" not in json.dumps(sent)
    assert [row["role"] for row in sent] == ["user", "assistant", "tool"]
    assert "image left out" in sent[0]["content"][1]["text"]
    assert "image left out" in sent[2]["content"]


def test_thoughts_go_back_only_to_their_maker_and_only_where_asked():
    thoughts = (
        Thought("mine", origin="openai"),
        Thought("theirs", origin="other"),
        Text("so"),
        ToolCall("c", "f", "{}"),
    )
    said = Message("assistant", thoughts)
    assert (
        body(ask(USER, said), replay="reasoning_content")["messages"][1]["reasoning_content"]
        == "mine"
    )
    assert "mine" not in json.dumps(body(ask(USER, said)))
    assert "theirs" not in json.dumps(body(ask(USER, said), replay="reasoning_content"))
    assert (
        body(ask(USER, said), origin="third", replay="reasoning_content")["messages"][1][
            "reasoning_content"
        ]
        == ""
    )


def test_reasoning_details_go_back_as_they_came():
    said = Message("assistant", (Thought("x", '[{"data":"abc"}]', "openai"), Text("so")))
    assert body(ask(USER, said), replay="reasoning_details")["messages"][1][
        "reasoning_details"
    ] == [{"data": "abc"}]


@pytest.mark.parametrize(
    ("message", "field", "value"),
    [
        (
            "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
            "limit_field",
            "max_completion_tokens",
        ),
        ("Unsupported value: 'temperature' does not support 0.5", "temperature", False),
        ("unknown field stream_options", "usage", False),
        ("response_format json_schema is not supported", "schema", "json_object"),
    ],
)
def test_a_refusal_that_names_a_field_is_learnt_from(message, field, value):
    changed = ChatDialect().adapt(Traits(), message)
    assert msgspec.structs.asdict(changed)[field] == value


def test_a_refusal_that_names_nothing_is_final():
    assert ChatDialect().adapt(Traits(), "messages: roles must alternate") is None
    assert ChatDialect().adapt(Traits(temperature=False), "temperature is bad") is None


def test_schemas_lose_references_and_decoration():
    schema = {
        "$schema": "x",
        "title": "T",
        "type": "object",
        "properties": {
            "title": {"$ref": "#/$defs/A", "description": "d"},
            "list": {"type": "array", "items": {"$ref": "#/$defs/A"}},
        },
        "$defs": {"A": {"title": "A", "type": "string", "enum": ["title"]}},
    }
    inner = {"type": "string", "enum": ["title"]}
    assert clean_schema(schema) == {
        "type": "object",
        "properties": {
            "title": {**inner, "description": "d"},
            "list": {"type": "array", "items": inner},
        },
    }


def test_a_schema_that_holds_itself_ends():
    schema = {
        "type": "object",
        "properties": {"next": {"$ref": "#/$defs/N"}},
        "$defs": {"N": {"type": "object", "properties": {"next": {"$ref": "#/$defs/N"}}}},
    }
    assert len(json.dumps(clean_schema(schema))) < 5000


def test_strictness():
    inner = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    assert is_strict(inner)
    assert is_strict({"type": "array", "items": inner})
    assert not is_strict({**inner, "required": []})
    assert not is_strict({"type": "array", "items": {**inner, "additionalProperties": True}})


def test_sealed_reasoning_goes_back_in_copilots_form():
    thoughts = (Thought("hm", "SEALED", "openai"), Thought("theirs", "X", "other"), Text("so"))
    said = Message("assistant", thoughts)
    sent = body(ask(USER, said), replay="reasoning_opaque")["messages"][1]
    assert (sent["reasoning_text"], sent["reasoning_opaque"]) == ("hm", "SEALED")
    plain = Message("assistant", (Thought("hm", "", "openai"), Text("so")))
    sent = body(ask(USER, plain), replay="reasoning_opaque")["messages"][1]
    assert "reasoning" not in json.dumps(sent)


def test_no_tools_where_calls_cannot_be_forbidden_otherwise():
    tool = ToolSchema("read", "Read it", {"type": "object", "properties": {}})
    asked = ask(tools=(tool,), tool_choice="none")
    assert body(asked)["tool_choice"] == "none"
    assert "tools" not in body(asked, tool_choice=False)
    assert "tools" in body(ask(tools=(tool,)), tool_choice=False)


def test_strict_as_far_as_it_goes():
    """What may be left out may be null; what cannot be made strict is left as it is."""
    word = {"type": "string", "description": "A word", "maxLength": 9}
    schema = {
        "type": "object",
        "properties": {"a": word, "b": {**word, "enum": ["x"]}, "c": {"anyOf": [word]}},
        "required": ["a"],
        "additionalProperties": False,
    }
    told = {"type": "string", "description": "A word. At most 9 characters."}
    assert strict_schema(schema) == {
        "type": "object",
        "properties": {
            "a": told,
            "b": {**told, "type": ["string", "null"], "enum": ["x", None]},
            "c": {"anyOf": [told, {"type": "null"}]},
        },
        "required": ["a", "b", "c"],
        "additionalProperties": False,
    }
    for other in ({"type": "object"}, {**schema, "additionalProperties": True}, {"$comment": "x"}):
        assert strict_schema(other) == other

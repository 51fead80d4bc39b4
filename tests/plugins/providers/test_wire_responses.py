"""Requests of the Responses API as the JSON that goes out, held against OpenAI's own types."""

from __future__ import annotations

import json

import msgspec
import pytest
from codetether.api import Image, Message, Request, Text, Thought, ToolCall, ToolResult
from codetether_wire import ChatDialect, ResponsesDialect, Traits
from hypothesis import given, settings
from hypothesis import strategies as st
from openai_judge import RESPONSES, judge_chat, judge_responses
from vendor_histories import PNG, SCHEMA, TOOLS, requests

USER = Message("user", (Text("hi"),))
PICTURE = Image("image/png", PNG)
SEALED = json.dumps({"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "X"})


def body(request, origin="openai", **traits):
    sent = json.loads(ResponsesDialect().outgoing(request, Traits(**traits), origin).body)
    RESPONSES.validate_python(sent)
    return sent


def ask(*messages, **more):
    return Request("m", messages or (USER,), **more)


def test_the_least():
    outgoing = ResponsesDialect().outgoing(ask(), Traits(), "openai")
    assert outgoing.path == "/responses"
    assert json.loads(outgoing.body) == {
        "model": "m",
        "input": [
            {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "hi"}],
            }
        ],
        "stream": True,
        "store": False,
    }


def test_everything():
    sent = body(
        ask(
            system="Be brief",
            tools=TOOLS,
            max_output=50,
            temperature=0.5,
            schema=SCHEMA,
            cache_key="s1",
            tool_choice="required",
        ),
        cache_key=True,
        replay="encrypted_content",
        extra={"reasoning": {"summary": "auto"}},
    )
    assert sent["instructions"] == "Be brief"
    assert sent["include"] == ["reasoning.encrypted_content"]
    assert [tool["strict"] for tool in sent["tools"]] == [
        True,
        False,
    ]  # the second is an open object
    assert sent["tools"][0]["parameters"] == TOOLS[0].parameters
    assert sent["tool_choice"] == "required"
    assert sent["max_output_tokens"] == 50
    assert sent["temperature"] == 0.5
    assert sent["prompt_cache_key"] == "s1"
    assert sent["reasoning"] == {"summary": "auto"}
    assert sent["text"] == {
        "format": {"type": "json_schema", "name": "answer", "schema": SCHEMA, "strict": True}
    }


@pytest.mark.parametrize(
    ("traits", "absent"),
    [
        ({"temperature": False}, "temperature"),
        ({"limit_field": ""}, "max_output_tokens"),
        ({"schema": ""}, "text"),
        ({"cache_key": False}, "prompt_cache_key"),
        ({"tool_choice": False}, "tool_choice"),
        ({"replay": ""}, "include"),
    ],
)
def test_what_a_model_does_not_take_is_not_sent(traits, absent):
    sent = body(
        ask(
            temperature=0.1,
            max_output=5,
            schema=SCHEMA,
            cache_key="k",
            tools=TOOLS,
            tool_choice="none",
        ),
        **{"cache_key": True, "replay": "encrypted_content", **traits},
    )
    assert absent not in sent


def test_a_limit_below_the_vendors_least_is_raised():
    assert body(ask(max_output=1))["max_output_tokens"] == 16


def test_parts_keep_their_order():
    said = Message(
        "assistant",
        (
            Thought("hm", SEALED, "openai"),
            Text("I look"),
            ToolCall("c1", "read_file", '{"path": "a"}', "call_9"),
            Thought("more", SEALED, "openai"),
            ToolCall("c2", "bash", "{broken"),
        ),
    )
    results = Message(
        "tool",
        (
            ToolResult("c1", "read_file", "one", images=(PICTURE,)),
            ToolResult("c2", "bash", "bad", ok=False),
        ),
    )
    sent = body(ask(USER, said, results), replay="encrypted_content")["input"][1:]
    assert [item["type"] for item in sent] == [
        "reasoning",
        "message",
        "function_call",
        "reasoning",
        "function_call",
        "function_call_output",
        "function_call_output",
    ]
    assert sent[0] == json.loads(SEALED)
    assert sent[1]["content"] == "I look"
    assert sent[2] == {
        "type": "function_call",
        "call_id": "c1",
        "name": "read_file",
        "arguments": '{"path": "a"}',
    }
    assert sent[4]["arguments"] == "{}"
    assert [part["type"] for part in sent[5]["output"]] == ["input_text", "input_image"]
    assert sent[5]["output"][1]["image_url"].startswith("data:image/png;base64,iVBOR")
    assert sent[6]["output"] == "bad"


def test_thoughts_go_back_only_to_their_maker_and_only_what_it_sealed():
    said = Message(
        "assistant",
        (
            Thought("theirs", SEALED, "other"),
            Thought("open", "", "openai"),
            Thought("chat's", '[{"data": "abc"}]', "openai"),
            Thought("torn", "{", "openai"),
            Text("so"),
        ),
    )
    kinds = [item["type"] for item in body(ask(USER, said), replay="encrypted_content")["input"]]
    assert kinds == ["message", "message"]
    assert "SEALED" not in json.dumps(body(ask(USER, said)))


def test_phase_where_the_model_wants_it():
    looks = Message("assistant", (Text("I look"), ToolCall("c1", "bash", "{}")))
    found = Message("tool", (ToolResult("c1", "bash", "x"),))
    says = Message("assistant", (Text("It is x"),))
    sent = body(ask(USER, looks, found, says, USER), phase=True)["input"]
    assert [item["phase"] for item in sent if item.get("role") == "assistant"] == [
        "commentary",
        "final_answer",
    ]
    assert "phase" not in json.dumps(body(ask(USER, looks, found, says, USER)))


def test_a_model_that_cannot_see_is_told_so():
    said = Message("assistant", (ToolCall("c1", "read_file", "{}"),))
    results = Message("tool", (ToolResult("c1", "read_file", "a picture", images=(PICTURE,)),))
    sent = body(ask(Message("user", (Text("look"), PICTURE)), said, results), images=False)
    assert "base64" not in json.dumps(sent)
    assert "image left out" in sent["input"][0]["content"][1]["text"]
    assert "image left out" in sent["input"][2]["output"]


@pytest.mark.parametrize(
    ("message", "field", "value"),
    [
        ("Encrypted content is not supported with this model.", "replay", ""),
        ("The encrypted content for item rs_1 could not be verified.", "replay", ""),
        ("Your organization must be verified to generate reasoning summaries.", "extra", {}),
        ("Unsupported parameter: 'temperature' is not supported", "temperature", False),
        ("Invalid schema for response_format: text.format.schema", "schema", "json_object"),
        ("Not Found", "dialect", "chat"),
        ("no route POST /v1/responses", "dialect", "chat"),
        ("This model is only supported in v1/chat/completions", "dialect", "chat"),
        ("model gpt-4o is not accessible via the /responses endpoint", "dialect", "chat"),
    ],
)
def test_a_refusal_that_names_something_is_learnt_from(message, field, value):
    traits = Traits(
        dialect="responses",
        replay="encrypted_content",
        extra={"reasoning": {"summary": "auto"}},
    )
    changed = ResponsesDialect().adapt(traits, message)
    assert msgspec.structs.asdict(changed)[field] == value


@pytest.mark.parametrize(
    "message", ["The model `x` does not exist", "input: item 3 is not allowed", "nothing"]
)
def test_a_refusal_that_names_nothing_is_final(message):
    assert ResponsesDialect().adapt(Traits(dialect="responses"), message) is None


@pytest.mark.parametrize(
    "message",
    [
        "Function tools with reasoning_effort are not supported for gpt-5.4 in /v1/chat/completions. Please use /v1/responses instead.",
        "This model is only supported in v1/responses and not in v1/chat/completions.",
        'model "gpt-5.3-codex" is not accessible via the /chat/completions endpoint',
    ],
)
def test_chat_learns_where_a_model_is_to_be_had(message):
    changed = ChatDialect().adapt(Traits(temperature=False), message)
    assert (changed.dialect, changed.replay) == ("responses", "encrypted_content")


TRAITS = st.builds(
    Traits,
    images=st.booleans(),
    phase=st.booleans(),
    cache_key=st.booleans(),
    temperature=st.booleans(),
    schema=st.sampled_from(["json_schema", "json_object", ""]),
    replay=st.sampled_from(["", "encrypted_content", "reasoning_content", "reasoning_details"]),
)
OPAQUES = (SEALED, "", '[{"type": "reasoning.encrypted", "data": "abc"}]')


@settings(deadline=None)
@given(requests(origin="openai", opaques=OPAQUES), TRAITS)
def test_whatever_happened_the_request_keeps_to_the_types_and_rules(request, traits):
    judge_responses(json.loads(ResponsesDialect().outgoing(request, traits, "openai").body))


@settings(deadline=None)
@given(requests(origin="openai", opaques=OPAQUES), TRAITS)
def test_chat_keeps_to_the_types_too(request, traits):
    judge_chat(json.loads(ChatDialect().outgoing(request, traits, "openai").body))

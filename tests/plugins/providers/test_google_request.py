"""Requests to Google, held against the types of Google's own client (google-genai) and the rules of its pages."""

from __future__ import annotations

import base64
import json

import pytest
from codetether.api import Image, Message, Request, Text, Thought, ToolCall, ToolResult, ToolSchema
from codetether_wire import GoogleDialect, Traits
from codetether_wire.google_schema import google_schema
from google_judge import page_check, vendor_check
from hypothesis import given, settings
from hypothesis import strategies as st
from vendor_histories import SCHEMA, TOOLS, requests

SIGNATURE = base64.b64encode(b"signature").decode()
OPAQUES = (f"call:{SIGNATURE}", f"text:{SIGNATURE}", f"thought:{SIGNATURE}", "", "sig")
PNG = Image("image/png", b"\x89PNG")
USER = Message("user", (Text("hi"),))


def body(request, origin="google", **traits):
    return json.loads(GoogleDialect().outgoing(request, Traits(**traits), origin).body)


def ask(*messages, model="gemini-3-pro", **more):
    return Request(model, messages or (USER,), **more)


@settings(max_examples=300, deadline=None)
@given(requests(origin="google", opaques=OPAQUES), st.booleans(), st.booleans(), st.booleans())
def test_any_history_is_what_google_takes(request_, signatures, images, result_images):
    sent = body(
        request_, signatures=signatures, images=images, result_images=result_images,
        extra={"generationConfig": {"thinkingConfig": {"includeThoughts": True}}},
    )  # fmt: skip
    vendor_check(sent)
    page_check(sent)
    for content in sent["contents"]:
        calls = [p for p in content["parts"] if "functionCall" in p]
        if signatures and calls:
            assert calls[0]["thoughtSignature"]
    words = json.dumps(sent)
    for message in request_.messages:
        if message.role == "user":
            assert all(json.dumps(p.text) in words for p in message.parts if isinstance(p, Text))


def test_the_least():
    assert body(ask()) == {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    outgoing = GoogleDialect().outgoing(ask(), Traits(), "google")
    assert outgoing.path == "/models/gemini-3-pro:streamGenerateContent?alt=sse"
    tuned = GoogleDialect().outgoing(ask(model="tunedModels/mine?x"), Traits(), "google")
    assert tuned.path == "/tunedModels/mine%3Fx:streamGenerateContent?alt=sse"


def test_everything():
    sent = body(
        ask(
            system="Be brief", tools=TOOLS, max_output=50, temperature=0.5, schema=SCHEMA, tool_choice="required",
            cache_key="s1",
        ),
        extra={"generationConfig": {"thinkingConfig": {"includeThoughts": True}}},
    )  # fmt: skip
    vendor_check(sent)
    assert sent["systemInstruction"] == {"parts": [{"text": "Be brief"}]}
    [declared, _] = sent["tools"][0]["functionDeclarations"]
    assert declared == {
        "name": "read_file",
        "description": "Read a file",
        "parametersJsonSchema": TOOLS[0].parameters,
    }
    assert sent["toolConfig"] == {"functionCallingConfig": {"mode": "ANY"}}
    assert sent["generationConfig"] == {
        "maxOutputTokens": 50,
        "temperature": 0.5,
        "responseMimeType": "application/json",
        "responseJsonSchema": SCHEMA,
        "thinkingConfig": {"includeThoughts": True},
    }
    assert body(ask(tools=TOOLS, tool_choice="none"))["toolConfig"] == {
        "functionCallingConfig": {"mode": "NONE"}
    }
    assert (
        "parametersJsonSchema"
        not in (
            body(ask(tools=(ToolSchema("now", "The time", {"type": "object", "properties": {}}),)))[
                "tools"
            ][0]["functionDeclarations"][0]
        )
    )


def test_a_schema_holds_only_what_google_knows():
    schema = {
        "type": "object",
        "$defs": {"P": {"type": "string", "pattern": "^a", "minLength": 1, "title": "P"}},
        "properties": {
            "const": {"const": "x", "description": "d"},
            "pattern": {"$ref": "#/$defs/P"},
            "when": {"type": "string", "format": "date-time"},
            "mail": {"type": ["string", "null"], "format": "email"},
            "many": {"type": "array", "items": {"type": "integer", "exclusiveMinimum": 0}, "minItems": 1},
        },
        "required": ["const"],
        "additionalProperties": False,
    }  # fmt: skip
    assert google_schema(schema) == {
        "type": "object",
        "properties": {
            "const": {"enum": ["x"], "description": "d"},
            "pattern": {"type": "string"},
            "when": {"type": "string", "format": "date-time"},
            "mail": {"type": ["string", "null"]},
            "many": {"type": "array", "items": {"type": "integer"}, "minItems": 1},
        },
        "required": ["const"],
        "additionalProperties": False,
    }


def test_signatures_go_back_in_the_part_they_came_in():
    message = Message(
        "assistant",
        (
            Thought("plan", f"call:{SIGNATURE}", "google"),
            ToolCall("c1", "bash", '{"command":"ls"}', "v1"),
            ToolCall("c2", "bash", "{}", "v2"),
        ),
    )
    results = Message("tool", (ToolResult("c1", "bash", "a"), ToolResult("c2", "bash", "b", False)))
    end = Message("assistant", (Text("done"), Thought("", f"text:{SIGNATURE}", "google")))
    sent = body(ask(USER, message, results, end, USER), signatures=True)
    assert sent["contents"][1:4] == [
        {
            "role": "model",
            "parts": [
                {
                    "functionCall": {"id": "v1", "name": "bash", "args": {"command": "ls"}},
                    "thoughtSignature": SIGNATURE,
                },
                {"functionCall": {"id": "v2", "name": "bash", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "v1", "name": "bash", "response": {"output": "a"}}},
                {"functionResponse": {"id": "v2", "name": "bash", "response": {"error": "b"}}},
            ],
        },
        {"role": "model", "parts": [{"text": "done", "thoughtSignature": SIGNATURE}]},
    ]


@pytest.mark.parametrize(
    ("origin", "signatures", "sent_mark"),
    [
        ("google", True, SIGNATURE),
        ("another", True, "skip_thought_signature_validator"),
        ("another", False, None),
    ],
)
def test_a_call_of_another_model_has_the_mark_that_says_so(origin, signatures, sent_mark):
    message = Message(
        "assistant", (Thought("x", f"call:{SIGNATURE}", origin), ToolCall("c1", "bash", "{}"))
    )
    sent = body(
        ask(USER, message, Message("tool", (ToolResult("c1", "bash", "a"),))), signatures=signatures
    )
    assert sent["contents"][1]["parts"][0].get("thoughtSignature") == sent_mark
    assert "plan" not in json.dumps(sent)


def test_a_label_used_twice_is_not_used_twice():
    def step(number):
        call = ToolCall(f"c{number}", "bash", "{}", "same")
        return (
            Message("assistant", (call,)),
            Message("tool", (ToolResult(call.id, "bash", "r"),)),
        )

    sent = body(ask(USER, *step(1), *step(2)))
    page_check(sent)
    ids = [c["parts"][0]["functionCall"]["id"] for c in sent["contents"][1::2]]
    assert ids == ["same", "c2"]


@pytest.mark.parametrize(
    ("traits", "inside", "beside"),
    [
        ({}, True, None),
        ({"result_images": False}, False, "inlineData"),
        ({"images": False}, False, "text"),
    ],
)
def test_pictures_in_results(traits, inside, beside):
    call = Message("assistant", (ToolCall("c1", "read_file", "{}"),))
    answer = Message("tool", (ToolResult("c1", "read_file", "a picture", images=(PNG,)),))
    sent = body(ask(USER, call, answer), **traits)
    vendor_check(sent)
    response = sent["contents"][2]["parts"][0]["functionResponse"]
    assert ("parts" in response) == inside
    if beside is None:
        assert len(sent["contents"]) == 3
        assert response["parts"][0]["inlineData"]["mimeType"] == "image/png"
    else:
        assert beside in sent["contents"][3]["parts"][1]


def test_a_picture_google_does_not_take_is_named():
    sent = body(ask(Message("user", (Image("image/gif", b"GIF8"),))))
    assert "image/gif left out" in sent["contents"][0]["parts"][0]["text"]


@pytest.mark.parametrize(
    ("message", "before", "field", "value"),
    [
        (
            "Function calling with a response mime type: 'application/json' is unsupported",
            {},
            "schema",
            "",
        ),
        ('Unknown name "responseJsonSchema"', {}, "schema", ""),
        ("Function call is missing a thought_signature", {}, "signatures", True),
        ("Multimodal function response is not supported", {}, "result_images", False),
        ("Image input modality is not enabled", {}, "images", False),
        ("Invalid temperature", {}, "temperature", False),
        (
            "Thinking is not enabled for this model",
            {"extra": {"generationConfig": {"thinkingConfig": {}, "topK": 1}}},
            "extra",
            {"generationConfig": {"topK": 1}},
        ),
    ],
)
def test_what_a_refusal_teaches(message, before, field, value):
    dialect = GoogleDialect()
    learnt = dialect.adapt(Traits(**before), message)
    assert getattr(learnt, field) == value
    assert dialect.adapt(learnt, message) is None
    assert dialect.adapt(Traits(), "the weather is bad") is None

"""What each vendor is told of every tool, by the encoders that tell it, against that vendor's rules for schemas."""

from __future__ import annotations

import json
import re

import msgspec
import pytest
from codetether.catalog import scan
from codetether.testing import make_kernel
from codetether.words import Message, Request, Text
from codetether_wire.anthropic_messages import AnthropicDialect
from codetether_wire.anthropic_schema import answer_format
from codetether_wire.bedrock import ConverseDialect
from codetether_wire.catalogue import Traits
from codetether_wire.chat import ChatDialect
from codetether_wire.google import GoogleDialect
from codetether_wire.responses import ResponsesDialect
from jsonschema import Draft202012Validator

NAMES = sorted(row.name for row in scan() if row.kind == "tools")
# https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
OPENAI = {
    "type", "description", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf",
    "pattern", "format", "multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minItems",
    "maxItems",
}  # fmt: skip
# https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations
ANTHROPIC = {
    "type", "description", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf", "allOf",
    "format", "minItems",
}  # fmt: skip
# https://ai.google.dev/api/caching#FunctionDeclaration
GOOGLE = {
    "type", "description", "properties", "required", "additionalProperties", "items", "prefixItems", "enum", "anyOf",
    "oneOf", "format", "minItems", "maxItems", "minimum", "maximum", "propertyOrdering",
}  # fmt: skip


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    import trio

    async def loaded():
        async with make_kernel(tmp_path_factory.mktemp("kernel")) as kernel:
            return {tool.name: tool for tool in kernel.host.load_all("tools")}

    return trio.run(loaded)


@pytest.fixture
def told(tools, name):
    """What a dialect makes of the tool's declaration."""

    def told(dialect, **traits):
        ask = Request("m", (Message("user", (Text("hi"),)),), tools=(tools[name].schema(),))
        return json.loads(dialect.outgoing(ask, Traits(**traits), "x").body)

    return told


def nodes(node):
    """Every schema in a schema."""
    yield node
    for inner in node.get("properties", {}).values():
        yield from nodes(inner)
    for key in ("items", "anyOf", "oneOf", "allOf", "prefixItems"):
        inner = node.get(key, [])
        for each in inner if isinstance(inner, list) else [inner]:
            yield from nodes(each)


def keywords(schema):
    return {key for node in nodes(schema) for key in node}


def objects(schema):
    return [node for node in nodes(schema) if "properties" in node]


def depth(schema):
    inner = [
        *schema.get("properties", {}).values(),
        *([schema["items"]] if "items" in schema else []),
    ]
    return 1 + max((depth(each) for each in inner), default=0)


def is_closed(schema):
    return all(node["additionalProperties"] is False for node in objects(schema))


@pytest.mark.parametrize("name", NAMES)
def test_openai_responses_in_strict_mode(told, tools, name):
    (tool,) = told(ResponsesDialect())["tools"]
    schema = tool["parameters"]
    assert tool["strict"] is True
    assert keywords(schema) <= OPENAI
    assert schema["type"] == "object"
    assert "anyOf" not in schema
    assert is_closed(schema)
    assert all(node["required"] == list(node["properties"]) for node in objects(schema))
    assert depth(schema) <= 10
    Draft202012Validator.check_schema(schema)
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", tool["name"])
    assert tool["description"] == tools[name].description


@pytest.mark.parametrize("name", NAMES)
def test_openai_chat_and_those_who_speak_it(told, name):
    (tool,) = told(ChatDialect())["tools"]
    schema = tool["function"]["parameters"]
    assert "strict" not in tool["function"]  # many servers refuse the word
    assert is_closed(schema)
    assert not keywords(schema) & {"$ref", "$defs", "default", "title", "oneOf", "allOf"}
    assert all(isinstance(node.get("type", ""), str) for node in nodes(schema))
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("name", NAMES)
def test_anthropic(told, name):
    (tool,) = told(AnthropicDialect())["tools"]
    schema = tool["input_schema"]
    assert schema["type"] == "object"
    assert not {"anyOf", "oneOf", "allOf"} & set(schema)
    assert is_closed(schema)
    Draft202012Validator.check_schema(schema)
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", tool["name"])
    grammar = answer_format(schema)["schema"]  # as the vendor's strict mode would be told
    assert keywords(grammar) <= ANTHROPIC
    assert [list(node["properties"]) for node in objects(grammar)] == [
        list(node["properties"]) for node in objects(schema)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_google(told, name):
    ((declared,),) = (part["functionDeclarations"] for part in told(GoogleDialect())["tools"])
    schema = declared.get("parametersJsonSchema", {"type": "object"})
    assert keywords(schema) <= GOOGLE
    assert all(isinstance(node.get("type", ""), str) for node in nodes(schema))
    assert all(node["type"] == "string" for node in nodes(schema) if "enum" in node)
    assert all(set(node.get("required", ())) <= set(node["properties"]) for node in objects(schema))
    assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}", declared["name"])


@pytest.mark.parametrize("name", NAMES)
def test_bedrock(told, name):
    (tool,) = told(ConverseDialect(list))["toolConfig"]["tools"]
    schema = tool["toolSpec"]["inputSchema"]["json"]
    assert schema["type"] == "object"
    assert is_closed(schema)
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", tool["toolSpec"]["name"])


@pytest.mark.parametrize("name", NAMES)
def test_null_for_all_that_may_be_left_out_is_as_leaving_it_out(told, tools, name):
    """What strict mode makes a model say comes to the tool as if it had not been said."""
    from codetether.toolbox import decode

    tool = tools[name]
    (strict,) = told(ResponsesDialect())["tools"]
    schema = tool.schema().parameters
    least = {key: sample(schema["properties"][key]) for key in schema.get("required", ())}
    full = {**dict.fromkeys(schema["properties"]), **least}
    Draft202012Validator(strict["parameters"]).validate(full)
    assert decode(json.dumps(full), tool.params, schema) == decode(
        json.dumps(least), tool.params, schema
    )


def sample(schema):
    """Some value of a schema, all that may be null being null."""
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema["type"]
    if kind == "object":
        needed = schema.get("required", ())
        return {
            key: sample(inner) if key in needed else None
            for key, inner in schema["properties"].items()
        }
    return {
        "string": "x" * max(schema.get("minLength", 1), 1),
        "integer": schema.get("minimum", 1),
        "number": schema.get("minimum", 1),
        "boolean": True,
        "array": [sample(schema["items"])] if kind == "array" else None,
    }[kind]


def test_all_of_them_leave_room_for_the_conversation(tools):
    """What every request begins with, at 3.5 bytes a token, which is on the high side."""
    told = [tool.schema() for tool in tools.values() if tool.advertised]
    assert len(msgspec.json.encode(told)) / 3.5 <= 7000

"""What servers send that we did not write: schemas, names and answers of any kind, made fit for models and screens."""

import base64
import json
import re
from types import SimpleNamespace

import msgspec
import pytest
from codetether_extension_mcp_client import shaping
from codetether_extension_mcp_client.naming import server_slugs, tool_names
from codetether_extension_mcp_client.shaping import ANYTHING, LARGEST, shape
from codetether_wire.google_schema import google_schema
from codetether_wire.json_schema import is_strict, strict_schema
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

KEYWORDS = {
    "type", "description", "enum", "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems", "items",
    "anyOf", "properties", "required", "additionalProperties",
}  # fmt: skip


def told(properties, **more):
    return shape({"type": "object", "properties": properties, **more}).parameters


def nodes(node):
    """Every schema in a schema."""
    yield node
    for key in ("items",):
        if isinstance(node.get(key), dict):
            yield from nodes(node[key])
    for inner in node.get("properties", {}).values():
        yield from nodes(inner)
    for inner in node.get("anyOf", []):
        yield from nodes(inner)


@pytest.mark.parametrize("kind", ["properties", "allOf", "anyOf", "oneOf", "items"])
def test_a_small_document_of_references_to_references_is_no_endless_one(kind, monkeypatch):
    """A hundred references in each of ten layers: as a tree, more parts than there are grains of sand."""
    steps = 0
    step = shaping._Document.step

    def counted(self):
        nonlocal steps
        steps += 1
        step(self)

    monkeypatch.setattr(shaping._Document, "step", counted)
    layers = {}
    for at in range(10):
        inner = [{"$ref": f"#/$defs/{at + 1}"}] * 100
        part = {f"p{number}": each for number, each in enumerate(inner)}
        one = {"properties": part, "items": {"anyOf": inner}}
        layers[str(at)] = {kind: one.get(kind, inner)}
        if kind == "items":
            layers[str(at)]["type"] = "array"
    layers["10"] = {"type": "string"}
    properties = {"a": {"$ref": "#/$defs/0"}}
    assert shape({"type": "object", "properties": properties, "$defs": layers}).whole
    assert steps <= shaping.STEPS + 1


def test_what_a_plain_schema_says_is_kept():
    properties = {
        "path": {"type": "string", "description": "A file", "minLength": 1},
        "deep": {"type": "integer", "default": 3, "minimum": 0},
        "kind": {"enum": ["a", "b"]},
        "many": {"type": "array", "items": {"type": "number"}},
    }
    found = told(properties, required=["path"])
    assert found == {
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": "A file", "minLength": 1},
            "deep": {"type": "integer", "description": "Default 3.", "minimum": 0},
            "kind": {"enum": ["a", "b"], "type": "string"},
            "many": {"type": "array", "items": {"type": "number"}},
        },
        "required": ["path"],
        "additionalProperties": False,
    }


def test_references_alternatives_and_nulls():
    schema = {
        "type": "object",
        "$defs": {"Name": {"type": "string"}, "Point": {"properties": {"x": {"type": "number"}}}},
        "properties": {
            "name": {"$ref": "#/$defs/Name", "description": "Whose"},
            "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}], "description": "If any"},
            "either": {"type": ["string", "integer"]},
            "point": {
                "allOf": [{"$ref": "#/$defs/Point"}, {"properties": {"y": {"type": "number"}}}]
            },
            "gone": {"$ref": "https://example.org/schema.json"},
        },
    }
    found = shape(schema).parameters["properties"]
    assert found["name"] == {"type": "string", "description": "Whose"}
    assert found["maybe"] == {"description": "If any", "type": "string"}
    assert found["either"] == {"anyOf": [{"type": "string"}, {"type": "integer"}]}
    assert set(found["point"]["properties"]) == {"x", "y"}
    assert found["gone"] == ANYTHING


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"$ref": "#"}}},
        {"type": "object", "additionalProperties": True},
        {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(101)}},
        {"type": "object", "properties": {"no good": {"type": "string"}}},
        {"anyOf": [{"type": "string"}, {"type": "object"}], "type": "array"},
        {"properties": {f"p{n}": {"enum": ["x" * 1000]} for n in range(90)}},
    ],
)
def test_what_cannot_be_told_takes_an_object_as_it_is(schema):
    shaped = shape(schema)
    assert shaped.whole
    assert list(shaped.parameters["properties"]) == ["arguments"]
    params = msgspec.convert({"arguments": {"no good": 1}}, shaped.params)
    assert shaped.arguments(params) == {"no good": 1}
    assert shaped.arguments(msgspec.convert({}, shaped.params)) == {}


def test_long_descriptions_give_way_before_structure():
    inner = {"type": "object", "properties": {"x": {"type": "string", "description": "y" * 590}}}
    properties = {f"p{n}": {**inner, "description": "Short."} for n in range(25)}
    shaped = shape({"type": "object", "properties": properties})
    assert not shaped.whole
    assert len(json.dumps(shaped.parameters)) <= LARGEST
    assert shaped.parameters["properties"]["p1"]["description"] == "Short."
    assert shaped.parameters["properties"]["p1"]["properties"]["x"] == {"type": "string"}


def test_escapes_in_a_schema_are_cleaned():
    found = told({"a": {"type": "string", "description": "\x1b[31mred\x1b]0;t\x07"}})
    assert "\x1b" not in json.dumps(found)


def test_arguments_reach_the_server_as_the_model_gave_them():
    shaped = shape(
        {"type": "object", "properties": {"class": {}, "n": {"type": "integer"}, "b": {}}}
    )
    params = msgspec.convert({"class": [1, None], "n": "7"}, shaped.params)
    assert shaped.arguments(params) == {"class": [1, None], "n": "7"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
WORDS = st.sampled_from(
    ["type", "properties", "items", "anyOf", "oneOf", "allOf", "enum", "const", "$ref", "required", "default",
     "description", "minimum", "additionalProperties", "$defs"]
)  # fmt: skip
SCHEMA = st.recursive(
    JSON | st.sampled_from(["object", "string", "#", "#/properties/a", ["string", "null"]]),
    lambda inner: (
        st.dictionaries(WORDS | st.sampled_from(["a", "b c"]), inner, max_size=5)
        | st.lists(inner, max_size=3)
    ),
    max_leaves=25,
)


@given(st.dictionaries(WORDS, SCHEMA, max_size=6))
def test_whatever_a_schema_is_what_is_told_is_one_that_vendors_take(schema):
    shaped = shape(schema)
    parameters = shaped.parameters
    json.dumps(parameters, allow_nan=False)
    assert parameters["type"] == "object"
    assert parameters["additionalProperties"] is False
    assert set(parameters["required"]) <= set(parameters["properties"])
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name) for name in parameters["properties"])
    Draft202012Validator.check_schema(parameters)
    for node in nodes(parameters):
        assert set(node) <= KEYWORDS
        assert {"type", "anyOf"} & set(node)
    told = strict_schema(parameters)
    assert told == parameters or is_strict(told)
    assert google_schema(parameters)["type"] == "object"
    assert parameters == shape(schema).parameters


@given(st.lists(st.text(min_size=1, max_size=90), max_size=12), st.text(min_size=1, max_size=90))
def test_names_are_each_their_own_and_fit_every_vendor(tools, server):
    (slug,) = server_slugs([server]).values()
    names = tool_names(slug, tools)
    assert len({name.lower() for name in names.values()}) == len(names)
    for name in names.values():
        assert re.fullmatch(r"mcp__[A-Za-z0-9_-]+", name)
        assert len(name) <= 64
        assert name.count("__") == 2  # a rule for one server can never speak for another
    assert names == tool_names(slug, tools[::-1])


def test_names_that_clash_get_marks():
    names = tool_names("s", ["get.it", "get_it", "other"])
    assert names["other"] == "mcp__s__other"
    assert names["get.it"] != names["get_it"]
    assert names["get.it"].startswith("mcp__s__get_it_")
    # one that calls itself what another's mark would make is no way around it
    assert (
        len(set(tool_names("s", [*names, names["get.it"].removeprefix("mcp__s__")]).values())) == 4
    )
    assert set(server_slugs(["a.b", "a_b", "c"]).values()) >= {"c"}
    assert len(set(server_slugs(["a.b", "a_b", "A.B"]).values())) == 3


# --- answers ---
def block(kind, **fields):
    return SimpleNamespace(type=kind, **fields)


def answer(*content, data=None, is_error=False):
    return SimpleNamespace(content=content, structured_content=data, is_error=is_error)


def test_answers_of_every_kind():
    from codetether_extension_mcp_client.results import output

    picture = base64.b64encode(b"png").decode()
    held = SimpleNamespace(text="inside", mime_type="text/plain", uri="note://a")
    found = output(
        answer(
            block("text", text="hello\x1b[2J"),
            block("image", data=picture, mime_type="image/png"),
            block("image", data="???", mime_type="image/png"),
            block("image", data=picture, mime_type="image/svg+xml"),
            block("audio", data=picture, mime_type="audio/wav"),
            block("resource", resource=held),
            block("resource_link", uri="note://b", name="b"),
            data={"more": 1},
        ),
        "t",
    )
    assert found.ok
    assert [image.data for image in found.images] == [b"png"]
    assert "\x1b" not in found.text
    for part in (
        "hello",
        "damaged",
        "svg",
        "audio",
        "inside",
        "[resource note://b: b]",
        '"more": 1',
    ):
        assert part in found.text


def test_structured_content_is_not_said_twice():
    from codetether_extension_mcp_client.results import output

    assert output(answer(block("text", text='{"a": 1}'), data={"a": 1}), "t").text == '{"a": 1}'
    assert output(answer(block("text", text="3"), data={"result": 3}), "t").text == "3"


def test_too_much_is_bounded():
    from codetether_extension_mcp_client.results import LARGEST as MOST
    from codetether_extension_mcp_client.results import PICTURES, output

    found = output(answer(*[block("text", text="x" * 1_000_000)] * 10), "t")
    assert len(found.text) < MOST + 1000
    picture = block("image", data="AAAA", mime_type="image/png")
    assert len(output(answer(*[picture] * 20), "t").images) == PICTURES

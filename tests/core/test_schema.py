"""What a model is told about a tool's arguments: one closed, finite object that every vendor takes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest
from codetether.schema import tool_parameters, without_nulls
from hypothesis import given
from hypothesis import strategies as st


class Edit(msgspec.Struct):
    """One replacement."""

    old: Annotated[str, msgspec.Meta(description="Exact text")]
    new: str
    title: str = ""


class Params(msgspec.Struct):
    """For programmers."""

    path: Annotated[str, msgspec.Meta(description="File to edit", min_length=1)]
    edits: Annotated[list[Edit], msgspec.Meta(description="In order", min_length=1)]
    mode: Annotated[Literal["b", "a"], msgspec.Meta(description="How")] = "a"
    limit: Annotated[int, msgspec.Meta(gt=0, lt=10, description="Lines")] = 5
    wait: Annotated[float, msgspec.Meta(gt=0, le=600)] = 1.5
    note: Annotated[str | None, msgspec.Meta(description="Why")] = None
    either: int | str | None = None
    level: Annotated[int, msgspec.Meta(ge=-1)] = 0
    deep: bool = True
    shown: bool = False
    extra: dict[str, Any] = {}


def test_the_whole_schema():
    assert tool_parameters(Params) == {
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": "File to edit"},
            "edits": {
                "type": "array",
                "description": "In order",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "properties": {
                        "old": {"type": "string", "description": "Exact text"},
                        "new": {"type": "string"},
                        "title": {"type": "string"},
                    },
                    "required": ["old", "new"],
                    "additionalProperties": False,
                },
            },
            "mode": {"type": "string", "description": "How. Default a.", "enum": ["a", "b"]},
            "limit": {
                "type": "integer",
                "description": "Lines. Default 5.",
                "minimum": 1,
                "maximum": 9,
            },
            "wait": {"type": "number", "description": "Default 1.5.", "minimum": 0, "maximum": 600},
            "note": {"type": "string", "description": "Why"},
            "either": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
            "level": {"type": "integer", "description": "Default 0.", "minimum": -1},
            "deep": {"type": "boolean", "description": "Default true."},
            "shown": {"type": "boolean"},
            "extra": {"type": "object"},
        },
        "required": ["path", "edits"],
        "additionalProperties": False,
    }


def test_order_is_the_order_written_in_and_does_not_change():
    schema = tool_parameters(Params)
    assert list(schema["properties"]) == list(Params.__struct_fields__)
    assert list(schema) == ["type", "properties", "required", "additionalProperties"]
    assert msgspec.json.encode(schema) == msgspec.json.encode(tool_parameters(Params))


def test_no_parameters_is_an_empty_closed_object():
    class Nothing(msgspec.Struct):
        pass

    assert tool_parameters(Nothing) == {
        "type": "object",
        "properties": {},
        "additionalProperties": False,
    }


class Tree(msgspec.Struct):
    children: list[Tree] = []


def test_a_type_that_contains_itself_is_refused():
    with pytest.raises(TypeError, match="Tree contains itself"):
        tool_parameters(Tree)


TYPES = st.recursive(
    st.sampled_from(
        [int, str, float, bool, str | None, Literal["x", "y"], Edit, dict[str, int], Any]
    ),
    lambda inner: inner.map(lambda kind: list[kind]) | inner.map(lambda kind: dict[str, kind]),
    max_leaves=4,
)


def every_schema(node):
    yield node
    for child in [*node.get("properties", {}).values(), *node.get("anyOf", [])]:
        yield from every_schema(child)
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from every_schema(node[key])


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}_", fullmatch=True), TYPES, max_size=5))
def test_whatever_the_types_nothing_is_left_that_a_vendor_refuses(fields):
    schema = tool_parameters(msgspec.defstruct("Any", list(fields.items())))
    assert list(schema["properties"]) == list(fields)
    for node in every_schema(schema):
        assert not {"$ref", "$defs", "title", "default", "discriminator"} & set(node)
        if "properties" in node:
            assert node["additionalProperties"] is False


def test_nulls_that_stand_for_left_out_go_and_no_others():
    schema = {
        "properties": {
            "a": {"type": "string"},
            "needed": {"type": "string"},
            "free": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "list": {"type": "array", "items": {"properties": {"b": {"type": "integer"}}}},
        },
        "required": ["needed"],
    }
    given = {
        "a": None,
        "needed": None,
        "free": None,
        "list": [{"b": None}, {"b": 1}],
        "other": None,
    }
    assert without_nulls(given, schema) == {
        "needed": None,
        "free": None,
        "list": [{}, {"b": 1}],
        "other": None,
    }


Count = int


class Shadowing(msgspec.Struct):
    Count: Count = 1
    more: Count = 2


class Unknown(msgspec.Struct):
    known: int
    missing: Missing  # noqa: F821


def test_annotations_mean_what_they_mean_in_their_module():
    properties = tool_parameters(Shadowing)["properties"]
    assert {name: node["type"] for name, node in properties.items()} == {
        "Count": "integer",
        "more": "integer",
    }
    with pytest.raises(NameError, match="Missing"):
        tool_parameters(Unknown)

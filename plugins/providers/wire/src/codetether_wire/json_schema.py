"""JSON Schemas in the form every vendor takes: no references, an object on top."""

from __future__ import annotations

from typing import Any

import msgspec

_DEPTH = 24
# What strict modes take; any other keyword makes the whole request fail there.
_STRICT = frozenset(
    {
        "type",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "enum",
        "const",
        "anyOf",
        "description",
        "pattern",
        "format",
        "multipleOf",
        "maximum",
        "minimum",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "maxItems",
        "minItems",
    }
)

_LENGTHS = {"minLength": "At least {} characters.", "maxLength": "At most {} characters."}


def clean_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """A copy with `$ref`s put in place and `$schema`, `$id`, `$defs` and `title` keywords gone; keys keep their order.

    A schema that refers to itself is cut at depth 24 with an empty schema, which allows anything there.
    """
    definitions = {**schema.get("definitions", {}), **schema.get("$defs", {})}
    cleaned = _clean(schema, definitions, _DEPTH)
    if cleaned.get("type") != "object":
        return cleaned
    cleaned.setdefault("properties", {})
    return cleaned


def _clean(schema: dict[str, Any], definitions: dict[str, Any], depth: int) -> dict[str, Any]:
    if depth == 0:
        return {}
    reference = schema.get("$ref")
    if isinstance(reference, str):
        target = definitions.get(reference.rpartition("/")[2], {})
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        return _clean({**target, **beside}, definitions, depth - 1)
    cleaned: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("$schema", "$id", "$defs", "definitions") or (
            key == "title" and isinstance(value, str)
        ):
            continue
        if key in ("properties", "patternProperties") and isinstance(value, dict):
            cleaned[key] = {
                name: _clean(inner, definitions, depth - 1) if isinstance(inner, dict) else inner
                for name, inner in value.items()
            }
        elif key in ("enum", "const", "default", "examples"):
            cleaned[key] = value
        else:
            cleaned[key] = _value(value, definitions, depth)
    return cleaned


def _value(value: Any, definitions: dict[str, Any], depth: int) -> Any:
    if isinstance(value, dict):
        return _clean(value, definitions, depth - 1)
    if isinstance(value, list):
        return [_value(inner, definitions, depth) for inner in value]
    return value


def is_strict(schema: Any) -> bool:
    """Whether the schema keeps to strict mode: every object closed, every property of it required, known keywords only."""
    if isinstance(schema, list):
        return all(is_strict(inner) for inner in schema)
    if not isinstance(schema, dict):
        return True
    if not _STRICT.issuperset(schema):
        return False
    if schema.get("type") == "object" or "properties" in schema:
        properties = schema.get("properties", {})
        if schema.get("additionalProperties") is not False or set(
            schema.get("required", ())
        ) != set(properties):
            return False
        return all(is_strict(inner) for inner in properties.values())
    return all(
        is_strict(inner) for key, inner in schema.items() if key not in ("enum", "const", "default")
    )


def strict_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """`schema` for a strict mode, where every property is required: one that may be left out may be null instead.

    Lengths of texts, which strict modes do not know, are told in words. A schema that cannot be made strict (an open
    object, an unknown keyword) comes back as it is.
    """
    strict: dict[str, Any] = _tightened(schema)
    return strict if is_strict(strict) else schema


def _tightened(node: Any) -> Any:
    if isinstance(node, list):
        return [_tightened(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    kept = {
        key: value if key in ("enum", "const", "required") else _tightened(value)
        for key, value in node.items()
        if key not in _LENGTHS and key != "properties"
    }
    if told := " ".join(_LENGTHS[key].format(node[key]) for key in _LENGTHS if key in node):
        before = node.get("description", "")
        kept["description"] = f"{before}{'' if before.endswith('.') else '.'} {told}".lstrip(". ")
    properties = node.get("properties")
    if isinstance(properties, dict):
        needed = node.get("required", ())
        kept["properties"] = {
            name: _tightened(inner) if name in needed else _or_null(_tightened(inner))
            for name, inner in properties.items()
        }
        kept["required"] = list(properties)
    return kept


def _or_null(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    if "anyOf" in node:
        return {**node, "anyOf": [*node["anyOf"], {"type": "null"}]}
    kind = node.get("type")
    if not isinstance(kind, str):
        return node
    more = {"enum": [*node["enum"], None]} if "enum" in node else {}
    return {**node, "type": [kind, "null"], **more}


def is_object(text: str) -> bool:
    """Whether the text is one JSON object."""
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except msgspec.DecodeError:
        return False

"""A server's JSON Schema as the part of the language every vendor takes, and back to the arguments the server wants.

Servers write any draft and any size. What models need is kept: types, descriptions, choices, bounds, structure.
References are put in place, what is unknown is left out, and a schema that is too large, too deep or no object at the
top becomes one parameter `arguments` that takes an object as it is. The server checks what it gets.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from codetether.api import clean

LARGEST = 12_000  # characters of a schema, shaped
DEEPEST = 12
MOST = 100  # properties, choices
STEPS = 5_000  # parts looked at: references to references make a small document one of any size
WORDS = 600  # characters of one description
WHOLE = "arguments"
_TYPES = ("object", "array", "string", "integer", "number", "boolean", "null")
_LENGTHS = ("minLength", "maxLength", "minItems", "maxItems")
_NAMES = {str: "string", bool: "boolean", int: "integer", float: "number"}
# Strict modes want a type everywhere; the open object in it is what makes providers tell the tool without them.
ANYTHING: Mapping[str, Any] = {
    "anyOf": [{"type": kind} for kind in ("string", "number", "boolean", "object")]
}
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class Shape(NamedTuple):
    """`parameters`: what models are told. `params`: the struct calls are decoded to. `whole`: one parameter holds all."""

    parameters: dict[str, Any]
    params: type[msgspec.Struct]
    whole: bool = False

    def arguments(self, params: msgspec.Struct) -> dict[str, Any]:
        """What the server is sent for a decoded call."""
        given: dict[str, Any] = msgspec.to_builtins(params)
        if not self.whole:
            return given
        value = given.get(WHOLE)
        return dict(value) if isinstance(value, Mapping) else {}


class _TooMuch(Exception):
    """The schema cannot be told as it is."""


class _Document:
    """The whole schema, for references; and how many of its parts may still be looked at."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = schema
        self._left = STEPS

    def step(self) -> None:
        """One more part. Raises _TooMuch."""
        self._left -= 1
        if self._left < 0:
            raise _TooMuch


def shape(schema: Mapping[str, Any]) -> Shape:
    """`schema`, an `inputSchema`, shaped. Never raises."""
    try:
        node = _node(schema, _Document(schema), 0)
        if not _plain(node, schema):
            raise _TooMuch
        node = _closed(node)
        if len(json.dumps(node)) > LARGEST:
            node = _terse(node)
        if len(json.dumps(node)) > LARGEST:
            raise _TooMuch
    except (_TooMuch, RecursionError):
        node = _closed(_whole(schema))
        return Shape(node, _struct(node), whole=True)
    return Shape(node, _struct(node))


def _plain(node: Mapping[str, Any], schema: Mapping[str, Any]) -> bool:
    """Whether the top is an object whose properties are told and can be named to every vendor."""
    properties = node.get("properties", {})
    if node.get("type", "object") != "object" or "anyOf" in node or len(properties) > MOST:
        return False
    if not properties and schema.get("additionalProperties", False) is not False:
        return False
    return all(_NAME.fullmatch(name) for name in properties)


def _closed(node: dict[str, Any]) -> dict[str, Any]:
    properties = node.get("properties", {})
    required = [name for name in properties if name in node.get("required", ())]
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _whole(schema: Mapping[str, Any]) -> dict[str, Any]:
    told = "The tool's arguments."
    properties = schema.get("properties")
    if isinstance(properties, Mapping) and properties:
        names = ", ".join(str(name)[:60] for name in list(properties)[:30])
        told = _words(f"The tool's arguments: {names}")
    return {"properties": {WHOLE: {"type": "object", "description": told}}}


def _struct(node: Mapping[str, Any]) -> type[msgspec.Struct]:
    """A struct with a field for each property; values are kept as the model gave them."""
    properties = list(node["properties"])
    names = {f"p{number}": name for number, name in enumerate(properties)}
    required = [(key, Any) for key, name in names.items() if name in node["required"]]
    others = [
        (key, Any, msgspec.UNSET) for key, name in names.items() if name not in node["required"]
    ]
    return msgspec.defstruct("Arguments", [*required, *others], rename=names, frozen=True)


def _terse(node: Any) -> Any:
    """`node` without the descriptions below the first level."""
    if isinstance(node, list):
        return [_terse(each) for each in node]
    if not isinstance(node, dict):
        return node
    out = dict(node)
    if isinstance(node.get("properties"), dict):
        out["properties"] = {
            name: {key: _bare(value) for key, value in inner.items()}
            for name, inner in node["properties"].items()
        }
    return out


def _bare(node: Any) -> Any:
    if isinstance(node, list):
        return [_bare(each) for each in node]
    if not isinstance(node, dict):
        return node
    return {
        key: _bare(value)
        for key, value in node.items()
        if key != "description" or not isinstance(value, str)
    }


def _words(text: str) -> str:
    text = clean(text).strip()
    return text if len(text) <= WORDS else text[: WORDS - 1].rstrip() + "…"


def _node(node: Any, root: _Document, depth: int) -> dict[str, Any]:
    """One schema within the document `root`. Raises _TooMuch when it is too deep, as one that contains itself
    is, or has too many parts.
    """
    root.step()
    if depth > DEEPEST:
        raise _TooMuch
    if not isinstance(node, Mapping):
        return dict(ANYTHING)
    node = _followed(node, root, depth)
    out: dict[str, Any] = {}
    kinds = _kinds(node)
    if len(kinds) == 1:
        out["type"] = kinds[0]
    if isinstance(node.get("description"), str) and node["description"].strip():
        out["description"] = _words(node["description"])
    _choices(node, out)
    out |= _bounds(node)
    if "array" in kinds:
        out["items"] = _node(node.get("items"), root, depth + 1)
    if "object" in kinds or isinstance(node.get("properties"), Mapping):
        _object(node, root, depth, out)
    branches = node.get("anyOf", node.get("oneOf"))
    if isinstance(branches, list) and branches and "anyOf" not in out:
        if len(branches) > MOST:
            raise _TooMuch
        _either([_node(each, root, depth + 1) for each in branches], out)
    elif len(kinds) > 1:
        _either([{"type": kind} for kind in kinds], out)
    if not {"type", "anyOf"} & out.keys():
        out |= ANYTHING
    return out


def _bounds(node: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: node[key] for key in _LENGTHS if type(node.get(key)) is int and node[key] >= 0}
    for key in ("minimum", "maximum"):
        if type(node.get(key)) in (int, float) and math.isfinite(node[key]):
            found[key] = node[key]
    return found


def _kinds(node: Mapping[str, Any]) -> list[str]:
    kinds = node.get("type")
    found = kinds if isinstance(kinds, list) else [kinds]
    return [kind for kind in found if kind in _TYPES]


def _choices(node: Mapping[str, Any], out: dict[str, Any]) -> None:
    values = node.get("enum", [node["const"]] if "const" in node else None)
    if isinstance(values, list) and 0 < len(values) <= MOST:
        plain = [value for value in values if _simple(value)]
        kinds = {_NAMES[type(value)] for value in plain}
        if len(kinds) == 1 and out.get("type") in (None, *kinds, "number"):
            out["enum"] = plain
            out.setdefault("type", kinds.pop())
        elif plain:
            told = f"{out.get('description', '')} One of {json.dumps(plain)}."
            out["description"] = _words(told.lstrip())
    default = node.get("default")
    if _simple(default) and default not in ("", False):
        told = out.get("description", "")
        if "default" not in told.lower():
            out["description"] = _words(f"{told} Default {json.dumps(default)}.".lstrip())


def _simple(value: object) -> bool:
    return type(value) in _NAMES and (not isinstance(value, float) or math.isfinite(value))


def _object(node: Mapping[str, Any], root: _Document, depth: int, out: dict[str, Any]) -> None:
    properties = node.get("properties")
    out["type"] = "object"
    if not isinstance(properties, Mapping) or not properties:
        return  # any object
    if len(properties) > MOST:
        raise _TooMuch
    out["properties"] = {
        str(name): _node(inner, root, depth + 1) for name, inner in properties.items()
    }
    required = node.get("required")
    named = required if isinstance(required, list) else []
    out["required"] = [name for name in out["properties"] if name in named]
    if node.get("additionalProperties") is False:
        out["additionalProperties"] = False


def _either(branches: list[dict[str, Any]], out: dict[str, Any]) -> None:
    """One of several; `null` is no branch of its own where it only says that the value may be left out."""
    real = [branch for branch in branches if branch.get("type") != "null"]
    if len(real) == 1 and not {"type", "enum"} & out.keys():
        told = out.get("description")
        out.update(real[0])
        if told:
            out["description"] = told
    elif real and all(branch for branch in real) and "properties" not in out:
        out.pop("type", None)
        out["anyOf"] = real


def _followed(node: Mapping[str, Any], root: _Document, depth: int) -> Mapping[str, Any]:
    """`node` with its reference, and all of its `allOf`, put in."""
    merged = dict(node)
    for _ in range(DEEPEST):
        reference = merged.pop("$ref", None)
        if reference is None:
            break
        merged = {**_target(reference, root), **merged}
    parts = merged.pop("allOf", None)
    if isinstance(parts, list):
        for part in parts[:MOST]:
            root.step()
            if isinstance(part, Mapping):
                _merge(merged, _followed(part, root, depth + 1))
    if depth > DEEPEST:
        raise _TooMuch
    return merged


def _merge(into: dict[str, Any], part: Mapping[str, Any]) -> None:
    for key, value in part.items():
        if key == "properties" and isinstance(value, Mapping):
            into[key] = {**value, **into.get(key, {})}
        elif key == "required" and isinstance(value, list):
            into[key] = [*into.get(key, []), *value]
        else:
            into.setdefault(key, value)


def _target(reference: Any, root: _Document) -> Mapping[str, Any]:
    """What a reference within the document points at; nothing for one that points elsewhere."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return {}
    at: Any = root.schema
    for part in reference[1:].split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        at = at.get(key) if isinstance(at, Mapping) else None
    return at if isinstance(at, Mapping) else {}

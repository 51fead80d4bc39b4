"""The JSON Schema a provider is told for a tool's arguments: the part of the language every vendor takes.

What is taken out, and why (vendors' rules as of late 2025):

* `$ref` and `$defs` are inlined: Google's function declarations and several local servers do not follow them.
* `title` goes: it repeats the name of the field and costs tokens in every request. So do the docstrings of structs,
  which are for programmers.
* `default` goes: OpenAI's strict mode refuses it and Google's older field ignores it. What it said is appended to the
  description in words, which every model reads; the value itself is filled in by msgspec when the call is decoded.
* `X | None = None` becomes `X`, not required: leaving the field out is the one way to say None (null is still read).
* lengths of texts go: no reasonable call needs to be told, and every request would carry them. Bounds of numbers stay:
  local servers make the calls by them.
* exclusive bounds become inclusive ones (the next integer; the same number for floats) and `discriminator` goes:
  Google knows neither. msgspec checks the exact rule anyway.
* objects made from structs say `additionalProperties: false` (strict mode demands it); `enum` always has a `type`.

`required` lists only fields without a default, and is left out when there is none. A provider that switches strict mode on makes the others nullable
itself (`without_nulls` takes those nulls out of the call); one whose API refuses `additionalProperties` drops it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from codetether.evaluated import evaluate

_ORDER = (
    "type", "description", "enum", "const", "format", "pattern", "minimum", "maximum", "multipleOf", "minItems", "maxItems", "items", "prefixItems", "anyOf", "properties", "required",
    "additionalProperties",
)  # fmt: skip
_DROPPED = frozenset(
    {"title", "default", "discriminator", "$defs", "$ref", "minLength", "maxLength"}
)
_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number"}


@lru_cache(maxsize=512)  # for every session anew it would be most of what opening one costs
def tool_parameters(struct_type: type[msgspec.Struct]) -> dict[str, Any]:
    """The schema of a tool's parameters: one closed object, fields in the order they are written in. The same object
    every time: change a copy.

    Raises TypeError for a type that contains itself: it cannot be written without references.
    """
    evaluate(struct_type)
    whole = msgspec.json.schema(struct_type)
    defs = whole.get("$defs", {})
    schema = _clean(whole, defs, ())
    schema.pop("description", None)
    return _ordered(schema)


def without_nulls(value: Any, schema: dict[str, Any]) -> Any:
    """Arguments without the nulls that stand for "left out": those of properties that are not required and of a type."""
    if isinstance(value, list):
        items = schema.get("items")
        return [without_nulls(each, items) for each in value] if isinstance(items, dict) else value
    properties = schema.get("properties")
    if not isinstance(value, dict) or not isinstance(properties, dict):
        return value
    required = schema.get("required", ())
    return {
        name: without_nulls(each, properties.get(name, {}))
        for name, each in value.items()
        if each is not None
        or name in required
        or not isinstance(properties.get(name, {}).get("type"), str)
    }


def _clean(node: dict[str, Any], defs: dict[str, Any], above: tuple[str, ...]) -> dict[str, Any]:
    """`node` without references and without what vendors do not take; `above` are the references around it."""
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        if name in above:
            raise TypeError(f"{name} contains itself; a tool's parameters must be finite")
        own = {key: value for key, value in node.items() if key != "$ref"}
        target = {key: value for key, value in defs[name].items() if key != "description"}
        return _clean({**target, **own}, defs, (*above, name))
    out = {key: value for key, value in node.items() if key not in _DROPPED}
    if "properties" in out:
        required = out.get("required", [])
        out["properties"] = {
            name: _field(value, defs, above, optional=name not in required)
            for name, value in out["properties"].items()
        }
        out["required"] = [name for name in out["properties"] if name in required]
        if not out["required"]:
            del out["required"]
        out["additionalProperties"] = False
    elif isinstance(out.get("additionalProperties"), dict):
        out["additionalProperties"] = _clean(out["additionalProperties"], defs, above)
    if isinstance(out.get("items"), dict):
        out["items"] = _clean(out["items"], defs, above)
    for key in ("anyOf", "prefixItems"):
        if key in out:
            out[key] = [_clean(item, defs, above) for item in out[key]]
    if "enum" in out:
        _type_enum(out)
    _close_bounds(out)
    return _ordered(out)


def _field(
    node: dict[str, Any], defs: dict[str, Any], above: tuple[str, ...], *, optional: bool
) -> dict[str, Any]:
    """One property: `| None` removed when leaving it out means None, and its default told in words."""
    branches = node.get("anyOf")
    if optional and branches and node.get("default", 0) is None:
        real = [branch for branch in branches if branch != {"type": "null"}]
        rest = {key: value for key, value in node.items() if key != "anyOf"}
        node = {**real[0], **rest} if len(real) == 1 else {**rest, "anyOf": real}
    out = _clean(node, defs, above)
    words = _default_in_words(node.get("default"))
    if words and "default" not in out.get("description", "").lower():
        told = out.get("description", "")
        stop = "" if not told or told.endswith((".", "!", "?", ":")) else "."
        out["description"] = f"{told}{stop} {words}".lstrip()
    return _ordered(out)


def _default_in_words(default: Any) -> str:
    """Nothing for what a reader expects anyway: absent, empty, false."""
    if default in (None, False, "", [], {}):
        return "Default 0." if default == 0 and type(default) is int else ""
    bare = isinstance(default, str) and default.replace("_", "").replace("-", "").isalnum()
    return f"Default {default if bare else msgspec.json.encode(default).decode()}."


def _type_enum(node: dict[str, Any]) -> None:
    kinds = {_TYPES.get(type(value)) for value in node["enum"]}
    if len(kinds) == 1 and None not in kinds:
        node["type"] = kinds.pop()


def _close_bounds(node: dict[str, Any]) -> None:
    for exclusive, inclusive, step in (
        ("exclusiveMinimum", "minimum", 1),
        ("exclusiveMaximum", "maximum", -1),
    ):
        if exclusive in node:
            bound = node.pop(exclusive)
            node[inclusive] = int(bound) + step if node.get("type") == "integer" else bound


def _ordered(node: dict[str, Any]) -> dict[str, Any]:
    known = {key: node[key] for key in _ORDER if key in node}
    return {**known, **{key: node[key] for key in sorted(node) if key not in known}}

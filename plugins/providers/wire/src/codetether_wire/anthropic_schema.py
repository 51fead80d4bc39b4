"""The Anthropic Messages dialect: an answer that follows a JSON Schema.

Where the vendor has it, by `output_config.format`. Elsewhere by a tool made for the answer, which the model is forced
to call; the decoder gives its arguments as the answer's text, so that nobody above sees a difference.
"""

from __future__ import annotations

from typing import Any

from codetether_wire.json_schema import clean_schema

STRUCTURED = "structured_answer"
_FORMATS = (
    "date-time",
    "time",
    "date",
    "duration",
    "email",
    "hostname",
    "uri",
    "ipv4",
    "ipv6",
    "uuid",
)
_CHOICES = ("anyOf", "oneOf", "allOf")


def answer_tool(schema: dict[str, Any]) -> dict[str, Any]:
    """The tool whose arguments are the answer."""
    return {
        "name": STRUCTURED,
        "description": "Give the final answer. Call this once, when everything else is done.",
        "input_schema": _object(clean_schema(schema)),
    }


def answer_format(schema: dict[str, Any]) -> dict[str, Any]:
    """The `format` of `output_config`."""
    return {"type": "json_schema", "schema": _strict(clean_schema(schema))}


def _object(schema: dict[str, Any]) -> dict[str, Any]:
    return schema if schema.get("type") == "object" else {"type": "object", **schema}


def _strict(schema: dict[str, Any]) -> dict[str, Any]:
    """What the vendor's grammar takes: objects are closed; what it refuses (bounds, patterns) is told in words."""
    rest = dict(schema)
    strict: dict[str, Any] = {}
    _choices(rest, strict)
    for key in ("type", "enum", "const", "description"):
        if key in rest:
            strict[key] = rest.pop(key)
    if rest.get("format") in _FORMATS:
        strict["format"] = rest.pop("format")
    if isinstance(rest.get("items"), dict):
        strict["items"] = _strict(rest.pop("items"))
    if rest.get("minItems") in (0, 1):
        strict["minItems"] = rest.pop("minItems")
    if strict.get("type") == "object" or "properties" in rest:
        properties = rest.pop("properties", {})
        strict["properties"] = {name: _strict(inner) for name, inner in properties.items()}
        strict["additionalProperties"] = False
        rest.pop("additionalProperties", None)
        if "required" in rest:
            strict["required"] = rest.pop("required")
    return _told(strict, rest)


def _choices(rest: dict[str, Any], strict: dict[str, Any]) -> None:
    for key in _CHOICES:
        variants = rest.get(key)
        if isinstance(variants, list) and not strict:
            del rest[key]
            strict["anyOf" if key == "oneOf" else key] = [_strict(inner) for inner in variants]


def _told(strict: dict[str, Any], rest: dict[str, Any]) -> dict[str, Any]:
    if rest:
        words = ", ".join(f"{key}: {value}" for key, value in rest.items())
        before = strict.get("description")
        strict["description"] = f"{before}\n\n{{{words}}}" if before else f"{{{words}}}"
    return strict

"""JSON Schemas as Google's `parametersJsonSchema` and `responseJsonSchema` take them."""

from __future__ import annotations

from typing import Any

from codetether_wire.json_schema import clean_schema

# The keywords Google's reference lists. Others are refused by some models and ignored by the rest, and the toolbox
# checks the arguments anyway.
_KEYWORDS = frozenset(
    {
        "type", "format", "description", "enum", "items", "prefixItems", "minItems", "maxItems", "minimum", "maximum",
        "anyOf", "oneOf", "properties", "additionalProperties", "required", "propertyOrdering",
    }
)  # fmt: skip
_FORMATS = frozenset({"date-time", "date", "time", "int32", "int64", "float", "double"})


def google_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """A copy that holds only what Google knows: `const` becomes `enum`, references are put in place."""
    return _kept(clean_schema(schema))


def _kept(schema: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "const":
            kept["enum"] = [value]
        elif key == "format":
            if value in _FORMATS:
                kept[key] = value
        elif key == "properties" and isinstance(value, dict):
            kept[key] = {name: _inner(inner) for name, inner in value.items()}
        elif key in _KEYWORDS:
            kept[key] = value if key in ("enum", "required", "propertyOrdering") else _inner(value)
    return kept


def _inner(value: Any) -> Any:
    if isinstance(value, dict):
        return _kept(value)
    if isinstance(value, list):
        return [_inner(inner) for inner in value]
    return value

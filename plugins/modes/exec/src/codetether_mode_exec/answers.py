"""Answers that must be JSON of a given shape."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from codetether.api import UsageError
from jsonschema import SchemaError
from jsonschema.exceptions import best_match
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

FENCED = re.compile(r"```(?:json|JSON)?[ \t]*\n(.*?)\n[ \t]*```", re.DOTALL)
SHOWN = 300


def load_schema(path: Path) -> dict[str, Any]:
    """The JSON Schema in a file. Raises UsageError when it cannot be read or is none."""
    try:
        schema = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}") from None
    if not isinstance(schema, dict):
        raise UsageError(f"{path} is not a JSON Schema: it must be an object")
    try:
        validator_for(schema).check_schema(schema)
    except SchemaError as error:
        raise UsageError(f"{path} is not a JSON Schema: {error.message[:SHOWN]}") from None
    return schema


def checker(schema: dict[str, Any]) -> Callable[[str], tuple[str, str]]:
    """A function from an answer to the JSON text in it, and what is wrong with it or "".

    Text around the document is cut off when the document is the only one, in a fence. Nothing is fetched: a `$ref` to
    another document is an error.
    """
    validator = validator_for(schema)(schema, registry=Registry())

    def check(answer: str) -> tuple[str, str]:
        text = document(answer)
        try:
            value = json.loads(text, parse_constant=_no_constant)
        except ValueError as error:
            return answer, f"it is not JSON ({error})"
        try:
            worst = best_match(validator.iter_errors(value))
        except Unresolvable as error:
            return text, f"the schema cannot be used ({error})"
        return text, f"at {worst.json_path}: {worst.message[:SHOWN]}" if worst is not None else ""

    return check


def document(answer: str) -> str:
    """The JSON document an answer is, or holds in its one fence."""
    text = answer.strip()
    fences = FENCED.findall(text)
    return fences[0].strip() if len(fences) == 1 and not text.startswith(("{", "[", '"')) else text


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")

"""Settings structs from layered tables: every value with its origin, every mistake found at once."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, get_args

import msgspec

from codetether.evaluated import evaluate
from codetether.settings import note

if TYPE_CHECKING:
    from msgspec.structs import FieldInfo

S = TypeVar("S", bound=msgspec.Struct)
TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off"})


class Value(NamedTuple):
    """A setting as written, and where: a file's path, `environment NAME`, or `command line`."""

    value: Any
    origin: str


Node = MutableMapping[str, Any]  # keys to Value, or to further Nodes


class Filled(msgspec.Struct, frozen=True):
    """What became of a table: `found` values by field, `wrong` and `unknown` keys as lines that name the file."""

    found: dict[str, Any]
    wrong: list[str]
    unknown: list[str]


def overlay(below: Node, table: Mapping[str, Any], origin: str) -> None:
    """Lay `table` over `below`: tables merge key by key, anything else replaces."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            node = below.get(key)
            if not isinstance(node, dict):
                node = below[key] = {}
            overlay(node, value, origin)
        else:
            below[key] = Value(value, origin)


def plain(node: Any) -> Any:
    """A Node as ordinary data."""
    return {key: plain(sub) for key, sub in node.items()} if isinstance(node, dict) else node.value


def origin_of(node: Any) -> str:
    """Where a node comes from; of a table, its first value."""
    while isinstance(node, dict):
        node = next(iter(node.values()), None)
    return node.origin if node is not None else "default"


def fill(cls: type[msgspec.Struct], node: Node, env: Mapping[str, str], where: str = "") -> Filled:
    """Values for `cls` from `node` and the environment its fields name. The command line beats the environment."""
    result = Filled({}, [], [])
    fields = {field.encode_name: field for field in _fields(cls)}
    for name, field in fields.items():
        kind = field.type
        entry = _from_env(kind, node.get(name), env)
        inner = struct_of(kind)
        if entry is None:
            entry = {} if inner else None  # a field inside may come from the environment
        if entry is None:
            continue
        if isinstance(entry, dict) and inner is not None:
            below = fill(inner, entry, env, f"{where}{name}.")
            result.wrong.extend(below.wrong)
            result.unknown.extend(below.unknown)
            if not below.wrong:
                result.found[field.name] = inner(**below.found)
        else:
            _one(kind, entry, where + name, field.name, result)
    for name in node:
        if name not in fields:
            result.unknown.append(_unknown(name, node[name], where, fields))
    return result


def field_types(cls: type[msgspec.Struct]) -> dict[str, Any]:
    """The field types of a struct with their Meta, by field name."""
    return {field.name: field.type for field in _fields(cls)}


@cache
def _fields(cls: type[msgspec.Struct]) -> tuple[FieldInfo, ...]:
    """Kept: to make types of annotations is the dearest part of reading settings, and settings are read twice."""
    evaluate(cls)
    return msgspec.structs.fields(cls)


def struct_of(kind: Any) -> type[msgspec.Struct] | None:
    """The struct behind a field's type, if it is one."""
    bare = get_args(kind)[0] if hasattr(kind, "__metadata__") else kind
    return bare if isinstance(bare, type) and issubclass(bare, msgspec.Struct) else None


def _from_env(kind: Any, entry: Any, env: Mapping[str, str]) -> Any:
    name = note(kind, "env")
    if (
        not name
        or not env.get(name)
        or (isinstance(entry, Value) and entry.origin == "command line")
    ):
        return entry
    return Value(env[name], f"environment {name}")


def _one(kind: Any, entry: Any, key: str, field: str, result: Filled) -> None:
    value = plain(entry)
    origin = origin_of(entry)
    try:
        lax = isinstance(value, str) and not isinstance(entry, dict) and not _is_file(origin)
        result.found[field] = from_text(value, kind) if lax else msgspec.convert(value, kind)
    except (msgspec.ValidationError, ValueError) as error:
        result.wrong.append(f"{origin}: {key}: {error}")


def _is_file(origin: str) -> bool:
    return not origin.startswith(("environment ", "command line"))


def from_text(text: str, kind: Any) -> Any:
    """What a person wrote on a command line or in the environment, as `kind`: JSON for lists and tables, or a list by
    commas. Raises msgspec.ValidationError.
    """
    try:
        return msgspec.convert(text, kind)
    except msgspec.ValidationError as as_text:
        for attempt in (_flag, _json, _list):
            try:
                return msgspec.convert(attempt(text), kind, strict=False)
            except (msgspec.ValidationError, msgspec.DecodeError, ValueError):
                continue
        try:
            return msgspec.convert(text, kind, strict=False)
        except msgspec.ValidationError:
            raise as_text from None


def _flag(text: str) -> bool:
    word = text.strip().lower()
    if word not in TRUE | FALSE:
        raise ValueError
    return word in TRUE


def _json(text: str) -> Any:
    return msgspec.json.decode(text)


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _unknown(name: str, node: Any, where: str, fields: Mapping[str, Any]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, fields, 1, 0.6)
    meant = f", did you mean {near[0]}?" if near else ""
    return f"{origin_of(node)}: {where}{name} is not a setting{meant}"

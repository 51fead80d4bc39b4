"""Markdown of settings, parameters and arguments, for the reference pages."""

from __future__ import annotations

import argparse
import inspect
import json
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from codetether.settings import note

WORDS = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    bytes: "bytes",
    Any: "anything",
}


def type_words(hint: Any) -> str:
    """A field's type as a person says it; None and unset, which mean leaving it out, are not told."""
    if get_origin(hint) is Annotated:
        return type_words(get_args(hint)[0])
    if hint in WORDS:
        return WORDS[hint]
    origin, args = get_origin(hint), get_args(hint)
    if origin in (types.UnionType, Union):
        told = [type_words(arg) for arg in args if arg not in (type(None), msgspec.UnsetType)]
        return " or ".join(dict.fromkeys(told))
    if origin is Literal:
        return ", ".join(f"`{arg}`" for arg in args)
    if origin in (list, tuple, frozenset, set):
        return f"list of {type_words(args[0])}"
    if origin is dict:
        return f"table of {type_words(args[1])}"
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return "table"
    return getattr(hint, "__name__", str(hint))


def bounds(hint: Any) -> str:
    """`, 1 to 600` where the field has limits."""
    found: dict[str, Any] = {}
    for part in _annotations(hint):
        for name in ("gt", "ge", "lt", "le"):
            if (value := getattr(part, name)) is not None:
                found[name] = value
    low = (
        f"above {found['gt']}" if "gt" in found else f"from {found['ge']}" if "ge" in found else ""
    )
    high = f"below {found['lt']}" if "lt" in found else f"to {found['le']}" if "le" in found else ""
    told = f"{low} {high}".strip()
    return f", {told}" if told else ""


def _annotations(hint: Any) -> Iterator[msgspec.Meta]:
    yield from (
        item for item in getattr(hint, "__metadata__", ()) if isinstance(item, msgspec.Meta)
    )
    for arg in get_args(hint):
        if get_origin(hint) in (Annotated, types.UnionType, Union):
            yield from _annotations(arg)


def default_words(field: msgspec.structs.FieldInfo) -> str:
    """The default as TOML-like text; nothing when leaving the key out means something of its own."""
    if field.default is not msgspec.NODEFAULT:
        value = field.default
    elif field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    else:
        return ""
    if value is None or value is msgspec.UNSET:
        return ""
    return f"`{msgspec.json.encode(value).decode()}`"


def settings_table(cls: type[msgspec.Struct], above: str = "") -> list[str]:
    """A table row for each setting, tables inside it with a dotted key."""
    rows = _settings_rows(cls, above)
    if not rows:
        return []
    return ["| key | type | default | what it is for |", "|---|---|---|---|", *rows]


def _settings_rows(cls: type[msgspec.Struct], above: str) -> list[str]:
    hints = get_type_hints(cls, include_extras=True)
    rows = []
    for field in msgspec.structs.fields(cls):
        hint = hints[field.name]
        bare = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
            rows += _settings_rows(bare, f"{above}{field.encode_name}.")
            continue
        env = note(hint, "env")
        told = _description(hint) + (f" Environment: `{env}`." if env else "")
        rows.append(
            _row(
                f"`{above}{field.encode_name}`",
                type_words(hint) + bounds(hint),
                default_words(field),
                told,
            )
        )
    return rows


def _description(hint: Any) -> str:
    text = next((meta.description for meta in _annotations(hint) if meta.description), "")
    return text if not text or text.endswith((".", "?", "!")) else f"{text}."


def parameters_table(schema: dict[str, Any]) -> list[str]:
    """A table of a tool's parameters, as the model is told."""
    rows = [
        _row(
            f"`{name}`",
            _schema_words(prop),
            "yes" if name in schema.get("required", ()) else "",
            prop.get("description", ""),
        )
        for name, prop in schema["properties"].items()
    ]
    return (
        ["| parameter | type | required | what the model is told |", "|---|---|---|---|", *rows]
        if rows
        else []
    )


def _schema_words(prop: dict[str, Any]) -> str:
    if "enum" in prop:
        return ", ".join(f"`{value}`" for value in prop["enum"])
    if "anyOf" in prop:
        return " or ".join(_schema_words(part) for part in prop["anyOf"])
    if prop.get("type") == "array":
        return f"list of {_schema_words(prop.get('items', {}))}"
    return str(prop.get("type", "anything"))


def arguments_table(parser: argparse.ArgumentParser, above: str = "") -> list[str]:
    """A table of a mode's arguments; those of its words (subcommands) follow with the word before them."""
    rows = _argument_rows(parser, above)
    return ["| argument | default | what it does |", "|---|---|---|", *rows] if rows else []


def _argument_rows(parser: argparse.ArgumentParser, above: str) -> list[str]:
    rows = []
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction) or action.help == argparse.SUPPRESS:
            continue
        if isinstance(action, argparse._SubParsersAction):
            told = {choice.dest: choice.help or "" for choice in action._choices_actions}
            seen: set[int] = set()
            for word, sub in action.choices.items():
                if id(sub) not in seen:
                    seen.add(id(sub))
                    rows.append(_row(f"`{above}{word}`", "", told.get(word, "")))
                    rows += _argument_rows(sub, f"{above}{word} ")
            continue
        names = ", ".join(action.option_strings) or str(action.metavar or action.dest)
        value = "" if action.nargs == 0 or not action.option_strings else f" {_metavar(action)}"
        shown = action.default not in (None, False, argparse.SUPPRESS, [], "")
        default = f"`{json.dumps(action.default, default=str)}`" if shown else ""
        rows.append(
            _row(f"`{above}{names}{value}`", default, (action.help or "") % _values(action))
        )
    return rows


def _metavar(action: argparse.Action) -> str:
    if action.metavar:
        return action.metavar if isinstance(action.metavar, str) else " ".join(action.metavar)
    return "|".join(map(str, action.choices)) if action.choices else action.dest.upper()


def _values(action: argparse.Action) -> dict[str, Any]:
    return {**vars(action), "prog": "codetether", "type": getattr(action.type, "__name__", "")}


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def doc(thing: Any) -> str:
    """A docstring without its indentation."""
    return inspect.cleandoc(thing.__doc__ or "")

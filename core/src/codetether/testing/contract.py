"""What every plugin must keep to, as checks anyone can run on their own: each raises AssertionError naming all faults.

def test_contract():
    check_plugin("hello", "codetether.tools")
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import entry_points
from typing import Any, cast, get_args

import msgspec

from codetether.ports import APIS, KINDS, NoSettings, Plugin, Provider, Sandbox, Tool
from codetether.words import Effect

HEAVY = ("pydantic", "prompt_toolkit", "hvac", "ctransformers")
DESCRIPTION_LIMIT = 1500
SUMMARY_LIMIT = 60
TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class _Bare:
    """All of a kernel that a plugin may use while it is built: its settings, here the defaults."""

    def settings(self, key: str, cls: type[msgspec.Struct]) -> msgspec.Struct:
        return cls()


def check_plugin(entry_point_name: str, group: str) -> None:
    """Everything that can be asked of an installed plugin of any kind. `group` as in `codetether.tools`."""
    found = list(entry_points(group=group, name=entry_point_name))
    _raise(
        []
        if len(found) == 1
        else [f"{len(found)} entry points {group}:{entry_point_name}, not one"]
    )
    entry = found[0]
    dist = entry.dist
    summary = (dist.metadata["Summary"] or "") if dist is not None else ""
    problems = [f"{dist.name}: {text}" for text in _summary(summary)] if dist is not None else []
    problems += [f"{entry.value} imports {name}" for name in sorted(heavy_imports(entry.module))]
    cls = entry.load()
    kind = group.partition(".")[2]
    if issubclass(cls, Tool):
        problems += _tool(cls, entry_point_name)
    else:
        problems += _plugin(cls, kind)
    _raise(f"{kind}:{entry_point_name}: {text}" for text in problems)


def contract_plugin(cls: type[Plugin], kind: str = "extensions") -> None:
    """The class says which api it speaks, derives from its kind's port, and its settings explain themselves."""
    _raise(_plugin(cls, kind))


def contract_tool(cls: type[Tool[Any]], name: str = "") -> None:
    """A tool: as `contract_plugin`, and text and schema that every vendor accepts. `name`: default `name` of the class,
    or its name in snake case.
    """
    _raise(_tool(cls, name or getattr(cls, "name", "") or _snake(cls.__name__)))


def contract_settings(cls: type[msgspec.Struct]) -> None:
    """Every setting has a default and a description."""
    _raise(_settings(cls))


def contract_schema(schema: dict[str, Any]) -> None:
    """A JSON Schema that strict modes accept: objects closed, no `$ref`, every property described."""
    _raise(_schema(schema, "parameters"))


def contract_imports(module: str, heavy: Sequence[str] = HEAVY) -> None:
    """Importing `module` brings in none of `heavy`; those belong into the function that needs them."""
    _raise(f"{module} imports {name}" for name in sorted(heavy_imports(module, heavy)))


def heavy_imports(module: str, heavy: Sequence[str] = HEAVY) -> set[str]:
    """Which of `heavy` are imported by importing `module` in a fresh interpreter. AssertionError when it cannot be."""
    code = "import sys, json, importlib; importlib.import_module(sys.argv[1]); print(json.dumps(list(sys.modules)))"
    # A test may be synchronous, and then there is no event loop for codetether.process.
    done = subprocess.run(
        [sys.executable, "-c", code, module], capture_output=True, check=False, timeout=60
    )
    _raise(
        [f"{module} cannot be imported: {done.stderr.decode(errors='replace')[-500:]}"]
        if done.returncode
        else []
    )
    return set(heavy) & set(json.loads(done.stdout.splitlines()[-1]))


def _raise(problems: Iterable[str]) -> None:
    if told := list(problems):
        raise AssertionError("\n".join(told))


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _summary(summary: str) -> Iterator[str]:
    if not summary or len(summary) >= SUMMARY_LIMIT:
        yield f"description is {len(summary)} characters long, not 1 to {SUMMARY_LIMIT - 1}: {summary!r}"


def _plugin(cls: type[Plugin], kind: str) -> list[str]:
    problems = []
    if (api := vars(cls).get("api")) not in APIS:
        problems.append(
            f"{cls.__name__} says api = {api}, not one of {sorted(APIS)}, in its own body"
        )
    port = _port(kind)
    if not issubclass(cls, port):
        problems.append(f"{cls.__name__} is no {port.__name__}, which {kind} are")
    if issubclass(cls, Provider) and not isinstance(vars(cls).get("keyless", False), bool):
        problems.append("keyless is not a bool")
    if issubclass(cls, Sandbox) and cls.level not in ("S0", "S1", "S2", "S3"):
        problems.append(f"level {cls.level!r} is none of S0 to S3")
    return problems + list(_settings(cls.Settings))


def _port(kind: str) -> type[Plugin]:
    from codetether import ports

    names = {plural: singular.capitalize() for singular, plural in KINDS.items()}
    return cast("type[Plugin]", getattr(ports, names[kind]))


def _settings(cls: type[msgspec.Struct]) -> Iterator[str]:
    if cls is NoSettings:
        return
    for field in msgspec.structs.fields(cls):
        if field.required:
            yield f"setting {field.name} has no default"
        if not _described(field.type):
            yield f"setting {field.name} has no description"


def _described(annotation: Any) -> bool:
    return any(
        isinstance(note, msgspec.Meta) and bool(note.description)
        for note in getattr(annotation, "__metadata__", ())
    ) or any(_described(part) for part in get_args(annotation))


def _tool(cls: type[Tool[Any]], name: str) -> list[str]:
    problems = _plugin(cls, "tools")
    if not TOOL_NAME.fullmatch(name):
        problems.append(f"{name!r} is no name a vendor accepts")
    if not isinstance(getattr(cls, "effect", None), Effect):
        problems.append("effect is not an Effect")
    if not all(isinstance(alias, str) for alias in cls.aliases):
        problems.append("aliases are not text")
    try:
        tool = cls(cast("Any", _Bare()), f"tools:{name}")
        schema = tool.schema()
        again = tool.schema()
    except Exception as error:
        return [*problems, f"schema() raised {type(error).__name__}: {error}"]
    if json.dumps(schema.parameters) != json.dumps(again.parameters):
        problems.append("the schema differs between two calls, so prompt caches miss")
    if not 0 < len(schema.description) <= DESCRIPTION_LIMIT:
        problems.append(
            f"the description has {len(schema.description)} characters, not 1 to {DESCRIPTION_LIMIT}"
        )
    if schema.parameters.get("type") != "object":
        problems.append("parameters are not an object")
    return problems + list(_schema(schema.parameters, "parameters"))


def _schema(node: Any, where: str) -> Iterator[str]:
    if isinstance(node, list):
        for index, item in enumerate(node):
            yield from _schema(item, f"{where}[{index}]")
        return
    if not isinstance(node, dict):
        return
    if "$ref" in node or "$defs" in node:
        yield f"{where} uses $ref, which strict modes refuse"
    properties = node.get("properties")
    if node.get("type") == "object" and node.get("additionalProperties") is not False:
        yield f"{where} does not say additionalProperties: false"
    for name, value in (properties or {}).items():
        if not value.get("description"):
            yield f"{where}.{name} has no description"
        yield from _schema(value, f"{where}.{name}")
    for key in ("items", "anyOf", "oneOf", "allOf", "prefixItems"):
        yield from _schema(node.get(key), f"{where}.{key}")

"""What `config show` and `config schema` say: every value with its origin, secrets masked; every key with its type."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from codetether.fill import field_types, plain, struct_of
from codetether.settings import AgentSettings, General, RuleSettings, note

if TYPE_CHECKING:
    from codetether.kernel import Kernel

MASK = "********"
SECRET_WORDS = ("key", "token", "secret", "password", "authorization", "cookie")


def show(kernel: Kernel, *, as_json: bool, origin: bool) -> str:
    """The settings in force, one dotted key a line (which is TOML), or as JSON by key."""
    rows = list(_rows(kernel))
    redact: Callable[[str], str] = kernel.redact.text
    if as_json:
        found = {
            key: {"value": value, "origin": where} if origin else value
            for key, value, where in rows
        }
        return redact(json.dumps(found, indent=2, ensure_ascii=False))
    lines = []
    for key, value, where in rows:
        line = f"# {key} is not set" if value is None else f"{key} = {inline(value)}"
        lines.append(f"{line}  # {where}" if origin else line)
    return redact("\n".join(lines))


def inline(value: Any) -> str:
    """A value as TOML in one line."""
    import tomlkit

    if isinstance(value, Mapping):
        return (
            "{"
            + ", ".join(f"{dotted(str(key))} = {inline(sub)}" for key, sub in value.items())
            + "}"
        )
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(inline, value)) + "]"
    text: str = tomlkit.item(value).as_string()
    return text


def _rows(kernel: Kernel) -> Iterator[tuple[str, Any, str]]:
    config = kernel.config
    yield from _fields(kernel, General, config.kernel, ())
    if config.rules:
        rules = [_rule(rule) for rule in config.rules]
        yield (
            "permissions.rules",
            rules,
            ", ".join(dict.fromkeys(rule.origin for rule in config.rules)),
        )
    for name, fields in config.kernel.agents.items():
        for field, value in fields.items():
            yield dotted("agents", name, field), value, config.origin("agents", name, field)
    for key in config.plugin_keys():
        secret = secret_fields(kernel, key)
        for path, value in _leaves(plain(config.table(key)), ()):
            shown = MASK if path[0] in secret or any(map(looks_secret, path)) else value
            yield dotted("plugins", key, *path), shown, config.origin("plugins", key, *path)


def _fields(
    kernel: Kernel, cls: type[msgspec.Struct], value: msgspec.Struct, above: tuple[str, ...]
) -> Iterator[tuple[str, Any, str]]:
    for name, kind in field_types(cls).items():
        path = (*above, name)
        if path in (("permissions",), ("agents",)):
            continue
        inner = struct_of(kind)
        if inner is not None:
            yield from _fields(kernel, inner, getattr(value, name), path)
            continue
        yield dotted(*path), msgspec.to_builtins(getattr(value, name)), _origin(kernel, kind, path)


def _origin(kernel: Kernel, kind: Any, path: tuple[str, ...]) -> str:
    config = kernel.config
    if path == ("plugins", "off"):
        return config.off_origin()
    where = config.origin(*path)
    env = note(kind, "env")
    return (
        f"environment {env}"
        if env and where != "command line" and config.in_environment(env)
        else where
    )


def _rule(rule: Any) -> dict[str, str]:
    fields = {
        name: getattr(rule, name)
        for name in ("tool", "command", "path", "url")
        if getattr(rule, name)
    }
    return {**fields, "verdict": rule.verdict.name.lower()}


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, Mapping) and value:
        for name, sub in value.items():
            yield from _leaves(sub, (*path, name))
    elif path:
        yield path, value


def looks_secret(name: str) -> bool:
    """Whether a key's name says that its value should not be shown."""
    words = name.lower().replace("-", "_").split("_")
    return any(word in SECRET_WORDS for word in words)


def secret_fields(kernel: Kernel, key: str) -> frozenset[str]:
    """The fields a plugin marks secret; none when the plugin is not there."""
    cls = settings_of(kernel, key)
    return (
        frozenset(name for name, kind in field_types(cls).items() if note(kind, "secret"))
        if cls
        else frozenset()
    )


def settings_of(kernel: Kernel, key: str) -> type[msgspec.Struct] | None:
    """A plugin's Settings, or None when it is not installed, off, or faulty."""
    kind, _, name = key.partition(":")
    if name not in kernel.host.names(kind):
        return None
    plugin = kernel.host.get(kind, name)
    cls = getattr(plugin, "Settings", None)
    return cls if isinstance(cls, type) and issubclass(cls, msgspec.Struct) else None


def all_settings(kernel: Kernel) -> dict[str, type[msgspec.Struct]]:
    """The Settings of every installed plugin that has any, by key. Loads them all."""
    found = {}
    for key in dict.fromkeys(row.key for row in kernel.host.rows):
        cls = settings_of(kernel, key)
        if cls is not None and msgspec.structs.fields(cls):
            found[key] = cls
    return found


def schema(kernel: Kernel) -> dict[str, Any]:
    """The JSON Schema of a settings file, the settings of installed plugins included."""
    plugins = all_settings(kernel)
    types = [General, RuleSettings, AgentSettings, *plugins.values()]
    refs, definitions = msgspec.json.schema_components(types, ref_template="#/$defs/{name}")
    tables = dict(zip(plugins, refs[3:], strict=True))
    switches = definitions["PluginSettings"]
    switches["properties"] = {**switches["properties"], **tables}
    definitions["General"]["properties"]["agents"]["additionalProperties"] = refs[2]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **refs[0],
        "$defs": definitions,
    }


def dotted(*path: str) -> str:
    """A key as written in TOML."""
    return ".".join(
        part
        if part.replace("_", "").replace("-", "").isalnum() and part.isascii()
        else json.dumps(part, ensure_ascii=False)
        for part in path
    )

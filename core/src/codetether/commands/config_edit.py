"""`config init` and `config set`: files written for people, whose comments and order stay."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

import msgspec

from codetether import layers, trust
from codetether.commands.config_view import all_settings, dotted, inline, looks_secret, settings_of
from codetether.errors import CodetetherError, ConfigError
from codetether.fill import field_types, from_text, struct_of
from codetether.locks import changing
from codetether.settings import AgentSettings, General, description, note

if TYPE_CHECKING:
    from codetether.kernel import Kernel

HEAD = """\
# Settings of CodeTether. Every line is optional; what is written here as a comment is the default.
# `codetether config show --origin` says what is in force, and why. Keys of providers do not belong here: docs/vault.md
"""


def init(kernel: Kernel) -> Path:
    """Write a commented settings file for the user. Raises CodetetherError when there is one: it is never replaced."""
    file = kernel.dirs.file
    text = "\n".join([HEAD, *_template(kernel)]) + "\n"
    with changing(file, None) as replace:
        if os.path.lexists(file):
            raise CodetetherError(
                f"{file} exists and was left as it is", "change it with `codetether config set`"
            )
        replace(text.encode())
    return file


def _template(kernel: Kernel) -> Iterator[str]:
    tables = {}
    for name, kind in field_types(General).items():
        if (inner := struct_of(kind)) is not None:
            tables[name] = inner
        elif name != "agents":
            yield from _entry(name, kind, General)
    for name, cls in tables.items():
        yield f"# [{name}]"
        for field, kind in field_types(cls).items():
            yield from _entry(field, kind, cls)
    yield "# [agents.NAME]\n# changes single fields of an agent, or makes one"
    for field, kind in field_types(AgentSettings).items():
        yield f"#   {field}: {description(kind)}"
    for key, cls in all_settings(kernel).items():
        yield f"\n# [{dotted('plugins', key)}]"
        for field, kind in field_types(cls).items():
            yield from _entry(field, kind, cls)


def _entry(name: str, kind: Any, cls: type[msgspec.Struct]) -> Iterator[str]:
    field = next(field for field in msgspec.structs.fields(cls) if field.name == name)
    default = field.default if field.default is not msgspec.NODEFAULT else None
    if field.default_factory is not msgspec.NODEFAULT:
        default = field.default_factory()
    env = note(kind, "env")
    yield f"# {description(kind)}" + (f" (environment: {env})" if env else "")
    plain = msgspec.to_builtins(default)
    yield (
        f"# {field.encode_name} ="
        if plain is None
        else f"# {field.encode_name} = {inline(plain)}\n"
    )


def put(kernel: Kernel, key: str, text: str, project: bool) -> str:
    """Set one key in the user's or the project's file; all else in it stays. Returns what to tell the user.

    Raises ConfigError when there is no such key or the value does not fit it; the file is then untouched.
    """
    path = _modern(layers.split_key(key))
    value = _value(kernel, path, text)
    file = _project_file(kernel) if project else kernel.dirs.file
    was_trusted = project and trust.is_trusted(kernel.config.directory, kernel.dirs)
    with changing(file, None) as replace:
        replace(_edited(file, path, value))
    if was_trusted:
        trust.trust(kernel.config.directory, kernel.dirs)
    told = f"{dotted(*path)} is set in {file}"
    if project and not was_trusted and trust.needs_question(kernel.config.directory, kernel.dirs):
        told += "\nit counts once you trust this repository: codetether config trust"
    return told


def _modern(path: list[str]) -> list[str]:
    """The original's keys in today's place."""
    if path[0] == "default" and len(path) == 2:
        return [f"default_{path[1]}"]
    if path[0] == "providers" and len(path) > 2:
        return ["plugins", f"providers:{path[1]}", *path[2:]]
    if path[0] in layers.OLD_TABLES and len(path) > 1:
        return ["plugins", layers.OLD_TABLES[path[0]], *path[1:]]
    return path


def _value(kernel: Kernel, path: list[str], text: str) -> Any:
    if (
        path[0] == "plugins"
        and path[1:2]
        and path[1].startswith("providers:")
        and looks_secret(path[-1])
    ):
        raise ConfigError("keys of providers are kept in Vault, not in files", "see docs/vault.md")
    kind = _kind(kernel, path)
    try:
        value = from_text(text, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"{dotted(*path)}: {error}", f"it is: {description(kind) or kind}"
        ) from None
    plain = msgspec.to_builtins(value)
    if plain is None:
        raise ConfigError(
            f"{dotted(*path)}: a file cannot say `nothing`", "remove the line from the file instead"
        )
    return plain


def _kind(kernel: Kernel, path: list[str]) -> Any:
    """The type of the value at a key. Raises ConfigError naming what there is."""
    kind: Any = General
    for at, name in enumerate(path):
        above = path[:at]
        if above == ["plugins"] and ":" in name:
            kind = settings_of(kernel, name)
            if kind is None:
                raise ConfigError(
                    f"no plugin {name} is installed and switched on",
                    "see `codetether plugins list`",
                )
            continue
        if above == ["agents"]:
            kind = AgentSettings
            continue
        kind = _step(kind, name, above)
    if struct_of(kind) is not None or get_origin(_bare(kind)) is dict:
        raise ConfigError(f"{dotted(*path)} is a table, not a value", "name a key in it")
    return kind


def _step(kind: Any, name: str, above: list[str]) -> Any:
    struct = struct_of(kind)
    if struct is not None:
        fields = {field.encode_name: field.name for field in msgspec.structs.fields(struct)}
        if name in fields:
            return field_types(struct)[fields[name]]
        from difflib import get_close_matches

        near = get_close_matches(name, fields, 1)
        hint = (
            f"did you mean {dotted(*above, near[0])}?"
            if near
            else f"there are: {', '.join(fields) or 'none'}"
        )
        raise ConfigError(f"there is no setting {dotted(*above, name)}", hint)
    if get_origin(_bare(kind)) is dict:
        return get_args(_bare(kind))[1]
    raise ConfigError(f"{dotted(*above)} is a value, not a table")


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if hasattr(kind, "__metadata__") else kind


def _project_file(kernel: Kernel) -> Path:
    root = layers.repo_root(str(kernel.config.directory))
    paths = [Path(root, name) for name in layers.PROJECT_FILES]
    return next((path for path in paths if path.exists()), paths[-1])


def _edited(file: Path, path: list[str], value: Any) -> bytes:
    """The file's text with one value changed. A key written in the original's way is replaced by ours."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    data = layers.read_bytes(str(file)) or b""
    try:
        document = tomlkit.parse(data.decode("utf-8"))
        at: Any = document
        for name in path[:-1]:
            if name not in at:
                at[name] = tomlkit.table(is_super_table=True)
            at = at[name]
        at[path[-1]] = value
        return (tomlkit.dumps(document).rstrip("\n") + "\n").encode()
    except (TOMLKitError, UnicodeDecodeError, TypeError) as error:
        raise ConfigError(
            f"{file}: cannot be edited: {error}", "correct the file by hand"
        ) from None

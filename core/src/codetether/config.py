"""The settings of one working directory: defaults, files, environment, command line, in that order.

Files: the user's config.toml, then `codetether.toml` and `.codetether/config.toml` in every directory from the
repository's root down to the working directory. Of a project file only what cannot loosen anything counts until the
user trusts it (codetether.trust). Permission rules and `plugins.off` of all layers add up; all else is replaced.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import msgspec

from codetether import layers
from codetether.dirs import Dirs as Dirs  # noqa: PLC0414 - part of this module for those who import settings
from codetether.errors import ConfigError
from codetether.fill import Node, Value, fill, from_text, origin_of, overlay
from codetether.settings import AgentSettings, General, RuleSettings

if TYPE_CHECKING:
    from codetether.rules import Rule

S = TypeVar("S", bound=msgspec.Struct)
COMMAND_LINE = "command line"
SHORT_RULES = {"tools": "tool", "paths": "path", "commands": "command"}


class Config:
    """What is set, and where. Made by `load`.

    `kernel` holds the kernel's own settings, `rules` the permission rules of all layers, `off`, `only` and `choose`
    the switches, `notices` what a person should know (text, hint), `files` the files read, weakest first,
    `withheld` the keys of project files left out because the repository is not trusted (file, key). `tell` (text,
    hint), when set, is called for notices that come after loading.
    """

    def __init__(self, directory: Path, dirs: Dirs, env: Mapping[str, str]) -> None:
        self.directory = directory
        self.dirs = dirs
        self.notices: list[tuple[str, str]] = []
        self.tell: Callable[[str, str], None] | None = None
        self.files: list[Path] = []
        self.withheld: list[tuple[str, str]] = []
        self.rules: tuple[Rule, ...] = ()
        self.off: frozenset[str] = frozenset()
        self.only: tuple[str, ...] | None = None
        self.choose: dict[str, str] = {}
        self.kernel = General()
        self._env = env
        self._tree: Node = {}
        self._rules: list[Value] = []
        self._off: list[Value] = []

    @classmethod
    def load(
        cls,
        directory: Path,
        overrides: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        *,
        off: Sequence[str] = (),
    ) -> Self:
        """The settings for `directory`. `overrides` are dotted keys of the command line, `off` further switches.

        Raises ConfigError naming every wrong value with its file, or the file that is not TOML.
        """
        env = os.environ if env is None else env
        config = cls(directory, Dirs.find(env), env)
        config._read_user()
        config._read_projects()
        config._add(layers.Layer(COMMAND_LINE, layers.nested({**(overrides or {})})))
        config._off += [Value(name, COMMAND_LINE) for name in off]
        config._settle()
        return config

    # --- reading ---
    def _read_user(self) -> None:
        layer = layers.read_layer(str(self.dirs.file))
        if layer is not None:
            self._add(layer)
        elif self._env.get("CODETETHER_CONFIG"):
            self._warn(
                f"CODETETHER_CONFIG names {self.dirs.file}, which does not exist",
                "run `codetether config init`",
            )

    def _read_projects(self) -> None:
        paths = layers.project_files(str(self.directory))
        if not paths:
            return
        from codetether.trust import harmless, records

        root = layers.repo_root(str(self.directory))
        trusted = records(self.dirs).get(root, {})
        for path in paths:
            if os.path.realpath(path) == os.path.realpath(self.dirs.file):
                continue
            layer = layers.read_layer(path, project=True)
            if layer is None:
                continue
            if trusted.get(os.path.relpath(path, root)) != layer.digest:
                layer.table, left = harmless(layer.table, self._limits())
                self.withheld += [(path, key) for key in left]
            self._add(layer)
        if self.withheld:
            told = "; ".join(f"{path}: {key}" for path, key in self.withheld)
            self._warn(
                f"settings of a repository you have not trusted are left out ({told})",
                "read them, then run `codetether config trust`",
            )

    def _limits(self) -> dict[str, Any]:
        """The values a project may only tighten, from the layers so far. Wrong ones are reported in the end."""
        session = self._tree.get("session")
        session = session if isinstance(session, dict) else {}
        found: dict[str, Any] = {"access": _raw(self._tree.get("access")) or General().access}
        if found["access"] not in ("ask", "auto", "full"):
            found["access"] = "ask"
        for key in ("max_steps", "budget_usd"):
            value = _raw(session.get(key))
            found[key] = value if isinstance(value, int | float) else None
        return found

    def _add(self, layer: layers.Layer) -> None:
        if os.path.isabs(layer.origin):
            self.files.append(Path(layer.origin))
        for text in layer.notices:
            self._warn(text, "")
        table = dict(layer.table)
        permissions = table.pop("permissions", {})
        if not isinstance(permissions, Mapping):
            raise ConfigError(f"{layer.origin}: permissions: expected a table")
        self._rules += _rules(permissions, layer.origin)
        plugins = table.get("plugins")
        if isinstance(plugins, Mapping) and "off" in plugins:
            off = plugins["off"]
            off = from_text(off, list[str]) if isinstance(off, str) else off
            table["plugins"] = {key: value for key, value in plugins.items() if key != "off"}
            self._off += [
                Value(name, layer.origin) for name in (off if isinstance(off, list) else [off])
            ]
        overlay(self._tree, table, layer.origin)

    # --- settling ---
    def _settle(self) -> None:
        tree = dict(self._tree)
        agents = tree.pop("agents", {})
        plugins = tree.pop("plugins", {})
        wrong: list[str] = []
        if isinstance(plugins, dict):
            tree["plugins"] = {key: sub for key, sub in plugins.items() if ":" not in key}
        else:
            tree["plugins"] = plugins  # no table: the filling says so
        filled = fill(General, tree, self._env)
        wrong += filled.wrong
        unknown = filled.unknown
        own = self._agents(agents, wrong, unknown)
        self.rules = self._settle_rules(wrong)
        self.off = self._settle_off(wrong)
        if wrong:
            raise ConfigError(
                "\n".join(wrong),
                "correct these values; `codetether config schema` says what they may be",
            )
        for text in unknown:
            self._warn(text, "it has no effect; see `codetether config schema`")
        self.kernel = msgspec.structs.replace(General(**filled.found), agents=own)
        switches = self.kernel.plugins
        self.only = None if switches.only is None else tuple(switches.only)
        self.choose = switches.choose
        self.kernel = msgspec.structs.replace(
            self.kernel, plugins=msgspec.structs.replace(switches, off=sorted(self.off))
        )

    def _agents(self, node: Any, wrong: list[str], unknown: list[str]) -> dict[str, dict[str, Any]]:
        if not isinstance(node, dict):
            wrong.append(f"{origin_of(node)}: agents: expected a table")
            return {}
        found = {}
        for name, fields in node.items():
            if not isinstance(fields, dict):
                wrong.append(f"{origin_of(fields)}: agents.{name}: expected a table")
                continue
            filled = fill(AgentSettings, fields, {}, f"agents.{name}.")
            wrong += filled.wrong
            unknown += filled.unknown
            found[name] = filled.found
        return found

    def _settle_rules(self, wrong: list[str]) -> tuple[Rule, ...]:
        if not self._rules:
            return ()
        from codetether.rules import Rule

        rules = []
        for value, origin in self._rules:
            try:
                rules.append(Rule.of(msgspec.convert(value, RuleSettings), origin))
            except msgspec.ValidationError as error:
                wrong.append(f"{origin}: permissions: {error} in {value!r}")
        return tuple(rules)

    def _settle_off(self, wrong: list[str]) -> frozenset[str]:
        named = [part.strip() for part in self._env.get("CODETETHER_PLUGINS_OFF", "").split(",")]
        entries = [
            *self._off,
            *(Value(name, "environment CODETETHER_PLUGINS_OFF") for name in named if name),
        ]
        wrong += [
            f"{origin}: plugins.off: expected names, got {name!r}"
            for name, origin in entries
            if not isinstance(name, str)
        ]
        return frozenset(name for name, _ in entries if isinstance(name, str))

    def _warn(self, text: str, hint: str) -> None:
        if (text, hint) not in self.notices:
            self.notices.append((text, hint))
            if self.tell is not None:
                self.tell(text, hint)

    # --- asking ---
    def settings(self, key: str, cls: type[S]) -> S:
        """The settings of the plugin `key`. Raises ConfigError naming every wrong value with its file.

        Unknown keys become a notice, once.
        """
        node = self.table(key)
        if not isinstance(node, dict):
            raise ConfigError(f'{origin_of(node)}: plugins."{key}": expected a table')
        filled = fill(cls, node, self._env, f'plugins."{key}".')
        if filled.wrong:
            raise ConfigError(
                "\n".join(filled.wrong),
                "correct these values; `codetether config schema` says what they may be",
            )
        for text in filled.unknown:
            self._warn(text, "it has no effect; see `codetether config schema`")
        return cls(**filled.found)

    def table(self, key: str) -> Any:
        """What is written for the plugin `key`: values with their origins, {} when nothing is."""
        plugins = self._tree.get("plugins", {})
        return plugins.get(key, {}) if isinstance(plugins, dict) else {}

    def plugin_keys(self) -> list[str]:
        """The plugins that have a table in some file, installed or not."""
        plugins = self._tree.get("plugins", {})
        return sorted(key for key in plugins if ":" in key) if isinstance(plugins, dict) else []

    def off_origin(self) -> str:
        """Where the switches in `off` come from, all of them."""
        origins = [origin for _, origin in self._off]
        if self._env.get("CODETETHER_PLUGINS_OFF"):
            origins.append("environment CODETETHER_PLUGINS_OFF")
        return ", ".join(dict.fromkeys(origins)) or "default"

    def in_environment(self, name: str) -> bool:
        """Whether the environment gives the setting that names this variable."""
        return bool(self._env.get(name))

    def origin(self, *path: str) -> str:
        """Where the value at a key comes from: a file, `environment NAME`, `command line`, or `default`."""
        node: Any = self._tree
        for name in path:
            node = node.get(name) if isinstance(node, dict) else None
            if node is None:
                return "default"
        return origin_of(node)


def _raw(node: Any) -> Any:
    return node.value if isinstance(node, Value) else None


def _rules(table: Mapping[str, Any], origin: str) -> list[Value]:
    """The rules of one layer, the short forms written out. What is no rule at all is left for validation to name."""
    found: list[Value] = []
    for name, entries in table.items():
        if name == "rules" and isinstance(entries, list):
            found += [Value(entry, origin) for entry in entries]
        elif isinstance(entries, Mapping) and (name in SHORT_RULES or name == "rules"):
            field = SHORT_RULES.get(name, "tool")
            found += [
                Value({field: pattern, "verdict": word}, origin)
                for pattern, word in entries.items()
            ]
        else:
            found.append(Value({name: entries}, origin))
    return found

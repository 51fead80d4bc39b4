"""Which repositories the user trusts, and what an untrusted one may still say.

A trusted repository is recorded in the user's config directory, by its real root, with the sha256 of every project
file that gains power from trust: the settings files, and everything in `agents`, `skills`, `commands` and `hooks` of
`.codetether`, in each directory from the root down to the working directory, and `.mcp.json` at the root. A file that is new or changed since is
not trusted: what it loosens is left out, and the user is asked again. Removing a file needs no question.

An untrusted project file may say: `session.auto_compact`; `session.max_steps` and `session.budget_usd` if lower than
without it; `access` if stricter; permission rules whose verdict is ask or deny. Nothing else: a model or provider
decides where the code is sent and what it costs, an agent's fields what it may do, and a plugin switched off may be
the one that would have said no.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from codetether import layers
from codetether.errors import ConfigError

FOLDERS = ("agents", "skills", "commands", "hooks")
MAX_FILES = 500
STRICTNESS = ("ask", "auto", "full")
STRICT_VERDICTS = ("ask", "deny")
SHORT_RULES = ("tools", "paths", "commands")


class HasConfig(Protocol):
    """The user's directories, of which only the config directory matters here."""

    @property
    def config(self) -> Path: ...


def store(dirs: HasConfig | None = None) -> Path:
    """The file that remembers trusted repositories; without `dirs`, where the environment says."""
    folder = dirs.config if dirs else Path(layers.folder(os.environ, "XDG_CONFIG_HOME", ".config"))
    return folder / "trusted.json"


def records(dirs: HasConfig | None = None) -> dict[str, dict[str, str]]:
    """Trusted roots, each with its files (relative to the root) and their sha256. An unreadable file trusts nothing."""
    data = layers.read_bytes(str(store(dirs)))
    if not data:
        return {}
    import json

    try:
        known = json.loads(data)["repositories"]
        return {root: dict(files) for root, files in known.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def powerful_files(directory: Path) -> dict[str, str]:
    """The project files that trust gives power to, for this working directory: relative path to sha256.

    Raises ConfigError when there are too many, or one cannot be read.
    """
    root = layers.repo_root(str(directory))
    found: dict[str, str] = {}
    for path in _powerful_paths(str(directory)):
        if len(found) == MAX_FILES:
            raise ConfigError(
                f"{root}: more than {MAX_FILES} files in .codetether",
                "it cannot be trusted as it is",
            )
        data = layers.read_bytes(path)
        found[os.path.relpath(path, root)] = _digest(data or b"")
    return found


def _digest(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


def _powerful_paths(directory: str) -> list[str]:
    paths = layers.project_files(directory)
    servers = os.path.join(layers.repo_root(directory), ".mcp.json")
    paths += [servers] if os.path.isfile(servers) else []
    for at in layers.chain(directory):
        for name in FOLDERS:
            for folder, _, files in os.walk(os.path.join(at, ".codetether", name)):
                paths += [os.path.join(folder, file) for file in sorted(files)]
    return paths


def is_trusted(
    directory: Path, dirs: HasConfig | None = None, read: Mapping[str, bytes] | None = None
) -> bool:
    """Whether the user trusts this repository as it is now: recorded, and no powerful file is new or changed.

    `read`: files the caller has read already, by their path relative to the root. Give what commands will be taken
    from: what counts is what was read, not what lies there a moment later.
    """
    known = records(dirs).get(layers.repo_root(str(directory)))
    if known is None:
        return False
    try:
        now = powerful_files(directory)
    except ConfigError:
        return False
    now |= {name: _digest(data) for name, data in (read or {}).items()}
    return all(known.get(name) == digest for name, digest in now.items())


def needs_question(directory: Path, dirs: HasConfig | None = None) -> bool:
    """Whether there is anything here that only trust would give power to."""
    return bool(_powerful_paths(str(directory))) and not is_trusted(directory, dirs)


def trust(directory: Path, dirs: HasConfig | None = None) -> dict[str, str]:
    """Trust this repository as it is now; returns the files recorded. Raises ConfigError when it cannot be done."""
    files = powerful_files(directory)
    _change(layers.repo_root(str(directory)), files, dirs)
    return files


def distrust(directory: Path, dirs: HasConfig | None = None) -> None:
    """Forget that this repository was trusted."""
    _change(layers.repo_root(str(directory)), None, dirs)


def _change(root: str, files: dict[str, str] | None, dirs: HasConfig | None) -> None:
    import json

    from codetether.locks import changing

    with changing(store(dirs)) as replace:
        known = records(dirs)
        if files is None:
            known.pop(root, None)
        else:
            known[root] = {**known.get(root, {}), **files}
        replace(
            json.dumps({"version": 1, "repositories": known}, indent=1, sort_keys=True).encode()
        )


def harmless(
    table: Mapping[str, Any], below: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """The part of an untrusted project file that counts, and the keys left out.

    `below` holds the values without it: `access`, `max_steps`, `budget_usd` (None: no limit).
    """
    kept: dict[str, Any] = {}
    left: list[str] = []
    for name, value in table.items():
        part, missing = _part(name, value, below)
        left += missing
        if part is not None:
            kept[name] = part
    return kept, left


def _part(name: str, value: Any, below: Mapping[str, Any]) -> tuple[Any, list[str]]:
    if name == "session" and isinstance(value, Mapping):
        kept = {key: v for key, v in value.items() if _session_part(key, v, below)}
        return kept or None, [f"session.{key}" for key in value if key not in kept]
    if name == "permissions" and isinstance(value, Mapping):
        return _strict_rules(value)
    if name == "access" and value in STRICTNESS:
        stricter = STRICTNESS.index(value) <= STRICTNESS.index(below["access"])
        return (value, []) if stricter else (None, [name])
    return None, [name]


def _session_part(key: str, value: Any, below: Mapping[str, Any]) -> bool:
    if key == "auto_compact":
        return True
    if (
        key not in ("max_steps", "budget_usd")
        or isinstance(value, bool)
        or not isinstance(value, int | float)
    ):
        return False
    limit = below[key]
    return value > 0 and (limit is None or value <= limit)


def _strict_rules(value: Mapping[str, Any]) -> tuple[dict[str, Any] | None, list[str]]:
    kept: dict[str, Any] = {}
    left: list[str] = []
    for name, rules in value.items():
        if name in (*SHORT_RULES, "rules") and isinstance(rules, Mapping):
            strict: Any = {key: v for key, v in rules.items() if v in STRICT_VERDICTS}
            left += [f"permissions.{name}.{key}" for key in rules if key not in strict]
        elif name == "rules" and isinstance(rules, list):
            strict = [
                r for r in rules if isinstance(r, Mapping) and r.get("verdict") in STRICT_VERDICTS
            ]
            left += ["permissions.rules"] if len(strict) < len(rules) else []
        else:
            strict, left = None, [*left, f"permissions.{name}"]
        if strict:
            kept[name] = strict
    return kept or None, left

"""Where settings come from: the files, in the order they count, and the spellings they may use.

Imports nothing heavy: `plugins list` reads the switches through this module alone.
"""

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from codetether.errors import ConfigError

APP = "codetether-agent"
MAX_FILE = 1_000_000
PROJECT_FILES = ("codetether.toml", os.path.join(".codetether", "config.toml"))

# tables of the original, and whose settings they are now
OLD_TABLES = {
    "ui": "ui:tui",
    "a2a": "modes:worker",
    "telemetry": "extensions:crash_report",
}


class Layer:
    """One source of settings. `origin` is what messages call it (a path, or `command line`); `digest` the sha256 of a
    file's bytes; `project` says that the file belongs to the repository, not to the user.
    """

    __slots__ = ("digest", "notices", "origin", "project", "table")

    def __init__(
        self, origin: str, table: "dict[str, Any]", digest: str = "", *, project: bool = False
    ) -> None:
        self.origin = origin
        self.digest = digest
        self.project = project
        self.table, self.notices = modernise(table, origin)


def _wrong(message: str, hint: str = "") -> "ConfigError":
    from codetether.errors import ConfigError

    return ConfigError(message, hint)


def home_of(env: "Any") -> str:
    """The user's home directory. Raises ConfigError when there is none."""
    home = env.get("HOME") or os.path.expanduser("~")
    if not os.path.isabs(home):
        raise _wrong("there is no home directory", "set HOME, or XDG_CONFIG_HOME and XDG_DATA_HOME")
    return str(home)


def folder(env: "Any", name: str, fallback: str) -> str:
    """An XDG directory of ours; a relative value is ignored, as the standard says."""
    base = env.get(name, "")
    if not os.path.isabs(base):
        base = os.path.join(home_of(env), fallback)
    return os.path.join(base, APP)


def user_file(env: "Any") -> str:
    """The user's settings file: CODETETHER_CONFIG, else config.toml in the config directory."""
    named = env.get("CODETETHER_CONFIG", "")
    return (
        os.path.abspath(named)
        if named
        else os.path.join(folder(env, "XDG_CONFIG_HOME", ".config"), "config.toml")
    )


def repo_root(directory: str) -> str:
    """The real path of the nearest directory upwards that holds `.git`; `directory` itself when there is none."""
    start = os.path.realpath(directory)
    at = start
    while True:
        if os.path.lexists(os.path.join(at, ".git")):
            return at
        parent = os.path.dirname(at)
        if parent == at:
            return start
        at = parent


def chain(directory: str) -> list[str]:
    """The directories from the repository root down to `directory`, real paths; the last one counts most."""
    root, at = repo_root(directory), os.path.realpath(directory)
    found = [at]
    while at != root:
        at = os.path.dirname(at)
        found.append(at)
    return found[::-1]


def project_files(directory: str) -> list[str]:
    """The project's settings files that exist, weakest first."""
    paths = [os.path.join(at, name) for at in chain(directory) for name in PROJECT_FILES]
    return [path for path in paths if os.path.isfile(path)]


def read_bytes(path: str) -> "bytes | None":
    """A settings file's bytes; None when absent. Raises ConfigError when it is no plain file, or too large."""
    try:
        # a repository may hold a link to a device or a pipe: never block on it, never read without end
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _wrong(f"{path} cannot be read: {error.strerror}") from None
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise _wrong(f"{path} is not a plain file")
        data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise _wrong(f"{path} is larger than {MAX_FILE} bytes")
    return data


def read_layer(path: str, *, project: bool = False) -> "Layer | None":
    """One file as a layer; None when it does not exist. Raises ConfigError naming file and line."""
    data = read_bytes(path)
    if data is None:
        return None
    import hashlib
    import tomllib

    try:
        table = tomllib.loads(data.decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _wrong(f"{path}: not TOML: {error}", "correct the file, or move it away") from None
    return Layer(path, table, hashlib.sha256(data).hexdigest(), project=project)


def modernise(table: "dict[str, Any]", origin: str) -> "tuple[dict[str, Any], list[str]]":
    """The original's spellings turned into ours, and what to tell the user. `table` is not changed."""
    new = dict(table)
    notices: list[str] = []
    old = new.pop("default", None)
    if isinstance(old, dict):
        for name, value in old.items():
            new.setdefault(f"default_{name}", value)
    elif old is not None:
        new["default"] = old
    moved: dict[str, Any] = {
        OLD_TABLES[k]: new.pop(k) for k in OLD_TABLES if isinstance(new.get(k), dict)
    }
    if isinstance(new.get("providers"), dict):
        for name, fields in new.pop("providers").items():
            kept = dict(fields) if isinstance(fields, dict) else {"": fields}
            if kept.pop("api_key", None) is not None:
                notices.append(
                    f"{origin}: providers.{name}.api_key is not used: keys are kept in Vault. "
                    "Remove it from the file (docs/vault.md)"
                )
            if kept:
                moved[f"providers:{name}"] = kept
    plugins = new.get("plugins", {})
    if moved and isinstance(plugins, dict):
        own = {key: plugins.get(key) for key in moved if isinstance(plugins.get(key), dict)}
        new["plugins"] = {
            **plugins,
            **{key: {**value, **(own.get(key) or {})} for key, value in moved.items()},
        }
    return new, notices


def split_key(key: str) -> list[str]:
    """A dotted key in its parts: `plugins."tools:bash".timeout`; `tools:bash.timeout` is short for it.

    Raises ConfigError when it is empty or badly quoted.
    """
    parts: list[str] = []
    rest = key.strip()
    while rest:
        if rest[0] in "\"'":
            end = rest.find(rest[0], 1)
            part, rest = (rest[1:end], rest[end + 1 :]) if end > 0 else ("", "")
            if rest and rest[0] != ".":
                part = ""
        else:
            part = rest.partition(".")[0]
            rest = rest[len(part) :]
        if not part.strip() or rest == ".":
            raise _wrong(
                f"{key!r} is not a key",
                'write it like session.max_steps or plugins."tools:bash".timeout',
            )
        parts.append(part.strip())
        rest = rest[1:]
    if not parts:
        raise _wrong("the key is empty", "write it like session.max_steps")
    if ":" in parts[0]:
        parts.insert(0, "plugins")
    return parts


def nested(flat: "Any") -> "dict[str, Any]":
    """A mapping whose keys may be dotted, as nested tables."""
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *tables, last = split_key(key)
        at = tree
        for name in tables:
            at = at.setdefault(name, {})
        at[last] = value
    return tree

"""What a person allowed beyond one call: for the session in memory, for a project in the user's own config directory.

Never in the repository: a repository must not be able to grant itself anything. `grants.json` is keyed by the real
path of the workspace. A grant is narrow on purpose: a command exactly as written, one address, or the files directly
in one directory, always for one tool.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from codetether import layers


class Grant(msgspec.Struct, frozen=True):
    """One thing allowed: `kind` command (exact text), site (scheme, host and port), directory (its files, not those
    of its sub-directories), call (exact arguments as JSON), or tool (any arguments, while the tool says the same of
    itself: a digest).
    """

    tool: str
    kind: Literal["command", "site", "directory", "call", "tool"]
    value: str

    @property
    def label(self) -> str:
        """What it covers, in words for the person who decides."""
        if self.kind == "command":
            return "exactly this command"
        if self.kind == "site":
            return f"{self.tool} on {self.value}"
        if self.kind == "tool":
            return f"{self.tool}, whatever its arguments"
        if self.kind == "directory":
            where = "the workspace's top directory" if self.value == "." else f"{self.value}/"
            return f"{self.tool} on files directly in {where}"
        return f"{self.tool} with exactly these arguments"


class Grants:
    """The grants of one session. `workspace`: its root, without links. `file` None: nothing is read or kept beyond
    the session.
    """

    def __init__(self, file: Path | None, workspace: Path) -> None:
        self._file = file
        self._workspace = str(workspace)
        self._session: set[Grant] = set()
        self._project: set[Grant] = set(_read(file).get(self._workspace, [])) if file else set()

    @property
    def any(self) -> bool:
        """Whether anything is granted."""
        return bool(self._session or self._project)

    def allows(self, wanted: Iterable[Grant]) -> str:
        """`session` or `project` when every one of `wanted` is granted, else nothing."""
        wanted = set(wanted)
        if not wanted or not wanted <= self._session | self._project:
            return ""
        return "project" if wanted <= self._project else "session"

    def add(self, granted: Iterable[Grant], scope: Literal["session", "project"]) -> None:
        """Remember. `project` also writes the file (blocking). Raises CodetetherError when it cannot be written."""
        granted = set(granted)
        self._session |= granted
        if scope == "project" and self._file is not None:
            self._project |= granted
            _keep(self._file, self._workspace, granted)


def grants_file(config: Path) -> Path:
    """Where project grants are kept."""
    return config / "grants.json"


def forget(config: Path, workspace: Path) -> int:
    """Take back every project grant of a workspace; returns how many there were."""
    from codetether.locks import changing

    file = grants_file(config)
    with changing(file) as replace:
        known = _read(file)
        gone = len(known.pop(str(workspace), []))
        replace(_written(known))
    return gone


def _keep(file: Path, workspace: str, granted: set[Grant]) -> None:
    from codetether.locks import changing

    with changing(file) as replace:
        known = _read(file)
        known[workspace] = list(
            dict.fromkeys([*known.get(workspace, []), *sorted(granted, key=repr)])
        )
        replace(_written(known))


def _written(known: dict[str, list[Grant]]) -> bytes:
    import json

    content = {"version": 1, "workspaces": msgspec.to_builtins(known)}
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False).encode()


def _read(file: Path) -> dict[str, list[Grant]]:
    """The file's grants; one that cannot be understood grants nothing."""
    data = layers.read_bytes(str(file))
    if not data:
        return {}
    import json

    try:
        return msgspec.convert(json.loads(data).get("workspaces", {}), dict[str, list[Grant]])
    except (ValueError, AttributeError, msgspec.ValidationError):
        return {}

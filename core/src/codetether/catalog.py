"""What is installed: the entry points of every distribution, read without importing any of them.

`importlib.metadata` costs five times a bare interpreter to import; this reads the same files with `os` alone.
`plugins doctor` and a test compare the two. Nothing is cached, so nothing can be stale.
"""

import os
import sys

TYPE_CHECKING = False  # importing typing would double the cost of `tools list`
if TYPE_CHECKING:
    from collections.abc import Sequence

PREFIX = "codetether."


class Row:
    """One entry point. `kind` is the group without `codetether.`; `key` is `<kind>:<name>`; `value` is
    `module:Class`; `dist`, `version` and `summary` come from the distribution's metadata, `path` is its folder."""

    __slots__ = ("dist", "kind", "name", "path", "summary", "value", "version")

    def __init__(  # noqa: PLR0917 - one line of a table
        self, kind: str, name: str, value: str, dist: str, version: str, summary: str, path: str
    ) -> None:
        self.kind = kind
        self.name = name
        self.value = value
        self.dist = dist
        self.version = version
        self.summary = summary
        self.path = path

    @property
    def key(self) -> str:
        """The plugin's name in configuration and messages."""
        return f"{self.kind}:{self.name}"


def scan(path: "list[str] | None" = None) -> "list[Row]":
    """All rows on `path` (default sys.path), sorted by key; the first of a distribution on the path counts."""
    rows: list[Row] = []
    seen: set[str] = set()
    for entry in dict.fromkeys(sys.path if path is None else path):
        try:
            names = os.listdir(entry or ".")
        except OSError:
            continue
        for name in names:
            if not name.endswith((".dist-info", ".egg-info")):
                continue
            dist = (
                name.rsplit(".", 1)[0].partition("-")[0].lower().replace("_", "-").replace(".", "-")
            )
            if dist in seen:
                continue
            seen.add(dist)
            rows += _rows(os.path.join(entry or ".", name))
    rows.sort(key=lambda row: (row.kind, row.name, row.dist))
    return rows


def _rows(folder: str) -> "list[Row]":
    text = _read(os.path.join(folder, "entry_points.txt"))
    if PREFIX not in text:
        return []
    head = _read(os.path.join(folder, "METADATA")) or _read(os.path.join(folder, "PKG-INFO"))
    meta = _headers(head)
    rows = []
    group = ""
    for raw in text.split("\n"):
        line = raw.strip()
        if line.startswith("["):
            group = line.strip("[] ")
        elif group.startswith(PREFIX) and "=" in line and line[0] not in "#;":
            name, _, value = line.partition("=")
            value = value.partition("[")[0].strip()
            kind = group[len(PREFIX) :]
            rows.append(
                Row(
                    kind,
                    name.strip(),
                    value,
                    meta["name"],
                    meta["version"],
                    meta["summary"],
                    folder,
                )
            )
    return rows


def _headers(text: str) -> "dict[str, str]":
    found = {"name": "", "version": "", "summary": ""}
    for line in text.split("\n"):
        if not line.strip():
            break
        key, colon, value = line.partition(":")
        if colon and key.lower() in found:
            found[key.lower()] = value.strip()
    return found


def _read(path: str) -> str:
    """Without what a text file needs, which costs more than reading these: a hundred files are read at every start."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read().decode(errors="replace").replace("\r\n", "\n")
    except OSError:
        return ""


def switched(
    rows: "Sequence[Row]",
    off: "tuple[str, ...] | frozenset[str]" = (),
    only: "tuple[str, ...] | None" = None,
) -> "list[Row]":
    """The rows that are on. A switch is a key (`tools:bash`), a kind (`tools`), or a distribution's name.

    `only` names what may be on (None: everything); `off` then takes away.
    """
    return [row for row in rows if (only is None or _named(row, only)) and not _named(row, off)]


def _named(row: Row, switches: "tuple[str, ...] | frozenset[str]") -> bool:
    return row.key in switches or row.kind in switches or row.dist in switches

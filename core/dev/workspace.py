"""The workspace as its folders say it is: read by the other scripts here and by tests/rules. Not shipped."""

from __future__ import annotations

import tomllib
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Member(NamedTuple):
    """One distribution of the workspace: its folder (core, or plugins/<kinds>/<name>) and its project table."""

    folder: Path
    table: dict[str, Any]

    @property
    def name(self) -> str:
        """The distribution's name."""
        name: str = self.table["name"]
        return name

    @property
    def version(self) -> str:
        """Its version, the same for all."""
        version: str = self.table["version"]
        return version

    @property
    def group(self) -> str:
        """The folder it lives in, which is the extra that installs it: providers, tools, modes, ui; core for core."""
        return self.folder.parent.name if self.folder.name != "core" else "core"

    @property
    def package(self) -> str:
        """The one import package it ships."""
        return "codetether" if self.group == "core" else self.name.replace("-", "_")

    @property
    def source(self) -> Path:
        """The folder of its import package."""
        return self.folder / "src" / self.package

    @property
    def requires(self) -> list[str]:
        """Requirements as written, of the distribution and of its extras."""
        extras = self.table.get("optional-dependencies", {}).values()
        return [*self.table.get("dependencies", []), *(line for lines in extras for line in lines)]

    @property
    def entry_points(self) -> dict[str, str]:
        """Its plugins: key (`tools:bash`) to value (`module:Class`)."""
        return {
            f"{group.removeprefix('codetether.')}:{name}": value
            for group, names in self.table.get("entry-points", {}).items()
            for name, value in names.items()
        }


class Workspace:
    """Every member of a workspace folder. `root` is replaced in tests."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root

    @cached_property
    def project(self) -> dict[str, Any]:
        """The root's pyproject.toml."""
        return tomllib.loads((self.root / "pyproject.toml").read_text("utf-8"))

    @cached_property
    def members(self) -> list[Member]:
        """The kernel first, then plugins and libraries by folder."""
        files = [
            self.root / "core/pyproject.toml",
            *sorted(self.root.glob("plugins/*/*/pyproject.toml")),
        ]
        return [
            Member(file.parent, tomllib.loads(file.read_text("utf-8"))["project"]) for file in files
        ]

    @property
    def plugins(self) -> list[Member]:
        """Every member but the kernel, libraries included."""
        return self.members[1:]


def requirement_name(line: str) -> str:
    """The distribution a requirement names: `httpx[http2]>=0.28,<1; python_version > "3"` is about httpx."""
    name = line
    for stop in " [<>=!~;(":
        name = name.partition(stop)[0]
    return name.strip().lower().replace("_", "-").replace(".", "-")

"""Folders of skills: `NAME/SKILL.md` with front matter `name` and `description`, and whatever else lies beside it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from codetether.api import (
    ConfigError,
    Kernel,
    ToolError,
    Workspace,
    one_line,
    split_front_matter,
)
from msgspec import Struct, field

NAME = r"[a-z0-9]+(-[a-z0-9]+)*"  # compiled (and kept, by re) when first needed
LONGEST_NAME = 64
LONGEST_DESCRIPTION = 1024
LARGEST = 256 * 1024  # bytes of a SKILL.md or of one of its files
MOST_SKILLS = 200
MOST_FILES = 100


class Folder(Struct):
    """One skill as it lies on the disk."""

    path: Path
    description: str
    body: str

    async def read(self, file: str) -> str:
        """A text file of the skill. Raises ToolError: NOT_FOUND, DENIED outside of it, INVALID_ARGUMENT."""
        data = await Workspace(self.path).read(file, LARGEST + 1)
        if len(data) > LARGEST or b"\0" in data:
            raise ToolError(
                f"{file} is no text of at most {LARGEST >> 10} KiB.", "INVALID_ARGUMENT"
            )
        return data.decode("utf-8", "replace")

    def files(self) -> list[str]:
        """The files beside SKILL.md, at most a hundred."""
        found: list[str] = []
        for at, folders, names in os.walk(self.path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            found += [
                os.path.relpath(os.path.join(at, name), self.path)
                for name in sorted(names)
                if not name.startswith(".")
            ]
            if len(found) > MOST_FILES:
                return [*found[:MOST_FILES], "... and more"]
        return [name for name in found if name != "SKILL.md"]


class Found(Struct):
    """The skills by name, and why others cannot be used."""

    skills: dict[str, Folder] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)


class Place(Struct):
    """A folder of skills. `own`: the user's, where links may lead elsewhere; nothing else says what they mean."""

    path: Path
    own: bool


def places(kernel: Kernel, directory: Path) -> list[Place]:
    """The folders of skills there are; of two skills with one name the first counts, so the user's before the
    project's.
    """
    own = (os.path.expanduser("~/.codetether/skills"), f"{kernel.dirs.config}/skills")
    there = [Place(Path(path), own=True) for path in own if os.path.isdir(path)]
    if (project := kernel.trusted_folder(directory, "skills")) is not None:
        there.append(Place(project, own=False))
    return there


def find(places: Sequence[Place]) -> Found:
    """All skills in `places`."""
    found = Found()
    for place in places:
        for path in _folders(place):
            name = path.name
            if name in found.skills or len(found.skills) >= MOST_SKILLS:
                continue
            try:
                found.skills[name] = _skill(path, place)
            except (ConfigError, OSError, ValueError, RecursionError) as error:
                why = error.message if isinstance(error, ConfigError) else str(error)
                found.wrong[one_line(name, LONGEST_NAME)] = one_line(why, 200)
    found.skills = dict(sorted(found.skills.items()))
    found.wrong = {name: why for name, why in found.wrong.items() if name not in found.skills}
    return found


def _folders(place: Place) -> list[Path]:
    if not place.own and place.path.is_symlink():
        return []  # what it leads to was not looked at when the project was trusted
    try:
        with os.scandir(place.path) as entries:
            return sorted(
                Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=place.own)
            )
    except OSError:
        return []


def _skill(path: Path, place: Place) -> Folder:
    """The skill in `path`. Raises ConfigError, OSError, ValueError or RecursionError when it is none."""
    if not re.fullmatch(NAME, path.name) or len(path.name) > LONGEST_NAME:
        raise ConfigError("its name is not lower case letters, digits and single hyphens")
    file = path / "SKILL.md"
    if not file.is_file() or (file.is_symlink() and not place.own):
        raise ConfigError("it has no SKILL.md")
    with file.open("rb") as stream:
        data = stream.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ConfigError(f"its SKILL.md is larger than {LARGEST >> 10} KiB")
    head, body = split_front_matter(data.decode("utf-8-sig").replace("\r\n", "\n"), "SKILL.md")
    if head.get("name") != path.name:
        raise ConfigError("the name in its front matter is not that of its folder")
    description = head.get("description")
    if not isinstance(description, str) or not description.strip():
        raise ConfigError("its front matter has no description")
    return Folder(path, one_line(description.strip(), LONGEST_DESCRIPTION), body)

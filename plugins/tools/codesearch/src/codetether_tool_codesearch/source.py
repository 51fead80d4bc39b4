"""One file of the workspace as index entries, or the reason why it is not indexed."""

from __future__ import annotations

import os
from typing import NamedTuple

from codetether_tool_codesearch import languages
from codetether_tool_codesearch.entries import Symbol
from codetether_tool_codesearch.symbols import TooSlow, symbols
from codetether_tool_codesearch.windows import windows

CODE_SIZE = 1_000_000  # bytes; larger source files are made by programs
TEXT_SIZE = 200_000
LONG_LINE = 400  # mean length of line from which text is no longer written by people
HEAD = 1_000
_NOT_INDEXED = (
    ".min.js",
    ".min.css",
    ".map",
    ".lock",
    ".svg",
    ".csv",
    ".tsv",
    ".ipynb",
    ".po",
    ".snap",
)
_LOCKS = frozenset({"package-lock.json", "pnpm-lock.yaml", "go.sum", "npm-shrinkwrap.json"})
_SECRET_NAMES = frozenset(
    {".env", ".netrc", ".npmrc", ".pypirc", ".htpasswd", ".git-credentials", "credentials"}
)
_SECRET_ENDS = (
    ".pem",
    ".key",
    ".p12",
    ".pfx",
    ".jks",
    ".keystore",
    ".kdbx",
    ".asc",
    ".gpg",
    ".tfstate",
    ".tfvars",
)
_GENERATED = (b"@generated", b"DO NOT EDIT", b"do not edit by hand")


class Stamp(NamedTuple):
    """What tells a changed file without reading it."""

    size: int
    mtime: int
    inode: int


def stamp(about: os.stat_result) -> Stamp:
    """The stamp of a file."""
    return Stamp(about.st_size, about.st_mtime_ns, about.st_ino)


def wanted(path: str) -> bool:
    """Whether a file of this name is indexed at all: nothing that holds keys, no lock files, no data."""
    name = path.rpartition("/")[2].lower()
    if name in _SECRET_NAMES or name.startswith((".env.", "id_rsa", "id_ed25519", "id_ecdsa")):
        return name in {".env.example", ".env.sample", ".env.template"}
    return name not in _LOCKS and not name.endswith(_NOT_INDEXED + _SECRET_ENDS)


def largest(path: str) -> int:
    """The most bytes a file of this name may have."""
    return CODE_SIZE if languages.language_of(path) else TEXT_SIZE


def entries(path: str, data: bytes) -> list[Symbol]:
    """What the index holds of a file; nothing for one that is binary, generated or not written by people."""
    if b"\0" in data[: 8 * HEAD] or any(sign in data[:HEAD] for sign in _GENERATED):
        return []
    if len(data) > HEAD and len(data) / (data.count(b"\n") + 1) > LONG_LINE:
        return []
    language = languages.language_of(path, data)
    if language:
        try:
            return symbols(path, data, language)
        except TooSlow:
            pass
    return list(windows(path, data.decode("utf-8", "replace")))

"""The files a server has open: it is told what is on the disk, whoever changed it."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from codetether_tool_lsp.positions import Places

if TYPE_CHECKING:
    import trio

    from codetether_tool_lsp.problems import Problem

LARGEST = 4 << 20  # bytes; no server does anything good with more


class TooLarge(Exception):
    """A file no server is asked about. The text says so."""


def text_of(data: bytes) -> str:
    """The text of a file as a server gets it. Raises TooLarge; codetether_editing.NotText for what is no text."""
    from codetether_editing import decode

    if len(data) > LARGEST:
        raise TooLarge(f"The file is too large for a language server ({len(data)} bytes).")
    document = decode(data)
    raw = document.raw
    return raw if raw.isascii() else re.sub("[\ud800-\udfff]", "\ufffd", raw)


def path_of(uri: object) -> Path | None:
    """The file at an address; None when it is none on this machine."""
    if not isinstance(uri, str):
        return None
    parts = urlsplit(uri)
    return Path(unquote(parts.path)) if parts.scheme == "file" and "\0" not in uri else None


class Stamp:
    """What tells that a file was changed, without reading it; without a path it is like no file's."""

    def __init__(self, path: Path | None) -> None:
        self.value: tuple[int, ...] = ()
        if path is not None:
            with contextlib.suppress(OSError):
                about = os.stat(path)
                self.value = (about.st_mtime_ns, about.st_size, about.st_ino)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stamp) and self.value == other.value

    __hash__ = None  # type: ignore[assignment]


class Open:
    """One open file. `pushed`: the problems the server last published, `current`
    whether that was after the file's last change, `versioned` whether it said so; without versions it may not say again
    what did not change (`repeats_nothing`). `raw`: what it last said, unread.
    """

    def __init__(self, path: Path, text: str, encoding: str, stamp: Stamp) -> None:
        self.path = path
        self.version = 1
        self.places = Places(text, encoding)
        self.stamp = stamp
        self.pushed: list[Problem] = []
        self.raw: list[Any] = []
        self.current = False
        self.versioned = False
        self.repeats_nothing = False
        self.heard: trio.Event | None = None

    @property
    def text(self) -> str:
        """What the server was told."""
        return self.places.text

    def change(self, text: str, stamp: Stamp) -> None:
        """It is another text now."""
        self.version += 1
        self.places = Places(text, self.places.encoding)
        self.stamp = stamp
        self.current = False

    def hear(self, found: list[Problem], version: object) -> None:
        """The server has published what it found."""
        self.pushed, self.current, self.versioned = found, True, isinstance(version, int)
        self.repeats_nothing = not self.versioned
        self.wake()

    def wake(self) -> None:
        """There may be news for whoever waits."""
        if self.heard is not None:
            self.heard.set()
            self.heard = None

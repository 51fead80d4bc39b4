"""Finding a file beneath a directory so that no link, however it is swapped meanwhile, leads outside.

A path is resolved to a `Place`: an open directory and a name in it that is no link. Everything later happens relative
to that open directory, so a path is never looked up twice. Two ways give the same answer:

- `openat2` with RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS and RESOLVE_NO_SYMLINKS, where the kernel has it and the path
  holds no link: one call;
- a walk, component by component, each opened with O_NOFOLLOW. It also follows links, by their text: relative ones, and
  absolute ones that name something below the directory. A link that leads outside is refused.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from codetether import syscalls
from codetether.files import sync_directory

LINKS = 40
TRIES = 64
_DIRECTORY = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
# Names under which file systems that fold case, drop invisible characters or shorten names also find `.git`.
_INVISIBLE = dict.fromkeys(
    [*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF]
)
_GIT = frozenset({".git", "git~1"})


class Escape(Exception):
    """The path leads outside through the link `link` (relative to the directory)."""

    def __init__(self, link: str) -> None:
        super().__init__(link)
        self.link = link


class Guarded(Exception):
    """The path lies in a `.git`, where nothing may be written."""


class _Swapped(Exception):
    """A component changed between two looks at it: look again."""


class Place:
    """A name in an open directory: `fd`, `name` ("." for the directory itself), `real` path relative to the root.

    A context manager; leaving it closes the directory.
    """

    def __init__(self, fd: int, name: str, parts: Sequence[str]) -> None:
        self.fd = fd
        self.name = name
        self.real = "/".join([*parts, name] if name != "." else parts) or "."

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self.fd)

    def stat(self) -> os.stat_result:
        """What is there. Raises FileNotFoundError."""
        return os.stat(self.name, dir_fd=self.fd, follow_symlinks=False)


def below(path: str, root: str) -> str | None:
    """`path` relative to `root`, "" when they are the same; None when it is outside. By the text alone."""
    if path == root:
        return ""
    prefix = root.rstrip("/") + "/"
    return path[len(prefix) :] if path.startswith(prefix) else None


def is_git(name: str) -> bool:
    """Whether a file system may take `name` for `.git`."""
    return name.translate(_INVISIBLE).rstrip(". ").casefold() in _GIT or name.casefold() in _GIT


def locate(
    root: str,
    parts: Sequence[str],
    *,
    write: bool = False,
    create: bool = False,
    walk: bool = False,
) -> Place:
    """The place of the path `parts` beneath the real directory `root`; its last name need not exist.

    `parts` holds no "", "." or "..". `write`: refuse `.git`. `create`: make missing parent directories. `walk`: do
    not use openat2. Raises Escape, Guarded, or OSError (ELOOP after 40 links, EAGAIN when the path keeps changing).
    """
    if write and any(map(is_git, parts)):
        raise Guarded
    if not walk and not create:
        place = _at_once(root, parts)
        if place is not None:
            return place
    for _ in range(TRIES):
        try:
            return _Walk(root, write, create).to(parts)
        except _Swapped:
            continue
    raise OSError(errno.EAGAIN, "the path keeps changing", "/".join(parts))


def _at_once(root: str, parts: Sequence[str]) -> Place | None:
    """The place by openat2; None when there is a link on the way, an error, or no openat2: the walk will tell."""
    if not syscalls.has_openat2():
        return None
    base = os.open(root, _DIRECTORY)
    try:
        fd = syscalls.openat2(base, "/".join(parts[:-1]) or ".", _DIRECTORY)
    except OSError:
        return None
    finally:
        os.close(base)
    name = parts[-1] if parts else "."
    if name != "." and _link(name, fd) is not None:
        os.close(fd)
        return None
    return Place(fd, name, parts[:-1])


class _Walk:
    """One attempt to go from the root to a path."""

    def __init__(self, root: str, write: bool, create: bool) -> None:
        self._root = [part for part in root.split("/") if part]
        self._write = write
        self._create = create
        self._fds = [os.open(root, _DIRECTORY)]
        self._names: list[str] = []
        self._links = 0

    def to(self, parts: Sequence[str]) -> Place:
        """The place of `parts`; every directory opened on the way is closed, the last one belongs to the place."""
        try:
            name = self._go(list(reversed(parts)))
            return Place(self._fds.pop(), name, self._names)
        finally:
            for fd in self._fds:
                os.close(fd)

    def _go(self, ahead: list[str]) -> str:
        while ahead:
            part = ahead.pop()
            if part == "..":  # only the text of a link holds it
                self._up(part)
                continue
            target = _link(part, self._fds[-1])
            if target is not None:
                ahead.extend(reversed(self._follow(part, target)))
                continue
            if self._write and is_git(part):
                raise Guarded
            if not ahead:
                return part
            self._down(part)
        return "."

    def _follow(self, part: str, target: str) -> list[str]:
        self._links += 1
        if self._links > LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), part)
        parts = [piece for piece in target.split("/") if piece not in ("", ".")]
        if not target.startswith("/"):
            return parts
        if parts[: len(self._root)] != self._root:
            raise Escape("/".join([*self._names, part]))
        while self._names:
            self._up(part)
        return parts[len(self._root) :]

    def _up(self, link: str) -> None:
        if not self._names:
            raise Escape(link)
        self._names.pop()
        os.close(self._fds.pop())

    def _down(self, part: str) -> None:
        here = self._fds[-1]
        if self._create:
            self._make(part, here)
        try:
            fd = os.open(part, _DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
        except NotADirectoryError:
            if _link(part, here) is not None:
                raise _Swapped from None
            raise
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise _Swapped from None
            raise
        self._fds.append(fd)
        self._names.append(part)

    def _make(self, part: str, here: int) -> None:
        try:
            os.mkdir(part, dir_fd=here)
        except FileExistsError:
            return
        sync_directory(here)


def _link(name: str, directory: int) -> str | None:
    """The text of the link `name`; None when it is no link or absent."""
    try:
        return os.readlink(name, dir_fd=directory)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOTDIR):
            return None
        raise

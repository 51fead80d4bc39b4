"""The directory tree an agent may touch. Every path a tool opens goes through here.

Paths are relative to the root, or absolute and inside it. Links that stay inside are followed, wherever they are
written relative or absolute; links that leave are refused, also when they are swapped while we look (see
codetether.beneath). Further `readable` roots hold a session's side files: absolute paths there can be read, never
written. Nothing is ever written inside a `.git`. Devices, pipes and sockets are refused.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import trio

from codetether import beneath, files, refusals
from codetether.entries import Entry, scan
from codetether.errors import ToolError

if TYPE_CHECKING:
    from codetether.changes import Change
    from codetether.unfinished import Notes

T = TypeVar("T")
DIRECT = (
    256 * 1024
)  # bytes; reading so much takes less time than a hop to a thread and back costs in latency
LARGEST = 64 * 1024 * 1024
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_locks: dict[str, tuple[trio.Lock, int]] = {}


class Workspace:
    """A root directory, and what this session last read of its files. See the module for what paths may do.

    `walk`: never use openat2 (the tests compare both ways).
    """

    def __init__(self, root: Path, readable: Sequence[Path] = (), *, walk: bool = False) -> None:
        self.root = Path(os.path.realpath(root))
        self._spelled = os.path.abspath(root)
        self.readable: tuple[Path, ...] = ()
        for path in readable:
            self.read_also(path)
        self._walk = walk
        self._seen: dict[str, str] = {}
        # Told of every change before it shows, in a thread: path, content and mode before (None: no file), content then.
        # Returns what is called when the change fails after all.
        self.keep: Callable[[str, bytes | None, int, bytes | None], Callable[[], None]] | None = (
            None
        )
        # Makes the notes of what is being written (codetether.unfinished) with the first write; none without it.
        self.noting: Callable[[], Notes] | None = None
        self.notes: Notes | None = None

    def read_also(self, root: Path, *, real: bool = False) -> None:
        """Let what is below `root` be read too. `real`: it holds no links, and nobody has to look."""
        self.readable += (root if real else Path(os.path.realpath(root)),)

    # --- names ---
    def relative(self, path: str) -> str:
        """`path` relative to the root, "." for the root itself; a path below a readable root stays absolute.

        By the text alone: links are checked when the file is opened. Raises ToolError DENIED for a path outside.
        """
        base, parts = self._split(path)
        return "/".join(parts) or "." if base == str(self.root) else "/".join([base, *parts])

    def is_inside(self, path: str) -> bool:
        """Whether `path` is in the workspace or below a readable root, also after following links."""
        try:
            base, parts = self._split(path)
            real = os.path.realpath("/".join([base, *parts]))
        except (ToolError, OSError, ValueError):
            return False
        return any(
            beneath.below(real, str(root)) is not None for root in (self.root, *self.readable)
        )

    def real(self, path: str) -> str:
        """`relative(path)` with links followed. Raises ToolError DENIED for one that leads outside."""
        base, parts = self._split(path)
        try:
            with self._locate(path, base, parts) as place:
                real = place.real
        except FileNotFoundError:
            real = "/".join(parts) or "."
        except OSError as error:
            raise self._told(path, error) from None
        return real if base == str(self.root) else base if real == "." else f"{base}/{real}"

    def _split(self, path: str) -> tuple[str, list[str]]:
        """The root that `path` is below, and its components below that root."""
        if "\0" in path or not _encodable(path):
            raise ToolError(
                "The path holds characters that no file name can hold.", "INVALID_ARGUMENT"
            )
        if path == "~" or path.startswith("~/"):
            path = os.path.expanduser(path)
        for spelling in self._spellings(path):
            for root in map(str, (self.root, *self.readable)):
                below = beneath.below(spelling, root)
                if below is not None:
                    return root, below.split("/") if below else []
        raise ToolError(
            f"{path} is outside the workspace {self.root}. Use a path relative to the workspace.",
            "DENIED",
        )

    def _spellings(self, path: str) -> Iterator[str]:
        """`path` made absolute: as it stands, with the root as the user spelled it, and with all links followed."""
        full = os.path.normpath(os.path.join(self.root, path))
        yield full
        below = beneath.below(full, self._spelled)
        if below is not None:
            yield os.path.normpath(os.path.join(self.root, below))
        if os.path.isabs(path):
            yield os.path.realpath(full)

    # --- looking ---
    async def read(self, path: str, limit: int | None = None, offset: int = 0) -> bytes:
        """At most `limit` bytes of a regular file from byte `offset`; all of it when `limit` is None.

        Files over 64 MiB are not read whole (INVALID_ARGUMENT). More than 256 KiB are read in a thread. Raises
        ToolError: NOT_FOUND with similar names, DENIED, INVALID_ARGUMENT for what is no regular file.
        """
        file = self.open(path)
        try:
            size = os.fstat(file.fileno()).st_size
            wanted = size - offset if limit is None else min(limit, size - offset)
            if limit is None and wanted > LARGEST:
                raise ToolError(
                    f"{path} is too large to read whole ({size} bytes); read a part.",
                    "INVALID_ARGUMENT",
                )
            amount = LARGEST if limit is None else limit
            if wanted <= DIRECT:
                await trio.lowlevel.checkpoint_if_cancelled()
                return files.read_part(file, amount, offset)
            return await trio.to_thread.run_sync(files.read_part, file, amount, offset)
        except OSError as error:
            raise self._told(path, error) from None
        finally:
            file.close()

    def open(self, path: str) -> BinaryIO:
        """A regular file, unbuffered, to read. The caller closes it. Raises ToolError as `read`. Never waits."""

        def opened(place: beneath.Place) -> BinaryIO:
            refusals.check_regular(path, place.stat())
            fd = os.open(place.name, _READ, dir_fd=place.fd)
            try:
                refusals.check_regular(path, os.fstat(fd))
                return os.fdopen(fd, "rb", buffering=0)
            except BaseException:
                os.close(fd)
                raise

        return self.at(path, opened)

    def stat(self, path: str) -> os.stat_result:
        """What `path` is, links followed. Raises ToolError as `read`."""
        return self.at(path, beneath.Place.stat)

    def scan(self, path: str, limit: int = 100_000) -> list[Entry]:
        """The names in a directory, unsorted, at most `limit`. Raises ToolError; INVALID_ARGUMENT when it is none."""

        def scanned(place: beneath.Place) -> list[Entry]:
            if stat.S_ISREG(place.stat().st_mode):
                raise ToolError(f"{path} is a file, not a directory.", "INVALID_ARGUMENT")
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(place.name, flags, dir_fd=place.fd)
            try:
                return scan(fd, limit)
            finally:
                os.close(fd)

        return self.at(path, scanned)

    def similar(self, path: str) -> list[str]:
        """Up to three existing paths that `path` may have meant: close names in the same directory."""
        from difflib import get_close_matches

        parent, _, name = self.relative(path).rpartition("/")
        try:
            names = {entry.name.casefold(): entry.name for entry in self.scan(parent or ".", 2_000)}
        except ToolError:
            return []
        close = get_close_matches(name.casefold(), names, 3, 0.6)
        return [f"{parent}/{names[key]}" if parent else names[key] for key in close]

    # --- changing ---
    def _begin(self) -> None:
        """Before a write: settle what a killed process left half done, and have notes."""
        if self.notes is None and self.noting is not None:
            self.notes = self.noting()
        if self.notes is not None:
            self.notes.settle_others()

    def close(self) -> None:
        """Nothing more is written."""
        if self.notes is not None:
            self.notes.close()

    async def write(
        self,
        path: str,
        data: bytes,
        *,
        expect: str | None = None,
        create_parents: bool = True,
        seen: bool = True,
    ) -> None:
        """Replace or make a file in one step that a crash cannot cut in half, and remember `data` as seen.

        `seen`: False when the agent does not know all of `data`; then what it last read stays remembered.
        `expect`: the digest the file must still have, "" when it must not exist; else ToolError CONFLICT and nothing
        changes. It is looked at again just before the new content takes the name. Mode, owner and a link on the way
        are kept; a file with several hard links gets a file of its own under this name (`stat().st_nlink` tells).
        Hold `lock(path)` from reading to writing. Raises ToolError DENIED outside, below readable roots, in a `.git`
        and for write-protected files. Cancelling waits until the write is done.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        await trio.to_thread.run_sync(self._write, path, data, expect, create_parents)
        if seen:
            self.saw(path, self.digest(data))

    async def change(self, changes: Sequence[Change]) -> None:
        """Write and remove several files, all or none (codetether.changes). Hold the `lock` of each.

        Raises ToolError as `write`; then every file is as it was. Cancelling waits until it is done.
        """
        from codetether import changes as several

        def changed() -> None:
            self._begin()
            several.apply(self, changes)

        await trio.lowlevel.checkpoint_if_cancelled()
        await trio.to_thread.run_sync(changed)
        for change in changes:
            if change.data is not None and change.seen:
                self.saw(change.path, self.digest(change.data))
            elif change.data is None:
                self._seen.pop(self.relative(change.path), None)

    def _write(self, path: str, data: bytes, expect: str | None, create_parents: bool) -> None:
        def written(place: beneath.Place) -> None:
            self.may_replace(path, place)
            self.note_place(place)
            before = self.before(place)
            self.check_expected(path, place, expect)
            with self.known([(path, *before, data)]):
                files.replace_at(
                    place.fd,
                    place.name,
                    data,
                    new=expect == "",
                    still=(lambda: self.check_expected(path, place, expect)) if expect else None,
                )

        self._begin()
        try:
            self.at(path, written, write=True, create=create_parents)
        except FileExistsError:
            raise refusals.conflict(path, "exists already") from None

    @contextlib.contextmanager
    def known(
        self, changes: Iterable[tuple[str, bytes | None, int, bytes | None]]
    ) -> Iterator[None]:
        """Tell `keep` of changes before they show, so that nobody is killed in between; take it back when they fail."""
        keep = self.keep
        take_back = [keep(*change) for change in changes] if keep is not None else []
        try:
            yield
        except BaseException:
            for each in reversed(take_back):
                each()
            raise

    def before(self, place: beneath.Place) -> tuple[bytes | None, int]:
        """Content and mode at `place`, None and 0 where no file is; only looked at when somebody keeps them (`keep`)."""
        if self.keep is None:
            return None, 0
        try:
            fd = os.open(place.name, _READ, dir_fd=place.fd)
        except FileNotFoundError:
            return None, 0
        with os.fdopen(fd, "rb", buffering=0) as file:
            about = os.fstat(fd)
            return files.read_part(file, about.st_size, 0), stat.S_IMODE(about.st_mode)

    def note_place(self, place: beneath.Place) -> None:
        """Before a temporary file is made at `place`: say where, for whoever has to remove it."""
        if self.notes is not None:
            self.notes.directory(os.path.dirname(place.real) or ".")

    def may_replace(self, path: str, place: beneath.Place) -> None:
        """Raise ToolError when what is at `place` may not be replaced."""
        try:
            found = place.stat()
        except FileNotFoundError:
            return
        if stat.S_ISLNK(found.st_mode):
            return  # swapped in a moment ago; the rename replaces it
        refusals.check_regular(path, found)
        if not found.st_mode & 0o222 or not os.access(place.name, os.W_OK, dir_fd=place.fd):
            mode = stat.S_IMODE(found.st_mode)
            raise ToolError(f"{path} is write-protected (mode {mode:04o}).", "DENIED")

    def check_expected(self, path: str, place: beneath.Place, expect: str | None) -> None:
        """Raise ToolError CONFLICT unless the content at `place` has the digest `expect`; "": nothing may be there."""
        if expect is None:
            return
        try:
            fd = os.open(place.name, _READ, dir_fd=place.fd)
        except FileNotFoundError:
            if expect:
                raise refusals.conflict(path, "was deleted") from None
            return
        with os.fdopen(fd, "rb", buffering=0) as file:
            if not expect:
                raise refusals.conflict(path, "exists already")
            if files.digest_of(file) != expect:
                raise refusals.conflict(path, "has changed since you read it")

    # --- what the agent knows ---
    def digest(self, data: bytes) -> str:
        """The fingerprint of a file's content: blake2b, 32 hex digits."""
        from hashlib import blake2b

        return blake2b(data, digest_size=files.DIGEST).hexdigest()

    def saw(self, path: str, digest: str) -> None:
        """Remember that the agent knows the content with this digest. Links to one file share what is remembered."""
        self._seen[self.real(path)] = digest

    def last_seen(self, path: str) -> str | None:
        """The digest of the content the agent last read or wrote; None when it never did."""
        return self._seen.get(self.real(path))

    @contextlib.asynccontextmanager
    async def lock(self, path: str) -> AsyncIterator[None]:
        """Held by one task of this process at a time for one real file, also across workspaces. Not re-entrant."""
        key = os.path.join(self.root, self.real(path))
        lock, users = _locks.get(key, (trio.Lock(), 0))
        _locks[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = _locks.pop(key)
            if users > 1:
                _locks[key] = (lock, users - 1)

    # --- the way there ---
    def _locate(
        self, path: str, base: str, parts: list[str], *, write: bool = False, create: bool = False
    ) -> beneath.Place:
        try:
            return beneath.locate(base, parts, write=write, create=create, walk=self._walk)
        except beneath.Escape as escape:
            raise ToolError(
                f"{path} leads outside the workspace through the link {escape.link}. Links may only point to files "
                "inside the workspace.",
                "DENIED",
            ) from None
        except beneath.Guarded:
            raise ToolError(
                f"{path} is inside .git, which only git may change. Use git commands.", "DENIED"
            ) from None

    def at(
        self,
        path: str,
        work: Callable[[beneath.Place], T],
        *,
        write: bool = False,
        create: bool = False,
    ) -> T:
        """`work` on the place of `path`; `write` and `create` as `beneath.locate`. Raises ToolError as `read`."""
        base, parts = self._split(path)
        if write and base != str(self.root):
            raise ToolError(
                f"{path} is a session side file: it can be read, not written.", "DENIED"
            )
        for attempt in range(beneath.TRIES):
            try:
                with self._locate(path, base, parts, write=write, create=create) as place:
                    return work(place)
            except FileExistsError:
                raise
            except OSError as error:
                if error.errno == errno.ELOOP and attempt + 1 < beneath.TRIES:
                    continue  # what was a file when we looked was a link when we opened it
                raise self._told(path, error) from None
        raise AssertionError("unreachable")

    def _told(self, path: str, error: OSError) -> ToolError:
        near = self.similar(path) if error.errno == errno.ENOENT else ()
        return refusals.told(path, error, near)


def _encodable(path: str) -> bool:
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return False
    return True

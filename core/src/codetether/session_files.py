"""The directory of session files: naming a session, finding one, and telling what is in each without reading it all."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import threading
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from codetether.errors import CodetetherError, UsageError
from codetether.journal import Lease
from codetether.loaded import settings_of, title_from
from codetether.records import (
    AnyRecord,
    CompactionRecord,
    MessageRecord,
    SessionHeader,
    SessionRecord,
    SettingRecord,
    StateRecord,
    UsageRecord,
)
from codetether.scan import scan_bytes
from codetether.words import Usage

SUFFIX = ".jsonl"
HEAD = 16 * 1024  # bytes read for the header
TAIL = 96 * 1024  # bytes read for the newest state
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class SessionMissing(CodetetherError):
    """No session, or more than one, goes by this name."""


class Summary(msgspec.Struct, frozen=True):
    """One session in a list. `updated` (RFC 3339, UTC) is when its file last changed; `size` its bytes."""

    header: SessionHeader
    title: str
    settings: dict[str, str]
    messages: int
    usage: Usage
    updated: str
    size: int

    @property
    def id(self) -> str:
        """The session's id."""
        return self.header.id


def stamp(when: datetime) -> str:
    """A point in time as RFC 3339 in UTC, with milliseconds."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_id(now: datetime) -> str:
    """An id that sorts by the time it was made at and is short enough to type: s-20261125-142233-3f9a."""
    return f"s-{now.astimezone(UTC):%Y%m%d-%H%M%S}-{os.urandom(2).hex()}"


def check_id(session: str) -> str:
    """`session`, if it can be an id: it becomes part of a path. Raises UsageError."""
    if not _ID.fullmatch(session):
        raise UsageError(
            f"{session[:80]!r} is not a session id.",
            "`codetether sessions list` shows the ids there are.",
        )
    return session


def find_session(root: Path, session: str) -> Path:
    """The file of the session named by its id, a unique beginning of it, or of its last four characters.

    Raises UsageError when `session` cannot be an id, SessionMissing when none or several match.
    """
    check_id(session)
    exact = root / f"{session}{SUFFIX}"
    if exact.is_file():
        return exact
    ids = [path.name.removesuffix(SUFFIX) for path in session_paths(root)]
    matches = [name for name in ids if name.startswith(session)]
    matches = matches or [name for name in ids if name.rpartition("-")[2].startswith(session)]
    if len(matches) == 1:
        return root / f"{matches[0]}{SUFFIX}"
    if not matches:
        raise SessionMissing(
            f"There is no session {session}.", "`codetether sessions list --all` shows all."
        )
    shown = ", ".join(sorted(matches, reverse=True)[:5]) + (", …" if len(matches) > 5 else "")
    raise SessionMissing(
        f"{len(matches)} sessions begin with {session}: {shown}.", "Type more of the id."
    )


def latest_session(
    root: Path, directory: Path | None = None, branch: str | None = None
) -> str | None:
    """The id of the session last written, in `directory` if given; None when there is none.

    With `branch`, one that began on that git branch is preferred to those of other branches. Sub-agents' sessions,
    sessions without a message and files that are none are passed over.
    """
    latest: str | None = None
    for summary in summaries(root, directory):
        latest = latest or summary.id
        git = summary.header.git
        if branch is None or (git is not None and git.branch == branch):
            return summary.id
    return latest


def list_sessions(
    root: Path, directory: Path | None = None, limit: int | None = None, *, everything: bool = False, since: float = 0.0,
) -> list[Summary]:  # fmt: skip
    """The sessions last written first, those of `directory` if given. `everything`: sub-agents' and empty ones too;
    `since`: only those written after that, in seconds since 1970.
    """
    found = summaries(root, directory, everything=everything, since=since)
    return (
        [summary for summary, _ in zip(found, range(limit), strict=False)] if limit else list(found)
    )


def summaries(
    root: Path, directory: Path | None = None, *, everything: bool = False, since: float = 0.0
) -> Iterator[Summary]:
    """As `list_sessions`, one at a time; each costs two small reads."""
    wanted = None if directory is None else os.path.realpath(directory)
    timed = []
    for path in session_paths(root):
        with contextlib.suppress(OSError):
            timed.append((path.stat().st_mtime_ns, path.name, path))
    for written, _, path in sorted(timed, reverse=True):
        if written < since * 1e9:
            return
        summary = summarise(path)
        if summary is None or (
            wanted is not None and os.path.realpath(summary.header.directory) != wanted
        ):
            continue
        if everything or (summary.messages and not summary.header.started_by):
            yield summary


def summarise(path: Path) -> Summary | None:
    """What is in one session file; None when it is none or cannot be read."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            head = file.read(HEAD)
            records: list[AnyRecord | None] = []
            if status.st_size > HEAD + TAIL:
                file.seek(-TAIL, os.SEEK_END)
                records = scan_bytes(file.read().partition(b"\n")[2]).records
            if not any(isinstance(record, StateRecord) for record in records):  # small, or a crash
                file.seek(0)
                head = file.read()
                records = scan_bytes(head).records
    except OSError:
        return None
    header = _header(head, path)
    if header is None:
        return None
    settings, title, messages, usage = _count(records, settings_of(header))
    return Summary(
        header,
        settings.get("title") or title,
        settings,
        messages,
        usage,
        stamp(datetime.fromtimestamp(status.st_mtime, UTC)),
        status.st_size,
    )


def _count(
    records: Iterable[AnyRecord | None], settings: dict[str, str]
) -> tuple[dict[str, str], str, int, Usage]:
    """Settings, made-up title, number of messages and usage: the last state in `records`, and what came after it."""
    title, messages, usage = "", 0, Usage()
    for record in records:
        if isinstance(record, StateRecord):
            settings, title = dict(record.settings), record.title
            messages, usage = record.messages, record.usage
        elif isinstance(record, MessageRecord):
            messages += 1
            usage += record.message.usage or Usage()
            title = title or title_from((record.message,))
        elif isinstance(record, SettingRecord):
            settings.update(record.settings)
        elif isinstance(record, UsageRecord):
            usage += record.usage
    return settings, title, messages, usage


def _header(head: bytes, path: Path) -> SessionHeader | None:
    found = scan_bytes(head).records
    for record in found:
        if isinstance(record, SessionRecord):
            return record.session
    if any(isinstance(record, MessageRecord | CompactionRecord) for record in found):
        return SessionHeader(
            directory="", id=path.name.removesuffix(SUFFIX)
        )  # its first line is damaged
    return None


def session_paths(root: Path) -> list[Path]:
    """The session files in `root`, in no order; none when it cannot be read."""
    try:
        with os.scandir(root) as entries:
            return [
                root / entry.name
                for entry in entries
                if entry.name.endswith(SUFFIX)
                and _ID.fullmatch(entry.name.removesuffix(SUFFIX))
                and entry.is_file(follow_symlinks=False)
            ]
    except OSError:
        return []


def remove_session(root: Path, session: str) -> None:
    """Delete the session `session` (its whole id), its side files and what was cut off its file. Nothing else.

    Raises SessionMissing, SessionBusy when a process writes it, CodetetherError when it cannot be deleted.
    """
    import shutil

    path = root / f"{check_id(session)}{SUFFIX}"
    if not path.is_file():
        raise SessionMissing(f"There is no session {session}.")
    lease = Lease(root / f"{session}.lock")
    try:
        lease.take()
        path.unlink()
        path.with_name(path.name + ".bak").unlink(missing_ok=True)
        if os.path.lexists(files := root / f"{session}.files"):
            shutil.rmtree(files)
    except OSError as error:
        raise CodetetherError(f"Cannot delete session {session}: {error.strerror}.") from error
    finally:
        lease.drop()


def make_file(root: Path, session: str, now: datetime) -> str:
    """Make the empty file of a session in `root` and give its id: `session`, or a new one when that is empty. The disk
    keeps its name once `sync_directory(root)` was called.

    Raises CodetetherError when there is such a session already, OSError when the file cannot be made.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    while True:
        name = check_id(session or new_id(now))
        try:
            os.close(os.open(f"{root}/{name}{SUFFIX}", flags, 0o600))
        except FileNotFoundError:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
        except FileExistsError:
            if session:
                raise CodetetherError(f"There is a session {name} already.") from None
        else:
            return name


def sync_directory(path: Path) -> None:
    """Have the disk keep the names in `path`."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class Names:
    """The names of new files in the directory `root`: one sync has the disk keep all that were there when it began."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._numbers = itertools.count(1)
        self._made = 0
        self._kept = 0
        self._syncing = threading.Lock()

    def made(self) -> int:
        """The number of a file that is there now."""
        self._made = number = next(self._numbers)
        return number

    def keep(self, number: int) -> None:
        """Have the disk keep the name of a file by its number. Blocks as long as a sync takes, or two. Raises OSError."""
        with self._syncing:
            if number > self._kept:
                made = self._made
                sync_directory(self._root)
                self._kept = made

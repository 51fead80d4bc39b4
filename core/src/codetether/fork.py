"""Making a new session from what another one holds."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from codetether import records as r
from codetether.errors import CodetetherError
from codetether.loaded import header_of
from codetether.scan import Scan, scan_bytes
from codetether.session_files import SUFFIX, SessionMissing, new_id, stamp
from codetether.side_files import NAME


def copy_session(
    source: Path, upto: str = "", clock: Callable[[], datetime] | None = None
) -> tuple[str, list[str]]:
    """Copy the session in `source`, up to and with message `upto` or all of it.

    Gives the new session's id, and in words what was found damaged in the old one.
    Records are copied byte for byte behind a new first line; damaged ones are left out. Side files come along.
    Raises SessionMissing when there is no message `upto`, CodetetherError when the copy cannot be made.
    """
    from codetether.files import write_atomic

    now = clock() if clock else datetime.now(UTC)
    old = source.name.removesuffix(SUFFIX)
    try:
        scan = scan_bytes(source.read_bytes())
        if scan.newer:
            raise CodetetherError(
                f"Session {old} was written by a newer codetether.", "Update codetether to use it."
            )
        lines = _wanted(scan, upto, old)
        name = new_id(now)
        while (path := source.with_name(f"{name}{SUFFIX}")).exists():
            name = new_id(now)
        lines.insert(0, _first_line(scan, old, name, now))
        _copy_files(source.with_name(f"{old}.files"), source.with_name(f"{name}.files"))
        write_atomic(path, b"\n".join(lines) + b"\n", mode=0o600)
    except OSError as error:
        raise CodetetherError(f"Cannot copy session {old}: {error.strerror}.") from error
    return name, scan.complaints


def _wanted(scan: Scan, upto: str, session: str) -> list[bytes]:
    wanted = []
    for record, line in zip(scan.records, scan.lines, strict=True):
        if isinstance(record, r.StateRecord | r.SessionRecord):
            continue
        wanted.append(line)
        if upto and isinstance(record, r.MessageRecord) and record.id == upto:
            return wanted
    if upto:
        raise SessionMissing(
            f"Session {session} has no message {upto}.", "`codetether sessions show` names them."
        )
    return wanted


def _first_line(scan: Scan, old: str, name: str, now: datetime) -> bytes:
    header = msgspec.structs.replace(
        header_of(scan, old), id=name, created=stamp(now), parent=old, started_by=""
    )
    return r.encode(
        r.SessionRecord(v=r.FORMAT_VERSION, seq=0, id="r0", ts=stamp(now), session=header)
    )


def _copy_files(source: Path, target: Path) -> None:
    if not source.is_dir():
        return
    import shutil

    def copy(old: str, new: str) -> str:
        if NAME.fullmatch(os.path.basename(old)):  # never changed again, so one copy serves both
            with contextlib.suppress(OSError):  # a file system without hard links
                os.link(old, new)
                return new
        return shutil.copy2(old, new, follow_symlinks=False)

    shutil.copytree(source, target, symlinks=True, copy_function=copy)

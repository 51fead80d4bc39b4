"""What agents had asked when their process was killed: their transcripts tell it, and the journal could not."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import trio
from codetether.api import CodetetherError, Summary, Usage, find_session, list_sessions

from codetether_crew.attempt import Attempt

if TYPE_CHECKING:
    from codetether_crew.pasts import Past

KILLED = "its process was killed"
RUNS = ("swarm ", "ralph ")  # how what a run within a session took is named there
_USAGE = b'{"kind":"usage"'


class _Line(msgspec.Struct):
    """Of a line of a transcript that tells of calls which left no message there, what is needed."""

    ts: str = ""
    why: str = ""


async def unpaid(sessions: Path, past: Past, known: Collection[str]) -> list[Attempt]:
    """An attempt for each session of the run `past` that is not among `known` and was begun after all was accounted for,
    with what it and its sub-agents took. `sessions`: the folder of the transcripts.
    """
    return await trio.to_thread.run_sync(_unpaid, sessions, past, known)


def _unpaid(sessions: Path, past: Past, known: Collection[str]) -> list[Attempt]:
    below: dict[str, list[Summary]] = defaultdict(list)
    for each in list_sessions(sessions, everything=True, since=past.accounted):
        below[each.header.started_by].append(each)
    found = [each for each in below[past.mark] if each.id not in known and _is_of(past, each)]
    attempts = [
        Attempt(False, error=KILLED, usage=_total(sessions, each, below), session=each.id)
        for each in found
    ]
    return [each for each in attempts if each.usage.input or each.usage.output]


def _is_of(past: Past, each: Summary) -> bool:
    """A session that a tool's run belongs to has other sub-agents too, and workers on this machine have theirs here."""
    directory = each.header.directory
    here = past.mark == past.id and os.path.realpath(directory) == os.path.realpath(past.directory)
    return (here or past.id in directory) and _seconds(each.header.created) >= past.accounted


def _seconds(stamp: str) -> float:
    try:
        return datetime.fromisoformat(stamp).timestamp()
    except ValueError:
        return 0.0


def _total(sessions: Path, one: Summary, below: dict[str, list[Summary]]) -> Usage:
    """What a session and its sub-agents took. Those that were over have been paid for in it."""
    usage = one.usage
    others = below.get(one.id, [])
    paid = list(_paid(sessions, one.id)) if others else []
    for other in others:
        if not any(_pays_for(line, other) for line in paid):
            usage += _total(sessions, other, below)
    return usage


def _pays_for(line: _Line, other: Summary) -> bool:
    if line.why.startswith(RUNS):  # one after another: this one had `other`, or came later
        return _seconds(line.ts) >= _seconds(other.header.created)
    return line.why == f"sub-agent {other.id}"


def _paid(sessions: Path, session: str) -> Iterable[_Line]:
    try:
        data = find_session(sessions, session).read_bytes()
    except (OSError, CodetetherError):
        return
    for line in data.split(b"\n"):
        if line.startswith(_USAGE):
            try:
                yield msgspec.json.decode(line, type=_Line)
            except msgspec.DecodeError:
                continue

"""What coordinator and workers tell each other: JSON, all of it, and nothing in it is code."""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Literal

import msgspec
from codetether.api import AgentResult, AgentTask, SessionEvent

WORD = re.compile(r"[^a-zA-Z0-9_-]+")
State = Literal["claimed", "done", "over"]


class Bundle(msgspec.Struct, frozen=True):
    """Commits on their way: a file on the broker. `commit`: the one it brings; `digest`: SHA-256 of the file, in hex; `size`
    in bytes.
    """

    name: str
    commit: str
    size: int
    digest: str


class Job(msgspec.Struct, frozen=True, omit_defaults=True):
    """A sub-task in the queue. `key` names its record; `submission` names this time of handing it in. The commit `task.base`
    comes from `remote`, when that is given, and from `bundles`, in their order; `origin` names the coordinator's clone.
    `task.directory` is relative to the repository's root.
    """

    key: str
    submission: str
    task: AgentTask
    origin: str = ""
    bundles: tuple[Bundle, ...] = ()
    remote: str = ""


class Record(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What became of a sub-task that was handed in: one for each, on the broker, which numbers its versions. There is none
    while it waits in the queue; it is `over` when nobody wants it any more. The number of the version in which a worker
    claimed it is the worker's token: with another version in place nothing of that worker is taken.

    `copy`: the job's number in the queue, which tells older from newer ones; `delivery`: how often the queue had handed
    it out; `tries`: how often it was begun, this time included. `stamp` makes each version differ, and `claim` is that of the
    claim which a result is of: a broker that lost what it had counts its versions anew.
    """

    state: State
    submission: str
    stamp: str
    worker: str = ""
    delivery: int = 0
    tries: int = 0
    copy: int = 0
    token: int = 0
    claim: str = ""
    result: AgentResult | None = None
    bundle: Bundle | None = None


class Told(msgspec.Struct, frozen=True):
    """An event of a sub-agent's session, told by the worker that holds `token`."""

    token: int
    event: SessionEvent


encode = msgspec.json.Encoder().encode
job = msgspec.json.Decoder(Job).decode
record = msgspec.json.Decoder(Record).decode
told = msgspec.json.Decoder(Told).decode


def stamp() -> str:
    """A text that no other call ever returned."""
    return secrets.token_hex(8)


def key_of(task_id: str) -> str:
    """A task's name on the broker: readable, and with only what a subject may hold."""
    digest = hashlib.sha256(task_id.encode()).hexdigest()[:10]
    return f"{WORD.sub('-', task_id)[:80]}-{digest}"

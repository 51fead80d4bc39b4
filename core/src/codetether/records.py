"""The lines of a session file: what each kind holds (docs/sessions.md)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Literal

import msgspec

from codetether.words import Message, Usage

FORMAT_VERSION = 1
SETTINGS = ("model", "agent", "access", "title", "planning")


class GitState(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where the repository stood when the session began: its root, branch ("" detached) and commit."""

    root: str
    branch: str = ""
    commit: str = ""


class SessionHeader(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a session is. `id` and `created` (RFC 3339, UTC) are filled in when empty.

    `directory` is absolute. `parent`: the session this one is a fork of. `started_by`: the session whose agent started
    this one (a sub-agent); such sessions are not listed and never continued by `--continue`. `version`: of codetether.
    """

    directory: str
    id: str = ""
    created: str = ""
    title: str = ""
    agent: str = ""
    model: str = ""
    access: str = ""
    parent: str = ""
    started_by: str = ""
    git: GitState | None = None
    version: str = ""


class SideFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """Content kept outside the line: the text of result `part` of message number `message`, or its picture number
    `image`, or picture `part` itself. `name` is the SHA-256 of the bytes, in `<id>.files/`; `size` in bytes.
    """

    part: int
    name: str
    size: int
    message: int = 0
    image: int = -1


class Record(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="kind"):
    """What every line has. `seq` orders the session, never the clock; `parent` is the id of the line before."""

    v: int
    seq: int
    id: str
    ts: str
    parent: str = ""


class SessionRecord(Record, frozen=True, omit_defaults=True, kw_only=True, tag="session"):
    """The first line."""

    session: SessionHeader


class MessageRecord(Record, frozen=True, omit_defaults=True, kw_only=True, tag="message"):
    """One message, whose id is the record's."""

    message: Message
    files: tuple[SideFile, ...] = ()


class SettingRecord(Record, frozen=True, omit_defaults=True, kw_only=True, tag="setting"):
    """Settings that hold from here on: any of model, agent, access, title, planning."""

    settings: dict[str, str]


class CompactionRecord(Record, frozen=True, omit_defaults=True, kw_only=True, tag="compaction"):
    """For the model, `context` stands for all messages up to and with message `upto`. Nothing is removed."""

    upto: str
    context: tuple[Message, ...]
    how: str = ""
    files: tuple[SideFile, ...] = ()


class UsageRecord(Record, frozen=True, omit_defaults=True, kw_only=True, tag="usage"):
    """What a model call cost that left no message here: a summary, a sub-agent."""

    usage: Usage
    why: str = ""
    model: str = ""


class NoticeRecord(Record, frozen=True, omit_defaults=True, kw_only=True, tag="notice"):
    """Something the person was told."""

    level: Literal["info", "warning", "error"]
    text: str


class InterruptedRecord(Record, frozen=True, omit_defaults=True, kw_only=True, tag="interrupted"):
    """The turn ended here before its time."""

    why: str = ""


class StateRecord(Record, frozen=True, omit_defaults=True, kw_only=True, tag="state"):
    """All settings and sums up to here, repeated now and then so that a listing need read only the end of a file."""

    settings: dict[str, str]
    title: str
    messages: int
    usage: Usage


AnyRecord = (
    SessionRecord
    | MessageRecord
    | SettingRecord
    | CompactionRecord
    | UsageRecord
    | NoticeRecord
    | InterruptedRecord
    | StateRecord
)
KINDS = frozenset(
    {"session", "message", "setting", "compaction", "usage", "notice", "interrupted", "state"}
)


_NEEDED = frozenset(
    {"kind", "type", "id", "parent", "ts", "role", "level"}
)  # made here, never secrets
_encoder = msgspec.json.Encoder(enc_hook=str)


@cache  # to make one takes longer than all else of this module, and a new session reads nothing
def _decoder() -> msgspec.json.Decoder[AnyRecord]:
    return msgspec.json.Decoder(AnyRecord)


def decode(line: bytes) -> AnyRecord:
    """What one line holds. Raises ValueError or RecursionError."""
    return _decoder().decode(line)


def encode(record: Record) -> bytes:
    """One line, without its newline. Text that is not valid Unicode and numbers too large for JSON are made so."""
    try:
        return _encoder.encode(record)
    except (ValueError, OverflowError, TypeError):
        return _encoder.encode(sound(msgspec.to_builtins(record, enc_hook=str, builtin_types=())))


def sound(value: Any) -> Any:
    """`value` with every part that JSON cannot hold replaced by text that it can."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {
            sound(key if isinstance(key, str) else str(key)): sound(v) for key, v in value.items()
        }
    if isinstance(value, list | tuple):
        return [sound(item) for item in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return str(value)
    return value


def redact_values(record: Record, redact: Callable[[str], str]) -> bytes:
    """One line in which `redact` was applied to each text by itself: slower, but the line stays a record."""

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            return redact(value)
        if isinstance(value, dict):
            return {key: item if key in _NEEDED else clean(item) for key, item in value.items()}
        return [clean(item) for item in value] if isinstance(value, list | tuple) else value

    return _encoder.encode(clean(msgspec.to_builtins(decode(encode(record)), builtin_types=())))


def is_record(line: bytes) -> bool:
    """Whether `line` reads as a record of this version."""
    try:
        decode(line)
    except (ValueError, RecursionError):
        return False
    return True

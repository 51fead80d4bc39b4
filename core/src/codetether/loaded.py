"""A session as read: the records of its file put together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from codetether import records as r
from codetether.records import SETTINGS, SessionHeader, SessionRecord
from codetether.scan import Scan
from codetether.side_files import bring_back
from codetether.words import Message, Usage

TITLE_LENGTH = 60  # characters


class Loaded(msgspec.Struct):
    """What a session holds.

    `messages` is the whole conversation; `context` what the model is to be sent of it, shorter after a compaction.
    `settings` are those in force: model, agent, access, title. `repairs` says in words what was found damaged;
    `damaged` is true when a record in the middle is lost, so that rewinding must be refused.
    """

    header: SessionHeader
    messages: list[Message] = []
    context: list[Message] = []
    settings: dict[str, str] = {}
    usage: Usage = Usage()
    repairs: list[str] = []
    damaged: bool = False
    unknown: int = 0

    @property
    def title(self) -> str:
        """The title given, or else made from the first user message."""
        return self.settings.get("title") or title_from(self.messages)


def title_from(messages: Sequence[Message]) -> str:
    """A title made of the first words a person said; "" when nothing was said yet."""
    for message in messages:
        words = " ".join(message.text[:1000].split()) if message.role == "user" else ""
        if words:
            return words if len(words) <= TITLE_LENGTH else words[: TITLE_LENGTH - 1].rstrip() + "…"
    return ""


def settings_of(header: SessionHeader) -> dict[str, str]:
    """The settings a session began with."""
    values = {key: getattr(header, key, "") for key in SETTINGS}
    return {key: value for key, value in values.items() if value}


def header_of(scan: Scan, session: str) -> SessionHeader:
    """The header in `scan`; when it is missing, one that has the id `session` and nothing else."""
    headers = (r.session for r in scan.records if isinstance(r, SessionRecord))
    return next(headers, SessionHeader(directory="", id=session))


def assemble(scan: Scan, session: str, files: Path) -> Loaded:
    """Put the records of `scan` together; contents put aside are read from `files`."""
    header = header_of(scan, session)
    repairs = scan.complaints
    if not header.created:
        repairs.append("the first record, which says where and when the session began, is missing")
    loaded = Loaded(header, settings=settings_of(header), repairs=repairs, unknown=scan.unknown)
    loaded.damaged = scan.lost > 0
    compacted: r.CompactionRecord | None = None
    at = 0  # messages there were when it was written
    for record in scan.records:
        if isinstance(record, r.MessageRecord):
            _take_message(loaded, record, files)
        elif isinstance(record, r.CompactionRecord):
            compacted, at = record, len(loaded.messages)
        elif isinstance(record, r.SettingRecord):
            loaded.settings.update(record.settings)
        elif isinstance(record, r.UsageRecord):
            loaded.usage += record.usage
    loaded.context = _context(loaded, compacted, at, files)
    return loaded


def _take_message(loaded: Loaded, record: r.MessageRecord, files: Path) -> None:
    message = record.message
    if record.files:
        (message,), lost = bring_back((message,), record.files, files)
        loaded.repairs += (f"message {record.id}: {why}" for why in lost)
    loaded.messages.append(message)
    if message.usage is not None:
        loaded.usage += message.usage


def _context(
    loaded: Loaded, compacted: r.CompactionRecord | None, at: int, files: Path
) -> list[Message]:
    if compacted is None:
        return list(loaded.messages)
    context, lost = bring_back(compacted.context, compacted.files, files)
    loaded.repairs += (f"compaction {compacted.id}: {why}" for why in lost)
    ids = [message.id for message in loaded.messages[:at]]
    after = at - ids[::-1].index(compacted.upto) if compacted.upto in ids else at
    return [*context, *loaded.messages[after:]]

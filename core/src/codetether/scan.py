"""Reading a session file whole, whatever happened to it: what is good is kept, what is not is told."""

from __future__ import annotations

import gc
import re

import msgspec

from codetether.records import FORMAT_VERSION, KINDS, AnyRecord, decode, is_record

_START = re.compile(rb'\{"kind":"[a-z_.-]+","v":\d')


class _Outline(msgspec.Struct):
    """The least a line of any version must have."""

    v: int
    seq: int
    kind: str
    id: str = ""


class Scan(msgspec.Struct):
    """What a file holds. `lines` are the bytes of the lines kept, beside `records` (None: of a kind or form unknown
    here). `lost` counts the lines between them that are damaged. `end` is where the last good line ends; `tail` what
    follows it and is no record at all.
    """

    records: list[AnyRecord | None] = []
    lines: list[bytes] = []
    last_seq: int = -1
    last_id: str = ""
    newer: bool = False
    unknown: int = 0
    lost: int = 0
    complaints: list[str] = []
    end: int = 0
    tail: bytes = b""


_outline = msgspec.json.Decoder(_Outline).decode


def scan_bytes(data: bytes) -> Scan:
    """Read a whole file: split on newline bytes only, keep what is good, say what is not. Never raises."""
    collecting = gc.isenabled()
    gc.disable()  # tens of thousands of new objects, none of them garbage: looking for it costs a third of the time
    try:
        lines = data.split(b"\n")
        return _scan_sound(data, lines) or _scan_each(data, lines)
    finally:
        if collecting:
            gc.enable()


def _scan_sound(data: bytes, lines: list[bytes]) -> Scan | None:
    """The quick way, for a file in which nothing is unusual; None for any other."""
    if lines[-1] == b"":
        lines = lines[:-1]
    try:
        records: list[AnyRecord | None] = [decode(line) for line in lines]
    except (ValueError, RecursionError):
        return None
    seq = -1
    for record in records:
        if record is None or record.seq <= seq or record.v != FORMAT_VERSION:
            return None
        seq = record.seq
    last = records[-1].id if records and records[-1] else ""
    return Scan(records, lines, seq, last, end=len(data))


def _scan_each(data: bytes, lines: list[bytes]) -> Scan:
    found = Scan()
    offset = 0
    bad: list[tuple[int, int]] = []
    for number, piece in enumerate(lines, 1):
        line = piece
        start, offset = offset, offset + len(line) + 1
        if not line or line.isspace():
            continue
        if (
            found.lines and line == found.lines[-1]
        ):  # written twice by an interrupted retry: one record
            found.end = min(offset, len(data))
            continue
        try:
            record: AnyRecord | None = decode(line)
        except (ValueError, RecursionError):
            record, line = _second_look(line, number, found)
            if not line:
                bad.append((number, start))
                continue
        found.records.append(record)
        found.lines.append(line)
        found.end = min(offset, len(data))
    _sum_up(found, data, bad)
    return found


def _second_look(line: bytes, number: int, found: Scan) -> tuple[AnyRecord | None, bytes]:
    """The record in a line that did not decode: behind zero bytes or half a line, or of a form not known here."""
    for match in _START.finditer(line, 1):
        rest = line[match.start() :]
        if is_record(rest):
            found.complaints.append(
                f"line {number}: {match.start()} damaged bytes before a good record skipped"
            )
            return decode(rest), rest
    try:
        outline = _outline(line)
    except (ValueError, RecursionError):
        return None, b""
    found.last_seq, found.last_id = outline.seq, outline.id
    if outline.v > FORMAT_VERSION:
        found.newer = True
    elif outline.kind in KINDS:
        found.complaints.append(
            f"line {number}: a {outline.kind} record that cannot be read was skipped"
        )
        found.lost += 1
    found.unknown += 1
    return None, line


def _sum_up(found: Scan, data: bytes, bad: list[tuple[int, int]]) -> None:
    for record in found.records:
        if record is not None:
            if record.v > FORMAT_VERSION:
                found.newer = True
            if record.seq >= found.last_seq:
                found.last_seq, found.last_id = record.seq, record.id
    found.tail = data[found.end :] if bad and bad[-1][1] >= found.end else b""
    for number, start in bad:
        if start < found.end:
            found.lost += 1
            found.complaints.append(f"line {number}: damaged, skipped")

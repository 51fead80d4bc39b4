"""The journal of a run: a line of JSON for each thing that happened, on the disk before the next one begins."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import trio
from codetether.api import CodetetherError

LARGEST = 256_000_000  # bytes of a journal that are read
NAME = "journal.jsonl"
# Who waited for the disk go on so many at a time. A hundred agents in step would all begin, and none ask its model
# before the last had begun; a thousand would hold up all else.
AT_ONCE = 4
_ENCODER = msgspec.json.Encoder()


def encoded(record: msgspec.Struct) -> bytes:
    """As JSON, in one line. What is no character (half of one, a byte of a file's name) becomes a question mark."""
    try:
        return _ENCODER.encode(record)
    except UnicodeEncodeError:
        import json

        plain = json.dumps(msgspec.to_builtins(record), ensure_ascii=False)
        return plain.encode("utf-8", "replace")


class _Batch:
    """Lines that go to the disk together, and why they did not. Who gave the first of them sees to it."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.why_not = "it was cut short"
        self.waiting = trio.lowlevel.ParkingLot()


class Journal:
    """Appends records, tagged structs, to the journal in `folder`. One process writes it at a time: who holds the run's
    lease. Records that come while others are on their way to the disk go together, the next time.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._fd = -1
        self._lock = trio.Lock()
        self._next = _Batch()

    async def write(self, *records: msgspec.Struct) -> None:
        """Append, and wait until all is on the disk. Cancelling waits for it. Raises CodetetherError."""
        batch = self._next
        first = not batch.lines
        batch.lines += [encoded(record) + b"\n" for record in records]
        with trio.CancelScope(shield=True):
            if first:
                await self._write(batch)
            else:
                await batch.waiting.park()
                batch.waiting.unpark()  # each lets another one go on
        if batch.why_not:
            raise CodetetherError(f"the journal cannot be written: {batch.why_not}")

    async def _write(self, batch: _Batch) -> None:
        try:
            async with self._lock:
                self._next = _Batch()
                batch.why_not = await trio.to_thread.run_sync(self._append, batch.lines)
        finally:
            if batch is self._next:
                self._next = _Batch()
            batch.waiting.unpark(count=AT_ONCE)

    def _append(self, lines: list[bytes]) -> str:
        """Why they are not all on the disk; "" when they are."""
        left = b"".join(lines)
        try:
            if self._fd < 0:
                self._open()
            while left:
                left = left[os.write(self._fd, left) :]
            os.fsync(self._fd)
        except OSError as error:
            self.close()  # the next record ends what was written of these
            return error.strerror or "unknown error"
        return ""

    def _open(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.open(self.folder / NAME, flags, 0o600)
        size = os.fstat(self._fd).st_size
        if size and os.pread(self._fd, 1, size - 1) != b"\n":  # killed, or out of room
            os.write(self._fd, b"\n")

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def records(folder: Path, kind: Any) -> Iterator[Any]:
    """The records in `folder`, which are of the union `kind`; a line that was cut is as if it had not been.

    Raises OSError.
    """
    decoder = msgspec.json.Decoder(kind)
    with (folder / NAME).open("rb") as file:
        lines = file.read(LARGEST).split(b"\n")
    for line in lines:
        try:
            yield decoder.decode(line)
        except msgspec.DecodeError:
            continue

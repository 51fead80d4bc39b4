"""What a child process said, kept in bounded memory: its head, its tail, and the rest in a side file."""

from __future__ import annotations

import codecs
import contextlib
import os
from pathlib import Path
from typing import BinaryIO

import trio

SPILL_BATCH = 256 * 1024
PENDING = 16_000


def decode(data: bytes) -> tuple[str, bool]:
    """`data` as text that JSON, a model and a terminal take, and whether something had to be replaced."""
    try:
        text, lossy = data.decode(), False
    except UnicodeDecodeError:
        text, lossy = data.decode("utf-8", "replace"), True
    return (text.replace("\0", "\ufffd"), True) if "\0" in text else (text, lossy)


class Capture:
    """One stream's bytes: at most `head` first and `tail` last ones in memory, all up to `limit` in `spill`.

    The side file is made only when something would be left out of memory; it then holds everything from the
    first byte. Nothing is decoded before the end, so a character is never cut in two.
    """

    def __init__(self, head: int, tail: int, spill: Path | None, limit: int) -> None:
        self.total = 0
        self.spilled: Path | None = None
        self._head_size = head
        self._tail_size = tail
        self._head = bytearray()
        self._tail = bytearray()
        self._spill = spill
        self._limit = limit
        self._file: BinaryIO | None = None
        self._unwritten = bytearray()
        self._written = 0

    async def add(self, data: bytes) -> None:
        """Take the next bytes. May write to the side file, in a thread."""
        room = self._head_size + self._tail_size - self.total
        if self._spill is not None and len(data) > room >= 0:
            self._unwritten += self._head + self._tail
        self.total += len(data)
        if self._spill is not None and len(data) > room:
            self._unwritten += data
            if len(self._unwritten) >= SPILL_BATCH:
                await self.flush()
        cut = self._head_size - len(self._head)
        if cut > 0:
            self._head += data[:cut]
            data = data[cut:]
        self._tail += data
        if len(self._tail) > 2 * self._tail_size + SPILL_BATCH:
            self._trim()

    def _trim(self) -> None:
        del self._tail[: max(len(self._tail) - self._tail_size, 0)]

    async def flush(self) -> None:
        """Write what waits for the side file."""
        batch, self._unwritten = self._unwritten, bytearray()
        del batch[max(self._limit - self._written, 0) :]
        if not batch or self._spill is None:
            return
        try:
            await trio.to_thread.run_sync(self._write, bytes(batch))
        except (
            OSError
        ):  # no room: the command goes on, its middle is lost, and nobody is sent to the file
            await trio.to_thread.run_sync(self._discard)

    def _write(self, batch: bytes) -> None:
        assert self._spill is not None
        if self._file is None:
            self._spill.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            self._file = os.fdopen(os.open(self._spill, flags, 0o600), "wb", buffering=0)
            self.spilled = self._spill
        self._file.write(batch)
        self._written += len(batch)

    def _discard(self) -> None:
        """Give the room back: the session itself may need it."""
        if self._file is not None and self._spill is not None:
            self._file.close()
            with contextlib.suppress(OSError):
                self._spill.unlink()
        self._file = self._spill = self.spilled = None

    async def close(self) -> None:
        """Finish the side file."""
        try:
            await self.flush()
        finally:
            if self._file is not None:
                self._file.close()

    def text(self) -> tuple[str, bool, bool]:
        """The text, whether some was left out of it, and whether bytes had to be replaced."""
        self._trim()
        left_out = self.total - len(self._head) - len(self._tail)
        if not left_out:
            text, lossy = decode(bytes(self._head + self._tail))
            return text, False, lossy
        head, tail = bytes(self._head), bytes(self._tail)
        while tail and 0x80 <= tail[0] < 0xC0 and len(self._tail) - len(tail) < 3:
            tail = tail[1:]
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        head_text = decoder.decode(head).replace("\0", "\ufffd")
        tail_text, lossy = decode(tail)
        left_out = self.total - (len(head) - len(decoder.getstate()[0])) - len(tail)
        lossy = lossy or "\ufffd" in head_text
        mark = f"\n[{left_out} of {self.total} bytes left out here]\n"
        return head_text + mark + tail_text, True, lossy


class Live:
    """Text on its way to somebody who watches: coalesced, and bounded by dropping the oldest."""

    def __init__(self) -> None:
        self.fresh = trio.Event()
        self._text = ""
        self._decoders: dict[int, codecs.IncrementalDecoder] = {}

    def add(self, stream: int, data: bytes) -> None:
        """Take bytes of the stream with that number."""
        decoder = self._decoders.get(stream)
        if decoder is None:
            decoder = codecs.getincrementaldecoder("utf-8")("replace")
            self._decoders[stream] = decoder
        self._text = (self._text + decoder.decode(data[-PENDING:])).replace("\0", "\ufffd")
        self._text = self._text[-PENDING:]
        self.fresh.set()

    def take(self) -> str:
        """All that came since the last call."""
        text, self._text = self._text, ""
        self.fresh = trio.Event()
        return text

"""Server-sent events from bytes, in whatever pieces the bytes come (WHATWG HTML, 9.2.6)."""

from __future__ import annotations

from typing import NamedTuple

from codetether_wire.faults import WireFault

_BOM = b"\xef\xbb\xbf"
EVENT_LIMIT = 1 << 20


class Event(NamedTuple):
    """One event. `name` is the `event:` field ("" when absent); `data` the data lines joined by a newline, undecoded."""

    name: str
    data: bytes


class SseParser:
    """Feed it bytes, get the events that became complete. The same bytes give the same events under any split.

    Raises WireFault (kind `other`) when one event grows beyond `limit` bytes. `id` and `retry` are read and ignored:
    a model's answer cannot be resumed.
    """

    def __init__(self, limit: int = EVENT_LIMIT) -> None:
        self._limit = limit
        self._tail: list[bytes] = []
        self._tail_size = 0
        self._skip_newline = False
        self._started = False
        self._name = ""
        self._data: list[bytes] = []
        self._data_size = 0
        self._fault: WireFault | None = None

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that `chunk` completed, in order."""
        if self._fault:
            raise self._fault
        if self._skip_newline and chunk:
            self._skip_newline = False
            if chunk[0] == 10:
                chunk = chunk[1:]
        if b"\r" in chunk:
            # A CR ends a line at once, even as the last byte of a chunk; the LF of a CRLF pair may come later.
            self._skip_newline = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if b"\n" not in chunk:
            self._keep(chunk)
            events: list[Event] = []
        else:
            lines = b"".join([*self._tail, chunk]).split(b"\n")
            self._tail, self._tail_size = [], 0
            rest = lines.pop()
            events = self._read(lines)
            self._keep(rest)
        if self._fault and not events:  # events before the fault are given first
            raise self._fault
        return events

    def close(self) -> list[Event]:
        """The event that the end of the stream left without its blank line, if any. Some servers end that way."""
        if self._fault:
            raise self._fault
        line = b"".join(self._tail)
        self._tail, self._tail_size = [], 0
        return self._read([line, b""])

    def _keep(self, piece: bytes) -> None:
        if piece:
            self._tail.append(piece)
            self._tail_size += len(piece)
            self._fits(self._tail_size)

    def _fits(self, line_size: int) -> bool:
        if self._data_size + line_size > self._limit and self._fault is None:
            message = f"one event of the stream is larger than {self._limit} bytes"
            self._fault = WireFault.of("other", message)
        return self._fault is None

    def _read(self, lines: list[bytes]) -> list[Event]:
        events: list[Event] = []
        for line in lines:
            if not self._fits(len(line)):
                break
            if not self._started:
                self._started = True
                line = line.removeprefix(_BOM)  # noqa: PLW2901
            if line[:5] == b"data:":
                self._add(line[6:] if line[5:6] == b" " else line[5:])
            elif not line:
                if self._data:
                    events.append(Event(self._name, b"\n".join(self._data)))
                    self._data, self._data_size = [], 0
                self._name = ""
            else:
                self._field(line)
        return events

    def _field(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        if field == b"event":
            self._name = value.removeprefix(b" ").decode("utf-8", "replace")
        elif field == b"data":
            self._add(b"")

    def _add(self, value: bytes) -> None:
        self._data.append(value)
        self._data_size += len(value) + 1

"""Messages of the Language Server Protocol on a byte stream: a header that says the length, then JSON."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

HEADER_LIMIT = 4_096  # bytes; real ones have about 30
BODY_LIMIT = 16 << 20


class BrokenProtocol(Exception):
    """What came is not the protocol, or more than is taken. The text says what, in one line."""


class Source(Protocol):
    """Where bytes come from."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray: ...


class Reader:
    """Takes messages from `source`. `taken` counts bytes; nothing longer than the limits is ever held."""

    def __init__(self, source: Source, limit: int = BODY_LIMIT) -> None:
        self._source = source
        self._buffer = bytearray()
        self._limit = limit
        self.taken = 0

    async def message(self) -> dict[str, Any] | None:
        """The next message; None at the end of the stream. Raises BrokenProtocol."""
        length = await self._header()
        if length is None:
            return None
        while len(self._buffer) < length:
            if not await self._more():
                return None
        body = bytes(memoryview(self._buffer)[:length])
        del self._buffer[:length]
        try:
            message = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise BrokenProtocol("it sent a message that is not JSON") from None
        if not isinstance(message, dict):
            raise BrokenProtocol("it sent a message that is no object")
        return message

    async def _header(self) -> int | None:
        scanned = 0
        while (end := self._buffer.find(b"\r\n\r\n", scanned)) < 0:
            if len(self._buffer) > HEADER_LIMIT:
                raise BrokenProtocol("it sent something that is no header")
            scanned = max(len(self._buffer) - 3, 0)
            if not await self._more():
                return None
        header = bytes(self._buffer[:end])
        if end > HEADER_LIMIT:
            raise BrokenProtocol("it sent something that is no header")
        del self._buffer[: end + 4]
        return self._length(header)

    def _length(self, header: bytes) -> int:
        for line in header.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"content-length":
                digits = value.strip()
                if not digits.isdigit() or len(digits) > 12:
                    break
                if int(digits) > self._limit:
                    raise BrokenProtocol(f"it sent a message of {int(digits)} bytes")
                return int(digits)
        raise BrokenProtocol("it sent a header without a length")

    async def _more(self) -> bool:
        data = await self._source.receive_some(65536)
        self._buffer += data
        self.taken += len(data)
        return bool(data)


def framed(message: dict[str, Any]) -> bytes:
    """The bytes of `message`."""
    body = msgspec.json.encode(message)
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)

"""Bodies read with a bound, and unpacked with a bound: gzip and identity only."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from codetether_wire.faults import WireFault

if TYPE_CHECKING:
    from codetether_wire.connection import Response

BODY_LIMIT = 16 << 20
STREAM_LIMIT = 64 << 20
_PIECE = 1 << 20


class Inflater:
    """Unpacks a body piece by piece. Raises WireFault for encodings not asked for and beyond `limit` bytes in all."""

    def __init__(self, encoding: str = "", limit: int = STREAM_LIMIT) -> None:
        name = encoding.strip().lower()
        if name not in ("", "identity", "gzip", "x-gzip"):
            raise WireFault.of(
                "other",
                f"the server answered with content-encoding {name[:40]!r}, which was not asked for",
            )
        self._zlib = zlib.decompressobj(31) if "gzip" in name else None
        self._left = limit
        self._limit = limit

    def feed(self, raw: bytes) -> list[bytes]:
        """The plain bytes of `raw`, in pieces of at most 1 MiB."""
        if self._zlib is None:
            self._take(len(raw))
            return [raw]
        pieces: list[bytes] = []
        while raw:
            try:
                piece = self._zlib.decompress(raw, _PIECE)
            except zlib.error as exc:
                raise WireFault.of(
                    "network", "the server's gzip data is broken", retry=True
                ) from exc
            self._take(len(piece))
            if piece:
                pieces.append(piece)
            raw = self._zlib.unconsumed_tail
            if self._zlib.eof:
                break
        return pieces

    def _take(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise WireFault.of("other", f"the answer is larger than {self._limit} bytes")


async def read_bounded(response: Response, limit: int = BODY_LIMIT, *, cut: bool = False) -> bytes:
    """The whole body, plain. Beyond `limit`: WireFault, or with `cut` the first `limit` bytes (for error texts)."""
    inflater = Inflater(
        response.headers.get("content-encoding", ""), limit if not cut else limit + (2 << 20)
    )
    pieces: list[bytes] = []
    size = 0
    while raw := await response.read():
        for piece in inflater.feed(raw):
            pieces.append(piece)
            size += len(piece)
        if cut and size >= limit:
            break
    body = b"".join(pieces)
    return body[:limit] if cut else body

"""Every event of a session as one line of JSON on standard output (docs/events.md)."""

from __future__ import annotations

import sys
import time

import msgspec
import trio
from codetether.api import EVENTS_VERSION, Output, SessionEvent, Ui, UserAct


class Jsonl(Ui):
    """For programs that watch: it asks nobody anything.

    Each line starts with `v` (version of the format), `seq` (from 1, no gaps) and `ts` (seconds since 1970), then
    `type` and the event's own fields. Lines leave at once; while the reader is slow, deltas of one kind join.
    """

    api = 1

    async def run(
        self, feed: trio.abc.ReceiveChannel[SessionEvent], say: trio.MemorySendChannel[UserAct]
    ) -> None:
        """Write events until the feed ends or nobody reads any more."""
        output = Output(sys.stdout)
        encoder = msgspec.json.Encoder()
        seq = 0
        with say:
            try:
                async for event in feed:
                    seq += 1
                    head = b'{"v":%d,"seq":%d,"ts":%.3f,' % (EVENTS_VERSION, seq, time.time())
                    await output.write(self._safe(head + encoder.encode(event)[1:]) + b"\n")
            except BrokenPipeError:
                return  # leaving `say` stops the turn: there is nobody to work for

    def _safe(self, line: bytes) -> bytes:
        """A secret in a tool's arguments or result must not leave through a log of events."""
        text = line.decode()
        safe: str = self.kernel.redact.text(text)
        return safe.encode()

"""The worker's end of the socket: one JSON document a line, each way. Questions to the parent are answered in turn."""

from __future__ import annotations

import json
import os
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from typing import Any

SOON = 0.001  # seconds


class TooLong(BaseException):
    """The cell's time is over."""


class Link:
    """The socket."""

    def __init__(self, ours: socket) -> None:
        self._ours = ours
        self._buffer = bytearray()
        self._number = 0

    def send(self, document: dict[str, Any]) -> None:
        """Send one document."""
        self._ours.sendall(json.dumps(document).encode() + b"\n")

    def receive(self) -> dict[str, Any]:
        """The next document. The process ends with the socket."""
        scanned = 0
        while (end := self._buffer.find(b"\n", scanned)) < 0:
            scanned = len(self._buffer)
            data = self._ours.recv(1 << 16)
            if not data:
                os._exit(0)
            self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        document: dict[str, Any] = json.loads(line)
        return document

    def ask(self, what: str, **question: Any) -> dict[str, Any]:
        """Ask the parent, and wait for its answer. The time of the cell stands still: it must not end in between. What it
        took is taken off afterwards, but for the seconds that the answer says are `free`.
        """
        left, again = signal.setitimer(signal.ITIMER_REAL, 0)
        began, free = time.monotonic(), 0.0
        try:
            self._number += 1
            self.send({"ask": what, "number": self._number, **question})
            answer = self.receive()
            while answer.get("answer") != self._number:
                answer = self.receive()
            free = answer.get("free", 0.0)
        finally:
            over = False
            if left:
                left -= time.monotonic() - began - free
                # Too short a time would be stopped by the next question before it is over, again and again.
                over = left < SOON
                signal.setitimer(signal.ITIMER_REAL, again if over else left, again)
        if over:
            raise TooLong
        return answer


def plain(text: str) -> str:
    """`text` without halves of characters, which JSON cannot carry to everybody."""
    return text.encode("utf-8", "replace").decode()

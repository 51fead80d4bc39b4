"""The worker's end of the socket: one JSON document a line, each way. Questions to the parent are answered in turn."""

from __future__ import annotations

import json
import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from typing import Any


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
        """Ask the parent, and wait for its answer. The time of the cell stands still: it must not end in between."""
        left, again = signal.setitimer(signal.ITIMER_REAL, 0)
        try:
            self._number += 1
            self.send({"ask": what, "number": self._number, **question})
            while True:
                answer = self.receive()
                if answer.get("answer") == self._number:
                    return answer
        finally:
            if left:
                signal.setitimer(signal.ITIMER_REAL, left, again)


def plain(text: str) -> str:
    """`text` without halves of characters, which JSON cannot carry to everybody."""
    return text.encode("utf-8", "replace").decode()

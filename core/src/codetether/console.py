"""Writing to a terminal, file or pipe, and reading what a person types, without ever holding up trio."""

from __future__ import annotations

import contextlib
import os
import select
from typing import Any, TextIO

import trio

from codetether.terminal import is_terminal

WRITABLE = 4096  # POSIX: a pipe that is ready takes this many bytes without blocking


class Output:
    """Writes to a stream without ever holding up trio: a full pipe or a stopped terminal blocks a thread only.

    Goes round the stream's own buffer, so that nothing is left in it when the process ends. Raises BrokenPipeError.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.terminal = is_terminal(stream)
        encoding = (getattr(stream, "encoding", None) or "utf-8").lower()
        self.unicode = encoding.replace("-", "") == "utf8"
        self._encoding = encoding
        try:
            stream.flush()
            self._fd = stream.fileno()
        except (OSError, ValueError, AttributeError):
            self._fd = -1

    async def write(self, text: str | bytes) -> None:
        """Write all of `text`. Cancelled, it may have written a part."""
        data = text if isinstance(text, bytes) else text.encode(self._encoding, "replace")
        if self._fd < 0 or (len(data) <= WRITABLE and self._ready()):
            self._all(data)
            await trio.lowlevel.checkpoint()
        else:
            await trio.to_thread.run_sync(self._all, data, abandon_on_cancel=True)

    def write_now(self, text: str) -> None:
        """Write a few characters if the stream takes them at once, else nothing: for the way out."""
        if self._fd < 0 or self._ready():
            try:
                self._all(text.encode(self._encoding, "replace"))
            except OSError:
                return

    def _ready(self) -> bool:
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        return bool(poll.poll(0))

    def _all(self, data: bytes) -> None:
        if self._fd < 0:
            self.stream.write(data.decode(self._encoding))
            self.stream.flush()
        view = memoryview(data)
        while self._fd >= 0 and view:
            view = view[os.write(self._fd, view) :]


async def read_line(fd: int, limit: int = 4096) -> str | None:
    """One line a person types on the terminal `fd`, without its newline; None at the end of input.

    The terminal stays in its normal mode, so there is nothing to restore whatever happens; the wait ends within
    0.1 s of being cancelled.
    """
    return await trio.to_thread.run_sync(_read_line, fd, limit)


def _read_line(fd: int, limit: int) -> str | None:
    data = b""
    while not data.endswith(b"\n") and len(data) < limit:
        if not _wait(fd):
            continue
        piece = os.read(fd, limit)
        if not piece:
            return data.decode("utf-8", "replace") if data else None
        data += piece
    return data.decode("utf-8", "replace").rstrip("\r\n")


def _wait(fd: int, seconds: float = 0.1) -> bool:
    trio.from_thread.check_cancelled()
    return bool(select.select([fd], [], [], seconds)[0])


def is_hung_up(fd: int) -> bool:
    """Whether the terminal `fd` is gone, a window that was closed."""
    look = select.poll()
    look.register(fd, 0)
    return any(event & select.POLLHUP for _, event in look.poll(0))


def forget_typed_ahead(fd: int) -> None:
    """Drop what was typed before a question was on the screen: it was no answer to it."""
    import termios

    with contextlib.suppress(
        OSError, termios.error
    ):  # not a terminal after all: nothing is waiting
        termios.tcflush(fd, termios.TCIFLUSH)


def open_terminal(*streams: TextIO) -> int | None:
    """A descriptor for the terminal a person sits at, for reading and writing; None when there is none.

    Only if one of `streams` is a terminal: a job without one must not grab the terminal of its ancestors.
    """
    for path in ("/dev/tty", *(_name(stream) for stream in streams)):
        if any(is_terminal(stream) for stream in streams) and path:
            try:
                return os.open(
                    path, os.O_RDWR | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_CLOEXEC", 0)
                )
            except OSError:
                continue
    return None


def _name(stream: Any) -> str:
    try:
        return os.ttyname(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return ""

"""Getting a key from a person without showing it, or from a script. It is never an argument: `ps` shows those."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence

import trio
from codetether.api import (
    CodetetherError,
    DeniedError,
    UsageError,
    forget_typed_ahead,
    open_terminal,
    read_line,
)

LONGEST = 65_536


async def ask_hidden(names: Sequence[str]) -> dict[str, str]:
    """A value for each name, typed on the terminal without echo. Raises DeniedError when there is no terminal."""
    fd = open_terminal(sys.stdin, sys.stderr)
    if fd is None:
        raise DeniedError(
            "nobody is here to type the key", "give it on standard input: add --stdin"
        )
    try:
        with _no_echo(fd):
            return {name: await _one(fd, name) for name in names}
    finally:
        os.close(fd)


async def _one(fd: int, name: str) -> str:
    os.write(fd, f"{name}: ".encode())
    try:
        typed = await read_line(fd, LONGEST)
    finally:
        os.write(fd, b"\n")
    return usable(typed or "", name)


@contextlib.contextmanager
def _no_echo(fd: int) -> Iterator[None]:
    """The terminal as it was comes back however this ends: Ctrl-C leaves through here too."""
    import termios

    before = termios.tcgetattr(fd)
    silent = [*before]
    silent[3] &= ~termios.ECHO
    forget_typed_ahead(fd)
    termios.tcsetattr(fd, termios.TCSADRAIN, silent)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


async def read_piped(names: Sequence[str]) -> dict[str, str]:
    """A value for each name from standard input, one a line. Raises UsageError when lines are missing."""
    if sys.stdin.isatty():
        return await ask_hidden(names)
    data = await trio.to_thread.run_sync(_read, abandon_on_cancel=True)
    lines = [line.strip() for line in data.splitlines() if line.strip()]
    if len(lines) != len(names):
        wanted = ", then ".join(names)
        raise UsageError(
            f"standard input has {len(lines)} lines", f"give {wanted}, one a line, and nothing else"
        )
    return {name: usable(line, name) for name, line in zip(names, lines, strict=True)}


def _read() -> str:
    return sys.stdin.buffer.read(LONGEST).decode("utf-8", "replace")


async def agreed(question: str) -> bool:
    """Whether a person at the terminal says yes; plain Enter is yes. False when nobody is there."""
    fd = open_terminal(sys.stdin, sys.stderr)
    if fd is None:
        return False
    try:
        forget_typed_ahead(fd)
        os.write(fd, f"{question} [Y/n] ".encode())
        answer = await read_line(fd)
        return answer is not None and answer.strip().lower() in ("", "y", "yes")
    finally:
        os.close(fd)


def usable(text: str, name: str) -> str:
    """The value without white space around it. Raises CodetetherError, which does not quote it."""
    text = text.strip()
    if not text:
        raise CodetetherError(f"{name} is empty: nothing was stored", "try again")
    if not text.isprintable():
        raise CodetetherError(
            f"{name} holds characters that no key has: nothing was stored",
            "copy it again, without line breaks",
        )
    return text

"""A terminal of a test's own: what is written to it, byte for byte, and keys typed into it."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import termios
from contextlib import asynccontextmanager

import trio
from place import CODETETHER, FAILSAFE

OURS = re.compile(
    rb"\x1b\[(?:\d+(?:;\d+)*m|0?m|\d*A|J)"
)  # colours, up, erase below: all that is ever written


class Terminal:
    def __init__(self, leader, process):
        self.leader, self.process = leader, process
        self.bytes = b""

    @property
    def text(self):
        return re.sub(r"\x1b\[[\d;]*[mAJ]", "", self.bytes.decode(errors="replace"))

    async def until(self, wanted, times=1):
        """Read until `wanted` is on it, as often as said."""
        with trio.fail_after(FAILSAFE):
            while self.text.count(wanted) < times:
                assert await self._read(), f"it ended before {wanted!r}:\n{self.text}"

    async def type(self, text):
        os.write(self.leader, text.encode())

    async def end(self):
        with trio.fail_after(FAILSAFE):
            while await self._read():
                pass
            while self.process.poll() is None:
                await trio.sleep(0.01)
        return self.process.returncode

    async def close(self):
        """The window is closed: nobody reads or types any more, and the kernel hangs up. The exit code."""
        os.dup2(os.open(os.devnull, os.O_RDWR), self.leader)
        with trio.fail_after(FAILSAFE):
            while self.process.poll() is None:
                await trio.sleep(0.01)
        return self.process.returncode

    async def _read(self):
        ended = (
            self.process.poll() is not None
        )  # before it is read: what it wrote at the end is there by then
        with trio.move_on_after(0.2):
            if ended and not select.select([self.leader], [], [], 0)[0]:
                return False
            await trio.lowlevel.wait_readable(self.leader)
            try:
                piece = os.read(self.leader, 65536)
            except OSError:  # everybody on the other side is gone
                return False
            self.bytes += piece
            return bool(piece)
        return True

    def foreign(self):
        """Control bytes on it that are not ours."""
        rest = OURS.sub(b"", self.bytes)
        return [rest[max(at.start() - 20, 0) : at.end() + 20] for at in re.finditer(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", rest)]  # fmt: skip


@asynccontextmanager
async def terminal(place, *words, cwd=None, **env):
    """`codetether WORDS...` with a terminal as its controlling one, which must be as before at the end."""
    leader, follower = pty.openpty()
    termios.tcsetwinsize(leader, (50, 200))
    before = termios.tcgetattr(follower)
    process = subprocess.Popen(
        [CODETETHER, *words], cwd=cwd or place.work, env=place.env(**env),
        preexec_fn=lambda: os.login_tty(follower), close_fds=False,
    )  # fmt: skip
    place.pids.append(process.pid)
    try:
        yield Terminal(leader, process)
        assert process.poll() is not None
        if os.isatty(leader):
            assert termios.tcgetattr(follower) == before
    finally:
        process.kill()
        process.wait()
        os.close(follower)
        os.close(leader)

"""A child process that runs somebody else's code for us and speaks JSON lines over a socket.

Model libraries crash, hang and hold the interpreter's lock; in a child they take nothing down and can be ended. The
child gets the number of its end of a socket pair as last argument. When the socket ends, it must end: so it cannot
outlive us, whatever ends us. It lives as long as the run of trio, across calls, which no nursery of one call could give.
"""

from __future__ import annotations

import fcntl
import math
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec
import trio
from codetether.api import CodetetherError, Completed, run_process

LINE_LIMIT = 64 << 20
TOLD = 16_000  # bytes of what it prints that are kept, to say why it ended
ENDING_SECONDS = 8.0
FIRST_FD = 32


class ChildEnded(Exception):
    """The child is gone. `why` is one line for a person: its exit code or signal, and its last words."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Child:
    """One child and the lines to and from it. Start it with `Child.start`; end it with `aclose`. `dismissed`: it was
    ended by `aclose`, not by itself.
    """

    def __init__(self, ours: socket.socket, theirs: socket.socket) -> None:
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        self._ours = ours
        self._theirs = theirs
        self._buffer = bytearray()
        self._scanned = 0
        self._scope = trio.CancelScope()
        self._over = trio.Event()
        self._why = ""
        self.dismissed = False

    @classmethod
    async def start(
        cls,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | str,
        pass_fds: Sequence[int] = (),
    ) -> Self:
        """Start `argv` with the socket's number added. What it says of itself comes with `receive`. `pass_fds`: what
        the sandbox that wrapped `argv` needs.
        """
        ours, low = socket.socketpair()
        with low:  # a sandbox's shell uses numbers of one digit for files of its own
            theirs = socket.socket(fileno=fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, FIRST_FD))
        child = cls(ours, theirs)
        argv = [*argv, str(theirs.fileno())]
        trio.lowlevel.spawn_system_task(child._live, argv, env, cwd, tuple(pass_fds))
        await trio.lowlevel.checkpoint()
        return child

    @property
    def ended(self) -> bool:
        """Whether it is gone, or about to be."""
        return self._over.is_set() or self._scope.cancel_called or self._at_end()

    async def send(self, document: Any) -> None:
        """Send one line. Raises ChildEnded."""
        try:
            await self._stream.send_all(msgspec.json.encode(document) + b"\n")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise ChildEnded(await self.why()) from None

    async def receive(self, kind: Any = Any) -> Any:
        """The next line, decoded as `kind`: what a child nobody trusts says can take twenty times its size when it is decoded as
        anything. Raises ChildEnded when there is none, or it is no JSON. May be cancelled.
        """
        while (end := self._buffer.find(b"\n", self._scanned)) < 0:
            self._scanned = len(self._buffer)
            if self._scanned > LINE_LIMIT:
                await self.aclose()
                raise ChildEnded("it said too much at once")
            try:
                data = await self._stream.receive_some(65536)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            if not data:
                raise ChildEnded(await self.why())
            self._theirs.close()  # it has its own by now
            self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._scanned = 0
        try:
            return msgspec.json.decode(line, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError):
            await self.aclose()
            raise ChildEnded("it said something that is no JSON") from None

    async def why(self) -> str:
        """Why it ended, in one line; ends it when it has not."""
        await self.aclose(gently=True)
        return self._why or "it was ended"

    async def aclose(self, *, gently: bool = False) -> None:
        """End it and wait until it is gone. `gently`: it is ending by itself, give it a moment for its last words."""
        with trio.CancelScope(shield=True), trio.move_on_after(ENDING_SECONDS):
            if gently:
                with trio.move_on_after(1.0):
                    await self._over.wait()
            else:
                self.dismissed = self.dismissed or not self.ended
            self._scope.cancel()
            await self._over.wait()
            await self._stream.aclose()

    def _at_end(self) -> bool:
        """Its end of the socket is closed: that is seen before its exit is."""
        try:
            peek = self._ours.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return not peek

    async def _live(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: Path | str,
        pass_fds: tuple[int, ...],
    ) -> None:
        """A system task: it must not raise. When trio ends, it is cancelled, and run_process ends the child."""
        try:
            with self._scope:
                done = await run_process(
                    argv,
                    cwd=cwd,
                    env=env,
                    timeout=math.inf,
                    merge=True,
                    head=TOLD // 4,
                    tail=TOLD,
                    kill_at_limit=False,
                    pass_fds=(self._theirs.fileno(), *pass_fds),
                )
                self._why = _words(done)
        except CodetetherError as exc:
            self._why = exc.message
        except Exception as exc:
            self._why = f"{type(exc).__name__}: {exc}"
        except (
            BaseException
        ):  # a cancellation that is not ours: trio ends, and nobody will read any more
            self._ours.close()
            raise
        finally:
            self._theirs.close()
            self._over.set()


def _words(done: Completed) -> str:
    how = f"was ended by signal {done.signal}" if done.signal else f"ended with code {done.code}"
    lines = [line.strip() for line in done.output.splitlines() if line.strip()]
    return f"it {how}" + (f": {' / '.join(lines[-3:])}" if lines else "")

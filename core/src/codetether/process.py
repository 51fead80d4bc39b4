"""Child processes: the only place that starts one. Bounded in time and memory, and nothing stays behind.

Every child leads a session of its own. However the call ends (exit, timeout, cancel, too much output), the whole tree is
asked to end (TERM), killed after half a second (0.12 s when cancelled), and reaped, background children included.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import trio

from codetether import crowd, leftovers
from codetether.capture import Capture, Live
from codetether.environment import clean_env
from codetether.errors import CodetetherError
from codetether.leftovers import kill_leftovers

__all__ = ["CannotStart", "Completed", "clean_env", "kill_leftovers", "run_process"]

GRACE = 0.5  # from TERM to KILL
HURRY = 0.12  # the same when cancelled: a person waits, and is promised an end within 0.2 s
DRAIN = 0.3  # how long to read on when the leader is gone and somebody else holds the pipe
COALESCE = 0.1
GIVE_UP = 5.0  # a process that cannot even be killed (uninterruptible sleep) must not hold us


class CannotStart(CodetetherError):
    """The program is not there, may not be run, or its arguments are too long."""


class Completed(msgspec.Struct, frozen=True):
    """What became of a child process.

    `code`: exit code, 128 + n when signal n ended it (then `signal` is n). `output`: its stdout, or both streams in order
    when merged; `errors`: its stderr otherwise. Texts are valid Unicode; `lossy` when bytes had to be replaced;
    `truncated` when the middle was left out (it says so in place). `total_bytes`: all it wrote, exactly.
    `spilled`: the file with all of `output`, when it was truncated and there was a place for it. `outgrown`: it had too
    many processes, and was ended.
    """

    code: int
    signal: int | None
    output: str
    errors: str
    timed_out: bool
    killed_for_output: bool
    total_bytes: int
    truncated: bool
    lossy: bool
    spilled: Path | None
    seconds: float
    outgrown: bool = False

    @property
    def ok(self) -> bool:
        """It ended by itself with exit code 0."""
        return self.code == 0 and not self.timed_out and not self.killed_for_output


async def run_process(
    argv: Sequence[str],
    *,
    cwd: str | Path,
    env: Mapping[str, str],
    timeout: float,  # noqa: ASYNC109 - a timeout is a result here, with the output so far, not an exception
    stdin: bytes = b"",
    merge: bool = False,
    head: int = 48_000,
    tail: int = 48_000,
    spill: Path | None = None,
    spill_limit: int = 64_000_000,
    kill_at_limit: bool = True,
    on_output: Callable[[str], Awaitable[None]] | None = None,
    pass_fds: Sequence[int] = (),
    processes: int = crowd.MOST,
) -> Completed:
    """Run `argv` to its end, at most `timeout` seconds. `env` is all it gets, plus the marker of this run.

    `stdin` is sent whole; without it the child reads /dev/null. `merge` puts stderr into `output`, in order.
    `head` and `tail`, in bytes, are kept of each stream; when that is not all, all of `output` up to `spill_limit` goes to the
    file `spill`. More than `processes` processes and threads at one time end it (codetether.crowd), and more than `spill_limit` bytes in all end the process, unless `kill_at_limit` is off.
    `on_output` is given new text a few times a second, at most the last 16,000 characters; also when cancelled.

    Raises CannotStart. When cancelled, the tree is ended first.
    """
    await trio.lowlevel.checkpoint()
    captures = [Capture(head, tail, spill, spill_limit)]
    if not merge:
        captures.append(Capture(head, tail, None, spill_limit))
    started = trio.current_time()
    child = await _start(argv, cwd, env, feed=bool(stdin), merge=merge, pass_fds=pass_fds)
    crowd.limit(child.pid, processes)
    run = _Run(child, captures, Live() if on_output else None, spill_limit if kill_at_limit else 0)
    run.processes = processes
    async with trio.open_nursery() as nursery:
        if on_output is not None:
            nursery.start_soon(run.tell, on_output)
        try:
            with trio.move_on_after(timeout):
                await run.follow(stdin)
            run.timed_out = not run.over
            run.grace = GRACE
        finally:
            await run.end(on_output)
        nursery.cancel_scope.cancel()
    return run.completed(trio.current_time() - started)


class _Child(msgspec.Struct, frozen=True):
    process: trio.Process
    marker: str

    @property
    def pid(self) -> int:
        return self.process.pid


async def _start(
    argv: Sequence[str],
    cwd: str | Path,
    env: Mapping[str, str],
    *,
    feed: bool,
    merge: bool,
    pass_fds: Sequence[int],
) -> _Child:
    with trio.CancelScope(shield=True):  # a child is started and known, or not started
        await trio.to_thread.run_sync(leftovers.prepare)
        marker = leftovers.new_marker()
        try:
            process = await trio.lowlevel.open_process(
                list(argv),
                stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if merge else subprocess.PIPE,
                cwd=cwd,
                env={**env, leftovers.MARKER: marker},
                start_new_session=True,
                pass_fds=tuple(pass_fds),
            )
        except (OSError, ValueError) as error:
            raise _cannot_start(argv, cwd, error) from None
    leftovers.note_leader(process.pid, running=True)
    return _Child(process, marker)


def _cannot_start(argv: Sequence[str], cwd: str | Path, error: OSError | ValueError) -> CannotStart:
    if not os.path.isdir(cwd):
        return CannotStart(f"cannot run {argv[0]!r} in {cwd}: no such directory")
    if isinstance(error, FileNotFoundError):
        return CannotStart(f"cannot run {argv[0]!r}: not installed or not in PATH")
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return CannotStart(f"cannot run {argv[0]!r}: {reason}")


class _Run:
    """One child, from its start to its last byte."""

    def __init__(
        self, child: _Child, captures: list[Capture], live: Live | None, limit: int
    ) -> None:
        self.child = child
        self.process = child.process
        self.captures = captures
        self.live = live
        self.limit = limit
        self.over = False
        self.timed_out = False
        self.outgrown = False
        self.processes = crowd.MOST
        self.grace = HURRY
        self.flooded = trio.Event()
        self.seen = leftovers.Seen(child.pid)
        streams = (child.process.stdout, child.process.stderr)
        self.streams = [stream for stream in streams if stream is not None]
        self.at_end = [False] * len(self.streams)
        self.all_read = trio.Event()

    @property
    def total(self) -> int:
        return sum(capture.total for capture in self.captures)

    # --- while it runs ---
    async def follow(self, stdin: bytes) -> None:
        """Until the leader exits or says too much."""
        async with trio.open_nursery() as nursery:
            self._read_all(nursery)
            nursery.start_soon(self._feed, stdin)
            nursery.start_soon(self._flood, nursery.cancel_scope)
            nursery.start_soon(self._crowd, nursery.cancel_scope)
            await self.process.wait()
            self.over = True
            nursery.cancel_scope.cancel()

    async def _flood(self, scope: trio.CancelScope) -> None:
        await self.flooded.wait()
        self.over = True
        scope.cancel()

    async def _crowd(self, scope: trio.CancelScope) -> None:
        await crowd.outgrown(self.child.pid, self.processes)
        self.outgrown = self.over = True
        if self.process.returncode is None:
            self._signal_group(
                signal.SIGKILL
            )  # all at once, and at once: each moment there are more
        scope.cancel()

    async def _feed(self, stdin: bytes) -> None:
        if self.process.stdin is not None:
            async with self.process.stdin:
                with contextlib.suppress(trio.BrokenResourceError):  # it need not read all of it
                    await self.process.stdin.send_all(stdin)

    def _read_all(self, nursery: trio.Nursery) -> None:
        for number in range(len(self.streams)):
            if not self.at_end[number]:
                nursery.start_soon(self._read, number)

    async def _read(self, number: int) -> None:
        stream, capture = self.streams[number], self.captures[number]
        while data := await stream.receive_some(65536):
            with trio.CancelScope(shield=True):  # what was read is kept
                await capture.add(bytes(data))
            if self.live is not None:
                self.live.add(number, bytes(data))
            if 0 < self.limit < self.total:
                self.flooded.set()
                self.all_read.set()
                await trio.sleep_forever()
        self.at_end[number] = True
        if all(self.at_end):
            self.all_read.set()

    async def tell(self, on_output: Callable[[str], Awaitable[None]]) -> None:
        """Pass on what is new, now and then."""
        assert self.live is not None
        while True:
            await self.live.fresh.wait()
            await trio.sleep(COALESCE)
            await on_output(self.live.take())

    # --- the end ---
    async def end(self, on_output: Callable[[str], Awaitable[None]] | None) -> None:
        """End the tree, read what it said, reap it, and close everything. Takes about a second at most."""
        with trio.CancelScope(shield=True):
            try:
                async with trio.open_nursery() as nursery:
                    if not self.flooded.is_set():
                        self._read_all(nursery)
                    nursery.start_soon(self._crowd_left)
                    if self.process.returncode is None:
                        kill_at = trio.current_time() + self.grace
                        await self._end_leader(kill_at)
                        await self._sweep(kill_at)
                        await self._drain()
                    else:  # what it left may still be saying something
                        await self._drain()
                        await self._sweep(trio.current_time() + self.grace)
                    nursery.cancel_scope.cancel()
            finally:
                leftovers.note_leader(self.child.pid, running=False)
                for stream in (*self.streams, self.process.stdin):
                    if stream is not None:
                        await stream.aclose()
                for capture in self.captures:
                    await capture.close()
            if on_output is not None and self.live is not None and (text := self.live.take()):
                with trio.move_on_after(GRACE):
                    await on_output(text)

    async def _crowd_left(self) -> None:
        """A command that forks without end may have ended itself."""
        while True:
            await crowd.outgrown(self.child.pid, self.processes)
            self.outgrown = True
            leftovers.kill_group(self.child.pid)

    async def _end_leader(self, kill_at: float) -> None:
        self._signal_group(signal.SIGTERM)
        self._signal_group(signal.SIGCONT)  # one that is stopped hears nothing else
        leftovers.kill(self._left(), signal.SIGTERM)  # whoever left the group has the same time
        with trio.CancelScope(deadline=kill_at):
            await self.process.wait()
        if self.process.returncode is None:
            self._signal_group(signal.SIGKILL)
            with trio.move_on_after(GIVE_UP):
                await self.process.wait()

    def _signal_group(self, number: signal.Signals) -> None:
        """Only while the leader is not reaped: later its number may be another's."""
        try:
            os.killpg(self.child.pid, number)
        except (ProcessLookupError, PermissionError):
            self.process.send_signal(number)

    async def _drain(self) -> None:
        with trio.move_on_after(DRAIN):
            await self.all_read.wait()

    async def _sweep(self, kill_at: float) -> None:
        """Whoever is left: ask, then kill until nobody is."""
        asked: set[int] = set()
        with trio.move_on_after(GIVE_UP):
            while left := self._left():
                if trio.current_time() >= kill_at:
                    leftovers.kill(left)
                new = [pid for pid in left if pid not in asked]
                leftovers.kill(new, signal.SIGTERM)
                leftovers.kill(new, signal.SIGCONT)
                asked.update(left)
                await trio.sleep(0.01)

    def _left(self) -> list[int]:
        """Asked twice: the kernel's list of children may miss one while another ends."""
        find = (self.child.marker, self.child.pid, self.seen)
        return leftovers.alive(*find) or leftovers.alive(*find)

    def completed(self, seconds: float) -> Completed:
        code = self.process.returncode
        if code is None:
            code = -signal.SIGKILL  # killed, and the kernel has not let it go yet
        texts = [capture.text() for capture in self.captures]
        return Completed(
            code=code if code >= 0 else 128 - code,
            signal=-code if code < 0 else None,
            output=texts[0][0],
            errors=texts[1][0] if len(texts) > 1 else "",
            timed_out=self.timed_out,
            killed_for_output=self.flooded.is_set(),
            outgrown=self.outgrown,
            total_bytes=self.total,
            truncated=any(truncated for _, truncated, _ in texts),
            lossy=any(lossy for _, _, lossy in texts),
            spilled=self.captures[0].spilled,
            seconds=seconds,
        )

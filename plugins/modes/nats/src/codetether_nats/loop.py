"""An asyncio loop inside of trio's, in one thread, for the one client library there is, which knows nothing else.

asyncio asks its selector to wait; ours never does, but has the loop come back to trio, which waits in its place: for the
selector's own file descriptor, or until asyncio's next time is due. So a call of the library costs no change of threads,
and nothing is queued between the two. `turn` is the only place where asyncio runs.
"""

from __future__ import annotations

import asyncio
import logging
import math
import selectors
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import trio
from codetether.api import CodetetherError

T = TypeVar("T")
BEGUN = 1_000  # things begun and not waited for, at one time
LINGER = 5.0  # seconds that what was cancelled may take to end
READ = 64 * 1024  # bytes read at one time
ROUNDS = 100  # of asyncio, before everything else has a turn
CLOSED = "the connection to NATS was closed"


class Loop:
    """Made in trio, and started at once; `stop` ends it."""

    def __init__(self) -> None:
        self._selector = _Selector()
        self._loop = _Asyncio(self._selector)
        self._loop.set_exception_handler(_note)
        self._begun: set[asyncio.Task[None]] = set()  # asyncio itself holds none of them
        self._awaited: set[trio.Event] = set()  # set when a task is done, or can never be
        self._ended = False
        self._waiting = trio.CancelScope()
        self._due = math.inf  # the deadline of that, which is dear to set and to ask for
        trio.lowlevel.spawn_system_task(self._serve, name="asyncio for nats")

    async def run(self, work: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """The result of `work(*args)`, awaited in asyncio. Raises what it raises, CodetetherError once `stop` was called.

        Cancelling cancels it there. When it was done before that was heard, its result is returned all the same: nobody else
        would know of it. What waits for nothing is done before anybody else has a turn.
        """
        task = self._start(work(*args))
        self._turn()
        if not task.done():
            await self._over(task)
        if not task.done() or task.cancelled():
            raise CodetetherError(CLOSED)
        return task.result()

    async def _over(self, task: asyncio.Task[Any]) -> None:
        over = trio.Event()
        self._awaited.add(over)
        task.add_done_callback(lambda _: over.set())
        try:
            await over.wait()
        except trio.Cancelled:
            self.soon(task.cancel)
            with trio.move_on_after(LINGER, shield=True):
                await over.wait()
            if not task.done() or task.cancelled() or task.exception():
                raise
        finally:
            self._awaited.discard(over)

    def begin(self, work: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        """Have `work(*args)` done, and do not wait for it. It must tell of its own errors, or have none. With too much begun
        already it is left out.
        """
        if self._ended or len(self._begun) >= BEGUN:
            return
        task = self._start(work(*args))
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)
        self._turn()

    def soon(self, function: Callable[[], object]) -> None:
        """Call what has asyncio do something, cancel a task for instance, and have it done."""
        if not self._ended:
            function()
            self._turn()

    async def finish(self) -> None:
        """Wait for what was begun."""

        async def finish() -> None:
            if self._begun:
                await asyncio.wait(self._begun)

        await self.run(finish)

    async def stop(self) -> None:
        """Cancel what still runs, and end."""

        async def cancel() -> None:
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left, timeout=LINGER)

        if self._ended:
            return
        with trio.move_on_after(2 * LINGER, shield=True):
            await self.run(cancel)
        self._end()

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        if self._ended:
            work.close()
            raise CodetetherError(CLOSED)
        return self._loop.create_task(work)

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._waiting.cancel()
            self._loop.close()
            for over in self._awaited:
                over.set()

    @trio.lowlevel.enable_ki_protection
    def _turn(self) -> None:
        """Have asyncio do all it can without waiting."""
        self._selector.begin(self._loop.stop)
        self._loop.run_forever()
        due = trio.current_time() + self._selector.due - time.monotonic()
        if due < self._due:
            self._due = self._waiting.deadline = due

    async def _serve(self) -> None:
        try:
            while not self._ended:
                self._due = math.inf
                with trio.CancelScope() as self._waiting:
                    while not self._ended:
                        self._turn()
                        await trio.lowlevel.wait_readable(self._selector.fileno())
        finally:
            self._end()


class _Asyncio(asyncio.SelectorEventLoop):
    async def create_connection(self, *args: Any, **more: Any) -> Any:
        """Read less at one time: asyncio has a buffer of 256 KiB for it, which comes from the system and goes back there each time."""
        transport, protocol = await super().create_connection(*args, **more)
        transport.max_size = READ  # type: ignore[attr-defined]
        return transport, protocol

    def run_in_executor(self, _: object, work: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """In a thread of trio's. asyncio would wait for its own at the end, and names are looked up in them: for minutes."""
        future: asyncio.Future[T] = self.create_future()

        def settle(outcome: Any) -> None:
            if future.done():
                return
            try:
                future.set_result(outcome.unwrap())
            except Exception as error:
                future.set_exception(error)

        def deliver(outcome: Any) -> None:
            with suppress(RuntimeError):  # the loop has ended
                self.call_soon_threadsafe(settle, outcome)

        trio.lowlevel.start_thread_soon(lambda: work(*args), deliver)
        return future


def _note(_: asyncio.AbstractEventLoop, about: dict[str, Any]) -> None:
    """What fails in a task of the library's own, as one that reconnects while it is closed, is nothing a person can mend:
    asyncio would show them the traceback.
    """
    logging.getLogger(__name__).debug("%s", about["message"], exc_info=about.get("exception"))


class _Selector(selectors.DefaultSelector):
    """Never waits. `due`: when asyncio wants to be called at the latest, by time.monotonic."""

    def begin(self, stop: Callable[[], None]) -> None:
        """Have `stop` called once there is nothing left to do, or ROUNDS were gone."""
        self._stop = stop
        self._rounds = 0
        self._before = time.monotonic()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready now; nothing, without looking, while asyncio has something to do."""
        self._rounds += 1
        if timeout == 0 and self._rounds < ROUNDS:
            return []
        found = super().select(0)
        if self._rounds >= ROUNDS:
            self.due = 0.0
            self._stop()
        elif not found:
            # From before asyncio found out how long to wait: what came due meanwhile it begins now, and comes back for the rest.
            self.due = math.inf if timeout is None else self._before + timeout
            self._stop()
        self._before = time.monotonic()
        return found

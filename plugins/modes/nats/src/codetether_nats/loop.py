"""A thread with an asyncio loop, for the one client library there is, which knows nothing else.

The only place where both worlds meet: trio awaits what runs in the loop, and cancelling there cancels here. Nothing is
queued between them, so there is nothing that could grow.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import trio
from codetether.api import CodetetherError

T = TypeVar("T")
BEGUN = 1_000  # things begun and not waited for, at one time
LINGER = 5.0  # seconds that what was cancelled may take to end


class Loop:
    """Started when made; `stop` ends it. Its thread does not keep the process alive."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._begun: set[asyncio.Task[None]] = set()  # asyncio itself holds none of them
        self._ending = False
        self._thread = threading.Thread(target=self._serve, name="nats", daemon=True)
        self._thread.start()

    async def run(self, work: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """The result of `work(*args)`, awaited in the loop. Raises what it raises.

        Cancelling cancels it there. When it was done before that was heard, its result is returned all the same: nobody else
        would know of it.
        """
        token = trio.lowlevel.current_trio_token()
        over = trio.Event()
        tasks: list[asyncio.Task[T]] = []

        def ended(_: asyncio.Task[T]) -> None:
            with contextlib.suppress(trio.RunFinishedError):
                token.run_sync_soon(over.set)

        def begin() -> None:
            tasks.append(self._loop.create_task(work(*args)))
            tasks[0].add_done_callback(ended)

        def give_up() -> None:
            for task in tasks:
                task.cancel()

        self.soon(begin)
        try:
            await over.wait()
        except trio.Cancelled:
            with contextlib.suppress(CodetetherError):
                self.soon(give_up)
            with trio.move_on_after(LINGER, shield=True):
                await over.wait()
            if not over.is_set() or tasks[0].cancelled() or tasks[0].exception():
                raise
        if tasks[0].cancelled():
            raise CodetetherError("the connection to NATS was closed")
        return tasks[0].result()

    def begin(self, work: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        """Have `work(*args)` done in the loop, and do not wait for it. It must tell of its own errors, or have none. With
        too much begun already it is left out.
        """

        def begin() -> None:
            if len(self._begun) < BEGUN:
                task = self._loop.create_task(work(*args))
                self._begun.add(task)
                task.add_done_callback(self._begun.discard)

        self.soon(begin)

    async def finish(self) -> None:
        """Wait for what was begun."""

        async def finish() -> None:
            if self._begun:
                await asyncio.wait(self._begun)

        await self.run(finish)

    def soon(self, function: Callable[[], Any]) -> None:
        """Have `function` called in the loop's thread. Raises CodetetherError once `stop` was called."""
        if self._ending:
            raise CodetetherError("the connection to NATS was closed")
        self._loop.call_soon_threadsafe(function)

    async def stop(self) -> None:
        """End the loop and its thread; what still runs in it is cancelled."""
        if not self._ending:
            self.soon(self._loop.stop)
            self._ending = True
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._thread.join, LINGER)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            self._loop.close()

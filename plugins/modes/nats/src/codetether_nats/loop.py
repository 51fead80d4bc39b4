"""A thread with an asyncio loop, for the one client library there is, which knows nothing else.

The only place where both worlds meet: trio awaits what runs in the loop, and cancelling there cancels here. Nothing is
queued between them, so there is nothing that could grow.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import trio
from codetether.api import CodetetherError

T = TypeVar("T")
KEPT = 1_000  # short things begun and not waited for, at one time
LINGER = 5.0  # seconds that what was cancelled may take to end


class Loop:
    """Started when made; `stop` ends it. Its thread does not keep the process alive."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._going: deque[asyncio.Task[None]] = deque(
            maxlen=KEPT
        )  # asyncio itself holds none of them
        self._thread = threading.Thread(target=self._serve, name="nats", daemon=True)
        self._thread.start()

    async def run(self, work: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """The result of `work(*args)`, awaited in the loop. Cancelling cancels it there. Raises what it raises."""
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

        self._soon(begin)
        try:
            await over.wait()
        except trio.Cancelled:
            self._soon(give_up)
            with trio.move_on_after(LINGER, shield=True):
                await over.wait()
                with contextlib.suppress(BaseException):
                    tasks[0].result()  # else asyncio complains that nobody looked
            raise
        if tasks[0].cancelled():
            raise CodetetherError("the connection to NATS was closed")
        return tasks[0].result()

    def begin(self, work: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        """Have `work(*args)` done in the loop, and do not wait for it. It must tell of its own errors, or have none."""
        self._soon(lambda: self._going.append(self._loop.create_task(work(*args))))

    async def stop(self) -> None:
        """End the loop and its thread; what still runs in it is cancelled."""
        self._soon(self._loop.stop)
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._thread.join, LINGER)

    def _soon(self, function: Callable[[], Any]) -> None:
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:
            raise CodetetherError("the connection to NATS was closed") from None

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

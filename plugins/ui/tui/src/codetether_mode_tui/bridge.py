"""Between trio, where the conversation lives, and the thread of the screen, where prompt_toolkit has its asyncio loop.

This is the one place where asyncio is used. Both ways are bounded: what is told waits for the screen (deltas of one kind
join meanwhile), and what the person does is dropped with a bell when the conversation does not take it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from threading import Lock
from typing import Any, TypeVar

import trio
from codetether.api import TextDelta, ThoughtDelta, ToolProgress
from codetether_conversation import Act, Told

T = TypeVar("T")
ROOM = 2_000  # things told that the screen has not taken yet
ACTS = 100


class Bridge:
    """Made in trio. `tell` and `acts` are trio's side; `attach`, `take`, `do` and `ask` are the screen's."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._token = trio.lowlevel.current_trio_token()
        self._told: deque[Told] = deque()
        self._lock = Lock()
        self._room = trio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: Callable[[], None] = lambda: None
        self._waking = False
        self._closed = False
        self.shown = trio.Event()
        self._send, self.acts = trio.open_memory_channel[Act](ACTS)

    # --- trio's side ---
    async def tell(self, what: Told) -> None:
        """Hand `what` to the screen; waits when the screen is far behind."""
        await trio.lowlevel.checkpoint()
        while not self._closed and len(self._told) >= ROOM:
            self._room = trio.Event()
            if len(self._told) >= ROOM:  # still, now that the event is there to be set
                await self._room.wait()
        with self._lock:
            last = self._told[-1] if self._told else None
            joined = _joined(last, what)
            if joined is not None:
                self._told[-1] = joined
            else:
                self._told.append(what)
            wake = not self._waking
            self._waking = True
        if wake:
            self._call(self._wake)

    def _call(self, function: Callable[[], None]) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the screen has just gone
                self._loop.call_soon_threadsafe(function)

    # --- the screen's side ---
    def attach(self, wake: Callable[[], None]) -> None:
        """The screen is there: `wake` is called in its loop when something was told."""
        self._loop = asyncio.get_running_loop()
        self._wake = wake
        wake()

    def painted(self) -> None:
        """The first frame is in sight: what the screen shows may be got ready now."""
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self.shown.set)

    def detach(self) -> None:
        """The screen is gone: nobody waits for it any more."""
        self._closed = True
        self._loop = None
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._has_room)

    def take(self) -> list[Told]:
        """Everything told since the last time."""
        with self._lock:
            told = list(self._told)
            self._told.clear()
            self._waking = False
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._has_room)
        return told

    def do(self, act: Act) -> None:
        """What the person did."""
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._put, act)

    def _has_room(self) -> None:
        self._room.set()

    def _put(self, act: Act) -> None:
        with contextlib.suppress(trio.WouldBlock, trio.BrokenResourceError):
            self._send.send_nowait(act)

    async def ask(self, function: Callable[..., Awaitable[T]], *args: Any, default: T) -> T:
        """The result of a trio function, awaited in the screen's loop; `default` when it fails."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        scope = trio.CancelScope()

        def give(value: T) -> None:
            if not answer.done():
                answer.set_result(value)

        async def run() -> None:
            value = default
            with scope, contextlib.suppress(Exception):
                value = await function(*args)
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(give, value)

        try:
            self._token.run_sync_soon(lambda: self._nursery.start_soon(run))
            return await answer
        except trio.RunFinishedError:
            return default
        finally:
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(scope.cancel)


def _joined(last: Told | None, what: Told) -> Told | None:
    """Two deltas of one kind as one."""
    if isinstance(last, TextDelta) and isinstance(what, TextDelta):
        return TextDelta(last.text + what.text)
    if isinstance(last, ThoughtDelta) and isinstance(what, ThoughtDelta):
        return ThoughtDelta(last.text + what.text)
    if (
        isinstance(last, ToolProgress)
        and isinstance(what, ToolProgress)
        and last.call_id == what.call_id
    ):
        return ToolProgress(last.call_id, last.text + what.text)
    return None

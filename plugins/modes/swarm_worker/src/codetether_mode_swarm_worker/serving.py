"""Taking sub-tasks until told to end: some at one time, and none any more once the first signal came."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from codetether.api import clean
from codetether_nats import Link, Unreachable

from codetether_mode_swarm_worker.doing import Doing
from codetether_mode_swarm_worker.ground import Ground

if TYPE_CHECKING:
    from codetether.api import Kernel

    from codetether_mode_swarm_worker import Settings

POLL = 5.0  # seconds of one wait in the line
SHARE = 3  # of a lease is the longest: who freezes in the line must not be handed what another lost
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0


async def serve(kernel: Kernel, settings: Settings, *, once: bool) -> int:
    """Serve the queue; the exit code. Raises CodetetherError when the broker refuses us or stays away."""
    await kernel.settle_sandbox()
    server = _Server(kernel, settings, once=once)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.obey_signals, nursery.cancel_scope)
        await server.serve()
        nursery.cancel_scope.cancel()
    return 0


class _Server:
    def __init__(self, kernel: Kernel, settings: Settings, *, once: bool) -> None:
        self._kernel = kernel
        self._settings = settings
        self._once = once
        self._draining = False
        self._waiting: set[trio.CancelScope] = set()  # for the broker, or in the line for a job
        self.name = f"{socket.gethostname()}-{os.getpid()}"

    def _say(self, text: str) -> None:
        print(clean(self._kernel.redact.text(text)), file=sys.stderr, flush=True)

    async def serve(self) -> None:
        link = await self._connected()
        if link is None:
            return
        try:
            with Ground.at(self._folder()) as ground:
                doing = Doing(
                    self._kernel, self._settings, link, ground, name=self.name, say=self._say
                )
                many = 1 if self._once else self._settings.concurrency
                self._say(f"{self.name} serves {self._settings.url}, {many} at one time")
                async with trio.open_nursery() as nursery:
                    for _ in range(many):
                        nursery.start_soon(self._stand_in_line, link, doing)
        finally:
            await link.aclose()

    async def _connected(self) -> Link | None:
        """The broker may come later than we do; one that refuses us will not change its mind."""
        began, pause = trio.current_time(), FIRST_PAUSE
        with self._until_told_to_end():
            while True:
                try:
                    return await Link.open(self._settings, self._kernel, self.name)
                except Unreachable as error:
                    if error.refused or trio.current_time() - began > self._settings.outage:
                        raise
                    if pause == FIRST_PAUSE:
                        self._say(f"{error.message}; trying again")
                await trio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
        return None

    @contextmanager
    def _until_told_to_end(self) -> Iterator[None]:
        """What waits for something to begin, and has begun nothing."""
        with trio.CancelScope() as waiting:
            self._waiting.add(waiting)
            try:
                yield
            finally:
                self._waiting.discard(waiting)

    async def _stand_in_line(self, link: Link, doing: Doing) -> None:
        poll = min(POLL, link.lease / SHARE)
        async with link.line(doing.offer) as take:
            while not self._draining:
                got = None
                with self._until_told_to_end():
                    got = await take(poll)
                if got is None:
                    continue
                if self._draining:
                    await doing.decline(*got)
                elif await doing.do(*got) and self._once:
                    self._draining = True

    def _folder(self) -> Path:
        if self._settings.work_dir:
            return Path(self._settings.work_dir).expanduser().absolute()
        data = self._kernel.dirs.data
        return data.with_name(f"{data.name}-workers")  # sandboxed commands see nothing inside of it

    async def obey_signals(
        self, scope: trio.CancelScope, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """The first one: finish what was begun. The second: give it back to the queue and end."""
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
            task_status.started()
            async for _ in signals:
                if self._draining:
                    scope.cancel()
                    return
                self._draining = True
                for waiting in self._waiting:
                    waiting.cancel()
                self._say(
                    "no more sub-tasks are taken; a second signal gives back those that are running"
                )

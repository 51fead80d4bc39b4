"""Who watches a run: a program that reads its events, a person who ends it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable

import msgspec
import trio
from codetether.api import EVENTS_VERSION, Output
from codetether_live.screen import SHOW

from codetether_crew.journal import encoded


def event_lines(
    output: Output, redact: Callable[[str], str], broken: Callable[[str], None]
) -> Callable[[msgspec.Struct], Awaitable[None]]:
    """Writes each event as a line of JSON, with the four keys of docs/events.md in front. `broken` is told why when
    they cannot be written any more.
    """
    lock = trio.Lock()
    sent = 0

    async def tell(event: msgspec.Struct) -> None:
        nonlocal sent
        async with lock:
            sent += 1
            head = b'{"v":%d,"seq":%d,"ts":%.3f,' % (EVENTS_VERSION, sent, time.time())
            line = redact((head + encoded(event)[1:]).decode())
            try:
                await output.write(f"{line}\n")
            except BrokenPipeError:
                broken("nobody reads the events any more")
            except OSError as error:
                broken(f"the events cannot be written any more: {error.strerror}")

    return tell


async def obey_signals(
    stop: Callable[[str], None],
    again: Callable[[], str] = str,
    *,
    task_status: trio.TaskStatus[trio.Event],
) -> None:
    """The first signal stops the run in order, the second leaves at once, saying how to go on (`again`): its journal is on
    the disk either way. The event that is started with says whether there was one.
    """
    stopped = trio.Event()
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        task_status.started(stopped)
        async for _ in signals:
            if stopped.is_set():
                screen = Output(sys.stderr)
                if screen.terminal:
                    screen.write_now(SHOW)
                if command := again():
                    screen.write_now(f"\n  go on: {command}\n")
                os._exit(130)
            stopped.set()
            stop("interrupted")

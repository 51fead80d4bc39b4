"""What signals mean to a conversation, whatever the interface."""

from __future__ import annotations

import math
import signal
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

from codetether_conversation.words import Leave, Stop

if TYPE_CHECKING:
    from codetether_conversation.conversation import Conversation

AGAIN = 2.0  # seconds in which a second interrupt leaves


async def obey_signals(
    conversation: Conversation,
    left: Callable[[], Awaitable[None]] | None = None,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """INT stops the turn, twice within 2 s leaves; TERM and HUP leave. `left` is awaited after leaving."""
    last = -math.inf
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        task_status.started()
        async for number in signals:
            now = trio.current_time()
            leaves = number != signal.SIGINT or now - last < AGAIN
            last = now
            await conversation.act(Leave() if leaves else Stop())
            if leaves and left is not None:
                await left()

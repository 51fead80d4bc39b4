"""Runs sub-agents on other machines: sub-tasks go into a queue of NATS JetStream, and `codetether swarm-worker` serves it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import trio
from codetether.api import AgentResult, AgentTask, CodetetherError, Executor, SessionEvent
from codetether_nats import Place
from msgspec import Meta

if TYPE_CHECKING:
    from codetether_nats import Link

    from codetether_executor_nats.sending import Sender

UNREACHABLE = "unreachable"


class Settings(Place, frozen=True):
    """Which broker, and what is brought to the workers."""

    remote: Annotated[
        str,
        Meta(
            description="A git remote that workers can read (origin): what it has they fetch there, and only the rest is sent"
        ),
    ] = ""
    patience: Annotated[
        float, Meta(description="Seconds to wait for a worker while there is none", ge=1)
    ] = 600.0


class Nats(Executor):
    """The executor beyond one machine. A task with a `base` is done in a clone, one without in an empty folder.

    Cancelling `run` takes the task back, from the queue or from the worker. A task with the id of one that is still on
    the broker, from an earlier process that was killed, is that one.
    """

    api = 1
    elsewhere = True
    Settings = Settings

    def __init__(self, kernel: Any, key: str) -> None:
        super().__init__(kernel, key)
        self._address = ""
        self._link: Link | None = None
        self._opening = trio.Lock()
        self._senders: dict[Path, Sender] = {}

    async def ready(self, address: str = "") -> None:
        """Connect to the broker, at `address` when that is given. Raises CodetetherError."""
        if address and address != self._address:
            await self.aclose()
            self._address = address
        await self._connected()

    async def run(
        self, task: AgentTask, observe: Callable[[SessionEvent], Awaitable[None]] | None = None
    ) -> AgentResult:
        """Run one task to its end, or to its time limit; what went wrong is in the result."""
        from codetether_nats import Unreachable

        started = trio.current_time()

        def failed(error: str, reason: str = "error") -> AgentResult:
            seconds = trio.current_time() - started
            return AgentResult(task.id, False, "", reason, "", 0, seconds, error=error)

        with trio.move_on_after(task.timeout) as limit:
            try:
                return await self._elsewhere(task, observe)
            except Unreachable as error:
                return failed(error.message, UNREACHABLE)
            except CodetetherError as error:
                return failed(error.message)
        assert limit.cancelled_caught
        return failed(f"took longer than {task.timeout:g} s")

    async def aclose(self) -> None:
        """Take what was sent off the broker, unless a worker may still need it, and leave."""
        link, self._link = self._link, None
        senders, self._senders = list(self._senders.values()), {}
        if link is None:
            return
        try:
            for sender in senders:
                sender.clear()
        finally:
            await link.aclose()

    async def _connected(self) -> Link:
        from codetether_nats import Link

        if self._link is not None:
            return self._link
        async with self._opening:
            if self._link is None:
                place: Settings = self.settings
                if self._address:
                    place = msgspec.structs.replace(place, url=self._address)
                self._link = await Link.open(place, self.kernel, "codetether swarm")
            return self._link

    async def _elsewhere(
        self, task: AgentTask, observe: Callable[[SessionEvent], Awaitable[None]] | None
    ) -> AgentResult:
        from codetether_executor_nats.following import Following

        link = await self._connected()
        sender = await self._sender(link, task) if task.base else None
        following = Following(link, task, sender, observe, self.settings.patience)
        return await following.to_the_end()

    async def _sender(self, link: Link, task: AgentTask) -> Sender:
        from codetether_worktrees import Repository, place_of

        from codetether_executor_nats.sending import Sender

        repository = await Repository.find(Path(task.directory), place_of(self.kernel.dirs))
        if repository.common not in self._senders:
            self._senders[repository.common] = Sender(link, repository, self.settings.remote)
        sender = self._senders[repository.common]
        sender.inside[task.directory] = repository.prefix
        return sender

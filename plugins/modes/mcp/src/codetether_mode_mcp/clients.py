"""All clients of a server, each with a session of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import trio
from codetether.api import NO_MODEL, CodetetherError

from codetether_mode_mcp.client import Client

if TYPE_CHECKING:
    from codetether.api import Kernel

MOST_CLIENTS = 16
IDLE_SECONDS = 1800.0  # a client that left without a word, over HTTP


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """How the sessions are opened; `asking`: seconds a person has to answer."""

    directory: Path
    model: str
    agent: str
    access: str
    tools: tuple[str, ...]
    asking: float
    idle: float = float("inf")


class Clients:
    """The clients by a key that tells them apart; for a client that has none, the empty one."""

    def __init__(self, kernel: Kernel, wanted: Wanted, nursery: trio.Nursery) -> None:
        self._kernel = kernel
        self._wanted = wanted
        self._nursery = nursery
        self._clients: dict[str, Client] = {}
        self._opening = trio.Lock()

    async def get(self, key: str) -> Client:
        """The client of this key; its session is opened when it is new. Raises CodetetherError."""
        async with self._opening:
            client = self._clients.get(key)
            if client is None or client.leaving.is_set():
                if len(self._clients) >= MOST_CLIENTS:
                    raise CodetetherError(f"{MOST_CLIENTS} clients are here already", "end one")
                client = await self._nursery.start(self._hold, key)
            client.used = trio.current_time()
            return client

    def leave(self, key: str) -> None:
        """End the client's session, and its calls."""
        if key in self._clients:
            self._clients[key].leaving.set()

    def leave_all(self) -> None:
        """End all of them, and their calls; for the end, when a client that does not read must not delay it."""
        for client in self._clients.values():
            client.leaving.set()

    async def _hold(
        self, key: str, task_status: trio.TaskStatus[Client] = trio.TASK_STATUS_IGNORED
    ) -> None:
        wanted = self._wanted
        async with self._kernel.open_session(
            directory=wanted.directory, model=wanted.model or NO_MODEL, agent=wanted.agent,
            access=wanted.access, tools=wanted.tools or True, interactive=True,
        ) as session:  # fmt: skip
            client = self._clients[key] = Client(session, wanted.asking)
            try:
                await client.run(wanted.idle, task_status)
            finally:
                client.leaving.set()
                if self._clients.get(key) is client:
                    del self._clients[key]


@asynccontextmanager
async def clients(kernel: Kernel, wanted: Wanted) -> AsyncIterator[Clients]:
    """Room for clients; leaving ends their calls and closes their sessions."""
    async with trio.open_nursery() as nursery:
        yield Clients(kernel, wanted, nursery)
        nursery.cancel_scope.cancel()

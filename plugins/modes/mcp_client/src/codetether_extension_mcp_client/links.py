"""Connections to servers: each made when first needed, again when it fell, ended when nobody needs it.

They belong to the kernel, not to a call or a session, so that sub-agents share them; they live in one system task of
trio, which no nursery of a call could give.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from codetether.api import CodetetherError, Falls, Notice, Standing, told

from codetether_extension_mcp_client.listing import Listing, Shelf, ask

if TYPE_CHECKING:
    from collections.abc import Callable

    from codetether.api import Kernel, Session
    from codetether_mcp import Connection, Server

CHECK = 30.0
GATHER = 0.2  # seconds in which news of changed lists are taken together; twice as long when there are more soon
LONGEST_GATHER = 30.0
SOON = 60.0


class Link:
    """One server in one place, connected or not. `listing`: what it offers, as far as is known."""

    def __init__(self, server: Server, directory: Path) -> None:
        self.server = server
        self.directory = directory
        self.listing: Listing | None = None
        self.connection: Connection | None = None
        self.users: set[str] = set()
        self.person = False  # whether anybody who uses it can be asked
        self.calling: list[Session] = []  # of each call that is running, whose it is
        self.used = trio.current_time()
        self.falls = Falls()
        self.lock = trio.Lock()
        self.settled = trio.Event()
        self.settled.set()
        self.scope = trio.CancelScope()
        self.stirred = trio.Event()
        self.calm = trio.Event()
        self.calm.set()

    @property
    def up(self) -> bool:
        """Whether somebody is at the other end, as far as is known."""
        return self.connection is not None and self.connection.alive

    @property
    def why(self) -> str:
        """Why it is not connected, in words; empty when it is, or was never tried."""
        return "" if self.up or not self.falls else self.falls.last.message

    def stir(self, _list: str = "") -> None:
        """One of its lists is another now."""
        if self.calm.is_set():
            self.calm = trio.Event()
        self.stirred.set()


class Links:
    """Starts, keeps and ends connections. `changed` is told of a link whose listing is another than before."""

    def __init__(
        self, kernel: Kernel, idle_minutes: float, changed: Callable[[Link], None]
    ) -> None:
        self.shelf = Shelf(kernel)
        self._kernel = kernel
        self._idle = idle_minutes * 60
        self._changed = changed
        self._links: dict[tuple[str, str], Link] = {}
        self._standing = Standing(kernel, "extensions:mcp_client", self._watch)

    def link(self, server: Server, directory: Path) -> Link:
        """The link to `server` for sessions in `directory`; nothing is started."""
        key = (f"{server.name}\0{server.digest()}", str(directory))
        if key not in self._links:
            self._links[key] = Link(server, directory)
        return self._links[key]

    def all(self) -> list[Link]:
        """Every link, in the order they were first needed."""
        return list(self._links.values())

    async def connect(self, link: Link, *, calm: bool = True) -> Connection:
        """Its connection, made if there is none. `calm`: what it said to have changed is known before it is asked for
        anything; it is waited for, for a while. Raises GaveUp, or the CodetetherError that says what is wrong.
        """
        async with link.lock:
            if not link.up and link.settled.is_set():
                name = link.server.name
                await link.falls.pause(f"see what is wrong: codetether mcp test {name}")
                await self._start(link)
        await link.settled.wait()
        if link.connection is None:
            error = link.falls.last if link.falls else CodetetherError(f"{link.server.name} left")
            raise CodetetherError(error.message, error.hint)
        if calm:
            with trio.move_on_after(link.server.start_timeout):
                await link.calm.wait()
        link.used = trio.current_time()
        if link.connection is None:
            raise CodetetherError(f"MCP server {link.server.name}: its connection ended")
        return link.connection

    async def begin(self, link: Link) -> None:
        """See that it is being connected; nobody has to wait until it is."""
        with trio.CancelScope(shield=True):
            if not link.up and link.settled.is_set() and not link.falls:
                await self._start(link)

    async def _start(self, link: Link) -> None:
        link.scope.cancel()
        nursery = await self._standing.open()
        link.settled, link.scope, link.connection = trio.Event(), trio.CancelScope(), None
        link.stirred = trio.Event()
        link.calm.set()
        nursery.start_soon(self._keep, link, link.scope, link.settled)

    async def _keep(self, link: Link, scope: trio.CancelScope, settled: trio.Event) -> None:
        """One connection, from its start to its end. A call that is cancelled while it waits does not end it."""
        try:
            with scope:
                await self._hold(link, settled)
        except CodetetherError as error:
            link.falls.add(error)
        except Exception as error:
            link.falls.add(CodetetherError(f"MCP server {link.server.name}: {told(error)}"))
        except BaseExceptionGroup as group:
            link.falls.add(CodetetherError(f"MCP server {link.server.name}: {told(group)}"))
            if group.split(Exception)[1] is not None:
                raise
        finally:
            if link.scope is scope:  # else another one has begun
                link.connection = None
            settled.set()

    async def _hold(self, link: Link, settled: trio.Event) -> None:
        from codetether_mcp import Listeners, connected

        from codetether_extension_mcp_client.asking import asking

        elicit = asking(link) if link.person else None
        listeners = Listeners(changed=link.stir, elicit=elicit)
        async with connected(self._kernel, link.server, link.directory, listeners) as connection:
            await self._refresh(link, connection)
            link.connection = connection
            settled.set()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connection.follow, link.stir)
                await self._hear(link, connection)

    async def _hear(self, link: Link, connection: Connection) -> None:
        """Ask for its lists again whenever it says that one changed. Never returns."""
        gather, asked = GATHER, -math.inf
        while True:
            await link.stirred.wait()
            soon = trio.current_time() - asked < SOON
            gather = min(gather * 2, LONGEST_GATHER) if soon else GATHER
            await trio.sleep(gather)
            asked = trio.current_time()
            link.stirred = trio.Event()
            try:
                await self._refresh(link, connection)
            except CodetetherError as error:
                self._kernel.notices.append(Notice("warning", error.message, error.hint))
            if not link.stirred.is_set():
                link.calm.set()

    async def _refresh(self, link: Link, connection: Connection) -> None:
        limit = link.server.start_timeout
        with trio.move_on_after(limit) as asking:
            listing = await ask(connection)
        if asking.cancelled_caught:
            text = f"it did not say what it offers within {limit:g} s"
            raise CodetetherError(f"MCP server {link.server.name}: {text}")
        before, link.listing = link.listing, listing
        await self.shelf.keep(link.server, listing)
        if before is None or not before.same(listing):
            self._changed(link)

    def drop(self, link: Link, error: CodetetherError) -> None:
        """Its connection was found dead: the next call makes another."""
        if link.connection is not None:
            link.connection = None
            link.falls.add(error)
            link.scope.cancel()

    def worked(self, link: Link) -> None:
        """It answered a call: what fell before is forgotten."""
        link.falls.forget()
        link.used = trio.current_time()

    def leave(self, session: str) -> None:
        """A session ended: connections that only it had are ended, too."""
        for link in self.all():
            if session in link.users:
                link.users.discard(session)
                if not link.users and not link.calling:
                    link.connection = None
                    link.scope.cancel()
                    if not link.falls:  # else a later session would try it again
                        self._links = {
                            key: each for key, each in self._links.items() if each is not link
                        }

    async def _watch(self) -> None:
        """End who is idle."""
        while True:
            await trio.sleep(CHECK)
            for link in self.all():
                if link.up and not link.calling and link.used < trio.current_time() - self._idle:
                    link.connection = None
                    link.scope.cancel()

    async def aclose(self) -> None:
        """End them all."""
        await self._standing.aclose()

"""All language servers of a kernel: each started once for its root when first needed, again when it fell, ended when
nobody needs it. They live beside the sessions, in one system task of trio, which no nursery of a call could give.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from codetether.api import CodetetherError, Falls, Launch, SandboxPolicy, Standing, clean_env, told

from codetether_tool_lsp.server import LEAVING, Server
from codetether_tool_lsp.watch import first_look

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from codetether.api import Kernel, Session

    from codetether_tool_lsp.find import Found
    from codetether_tool_lsp.settings import LspSettings

CHECK = 30.0
CLOSING = 1.5

Key = tuple[str, Path]


class Crew:
    """Starts, keeps and ends servers."""

    def __init__(self, kernel: Kernel, settings: LspSettings) -> None:
        self._kernel = kernel
        self._settings = settings
        self._servers: dict[Key, Server] = {}
        self._falls: dict[Key, Falls] = {}
        self._standing = Standing(kernel, "tools:lsp", self._watch)

    # --- having one ---
    async def get(self, found: Found, session: Session) -> Server:
        """The server, running or about to. Raises CodetetherError."""
        key = (found.known.name, found.root)
        server = self._servers.get(key)
        if server is not None and server.leaving:
            with trio.move_on_after(LEAVING + CLOSING):
                await server.over.wait()
        if server is not None and not server.over.is_set():
            server.used = trio.current_time()  # not idle: it is about to be asked
            return server
        await self._fallen(key).pause("see `codetether plugins doctor`")
        server = self._servers.get(key)  # another call may have started it meanwhile
        if server is not None and not server.over.is_set():
            return server
        return await self._start(key, found, session)

    def running(self, found: Found) -> bool:
        """Whether it has been started and not ended."""
        server = self._servers.get((found.known.name, found.root))
        return server is not None and not server.over.is_set()

    def rests(self, found: Found) -> bool:
        """Whether it fell and may not be started yet."""
        return not self.running(found) and self._fallen((found.known.name, found.root)).rest() > 0

    def all(self) -> list[Server]:
        """Those that run, in the order they were started."""
        return [server for server in self._servers.values() if not server.over.is_set()]

    def _fallen(self, key: Key) -> Falls:
        return self._falls.setdefault(key, Falls())

    async def _start(self, key: Key, found: Found, session: Session) -> Server:
        await self._kernel.sweep()
        nursery = await self._standing.open()
        await self._make_room()
        place = _place(self._kernel.dirs.cache, found)
        await trio.to_thread.run_sync(_make, place)
        if self.running(found):
            return self._servers[key]
        hidden = self._kernel.sandbox_policy(session, network=False).hidden
        sandbox = self._kernel.sandbox()

        def launch(argv: tuple[str, ...], fds: tuple[int, int]) -> Launch:
            seen = (str(session.directory), *_homes(argv))
            policy = SandboxPolicy((str(place),), hidden, seen, network=False)
            return sandbox.wrap(Launch(argv, str(found.root), _env(place), fds), policy)

        server = self._servers[key] = Server(found, self._settings, launch)
        nursery.start_soon(self._keep, key, server)
        self.beside(lambda: first_look(server))
        return server

    async def _make_room(self) -> None:
        running = sorted(self.all(), key=lambda server: server.used)
        for server in running[: max(len(running) - self._settings.most + 1, 0)]:
            await self._end(server)

    # --- their lives ---
    async def _keep(self, key: Key, server: Server) -> None:
        try:
            with server.scope:
                await server.run()
            self._fell(key, server)
        except Exception as error:
            server.why = told(error)
            self._fell(key, server)
        except BaseExceptionGroup as group:
            server.why = told(group)
            self._fell(key, server)
            if group.split(Exception)[1] is not None:
                raise
        finally:
            server.finish()

    def _fell(self, key: Key, server: Server) -> None:
        if not server.scope.cancel_called:
            falls = self._fallen(key)
            if server.answered:
                falls.forget()
            falls.add(CodetetherError(f"{key[0]}: {server.why or 'it ended'}"))

    async def _watch(self) -> None:
        """End who is idle."""
        while True:
            await trio.sleep(CHECK)
            limit = trio.current_time() - self._settings.idle_minutes * 60
            for server in self.all():
                if server.used < limit and not (server.busy or server.starting):
                    await self._end(server)

    async def _end(self, server: Server) -> None:
        await server.leave()
        server.scope.cancel()
        with trio.move_on_after(CLOSING):
            await server.over.wait()

    def beside(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do something that nobody waits for. Only while servers live."""
        if self._standing.nursery is not None:
            self._standing.nursery.start_soon(self._guarded, work)

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception as error:
            self._kernel.host.fault("tools:lsp", "beside", error)

    async def aclose(self) -> None:
        """End them all."""
        async with trio.open_nursery() as leaving:
            for server in self.all():
                leaving.start_soon(server.leave)
        await self._standing.aclose()


def _homes(argv: tuple[str, ...]) -> tuple[str, ...]:
    """The environments that the programs of `argv` are part of: a sandbox hides what lies below /tmp unless told."""
    files = (word for word in argv if os.path.isabs(word) and os.path.isfile(word))
    return tuple(os.path.dirname(os.path.dirname(os.path.abspath(file))) for file in files)


def _place(cache: Path, found: Found) -> Path:
    """The one directory the server may write: its cache for this root."""
    root = hashlib.blake2b(os.fsencode(found.root), digest_size=8).hexdigest()
    return cache / "lsp" / f"{found.known.name}-{root}"


def _make(place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):
        place.parent.chmod(0o700)


def _env(place: Path) -> dict[str, str]:
    """What programs get, with every cache they might write moved to `place`: the workspace is read-only for them."""
    return clean_env(
        {
            "XDG_CACHE_HOME": str(place),
            "GOCACHE": str(place / "go-build"),
            "CARGO_TARGET_DIR": str(place / "target"),
            "CARGO_NET_OFFLINE": "true",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
    )

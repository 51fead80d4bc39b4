"""Tools, resources and prompts of MCP servers, for a session's model. Where no server is configured nothing is loaded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from codetether.api import (
    Command,
    Extension,
    Finding,
    Kernel,
    Notice,
    Session,
    SessionEvent,
    SessionFinished,
    SessionStarted,
    Tool,
    hookimpl,
)
from msgspec import Meta

if TYPE_CHECKING:
    from codetether_extension_mcp_client.desk import Desk
    from codetether_extension_mcp_client.links import Link, Links


class McpSettings(msgspec.Struct, frozen=True):
    """How tools of MCP servers are offered. Which servers there are is in mcp.json."""

    offer: Annotated[
        Literal["auto", "all", "find"],
        Meta(
            description="Offer all tools, or a tool that finds and loads them; auto: by budget_tokens"
        ),
    ] = "auto"
    budget_tokens: Annotated[
        int, Meta(ge=0, description="Tokens the schemas of all MCP tools may cost in every request")
    ] = 2000
    wait: Annotated[
        float,
        Meta(
            ge=0, le=25, description="Seconds a new session waits for servers it does not know yet"
        ),
    ] = 12.0
    idle_minutes: Annotated[
        float, Meta(gt=0, description="Minutes after which an unused connection is ended")
    ] = 30.0


class McpClient(Extension):
    """Connects sessions to the servers of mcp.json, and to those of a trusted repository's .mcp.json."""

    api = 1
    Settings = McpSettings

    def __init__(self, kernel: Kernel, key: str) -> None:
        super().__init__(kernel, key)
        self._links: Links | None = None
        self._told: set[str] = set()

    @hookimpl
    async def codetether_tools(self, session: Session) -> Iterable[Tool[Any]]:
        """The tools of the session's servers, or the tool that finds them."""
        if not self._configured(session):
            return []
        from codetether_mcp import servers

        configured = servers(self.kernel, session.directory)
        for trouble in configured.troubles:
            if trouble.text not in self._told:
                self._told.add(trouble.text)
                self.kernel.notices.append(Notice("warning", trouble.text, trouble.hint))
        if not configured.servers:
            return []
        from codetether_extension_mcp_client.desk import Desk
        from codetether_extension_mcp_client.links import Links

        if self._links is None:
            self._links = Links(self.kernel, self.settings.idle_minutes, self._changed)
        desk = session.state[self.key] = Desk(self, self._links, session, configured)
        return await desk.open()

    def _configured(self, session: Session) -> bool:
        """Whether there is any file of servers: asked at every start, so nothing is loaded for it."""
        own = self.kernel.dirs.config / "mcp.json"
        root = self.kernel.root_of(session.directory) or session.directory
        return own.is_file() or (root / ".mcp.json").is_file()

    def _changed(self, link: Link) -> None:
        for desk in self._desks():
            desk.changed(link)

    def _desks(self) -> list[Desk]:
        return [
            session.state[self.key] for session in self.kernel.sessions if self.key in session.state
        ]

    @hookimpl
    def codetether_system(self, session: Session) -> str | None:
        """What the servers say of themselves, as theirs."""
        desk: Desk | None = session.state.get(self.key)
        return desk.introduction() if desk is not None else None

    @hookimpl
    def codetether_observe(self, event: SessionEvent, session: Session) -> None:
        """Offer what came while the session was opened; end the connections only it had."""
        if isinstance(event, SessionStarted) and self.key in session.state:
            session.state[self.key].catch_up()
        if isinstance(event, SessionFinished) and self._links is not None:
            self._links.leave(session.id)

    @hookimpl
    def codetether_commands(self, ui: str) -> Iterable[Command]:
        """`/mcp-servers`, and one for each prompt of each server."""
        if not self._desks():
            return []
        from codetether_extension_mcp_client.commands import commands

        return commands(self._desks())

    @hookimpl
    def codetether_doctor(self) -> Iterable[Finding]:
        """What is wrong with the files of servers."""
        own = self.kernel.dirs.config / "mcp.json"
        if not own.is_file():
            return []
        from pathlib import Path

        from codetether_mcp import servers

        configured = servers(self.kernel, Path.cwd())
        found = [Finding("warning", self.key, each.text, each.hint) for each in configured.troubles]
        names = ", ".join(server.name for server in configured.servers) or "none"
        return [*found, Finding("ok", self.key, f"servers: {names}", "")]

    async def aclose(self) -> None:
        """End every connection."""
        if self._links is not None:
            await self._links.aclose()

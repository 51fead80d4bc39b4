"""`codetether ralph`: the stories of a requirements document, one after another by fresh agents, until gates let them pass."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from codetether.api import Mode, SessionEvent, hookimpl

if TYPE_CHECKING:
    from codetether.api import Session, Usage

    from codetether_mode_ralph.run import Run


class Settings(msgspec.Struct, frozen=True):
    """What verification steps may ask."""

    private_hosts: Annotated[
        tuple[str, ...],
        msgspec.Meta(
            description="Hosts, or host:port, that verification steps of type url may ask though they are not public"
        ),
    ] = ()


class Ralph(Mode):
    """Works through a document. `work` and `draft` are for a tool that does so in a session."""

    api = 1
    Settings = Settings

    def __init__(self, kernel: Any, key: str) -> None:
        super().__init__(kernel, key)
        self.running: list[Run] = []

    def arguments(self, parser: ArgumentParser) -> None:
        """The words and flags of docs/ralph.md."""
        from codetether_mode_ralph.commands import arguments

        arguments(parser)

    async def run(self, args: Namespace) -> int:
        """Do it; 0 when every story passed, 1 when not, 2 usage, 130 interrupted."""
        from codetether_mode_ralph.commands import obey

        return await obey(self, args)

    async def work(self, wanted: dict[str, Any], session: Session, progress: Any) -> dict[str, Any]:
        """For the tool `ralph`: work through a document for a session, within what it may. `wanted`: fields of Options."""
        from codetether_mode_ralph.driving import for_session

        return await for_session(self, wanted, session, progress)

    async def draft(self, session: Session, project: str, wish: str) -> tuple[str, Usage]:
        """For the tool `ralph`: the text of a document that is drafted for a session, and what that took."""
        from codetether_mode_ralph.creating import for_session

        return await for_session(self.kernel, session, project, wish)

    def status(self, prd: str) -> dict[str, Any]:
        """For the tool `ralph`: where the stories of the document at `prd`, an absolute path, stand."""
        from codetether_mode_ralph.status import status

        return status(self.kernel, prd)

    @hookimpl
    def codetether_observe(self, event: SessionEvent, session: Session) -> Awaitable[None] | None:
        """Before each model call of an agent: is there anything left to spend?"""
        if not self.running:
            return None
        from codetether_crew import enforce

        return enforce(self.running, event, session)

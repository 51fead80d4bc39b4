"""`codetether swarm`: a task split among agents that work side by side, merged and checked, and resumable."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from codetether.api import Mode, SessionEvent, UsageError, hookimpl

if TYPE_CHECKING:
    from codetether.api import Session

    from codetether_mode_swarm.run import Run

WORDS = ("list", "show", "resume", "cancel", "cleanup")


class Swarm(Mode):
    """Splits a task by a plan of the model's, and carries the plan out. `work` is for a tool that does so in a session."""

    api = 1

    def __init__(self, kernel: Any, key: str) -> None:
        super().__init__(kernel, key)
        self.running: list[Run] = []

    def arguments(self, parser: ArgumentParser) -> None:
        """The flags of docs/swarm.md."""
        from codetether_mode_swarm.commands import arguments

        arguments(parser)

    async def run(self, args: Namespace) -> int:
        """Do it; 0 when all of it succeeded, 1 failed, 2 usage, 130 interrupted."""
        from codetether_mode_swarm import commands, driving

        first = args.words[0] if args.words else ""
        if first in WORDS and len(args.words) <= 2:
            if first == "resume":
                return await driving.resume(self, args)
            return await commands.obey(self.kernel, first, args)
        if not args.words:
            raise UsageError(
                "what is the task?",
                'codetether swarm "TASK", or list, show, resume, cancel, cleanup',
            )
        return await driving.start(self, args)

    async def work(self, wanted: dict[str, Any], session: Session, progress: Any) -> dict[str, Any]:
        """For the tool `swarm`: carry a task out for a session, within what it may. `wanted`: fields of Options."""
        from codetether_mode_swarm.driving import for_session

        return await for_session(self, wanted, session, progress)

    @hookimpl
    def codetether_observe(self, event: SessionEvent, session: Session) -> Awaitable[None] | None:
        """Before each model call of a sub-agent: is there anything left to spend?"""
        if not self.running:
            return None
        from codetether_crew import enforce

        return enforce(self.running, event, session)

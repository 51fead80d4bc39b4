"""What a run takes that a session's tool has carried out, on the account of that session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codetether.api import Usage

from codetether_crew.attempt import beyond
from codetether_crew.budget import BEFORE, used

if TYPE_CHECKING:
    from codetether.api import Session, SessionEvent


class Account:
    """Tells of it as `session`'s; `what` names the run. What agents on other machines take is told as they take it: nobody
    who counts the sessions here would hear of it. The others have told of theirs themselves.
    """

    def __init__(self, session: Session, what: str) -> None:
        self._session = session
        self._what = what
        self._told = Usage()

    async def hear(self, event: SessionEvent, model: str) -> None:
        """An event of an agent on another machine, which uses `model`. Who watches what is spent may end the session here."""
        usage = used(event)
        if usage is not None:
            self._told += usage
            await self._session.spent(usage, self._what, model)
        elif isinstance(event, BEFORE):
            await self._session.spending(self._what, model)

    async def settle(self, spent: Usage, model: str) -> None:
        """The run is over, and took `spent` in all."""
        rest = beyond(spent, self._told)
        if rest.input or rest.output:
            await self._session.spent(rest, self._what, model, told=True)

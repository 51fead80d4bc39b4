"""What is known of a run: written to the journal first, then shown and told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from codetether_live import Board

from codetether_crew.attempt import Attempt, beyond, total
from codetether_crew.budget import used
from codetether_crew.hands import DELTAS
from codetether_crew.journal import Journal
from codetether_crew.pasts import Spent

if TYPE_CHECKING:
    from codetether.api import Kernel, SessionEvent, Usage

    from codetether_crew.carrying import Tell
    from codetether_crew.hands import Work
    from codetether_crew.pasts import Past


class Book:
    """The part of it that is the same for every kind of run. `other`: attempts that belong to no piece of the work;
    `notice` and `heard` make the events that tell a person something, and what an agent did.
    """

    def __init__(
        self,
        folder: Path,
        title: str,
        tell: Tell,
        other: Iterable[Attempt],
        *,
        notice: Callable[[str, str], msgspec.Struct],
        heard: Callable[[str, SessionEvent], msgspec.Struct],
    ) -> None:
        self.board = Board(title)
        self.tell = tell
        self.other = list(other)
        self.board.spent("", total(self.other))
        self._journal = Journal(folder)
        self._notice = notice
        self._heard = heard

    async def write(self, *records: msgspec.Struct) -> None:
        """Records for the journal, which are on the disk then."""
        await self._journal.write(*records)

    def close(self) -> None:
        """Nothing more is written."""
        self._journal.close()

    @property
    def attempts(self) -> list[Attempt]:
        """All that was asked, as far as the journal knows, in earlier processes too."""
        return self.other

    @property
    def spent(self) -> Usage:
        """Tokens and money of all attempts."""
        return total(self.attempts)

    async def spend(self, why: str, attempt: Attempt, at: float = 0.0) -> None:
        """An attempt that belongs to no piece of the work. `at` is as in the record."""
        self.other.append(attempt)
        await self.write(Spent(why, attempt, at))

    async def account(self, spent: Usage) -> None:
        """At the end: of what was `spent` in all, what no record tells goes into the journal too: calls of agents that were
        cut short.
        """
        rest = beyond(spent, self.spent)
        if rest.input or rest.output:
            await self.spend("what was cut short", Attempt(False, usage=rest), time.time())

    async def recover(self, kernel: Kernel, past: Past) -> Usage:
        """Of a run that goes on: what its killed process left running is ended, git in a worktree too; what agents had asked
        then goes into the journal; what that was.
        """
        from codetether_crew.unpaid import unpaid

        await kernel.sweep()
        known = {each.session for each in self.attempts}
        found = await unpaid(kernel.sessions_folder, past, known)
        for attempt in found:
            await self.spend("what the process was killed in", attempt)
            self.board.spent("", attempt.usage)
        return total(found)

    async def say_what_has_no_price(self, usd: float | None) -> None:
        """Before the work: whether a budget of `usd` can hold for what an earlier process spent."""
        unknown = [each for each in self.attempts if each.usage.input and each.usage.cost is None]
        if unknown and usd is not None:
            text = "the price of what was asked before is unknown: the budget in dollars is for what comes now"
            await self.notice("warning", text)

    async def notice(self, level: str, text: str) -> None:
        """Tell a person something."""
        self.board.say(text)
        await self.tell(self._notice(level, text))

    async def see(self, work: Work, event: SessionEvent) -> None:
        """Show and tell what an agent does."""
        if work.key in self.board.rows:
            self.board.heard(work.key, event)
        elif (usage := used(event)) is not None:
            self.board.spent("", usage)
        if not isinstance(event, DELTAS):
            await self.tell(self._heard(work.key, event))

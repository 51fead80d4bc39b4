"""Money and tokens of all sub-agents together. Looked at before every model call of every session that belongs to them."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol

import trio
from codetether.api import (
    Compacted,
    Session,
    SessionEvent,
    Spending,
    Spent,
    StepFinished,
    StepStarted,
    Usage,
)

BEFORE = (StepStarted, Spending, Compacted)  # what is shortened is sent next


class Budget:
    """What may be spent, None for no limit, and what was. `used_up` says why nothing more may be asked, or ""."""

    def __init__(self, usd: float | None, tokens: int | None, spent: Usage | None = None) -> None:
        self.usd = usd
        self.tokens = tokens
        self.spent = spent or Usage()
        self.calls = 0
        self.over = trio.Event()

    @property
    def used_up(self) -> str:
        """Why no model may be called any more; "" while one may."""
        total = self.spent.input + self.spent.output
        if self.tokens is not None and total >= self.tokens:
            return f"the budget of {self.tokens:,} tokens is used up ({total:,})"
        if self.usd is None or not self.calls:
            return ""
        if self.spent.cost is None:
            return "a budget in dollars is set, and the model's price is unknown"
        if self.spent.cost >= self.usd:
            return f"the budget of ${self.usd:g} is used up (${self.spent.cost:.4f})"
        return ""

    @property
    def left_usd(self) -> float | None:
        """Dollars left; None without a limit."""
        return None if self.usd is None else max(self.usd - (self.spent.cost or 0.0), 0.0)

    def allows(self, event: SessionEvent, *, elsewhere: bool = False) -> bool:
        """Count what `event` tells of. False: a call is about to be made, and must not be. `elsewhere`: the sub-agents of
        its session are not heard of here.
        """
        usage = used(event)
        if usage is not None and (elsewhere or not getattr(event, "told", False)):
            self.calls += 1
            self.spent += usage
            if self.used_up:
                self.over.set()
        return not (isinstance(event, BEFORE) and self.used_up)


def used(event: SessionEvent) -> Usage | None:
    """What the model calls took that `event` tells of; None when it tells of none."""
    return event.usage if isinstance(event, StepFinished | Spent) else None


class Paying(Protocol):
    """A run whose sub-agents spend one budget."""

    budget: Budget

    def owns(self, session: Session) -> bool:
        """Whether `session` is one of its sub-agents, or of theirs."""


def enforce(
    runs: Sequence[Paying], event: SessionEvent, session: Session
) -> Awaitable[None] | None:
    """What a mode answers when it observes `event`: the end of `session` when a run it belongs to may spend no more."""
    mine = [run for run in runs if run.owns(session)]
    over = [run for run in mine if not run.budget.allows(event)]  # each has to count it
    return _ended(session) if over else None


async def _ended(session: Session) -> None:
    session.cancel()
    await trio.lowlevel.checkpoint_if_cancelled()  # in the session's own task: no call is made

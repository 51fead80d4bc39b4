"""Money and tokens of all sub-agents together. Looked at before every model call of every session that belongs to them."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from contextlib import suppress
from typing import Protocol

import msgspec
import trio
from codetether.api import (
    CodetetherError,
    Compacted,
    Session,
    SessionEvent,
    Spending,
    Spent,
    StepFinished,
    StepStarted,
    Usage,
    estimate,
)

PRICE_SECONDS = 3.0  # for a model's price: who is observing for longer than 5 is not told any more
BEFORE = (StepStarted, Spending, Compacted)  # what is shortened is sent next
TAKEN = (StepFinished, Spent)
COUNTS = (*BEFORE, *TAKEN)


class Budget:
    """What may be spent, None for no limit, and what was. `unpriced`: what was, or was to be, asked though nobody knows
    what that costs, "" for nothing; `priced`: models of which it was looked up. `used_up` says why nothing more may be
    asked, or "".
    """

    def __init__(self, usd: float | None, tokens: int | None, spent: Usage | None = None) -> None:
        self.usd = usd
        self.tokens = tokens
        self.spent = spent or Usage()
        self.unpriced = ""
        self.priced: set[str] = set()

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return self.usd is not None or self.tokens is not None

    @property
    def used_up(self) -> str:
        """Why no model may be called any more; "" while one may."""
        total = self.spent.input + self.spent.output
        if self.tokens is not None and total >= self.tokens:
            return f"the budget of {self.tokens:,} tokens is used up ({total:,})"
        if self.usd is None:
            return ""
        if self.unpriced:
            return f"a budget in dollars is set, and the price of {self.unpriced} is unknown"
        spent = self.spent.cost or 0.0
        if spent >= self.usd:
            return f"the budget of ${self.usd:g} is used up (${spent:.4f})"
        return ""

    @property
    def left_usd(self) -> float | None:
        """Dollars left; None without a limit."""
        return None if self.usd is None else max(self.usd - (self.spent.cost or 0.0), 0.0)

    def allows(
        self, event: SessionEvent, *, model: str = "", known: bool = True, elsewhere: bool = False
    ) -> bool:
        """Count what `event` tells of. False: a call is about to be made, and must not be. `model`: who is asked, and
        whether its price is `known`; `elsewhere`: the sub-agents of its session are not heard of here.
        """
        before = isinstance(event, BEFORE)
        usage = used(event)
        if usage is not None and (elsewhere or not getattr(event, "told", False)):
            self.spent += usage
            known = usage.cost is not None or not (usage.input or usage.output)
        if not known:
            self.unpriced = self.unpriced or model or "what was asked"
        return not (before and self.used_up)


def used(event: SessionEvent) -> Usage | None:
    """What the model calls took that `event` tells of; None when it tells of none."""
    return event.usage if isinstance(event, TAKEN) else None


class Paying(Protocol):
    """A run whose sub-agents spend one budget."""

    budget: Budget

    def owns(self, session: Session) -> bool:
        """Whether `session` is one of its sub-agents, or of theirs."""


def enforce(
    runs: Sequence[Paying], event: SessionEvent, session: Session
) -> Awaitable[None] | None:
    """What a mode answers when it observes `event`: the end of `session` when a run it belongs to may spend no more."""
    if not isinstance(event, COUNTS):
        return None
    budgets = [run.budget for run in runs if run.owns(session)]
    if isinstance(event, StepFinished) and any(each.limited for each in budgets):
        event = _estimated(event, session)
    model = event.model if isinstance(event, Spending | Spent) else session.model_ref
    other = isinstance(event, Spending) and model != session.model_ref
    if other and any(each.usd is not None for each in budgets):
        return _of_another(budgets, event, session, model)
    known = not isinstance(event, BEFORE) or other or session.model.priced
    return _counted(budgets, event, session, model, known=known)


def _estimated(event: StepFinished, session: Session) -> StepFinished:
    """The event with an estimate of what the vendor did not count, so that a budget holds there too."""
    last = session.messages[-1]
    if event.usage is not None or event.context is None or last.role != "assistant":
        return event  # counted, or a call that failed
    said = estimate([last])
    usage = Usage(max(event.context - said, 0), said)
    cost = session.model.price(usage)
    return msgspec.structs.replace(event, usage=msgspec.structs.replace(usage, cost=cost))


def _counted(
    budgets: Sequence[Budget], event: SessionEvent, session: Session, model: str, *, known: bool
) -> Awaitable[None] | None:
    # Each has to count it.
    over = [each for each in budgets if not each.allows(event, model=model, known=known)]
    return _ended(session) if over else None


async def _of_another(
    budgets: Sequence[Budget], event: SessionEvent, session: Session, model: str
) -> None:
    """The same before a call of another model than the session's."""
    known = any(model in each.priced for each in budgets) or await _has_price(session, model)
    for each in budgets if known else ():
        each.priced.add(model)
    if (ending := _counted(budgets, event, session, model, known=known)) is not None:
        await ending


async def _has_price(session: Session, model: str) -> bool:
    """Whether it is known what a call of `model` costs; not, when nobody says so in time."""
    with trio.move_on_after(PRICE_SECONDS), suppress(CodetetherError):
        return (await session.kernel.resolve_model(model))[1].priced
    return False


async def _ended(session: Session) -> None:
    session.cancel()
    await trio.lowlevel.checkpoint_if_cancelled()  # in the session's own task: no call is made

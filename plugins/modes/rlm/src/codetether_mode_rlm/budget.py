"""What a run may spend. Every model call is asked for here before it is made, and paid here after."""

from __future__ import annotations

from typing import NamedTuple

import trio
from codetether.api import CodetetherError, ModelInfo, Usage

ANSWER = 1_000  # tokens an answer is expected to take


class BudgetOver(CodetetherError):
    """A call that must not be made: the message says which limit it would pass."""


class Hold(NamedTuple):
    """What a call is expected to take: tokens of both directions, and dollars (0 when the price is unknown)."""

    tokens: int = 0
    usd: float = 0.0

    def plus(self, other: Hold) -> Hold:
        """Both together."""
        return Hold(self.tokens + other.tokens, self.usd + other.usd)


def expected(model: ModelInfo, tokens: int) -> Hold:
    """What a call of `model` with `tokens` of input will take."""
    return Hold(tokens + ANSWER, model.price(Usage(tokens, ANSWER)) or 0.0)


class Budget:
    """Limits (None: none) for all calls together. Calls under way count as what they are expected to take, so that many
    side by side do not pass a limit together. `refused` says why the last call was not allowed, "" while all were.
    """

    def __init__(self, tokens: int | None, usd: float | None, subcalls: int) -> None:
        self.tokens = tokens
        self.usd = usd
        self.subcalls = subcalls
        self.spent = Usage()
        self.subcalls_made = 0
        self.refused = ""
        self._held = Hold()
        self._settled = trio.Event()

    @property
    def total(self) -> int:
        """Tokens spent."""
        return self.spent.input + self.spent.output

    async def hold(self, wanted: Hold, *, spare: Hold) -> Hold:
        """Let a call begin; `spare` must be left after it. `settle` what comes back when the call has ended, however it did.

        When there may be room once calls under way have told what they really took, that is waited for. Raises BudgetOver.
        """
        await trio.lowlevel.checkpoint()
        while why := self.over(wanted.plus(spare)):
            if not self._held.tokens:
                self.refused = why
                raise BudgetOver(why, "raise the budget, or ask for less")
            await self._settled.wait()
        self._held = self._held.plus(wanted)
        return wanted

    def count_subcall(self) -> None:
        """One more sub-call. Raises BudgetOver when there were as many as there may be."""
        if self.subcalls_made >= self.subcalls:
            self.refused = f"the limit of {self.subcalls} sub-calls is reached"
            raise BudgetOver(self.refused, "raise --max-subcalls, or ask about larger pieces")
        self.subcalls_made += 1

    def settle(self, held: Hold, usage: Usage) -> None:
        """The call has ended and took `usage`."""
        self._held = Hold(
            max(self._held.tokens - held.tokens, 0), max(self._held.usd - held.usd, 0.0)
        )
        self.spent += usage
        self._settled.set()
        self._settled = trio.Event()

    def over(self, wanted: Hold) -> str:
        """Which limit spending `wanted` would pass, "" when none."""
        if self.tokens is not None and self.total + self._held.tokens + wanted.tokens > self.tokens:
            return f"the budget of {self.tokens:,} tokens is used up ({self.total:,} spent)"
        spent = self.spent.cost or 0.0
        if self.usd is not None and spent + self._held.usd + wanted.usd > self.usd:
            return f"the budget of ${self.usd:g} is used up (${spent:.4f} spent)"
        return ""

"""Numbers as a person reads them."""

from __future__ import annotations

from codetether.api import TurnFinished, Usage


def seconds(value: float) -> str:
    """4.2 s, 1 min 12 s."""
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s"


def cost(usage: Usage) -> str:
    """The price, or that nobody knows it: unknown is not free."""
    if usage.cost is None:
        return "cost unknown"
    return f"${usage.cost:.4f}" if usage.cost < 1 else f"${usage.cost:.2f}"


def tokens(usage: Usage) -> str:
    """12,345 tokens in (10,000 cached), 678 out."""
    if not usage.input and not usage.output:
        return "tokens unknown"
    cached = f" ({usage.cached:,} cached)" if usage.cached else ""
    return f"{usage.input:,} tokens in{cached}, {usage.output:,} out"


def total(event: TurnFinished) -> str:
    """The last line of a turn."""
    steps = f"{event.steps} step{'' if event.steps == 1 else 's'}"
    return " · ".join((steps, tokens(event.usage), cost(event.usage), seconds(event.seconds)))

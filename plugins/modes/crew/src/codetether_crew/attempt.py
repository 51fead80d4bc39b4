"""How one attempt of a sub-agent ended."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from codetether.api import Usage


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one attempt at a piece of work ended. `session` names its transcript."""

    ok: bool
    text: str = ""
    error: str = ""
    steps: int = 0
    tool_calls: int = 0
    seconds: float = 0.0
    usage: Usage = Usage()
    session: str = ""
    timed_out: bool = False
    final: bool = False  # trying again is no use
    unreachable: bool = False  # nor is anything else there now


def total(attempts: Iterable[Attempt]) -> Usage:
    """Tokens and money of all `attempts`."""
    usage = Usage()
    for each in attempts:
        usage += each.usage
    return usage


def beyond(all_of_it: Usage, known: Usage) -> Usage:
    """What `all_of_it` holds more than `known`."""
    cost = None if all_of_it.cost is None else max(all_of_it.cost - (known.cost or 0.0), 0.0)
    names = ("input", "output", "cached", "cache_write", "reasoning")
    more = {name: max(getattr(all_of_it, name) - getattr(known, name), 0) for name in names}
    return Usage(**more, cost=cost)

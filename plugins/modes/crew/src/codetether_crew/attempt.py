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

"""Sub-agents at work: started, ended when they get nowhere, paid for together, and written down so that a run can go on.

For the modes that do long work with many sessions. Names load on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from codetether.api import lazy

if TYPE_CHECKING:
    from codetether_crew.account import Account
    from codetether_crew.attempt import Attempt, total
    from codetether_crew.book import Book
    from codetether_crew.budget import Budget, enforce, used
    from codetether_crew.carrying import (
        Outcome,
        Tell,
        carry_out,
        form_of,
        held,
        left_usd,
        raised,
        shown,
        told,
    )
    from codetether_crew.ending import failing
    from codetether_crew.flags import count, limits, number, output, whole, wished
    from codetether_crew.hands import Hands, Work, belongs, choose_model
    from codetether_crew.journal import Journal, records
    from codetether_crew.pasts import (
        Ended,
        Past,
        RunMissing,
        Spent,
        every,
        find,
        lease_of,
        new_id,
        only_unfinished,
        read,
    )
    from codetether_crew.stuck import Watch
    from codetether_crew.texts import filled
    from codetether_crew.watching import event_lines, obey_signals

_WHERE = {
    "account": "Account",
    "attempt": "Attempt total",
    "book": "Book",
    "budget": "Budget enforce used",
    "carrying": "Outcome Tell carry_out form_of held left_usd raised shown told",
    "ending": "failing",
    "flags": "count limits number output whole wished",
    "hands": "Hands Work belongs choose_model",
    "journal": "Journal records",
    "pasts": "Ended Past RunMissing Spent every find lease_of new_id only_unfinished read",
    "stuck": "Watch",
    "texts": "filled",
    "watching": "event_lines obey_signals",
}

__all__ = [
    "Account",
    "Attempt",
    "Book",
    "Budget",
    "Ended",
    "Hands",
    "Journal",
    "Outcome",
    "Past",
    "RunMissing",
    "Spent",
    "Tell",
    "Watch",
    "Work",
    "belongs",
    "carry_out",
    "choose_model",
    "count",
    "enforce",
    "event_lines",
    "every",
    "failing",
    "filled",
    "find",
    "form_of",
    "held",
    "lease_of",
    "left_usd",
    "limits",
    "new_id",
    "number",
    "obey_signals",
    "only_unfinished",
    "output",
    "raised",
    "read",
    "records",
    "shown",
    "told",
    "total",
    "used",
    "whole",
    "wished",
]

__getattr__ = lazy(globals(), _WHERE)

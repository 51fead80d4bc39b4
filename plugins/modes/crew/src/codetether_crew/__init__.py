"""Sub-agents at work: started, ended when they get nowhere, paid for together, and written down so that a run can go on.

For the modes that do long work with many sessions. Names load on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from codetether.api import lazy

if TYPE_CHECKING:
    from codetether_crew.attempt import Attempt, total
    from codetether_crew.budget import Budget
    from codetether_crew.flags import count, number, whole
    from codetether_crew.hands import DELTAS, Hands, Work
    from codetether_crew.journal import Journal, records
    from codetether_crew.stuck import Watch
    from codetether_crew.texts import filled
    from codetether_crew.watching import event_lines, obey_signals

_WHERE = {
    "attempt": "Attempt total",
    "budget": "Budget",
    "flags": "count number whole",
    "hands": "DELTAS Hands Work",
    "journal": "Journal records",
    "stuck": "Watch",
    "texts": "filled",
    "watching": "event_lines obey_signals",
}

__all__ = [
    "DELTAS",
    "Attempt",
    "Budget",
    "Hands",
    "Journal",
    "Watch",
    "Work",
    "count",
    "event_lines",
    "filled",
    "number",
    "obey_signals",
    "records",
    "total",
    "whole",
]

__getattr__ = lazy(globals(), _WHERE)

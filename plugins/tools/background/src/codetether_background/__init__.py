"""Commands that go on beside the turns of a session: what starts them and what looks at them share this.

`settled` makes of a command's raw output what a terminal would show at its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from codetether.api import lazy

if TYPE_CHECKING:
    from codetether_background.jobs import Job, Jobs, jobs_of, look, start
    from codetether_background.screen import settled

_WHERE = {"jobs": "Job Jobs jobs_of look start", "screen": "settled"}

__all__ = ["Job", "Jobs", "jobs_of", "look", "settled", "start"]

__getattr__ = lazy(globals(), _WHERE)

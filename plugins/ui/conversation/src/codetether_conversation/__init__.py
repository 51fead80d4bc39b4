"""One person's work at a keyboard, whatever the interface: sessions, turns, questions, commands and what waits.

`Conversation` lives in trio and has no screen; an interface shows what it is told and says what the person does.
The full-screen interface and the line interface are both made of it, so both have the same commands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from codetether.api import lazy

if TYPE_CHECKING:
    from codetether_conversation.complete import Candidate, candidates
    from codetether_conversation.conversation import Conversation, Start
    from codetether_conversation.history import history
    from codetether_conversation.place import closest
    from codetether_conversation.signals import obey_signals
    from codetether_conversation.slash import Slash, commands, is_command, listed
    from codetether_conversation.watchdog import Watchdog
    from codetether_conversation.words import (
        Act,
        Around,
        Asking,
        Choose,
        Choosing,
        Entry,
        Leave,
        Left,
        ModeEnded,
        ModeEvent,
        ModeStarted,
        Opened,
        Reply,
        Returned,
        Rewind,
        Screen,
        Settled,
        Shown,
        Speak,
        Standing,
        Stop,
        Told,
    )

_WHERE = {
    "complete": "Candidate candidates",
    "conversation": "Conversation Start",
    "history": "history",
    "place": "closest",
    "signals": "obey_signals",
    "slash": "Slash commands is_command listed",
    "watchdog": "Watchdog",
    "words": "Act Around Asking Choose Choosing Entry Leave Left ModeEnded ModeEvent ModeStarted Opened Reply Returned "
    "Rewind Screen Settled Shown Speak Standing Stop Told",
}

__all__ = [
    "Act", "Around", "Asking", "Candidate", "Choose", "Choosing", "Conversation", "Entry", "Leave", "Left", "ModeEnded",
    "ModeEvent", "ModeStarted", "Opened", "Reply", "Returned", "Rewind", "Screen", "Settled", "Shown", "Slash",
    "Speak", "Standing", "Start", "Stop", "Told", "Watchdog", "candidates", "closest", "commands", "history", "is_command", "listed",
    "obey_signals",
]  # fmt: skip

__getattr__ = lazy(globals(), _WHERE)

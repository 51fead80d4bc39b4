"""What the conversation tells beside the session's events, as plain lines on standard error."""

from __future__ import annotations

import sys

import trio
from codetether.api import SessionEvent, StepFinished, clean, one_line
from codetether_conversation import (
    Choosing,
    Left,
    ModeEnded,
    ModeEvent,
    ModeStarted,
    Opened,
    Returned,
    Screen,
    Shown,
    Told,
)
from codetether_conversation.words import Around, Asking, Settled, Standing

HISTORY = 6  # messages of a session gone on with that are shown again
OWN = (Asking, Settled, Standing)  # asked by `plain`, or for a screen


class Printer:
    """`tell` is the conversation's; `choosing` is what a person is to pick from next."""

    def __init__(self, to_plain: trio.MemorySendChannel[SessionEvent]) -> None:
        self._to_plain = to_plain
        self.choosing: Choosing | None = None
        self.left = False
        self._commands: tuple[tuple[str, str], ...] = ()

    async def tell(self, what: Told) -> None:
        """Show it, or hand it to the interface that shows sessions."""
        match what:
            case Opened():
                self._opened(what)
            case Shown():
                self._shown(what)
            case Choosing():
                self._choose(what)
            case Around():
                self._commands = what.commands
            case Screen(what="help"):
                self._help()
            case Screen(what=wish):
                _print(f"/{wish} is for the full screen (codetether tui)")
            case Returned(text):
                _print(f"not sent: {one_line(text)}")
            case ModeStarted(mode):
                _print(f"/{mode} runs; Ctrl-C stops it")
            case ModeEvent(event=event):
                facts = "  ".join(f"{k} {v}" for k, v in event.items() if isinstance(v, str | int))
                _print(one_line(facts, 160))
            case ModeEnded(mode, code, said):
                _print(f"/{mode} ended with exit code {code}\n{said}".rstrip())
            case Left():
                self.left = True
            case _ if isinstance(what, OWN):
                pass
            case _:
                await self._to_plain.send(what)

    async def shown(self) -> None:
        """Wait until the session's interface has taken what it was given."""
        await self._to_plain.send(
            StepFinished(0)
        )  # says nothing, and is taken when all before it is shown

    def _help(self) -> None:
        width = max((len(name) for name, _ in self._commands), default=0)
        for name, about in self._commands:
            _print(f"{one_line(name):{width}}  {one_line(about)}")
        _print("Alt+Enter begins a new line, Tab completes, Ctrl-C stops, Ctrl-D leaves")

    def _opened(self, opened: Opened) -> None:
        said = [message for message in opened.messages if message.role != "tool" and message.text]
        if not said:
            _print("/help lists the commands, Ctrl-D leaves")
        if len(said) > HISTORY:
            _print(f"… {len(said) - HISTORY} earlier messages")
        for message in said[-HISTORY:]:
            _print(f"{message.role}: {clean(message.text).strip()}")
        if opened.draft:
            _print(f"not sent yet: {one_line(opened.draft)}")

    def _shown(self, shown: Shown) -> None:
        if shown.title:
            _print(clean(shown.title))
        mark = "error: " if shown.kind == "error" else ""
        _print(mark + clean(shown.text))
        if shown.hint:
            _print(f"  {clean(shown.hint)}")

    def _choose(self, choosing: Choosing) -> None:
        if choosing.more:
            return
        for note in choosing.notes:
            _print(one_line(note))
        if not choosing.entries:
            return
        self.choosing = choosing
        _print(clean(choosing.title))
        for number, entry in enumerate(choosing.entries, 1):
            here = "*" if entry.key == choosing.current else " "
            group = f"{entry.group}/" if choosing.about == "model" else ""
            facts = "  ".join(fact for fact in entry.facts if fact not in ("", "?"))
            _print(f"{number:4}{here} {one_line(group + entry.label)}  {one_line(facts)}".rstrip())


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

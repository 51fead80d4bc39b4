"""The line interface: for ssh, screen readers and the terminals of editors. The same commands as the full screen.

Nothing is redrawn: a line is read, the turn is shown by the interface `plain`, then the next line is read.
"""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import trio
from codetether.api import Mode, SessionEvent, UsageError, UserAct
from msgspec import Meta

if TYPE_CHECKING:
    from codetether_conversation import Conversation, Start

    from codetether_mode_repl.line import Line
    from codetether_mode_repl.printing import Printer

LEAVE_SECONDS = 3.0


class ReplSettings(msgspec.Struct, frozen=True):
    """How lines are edited."""

    editing: Annotated[Literal["emacs", "vi"], Meta(description="Keys of the input")] = "emacs"


class Repl(Mode):
    """`codetether repl`."""

    api = 1
    Settings = ReplSettings

    def arguments(self, parser: ArgumentParser) -> None:
        """Which session, and what it begins with."""
        parser.add_argument("-m", "--model", metavar="MODEL", help="provider/model")
        parser.add_argument(
            "--agent", default="", metavar="NAME", help="build, plan, explore or yours"
        )
        parser.add_argument(
            "--access-mode",
            default="",
            choices=("ask", "auto", "full"),
            help="what is asked before it is done",
        )
        parser.add_argument("-s", "--session", metavar="ID", help="go on with this session")
        parser.add_argument("--fork", action="store_true", help="go on in a copy of it")

    async def run(self, args: Namespace) -> int:
        """Read lines until the person leaves."""
        if not sys.stdin.isatty():
            raise UsageError(
                "repl reads from a terminal", "codetether exec - reads a prompt from standard input"
            )
        from codetether_conversation import Start, Watchdog

        start = Start(args.model, args.agent, args.access_mode, args.session, args.fork)
        with Watchdog(sys.stdin.fileno(), full_screen=False):
            return await self._lines(start)

    async def _lines(self, start: Start) -> int:
        from codetether_conversation import Conversation, obey_signals

        from codetether_mode_repl.line import Line
        from codetether_mode_repl.printing import Printer

        to_plain, feed = trio.open_memory_channel[SessionEvent](0)
        say, acts = trio.open_memory_channel[UserAct](8)
        printer = Printer(to_plain)
        async with trio.open_nursery() as nursery:
            conversation = Conversation(
                self.kernel, Path.cwd(), printer.tell, interface="repl", start=start
            )
            await nursery.start(obey_signals, conversation, partial(_end_at_once, conversation))
            nursery.start_soon(self.kernel.ui("plain").run, feed, say)
            nursery.start_soon(conversation.run)
            line = Line(
                conversation,
                nursery,
                self.kernel.dirs.data,
                self.kernel.redact.text,
                vi=self.settings.editing == "vi",
            )
            await self._talk(conversation, line, printer)
            with trio.move_on_after(5):
                await conversation.closed.wait()
            acts.close()
            nursery.cancel_scope.cancel()
        if conversation.said_anything:
            print(f"codetether repl -s {conversation.last}  goes on with this session")
        return 0

    async def _talk(self, conversation: Conversation, line: Line, printer: Printer) -> None:
        from codetether_conversation import Leave, Speak

        while not printer.left:
            await conversation.quiet()
            await printer.shown()
            if printer.choosing is not None:
                await self._choose(conversation, line, printer)
                continue
            text = await line.read("> ")
            if text is None:
                await conversation.act(Leave())
                await conversation.closed.wait()
                return
            await conversation.act(Speak(text))
            if conversation.leaving:
                return

    async def _choose(self, conversation: Conversation, line: Line, printer: Printer) -> None:
        from codetether_conversation import Choose

        choosing, printer.choosing = printer.choosing, None
        assert choosing is not None
        text = await line.read("number or name, empty for none: ")
        word = (text or "").strip()
        if not word:
            return
        entries = choosing.entries
        if word.isdecimal() and 0 < int(word) <= len(entries):
            key = entries[int(word) - 1].key
        else:
            fits = [each.key for each in entries if word in (each.key, each.label)]
            fits = fits or [each.key for each in entries if word in each.key or word in each.label]
            if len(fits) != 1:
                print(f"{len(fits)} of them are called {word}", file=sys.stderr)
                return
            key = fits[0]
        await conversation.act(Choose(choosing.about, key))


async def _end_at_once(conversation: Conversation) -> None:
    """A thread may be reading the terminal and cannot be told: the watchdog gives that back."""
    with trio.move_on_after(LEAVE_SECONDS):
        await conversation.closed.wait()
    os._exit(130)

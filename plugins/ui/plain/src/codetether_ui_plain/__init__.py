"""A session as plain text: the answer on standard output, everything else on standard error."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import msgspec
import trio
from codetether.api import (
    Answer,
    Output,
    Question,
    SessionEvent,
    Style,
    Ui,
    UserAct,
    forget_typed_ahead,
    hookimpl,
    is_hung_up,
    open_terminal,
    read_line,
)

if TYPE_CHECKING:
    from codetether.api import Session

    from .view import View

SHOWN_FIRST = 1.0  # seconds the question waits for what was said before it


class PlainSettings(msgspec.Struct, frozen=True):
    """How much is shown."""

    diff_lines: Annotated[
        int, msgspec.Meta(ge=0, description="Lines of a diff shown under a change")
    ] = 60
    reasoning: Annotated[
        bool, msgspec.Meta(description="Show the model's reasoning, dimmed, on a terminal")
    ] = True


class Plain(Ui):
    """For terminals, files and pipes alike; the terminal stays in its normal mode throughout."""

    api = 1
    Settings = PlainSettings
    _view: View | None = None

    async def run(
        self, feed: trio.abc.ReceiveChannel[SessionEvent], say: trio.MemorySendChannel[UserAct]
    ) -> None:
        """Show events until the feed ends or nobody reads any more."""
        from .screen import Screen
        from .view import View

        screen = Screen(sys.stdout, sys.stderr)
        settings = self.settings
        view = self._view = View(
            screen, diff_lines=settings.diff_lines, reasoning=settings.reasoning
        )
        with say:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(view.tick)
                    async for event in feed:
                        await view.show(event)
                    nursery.cancel_scope.cancel()
            except* BrokenPipeError:
                pass  # leaving `say` stops the turn: there is nobody to work for
            finally:
                screen.leave()
                self._view = None

    @hookimpl
    async def codetether_ask(self, question: Question, session: Session) -> Answer | None:
        """Ask the person at the terminal; None when there is none."""
        view = self._view
        if view is None:
            return None
        terminal = open_terminal(sys.stdin, sys.stderr)
        if terminal is None:
            return None
        shown = view.asked.setdefault(question.id, trio.Event())
        try:
            with trio.move_on_after(
                SHOWN_FIRST
            ):  # a sub-agent's question comes through another feed
                await shown.wait()
            lock = await view.screen.alone()
            try:
                answer = await _ask(terminal, question, view.screen.style)
            finally:
                lock.release()
            if answer is None and is_hung_up(terminal):
                session.cancel()  # the signal that says so may come when the model has been asked again
            return answer
        finally:
            view.asked.pop(question.id, None)
            os.close(terminal)


async def _ask(terminal: int, question: Question, style: Style) -> Answer | None:
    from .questions import Prompt

    prompt = Prompt(question, style)
    with os.fdopen(terminal, "w", encoding="utf-8", closefd=False) as stream:
        output = Output(stream)
        forget_typed_ahead(terminal)
        try:
            await output.write(prompt.text)
            while (line := await read_line(terminal)) is not None:
                if (answer := prompt.answer(line)) is not None:
                    return answer
                await output.write(prompt.again)
        except trio.Cancelled:
            output.write_now("\n")  # the cursor stands behind the question
            raise
    return None

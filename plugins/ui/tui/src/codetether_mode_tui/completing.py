"""Completion in the input: what the conversation offers, asked for in its own thread."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from typing import TYPE_CHECKING

from codetether.api import one_line
from codetether_conversation import Candidate, candidates
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

if TYPE_CHECKING:
    from codetether_mode_tui.screen import Screen


class InputCompleter(Completer):
    """Commands, what they take, and files behind an `@`."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        """Never used: the answer comes from another thread."""
        return ()

    async def get_completions_async(
        self, document: Document, complete_event: CompleteEvent
    ) -> AsyncGenerator[Completion, None]:
        """The candidates for the text before the cursor."""
        before = document.text_before_cursor
        if not before.startswith("/") and "@" not in before:
            return
        screen = self._screen
        none: list[Candidate] = []
        found = await screen.bridge.ask(candidates, screen.conversation, before, default=none)
        for each in found:
            yield Completion(
                each.text,
                start_position=-each.length,
                display=one_line(each.label, 60),
                display_meta=one_line(each.about, 60),
            )

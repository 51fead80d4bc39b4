"""Reading one message: prompt_toolkit's line editor, in a thread, with the same completions as the full screen."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from codetether.api import one_line
from codetether_conversation import Candidate, candidates, history

if TYPE_CHECKING:
    from codetether_conversation import Conversation
    from prompt_toolkit import PromptSession

COMPLETION_SECONDS = 5.0


class Line:
    """The editor. `read` gives what was typed, or None when the person wants to leave."""

    def __init__(
        self,
        conversation: Conversation,
        nursery: trio.Nursery,
        folder: Path,
        redact: Callable[[str], str],
        *,
        vi: bool,
    ) -> None:
        self._conversation = conversation
        self._nursery = nursery
        self._folder = folder
        self._redact = redact
        self._vi = vi
        self._session: PromptSession[str] | None = None

    async def read(self, prompt: str) -> str | None:
        """One message; Alt+Enter begins a new line of it. Ctrl-C empties it, Ctrl-D on an empty line leaves."""
        return await trio.to_thread.run_sync(self._read, prompt, abandon_on_cancel=True)

    def _read(self, prompt: str) -> str | None:
        if self._session is None:
            self._session = self._made()
        while True:
            try:
                return self._session.prompt(prompt, handle_sigint=False)
            except KeyboardInterrupt:
                continue
            except EOFError:
                return None

    def _made(self) -> PromptSession[str]:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.completion import CompleteEvent, Completer, Completion
        from prompt_toolkit.document import Document
        from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
        from prompt_toolkit.output.vt100 import Vt100_Output

        line = self

        class Offers(Completer):
            def get_completions(
                self, document: Document, complete_event: CompleteEvent
            ) -> Iterable[Completion]:
                for each in line.offers(document.text_before_cursor):
                    about = one_line(each.about, 60)
                    yield Completion(each.text, -each.length, one_line(each.label, 60), about)

        keys = KeyBindings()

        @keys.add("escape", "enter")
        def _(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        output = Vt100_Output.from_pty(sys.stdout, os.environ.get("TERM"))
        # Not every terminal answers where its cursor is, and a warning is noise.
        output.enable_cpr = False
        return PromptSession(
            output=output,
            history=history(self._folder, self._redact),
            completer=Offers(),
            complete_while_typing=False,
            complete_in_thread=True,
            key_bindings=keys,
            vi_mode=self._vi,
            enable_open_in_editor=True,
            tempfile_suffix=".md",
        )

    def offers(self, before: str) -> list[Candidate]:
        """The candidates, asked for in trio from the editor's thread."""

        async def ask() -> list[Candidate]:
            with trio.move_on_after(COMPLETION_SECONDS):
                return await candidates(self._conversation, before)
            return []

        try:
            return trio.from_thread.run(ask)
        except (RuntimeError, trio.Cancelled):
            return []

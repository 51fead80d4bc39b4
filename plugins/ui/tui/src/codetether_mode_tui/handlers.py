"""What each key does. The bindings are made from the table in `keys`; what is open takes the keys first."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from codetether_conversation import Choose, Leave, Reply, Speak, Stop
from prompt_toolkit.enums import EditingMode
from prompt_toolkit.filters import Condition, Filter, has_completions, is_searching, vi_insert_mode
from prompt_toolkit.input.ansi_escape_sequences import ANSI_SEQUENCES
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys

from codetether_mode_tui.items import Answered

if TYPE_CHECKING:
    from codetether_mode_tui.screen import Screen

AGAIN = 2.0  # seconds in which Ctrl+C once more leaves
DOUBLE = 0.8  # seconds between two Esc
CLIPBOARD = 75_000  # bytes that terminals take
Handler = Callable[[KeyPressEvent], None]

# Ctrl+M as its own key, in the two forms of terminals that can tell it from Enter.
ANSI_SEQUENCES["\x1b[109;5u"] = Keys.F24
ANSI_SEQUENCES["\x1b[27;5;109~"] = Keys.F24


class Handlers:
    """The bindings of one screen."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self.state = screen.state
        self._interrupted = -AGAIN
        self._escaped = -DOUBLE

    def editing_mode(self) -> EditingMode:
        """As the settings say."""
        return EditingMode.VI if self.screen.settings.editing == "vi" else EditingMode.EMACS

    def bindings(self) -> KeyBindings:
        """All of them."""
        self._kb = KeyBindings()
        state, screen = self.state, self.screen
        self._empty = Condition(lambda: not screen.buffer.text)
        asking = Condition(lambda: state.ask is not None and not self._over)
        picking = Condition(lambda: state.picker is not None)
        self._covered = Condition(lambda: self._over)
        choosing = Condition(
            lambda: (
                state.ask is not None
                and not state.ask.reasoning
                and state.ask.question.kind != "text"
                and not self._over
            )
        )
        free = ~is_searching

        self._bind("send", self._enter, free)
        self._bind("newline", lambda e: e.current_buffer.insert_text("\n"), free)
        self._bind("stop", self._escape, free & ~(vi_insert_mode & ~self._empty))
        self._bind("interrupt", self._interrupt, free)
        self._bind("quit", lambda _: screen.do(Leave()), free)
        self._bind("help", self._help, free)
        self._bind("model", self._saying("/model"), free)
        self._bind("sessions", self._saying("/sessions"), free)
        self._bind("agent", self._tab, free)
        self._bind("layout", self._layout, free)
        self._bind("inspector", self._inspector, free)
        self._bind("board", self._board, free)
        self._bind("up", lambda _: self._page(-1), free)
        self._bind("down", lambda _: self._page(1), free)
        self._bind("line-up", lambda _: self._scroll(-1), free)
        self._bind("line-down", lambda _: self._scroll(1), free)
        self._bind("some-up", lambda _: self._scroll(-5), free)
        self._bind("some-down", lambda _: self._scroll(5), free)
        self._bind("top", lambda _: screen.chat.to_top(), free)
        self._bind("end", lambda _: screen.chat.to_end(), free)
        self._bind("select-up", lambda _: self._select(-1), free)
        self._bind("select-down", lambda _: self._select(1), free)
        self._bind("open", lambda _: screen.chat.stay(state.toggle), free)
        self._bind("history-back", lambda e: e.current_buffer.history_backward(), free)
        self._bind("history-forward", lambda e: e.current_buffer.history_forward(), free)
        self._bind("editor", self._editor, free)
        self._bind("copy", self._copy, free)
        self._bind("redraw", lambda e: e.app.renderer.clear(), free)
        self._bind("suspend", lambda e: e.app.suspend_to_background(), free)
        self._search()

        kb = self._kb
        kb.add("up", filter=free & (self._empty | self._covered) & ~has_completions)(
            lambda _: self._line(-1)
        )
        kb.add("down", filter=free & (self._empty | self._covered) & ~has_completions)(
            lambda _: self._line(1)
        )
        kb.add("c-d", filter=free & self._empty)(lambda _: screen.do(Leave()))
        kb.add("?", filter=free & self._empty & ~asking & ~self._covered)(self._help)
        kb.add(Keys.BracketedPaste, filter=free)(self._paste)
        kb.add(Keys.Any, filter=picking)(self._type)
        kb.add("backspace", filter=picking)(lambda _: self._erase())
        kb.add("c-h", filter=picking)(lambda _: self._erase())
        kb.add(Keys.Any, filter=choosing & self._empty & ~picking)(self._letter)
        return kb

    def _bind(self, action: str, handler: Handler, when: Filter) -> None:
        for key in self.screen.keys[action]:
            self._kb.add(*key.split(), filter=when)(handler)

    def _search(self) -> None:
        from prompt_toolkit.key_binding.bindings import search

        for key in self.screen.keys["search"]:
            self._kb.add(*key.split(), filter=~is_searching & ~self._covered)(
                search.start_reverse_incremental_search
            )

    @property
    def _over(self) -> bool:
        """Whether something stands over the chat and takes the keys."""
        state = self.state
        return state.help or state.picker is not None

    def _saying(self, line: str) -> Handler:
        return lambda _: self.screen.do(Speak(line))

    # --- the input ---
    def _enter(self, event: KeyPressEvent) -> None:
        state, screen = self.state, self.screen
        buffer = screen.buffer
        if state.help:
            state.help = False
        elif (picker := state.picker) is not None:
            state.close_picker()
            if picker.selected is not None:
                screen.do(Choose(picker.about, picker.selected.key))
        elif state.ask is not None and self._answered(screen.pastes.filled(buffer.text)):
            return
        elif (
            buffer.complete_state is not None
            and buffer.complete_state.current_completion is not None
        ):
            buffer.complete_state = None
        elif not buffer.text and state.view == "board" and state.board is not None:
            state.board.detail = not state.board.detail
        elif not buffer.text and state.selected is not None:
            screen.chat.stay(state.toggle)
        else:
            screen.submit()

    def _answered(self, text: str) -> bool:
        """Whether Enter belongs to the question."""
        ask = self.state.ask
        if ask is None or (text.strip() and ask.question.kind != "text" and not ask.reasoning):
            return False
        answer = ask.enter(text, self.state.clock())
        if answer is not None:
            self.screen.buffer.reset()
            self.screen.pastes.forget()
            self.state.take_answer(ask)
            self.screen.do(Reply(ask.question.id, answer))
        return True

    def _letter(self, event: KeyPressEvent) -> None:
        ask = self.state.ask
        if ask is None or not event.data.isprintable():
            return
        answer = ask.key(event.data, self.state.clock())
        if answer is not None:
            self.state.take_answer(ask)
            self.screen.do(Reply(ask.question.id, answer))

    def _editor(self, event: KeyPressEvent) -> None:
        event.current_buffer.text = self.screen.pastes.filled(event.current_buffer.text)
        event.current_buffer.open_in_editor()

    def _paste(self, event: KeyPressEvent) -> None:
        if self.state.picker is not None:
            self.state.picker.type(event.data.partition("\n")[0][:200])
        else:
            self.screen.buffer.insert_text(self.screen.pastes.taken(event.data))

    def _type(self, event: KeyPressEvent) -> None:
        if self.state.picker is not None and event.data.isprintable():
            self.state.picker.type(event.data)

    def _erase(self) -> None:
        if self.state.picker is not None:
            self.state.picker.erase()

    def _tab(self, event: KeyPressEvent) -> None:
        buffer = self.screen.buffer
        before = buffer.document.text_before_cursor
        word = before.split()[-1] if before.split() and not before[-1].isspace() else ""
        if before.startswith("/") or word.startswith("@"):
            if buffer.complete_state is not None:
                buffer.complete_next()
            else:
                buffer.start_completion(select_first=True)
        elif not self._over:
            now = self.state.standing.agent
            self.screen.do(Speak(f"/agent {'build' if now == 'plan' else 'plan'}"))

    # --- stopping ---
    def _escape(self, event: KeyPressEvent) -> None:
        state = self.state
        if state.help or state.picker is not None:
            state.help = False
            state.close_picker()
        elif state.ask is not None and state.ask.reasoning:
            state.ask.reasoning = False
            self.screen.buffer.reset()
        elif self.screen.buffer.complete_state is not None:
            self.screen.buffer.cancel_completion()
        elif state.view == "board" and state.board is not None:
            if state.board.detail:
                state.board.detail = False
            else:
                state.view = "chat"
        elif state.selected is not None:
            state.selected = None
        elif state.standing.busy or (state.board is not None and state.board.running):
            self.screen.do(Stop())
        else:
            self._twice()

    def _twice(self) -> None:
        now = time.monotonic()
        if now - self._escaped < DOUBLE and self.state.last_said():
            self._escaped = -DOUBLE
            self.screen.do(Speak("/rewind"))
        else:
            self._escaped = now

    def _interrupt(self, event: KeyPressEvent) -> None:
        now = time.monotonic()
        again, self._interrupted = now - self._interrupted < AGAIN, now
        if again and not self.screen.buffer.text:  # words begun since are no part of it
            self.screen.do(Leave())
        elif self.state.standing.busy:
            self.screen.do(Stop())
        elif self.screen.buffer.text:
            self.screen.buffer.reset()
            self.screen.pastes.forget()
        self.state.tell("Ctrl+C again leaves", AGAIN)

    # --- the screen ---
    def _help(self, event: KeyPressEvent) -> None:
        self.state.help = not self.state.help
        self.screen.help_scroll = 0

    def _layout(self, event: KeyPressEvent) -> None:
        self.state.layout = "classic" if self.state.layout == "webview" else "webview"

    def _inspector(self, event: KeyPressEvent) -> None:
        self.state.inspector = not self.state.inspector

    def _board(self, event: KeyPressEvent) -> None:
        self.state.turn_over()

    def _line(self, step: int) -> None:
        state = self.state
        if state.picker is not None:
            state.picker.move(step)
        elif state.ask is not None and not state.help:
            state.ask.move(step)
        elif state.view == "board" and state.board is not None and not state.help:
            state.board.move(step)
        else:
            self._scroll(step)

    def _page(self, sign: int) -> None:
        state = self.state
        if state.picker is not None:
            state.picker.move(sign * 10)
        elif state.ask is not None and not state.help:
            state.ask.scroll = max(state.ask.scroll + sign * 10, 0)
        elif state.view == "board" and state.board is not None and not state.help:
            state.board.scroll -= sign * 10
        else:
            self._scroll(sign * max(self.screen.chat.height - 2, 1))

    def _scroll(self, lines: int) -> None:
        if self.state.help:
            self.screen.help_scroll = max(self.screen.help_scroll + lines, 0)
        else:
            self.screen.chat.scroll(lines)

    def _select(self, step: int) -> None:
        self.state.select(step)
        if self.state.selected is not None:
            self.screen.chat.reveal(self.state.selected)

    def _copy(self, event: KeyPressEvent) -> None:
        answers = (i for i in reversed(self.state.items) if isinstance(i, Answered))
        last = next(answers, None)
        if last is None:
            return
        data = last.text.encode("utf-8", "replace")[:CLIPBOARD]
        event.app.output.write_raw(f"\x1b]52;c;{base64.b64encode(data).decode()}\x07")
        event.app.output.flush()
        self.state.tell("copied the last answer")

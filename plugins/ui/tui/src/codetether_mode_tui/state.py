"""What is on the screen, as data: filled by what the conversation tells, changed by keys, painted by others.

Nothing here knows a terminal, so every event and key can be tested without one. Used by the interface's thread only.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from codetether.api import (
    Compacted,
    MessageDone,
    Notice,
    Question,
    Retrying,
    SessionStarted,
    StepFinished,
    StepStarted,
    TextDelta,
    ThoughtDelta,
    ToolFinished,
    ToolProgress,
    ToolStarted,
    TurnFinished,
    TurnStarted,
    one_line,
)
from codetether_conversation import (
    Around,
    Asking,
    Choosing,
    Left,
    ModeEnded,
    ModeEvent,
    ModeStarted,
    Opened,
    Returned,
    Screen,
    Settled,
    Shown,
    Standing,
    Told,
)

from codetether_mode_tui.asking import Ask
from codetether_mode_tui.boards import Board
from codetether_mode_tui.items import (
    OUTPUT,
    Answered,
    Called,
    Item,
    Note,
    Said,
    Thinking,
    from_messages,
    said,
)
from codetether_mode_tui.pickers import Picker

STOPPED = "stopped"
ENDS = {
    "step_limit": "stopped at the step limit",
    "budget": "stopped at the budget",
    "cancelled": STOPPED,
    "denied": "done, but something was denied",
}
FOLDED_NOTE = 12  # lines of a note that are shown before it is opened


class State:
    """The whole of it. `clock` gives seconds; `draft` is what the input is to hold next, once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.items: list[Item] = []
        self.standing = Standing("")
        self.around = Around()
        self.asks: list[Ask] = []
        self.picker: Picker | None = None
        self.board: Board | None = None
        self.view = "chat"
        self.layout = "webview"
        self.inspector = True
        self.help = False
        self.theme: str | None = None
        self.draft: str | None = None
        self.doing = ""
        self.since = 0.0
        self.selected: int | None = None
        self.left = False
        self.generation = 0
        self.toast = ""
        self.toast_until = 0.0
        self._answer: Answered | None = None
        self._thinking: Thinking | None = None
        self._calls: dict[str, Called] = {}
        self._step = 0
        self._declined: set[str] = set()  # pickers that were closed while entries were to come

    # --- what is told ---
    def take(self, told: Told) -> None:
        """Take in one thing that was told."""
        match told:
            case TextDelta(text):
                self._say(text)
            case ThoughtDelta(text):
                self._think(text)
            case ToolProgress(call, text):
                self._progress(call, text)
            case ToolStarted():
                self._start(told)
            case ToolFinished():
                self._finish(told)
            case MessageDone():
                self._done(told)
            case StepStarted():
                self._step = len(self.items)
                self._do("waiting for the model")
            case StepFinished():
                self._close()
            case Retrying():
                self._retry(told)
            case TurnStarted(text=text):
                self.items.append(said(text))
                self._do("waiting for the model")
            case TurnFinished():
                self._end(told)
            case Notice(level, text, hint):
                self._note(text, level, hint=hint)
            case Compacted(before, after):
                text = f"context shortened: about {before:,} tokens to {after:,}"
                self._note(text, "info")
            case SessionStarted():
                pass  # `Opened` and `Standing` say more
            case _:
                self._take_own(told)

    def _take_own(self, told: Told) -> None:
        match told:
            case Standing():
                self.standing = told
            case Around():
                self.around = told
            case Opened():
                self._open(told)
            case Shown():
                self._note(told.text, told.kind, told.title, told.hint)
            case Asking(question):
                self.asks.append(Ask(question, self.clock()))
            case Settled(question=name):
                self._settled(name)
            case Choosing():
                self._choose(told)
            case Screen(what, name):
                self._wish(what, name)
            case Returned(text):
                self.draft = text
            case ModeStarted(mode, words):
                self.board = Board(mode, words, self.clock())
                self.view = "board"
            case ModeEvent(event=event):
                if self.board is not None:
                    self.board.take(event)
            case ModeEnded():
                self._mode_ended(told)
            case Left():
                self.left = True

    # --- the session ---
    def _open(self, opened: Opened) -> None:
        self.items = list(from_messages(opened.messages))
        self.selected = None
        self.draft = opened.draft or None
        self.view = "chat"
        self.generation += 1
        self._answer = self._thinking = None
        self._calls.clear()

    def _do(self, what: str) -> None:
        self.doing, self.since = what, self.clock()

    def _say(self, text: str) -> None:
        self._close_thinking()
        if self._answer is None:
            self._answer = Answered()
            self.items.append(self._answer)
            self._do("answering")
        self._answer.text += text
        self._answer.changed()

    def _think(self, text: str) -> None:
        if self._thinking is None:
            self._thinking = Thinking(since=self.clock())
            self.items.append(self._thinking)
            self._do("thinking")
        self._thinking.text += text
        self._thinking.changed()

    def _close_thinking(self) -> None:
        if self._thinking is not None:
            self._thinking.done = True
            self._thinking.seconds = self.clock() - self._thinking.since
            self._thinking.changed()
            self._thinking = None

    def _close(self) -> None:
        self._close_thinking()
        if self._answer is not None:
            self._answer.done = True
            self._answer.changed()
            if not self._answer.text.strip() and self.items[-1] is self._answer:
                self.items.pop()
            self._answer = None

    def _done(self, event: MessageDone) -> None:
        """The message as it is kept: it may say what no delta said."""
        text = event.message.text
        if self._answer is None and text.strip():
            self._say(text)
        if self._answer is not None:
            self._answer.text = text
            self._answer.interrupted = event.message.interrupted
        self._close()
        if event.message.calls:
            self._do(f"beginning {one_line(event.message.calls[0].name)}")

    def _retry(self, event: Retrying) -> None:
        """What this answer said so far is void."""
        del self.items[self._step :]
        self._answer = self._thinking = None
        self._do(f"trying again in {event.wait:.0f} s: {event.why}")

    def _start(self, event: ToolStarted) -> None:
        called = Called(
            call=event.call_id,
            name=event.name,
            title=event.title,
            arguments=event.arguments,
            since=self.clock(),
        )
        self._calls[event.call_id] = called
        self.items.append(called)
        self._do(event.title)

    def _progress(self, call: str, text: str) -> None:
        if (called := self._calls.get(call)) is not None:
            called.output = (called.output + text)[-OUTPUT:]
            called.changed()

    def _finish(self, event: ToolFinished) -> None:
        called = self._calls.pop(event.call_id, None)
        if called is None:
            return
        called.ok, called.summary, called.seconds = event.ok, event.summary, event.seconds
        called.output, called.meta = event.text, event.meta
        called.changed()
        self._do(next(iter(self._calls.values())).title if self._calls else "waiting for the model")

    def _end(self, event: TurnFinished) -> None:
        self._close()
        for called in self._calls.values():
            called.ok, called.summary = False, STOPPED
            called.seconds = self.clock() - called.since
            called.changed()
        self._calls.clear()
        self.doing = ""
        if event.reason == "error":
            self._note(event.error or "the turn failed", "error", hint=event.hint)
        elif event.reason in ENDS:
            self._note(ENDS[event.reason], "warning", hint=event.hint)
        self.items.append(Note(text=_told(event), kind="end"))

    def _note(self, text: str, kind: str, title: str = "", hint: str = "") -> None:
        self.items.append(Note(text=text, kind=kind, title=title, hint=hint))

    def _settled(self, question: str) -> None:
        shown = self.ask
        self.asks = [each for each in self.asks if each.question.id != question]
        if self.ask is not None and self.ask is not shown:
            self.ask.since = self.clock()  # it comes into sight now

    def take_answer(self, ask: Ask) -> None:
        """It was answered: it leaves the screen at once, before the conversation says so."""
        self._settled(ask.question.id)

    # --- the screen ---
    def _choose(self, choosing: Choosing) -> None:
        if self.picker is not None and self.picker.about == choosing.about:
            self.picker.replace(choosing)
        elif choosing.about in self._declined and choosing.entries:
            if not choosing.more:
                self._declined.discard(choosing.about)
        else:
            self._declined.discard(choosing.about)
            self.picker = Picker(choosing)

    def turn_over(self) -> None:
        """From the chat to the board, and back."""
        self.view = "chat" if self.view == "board" or self.board is None else "board"
        if self.board is None:
            self.tell("nothing runs: /swarm TASK or /ralph begins")

    def tell(self, words: str, seconds: float = 2.0) -> None:
        """A word above the input, for a while."""
        self.toast, self.toast_until = words, self.clock() + seconds

    def toast_ended(self) -> bool:
        """Whether the word above the input has to go now; once."""
        if not self.toast or self.clock() < self.toast_until:
            return False
        self.toast = ""
        return True

    def close_picker(self) -> None:
        """The person has chosen, or wants none; what comes late does not open it again."""
        if self.picker is not None and self.picker.more:
            self._declined.add(self.picker.about)
        self.picker = None

    def _wish(self, what: str, name: str) -> None:
        match what:
            case "layout":
                self.layout = name
            case "inspector":
                self.inspector = not self.inspector
            case "view":
                self.turn_over()
            case "help":
                self.help = True
            case "theme":
                self.theme = name

    def _mode_ended(self, ended: ModeEnded) -> None:
        if self.board is not None:
            self.board.end(ended.code, ended.said, self.clock())
            kind = "text" if ended.code == 0 else "error"
            self._note(self.board.summary(), kind, title=f"/{ended.mode}")
        self.view = "chat"

    # --- what keys do ---
    @property
    def may_show_code(self) -> bool:
        """Whether anything is there in which code can be; at first nothing is."""
        return bool(self.items) or self.ask is not None or self.board is not None

    @property
    def ask(self) -> Ask | None:
        """The question that is to be answered now."""
        return self.asks[0] if self.asks else None

    @property
    def question(self) -> Question | None:
        """What is asked."""
        return self.ask.question if self.ask is not None else None

    @property
    def current_call(self) -> Called | None:
        """The call the inspector shows: the selected one, else the last."""
        if self.selected is not None and self.selected < len(self.items):
            item = self.items[self.selected]
            if isinstance(item, Called):
                return item
        return next((item for item in reversed(self.items) if isinstance(item, Called)), None)

    def select(self, step: int) -> None:
        """Select the next item that folds, up (-1) or down (1); past the end: none."""
        at = len(self.items) if self.selected is None else self.selected
        at += step
        while 0 <= at < len(self.items):
            if self.items[at].folds or is_long(self.items[at]):
                self.selected = at
                return
            at += step
        if step > 0:
            self.selected = None

    def toggle(self, at: int | None = None) -> None:
        """Open or close the item `at`, the selected one, or the last that folds."""
        at = self.selected if at is None else at
        if at is None:
            folding = (i for i in range(len(self.items) - 1, -1, -1) if self.items[i].folds)
            at = next(folding, None)
        if at is not None and at < len(self.items):
            item = self.items[at]
            item.open = not item.open
            item.changed()

    def last_said(self) -> list[Said]:
        """What the person said, the newest first."""
        return [item for item in reversed(self.items) if isinstance(item, Said)]


def _told(event: TurnFinished) -> str:
    """What a turn took."""
    tokens = event.usage.input + event.usage.output
    parts = (
        f"{event.seconds:.1f} s",
        f"{event.steps} steps" if event.steps > 1 else "",
        f"{counted(tokens)} tokens" if tokens else "",
    )
    return " · ".join(part for part in parts if part)


def counted(tokens: int) -> str:
    """A number of tokens in at most six characters."""
    if tokens >= 1_000_000:
        return f"{tokens / 1e6:.1f}M"
    return f"{tokens / 1e3:.1f}k" if tokens >= 1_000 else str(tokens)


def is_long(item: Item) -> bool:
    """Whether a note is shown folded."""
    return isinstance(item, Note) and item.kind != "end" and item.text.count("\n") >= FOLDED_NOTE

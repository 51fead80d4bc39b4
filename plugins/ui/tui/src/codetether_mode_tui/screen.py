"""The screen: prompt_toolkit's application, made of our lines. It shows the state and turns keys into acts."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from codetether_conversation import Act, Speak
from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import AnyFormattedText
from prompt_toolkit.input import create_input
from prompt_toolkit.key_binding import KeyBindings, defaults
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout import (
    BufferControl,
    Float,
    FloatContainer,
    Layout,
    Window,
    to_container,
)
from prompt_toolkit.layout.dimension import Dimension
from prompt_toolkit.layout.menus import CompletionsMenu
from prompt_toolkit.mouse_events import MouseEvent, MouseEventType
from prompt_toolkit.output import ColorDepth, create_output
from prompt_toolkit.styles import BaseStyle, DynamicStyle, Style, merge_styles
from prompt_toolkit.widgets import SearchToolbar

from codetether_mode_tui import panels
from codetether_mode_tui.chat import Scrollback
from codetether_mode_tui.completing import InputCompleter
from codetether_mode_tui.frame import Painted, Rows
from codetether_mode_tui.handlers import Handlers
from codetether_mode_tui.keys import bound, first_steps, help_rows, hints
from codetether_mode_tui.lines import Line, beside, inset, padded, rule
from codetether_mode_tui.pasting import Pastes
from codetether_mode_tui.state import State
from codetether_mode_tui.themes import Theme, rules

if TYPE_CHECKING:
    from codetether_conversation import Conversation
    from prompt_toolkit.data_structures import Size
    from prompt_toolkit.key_binding.key_bindings import NotImplementedOrNone

    from codetether_mode_tui import TuiSettings
    from codetether_mode_tui.bridge import Bridge
    from codetether_mode_tui.theming import Theming

WIDE, TALL = 90, 18  # from here on there is room for three columns
SIDEBAR, INSPECTOR = 26, 38
INPUT_ROWS = 8
TICK = 0.125  # seconds between two frames while something turns
SIZE_POLL = 0.25
VI = ("load_vi_bindings", "load_vi_search_bindings")
FRAME = 1 / 30  # seconds between two frames of what is told; a key is shown at once


class Prompt(Application[None]):
    """prompt_toolkit's, but Esc counts as a key of its own at once: with its times, what is typed 1.5 s later became Alt."""

    ESCAPE = (
        0.05  # seconds in which Esc and a key are Alt and that key; a terminal sends them together
    )
    SEQUENCE = 1.0  # seconds between the keys of Ctrl+X Ctrl+E

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.ttimeoutlen = self.ESCAPE

    @property
    def timeoutlen(self) -> float:
        """Seconds in which the next key may belong to those before."""
        keys = self.key_processor.key_buffer
        return self.ESCAPE if keys and keys[-1].key is Keys.Escape else self.SEQUENCE

    @timeoutlen.setter
    def timeoutlen(self, seconds: float) -> None:
        """prompt_toolkit sets its own; ours holds."""


class Screen:
    """Lives in its own thread; `run` returns when the person has left or `leave` was called."""

    def __init__(
        self,
        bridge: Bridge,
        conversation: Conversation,
        settings: TuiSettings,
        theming: Theming,
        history: Any,
    ) -> None:
        self.bridge = bridge
        self.conversation = conversation
        self.settings = settings
        self.theming = theming
        self.state = State()
        self.state.layout = settings.layout
        self.state.inspector = settings.inspector
        self.chat = Scrollback(self.state)
        self.inspector = panels.Inspector()
        self.pastes = Pastes()
        self.keys = bound(settings.keys)
        self._hints, self._first_steps = hints(self.keys), first_steps(self.keys)
        self.help_scroll = 0
        self._chat_from, self._chat_to = 0, 0  # columns of the last frame
        self._chat_top = 0  # its first row
        self._next_frame = 0.0
        self._history = history
        self._theme: Theme | None = None
        self._has_code = False
        self._style: BaseStyle = Style([])
        self.buffer: Buffer
        self.app: Application[None]

    # --- its life ---
    def run(self) -> None:
        """Show it until the end; the terminal is as before afterwards."""
        asyncio.run(self._run())

    async def _run(self) -> None:
        self.use(self.theming.first())
        self.app = self._application()
        self.bridge.attach(self._told)
        self.app.after_render += self._painted
        size = self.app.output.get_size()
        beside = [asyncio.ensure_future(each) for each in (self._tick(), self._follow(size))]
        try:
            await self.app.run_async(handle_sigint=False, set_exception_handler=False)
        finally:
            for each in beside:
                each.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await each
            self.bridge.detach()

    def _painted(self, _: Application[None]) -> None:
        self.app.after_render -= self._painted
        self.bridge.painted()

    def leave(self) -> None:
        """Close the screen; from its own thread."""
        if self.app.is_running and not self.app.is_done:
            self.app.exit()

    def do(self, act: Act) -> None:
        """Hand on what the person did."""
        self.bridge.do(act)

    def _told(self) -> None:
        loop = asyncio.get_running_loop()
        loop.call_at(max(self._next_frame, loop.time()), self._take)

    def _take(self) -> None:
        self._next_frame = asyncio.get_running_loop().time() + FRAME
        for told in self.bridge.take():
            self.state.take(told)
        if self.state.left:
            self.leave()
            return
        if (draft := self.state.draft) is not None:
            self.state.draft = None
            self._put(draft)
        if (theme := self.state.theme) is not None:
            self.state.theme = None
            self.theming.choose(self, theme)
        if self._theme is not None and self.state.may_show_code and not self._has_code:
            self.use(self._theme)
        self.app.invalidate()

    def _put(self, draft: str) -> None:
        """Words into the input, before what is there."""
        there = self.buffer.text
        self.buffer.text = f"{draft}\n{there}" if there.strip() else draft
        self.buffer.cursor_position = len(self.buffer.text)

    async def _tick(self) -> None:
        """Turn the spinner while something goes on, and look after the theme's files."""
        ticks = 0
        while True:
            await asyncio.sleep(TICK if self._moves() else 0.5)
            ticks += 1
            if self._moves() or self.state.toast_ended():
                self.app.invalidate()
            if ticks % 4 == 0 and (theme := self.theming.reloaded()) is not None:
                self.use(theme)
                self.app.invalidate()

    def _moves(self) -> bool:
        board = self.state.board
        return self.state.standing.busy or (board is not None and board.running)

    def use(self, theme: Theme) -> None:
        """Show it in these colours; with those of code only when there may be some, for Pygments takes its time."""
        self._theme = theme
        self._has_code = self.state.may_show_code
        styles = [_code_style(theme.code)] if theme.code and self._has_code else []
        few = color_depth(os.environ) in (ColorDepth.DEPTH_1_BIT, ColorDepth.DEPTH_4_BIT)
        self._style = merge_styles([*styles, Style.from_dict(rules(theme, few=few))])

    # --- the application ---
    def _application(self) -> Application[None]:
        self.search = SearchToolbar(text_if_not_searching="")
        self.buffer = Buffer(
            multiline=True,
            history=self._history,
            completer=InputCompleter(self),
            complete_while_typing=Condition(lambda: not self.state.asks),
            enable_history_search=True,
            tempfile_suffix=".md",
        )
        handlers = Handlers(self)
        output = create_output()
        with contextlib.nullcontext() if self.settings.editing == "vi" else without_vi():
            return Prompt(
                layout=self._layout(),
                key_bindings=handlers.bindings(),
                style=DynamicStyle(lambda: self._style),
                full_screen=True,
                mouse_support=self.settings.mouse,
                editing_mode=handlers.editing_mode(),
                color_depth=color_depth(os.environ),
                input=create_input(),
                output=output,
                terminal_size_polling_interval=None,
                enable_page_navigation_bindings=False,
                include_default_pygments_style=False,  # its colours are for white paper
            )

    def _layout(self) -> Layout:
        control = BufferControl(
            self.buffer,
            search_buffer_control=self.search.control,
            focus_on_click=True,
        )
        self.input = Window(
            control,
            height=self._input_height,
            wrap_lines=True,
            dont_extend_height=True,
            get_line_prefix=_prompt,
        )
        body = Painted(self._body)
        body.clicked = self._mouse
        rows = Rows(
            [
                _row(lambda width: panels.header(self.state, width)),
                body,
                Painted(self._ask, self._ask_height),
                _row(self._edge),
                self.input,
                to_container(self.search),
                _row(lambda width: panels.status(self.state, width, self._hints)),
            ],
            body,
            style="class:ground",
        )  # fmt: skip
        menu = CompletionsMenu(max_height=10, scroll_offset=1)
        return Layout(
            FloatContainer(rows, [Float(menu, xcursor=True, ycursor=True)]),
            focused_element=self.input,
        )

    # --- sizes ---
    async def _follow(self, drawn: Size) -> None:
        """Draw anew when the terminal has another size than was `drawn`. prompt_toolkit looks for that too, but takes what it
        finds a moment after the start for what it has drawn; a window manager may have changed it by then.
        """
        while True:
            await asyncio.sleep(SIZE_POLL)
            if (size := self.app.output.get_size()) != drawn:
                drawn = size
                self.app.renderer.erase(leave_alternate_screen=False)
                self.app.invalidate()

    @property
    def width(self) -> int:
        """Columns of the terminal."""
        return self.app.output.get_size().columns

    @property
    def height(self) -> int:
        """Rows of the terminal."""
        return self.app.output.get_size().rows

    @property
    def columns(self) -> bool:
        """Whether there are three columns."""
        return self.state.layout == "webview" and self.width >= WIDE and self.height >= TALL

    def _input_height(self) -> Dimension:
        most = max(1, min(INPUT_ROWS, self.height // 3))
        return Dimension(min=1, max=most)

    def _ask_height(self) -> int:
        return min(self._ask_rows(), max(self.height - 8, 5))

    def _ask_rows(self) -> int:
        ask = self.state.ask
        if ask is None:
            return len(panels.waiting(self.state, self.width))
        return len(panels.question(ask, max(self.width - 2, 10), 10_000, tall=self.height >= 20))

    # --- the parts ---
    def _body(self, width: int, height: int) -> list[Line]:
        """The chat, alone or between the sidebar and the inspector; what stands over it has all the room."""
        over = self._over(width - 2, height)
        if over is not None:
            return [inset(line, width) for line in over]
        left = SIDEBAR if self.columns else 0
        right = INSPECTOR if left and self.state.inspector and width >= WIDE + 20 else 0
        room = width - sum(panel + 1 for panel in (left, right) if panel)
        top = [] if not left else [rule([each for each in (left, room, right) if each])]
        height -= len(top)
        rows: list[list[Line]] = [self._chat(room - 2, height)]
        if left:
            rows.insert(0, panels.sidebar(self.state, left - 2, height))
        if right:
            rows.append(self.inspector.lines(self.state, right - 2, height))
        self._chat_from = left + 1 if left else 0
        self._chat_to = self._chat_from + room
        widths = [each for each in (left, room, right) if each]
        self._chat_top = len(top)
        return [*top, *beside(rows, widths, height)]

    def _over(self, width: int, height: int) -> list[Line] | None:
        """What stands over the chat, if anything."""
        state = self.state
        if state.help:
            keys = help_rows(self.keys)
            return panels.help_lines(keys, state.around.commands, width, height, self.help_scroll)
        if state.picker is not None:
            return panels.picker(state.picker, width, height)
        if state.view == "board" and state.board is not None:
            return state.board.lines(width, height, state.clock())
        return None

    def _chat(self, width: int, height: int) -> list[Line]:
        if not self.state.items:
            return panels.welcome(self.state, self._first_steps, width)
        rows = self.chat.rows(width - 1, height)
        begin, end = self.chat.share()
        if begin <= 0.0 and end >= 1.0 and self.chat.following:
            return rows
        first, last = int(begin * height), max(int(end * height), int(begin * height) + 1)
        return [
            [
                *padded(row, width - 1),
                ("class:scrollbar.button" if first <= at < last else "", " "),
            ]
            for at, row in enumerate([*rows, *([[]] * (height - len(rows)))])
        ]

    def _ask(self, width: int, height: int) -> list[Line]:
        ask = self.state.ask
        if ask is None:
            return panels.waiting(self.state, width)
        rows = panels.question(ask, width - 2, height, tall=self.height >= 20)
        return [inset(row, width) for row in rows]

    def _edge(self, width: int) -> Line:
        ask = self.state.ask
        return panels.input_edge(self.state, width, reason=ask is not None and ask.reasoning)

    def _mouse(self, row: int, event: MouseEvent) -> NotImplementedOrNone:
        """The wheel scrolls, a click opens what was clicked."""
        match event.event_type:
            case MouseEventType.SCROLL_UP:
                self.chat.scroll(-3)
            case MouseEventType.SCROLL_DOWN:
                self.chat.scroll(3)
            case MouseEventType.MOUSE_UP if self._chat_from <= event.position.x < self._chat_to:
                self._clicked(row)
            case _:
                return NotImplemented
        return None

    def _clicked(self, row: int) -> None:
        row -= self._chat_top
        if self.state.view == "chat" and 0 <= row < len(self.chat.shown):
            self.state.toggle(self.chat.shown[row])

    # --- what keys need ---
    def submit(self) -> None:
        """Enter: send what is typed."""
        text = self.pastes.filled(self.buffer.text)
        if not text.strip():
            return
        self.buffer.append_to_history()
        self.buffer.reset()
        self.pastes.forget()
        self.chat.to_end()
        self.do(Speak(text))


def _prompt(line: int, wrapped: int) -> AnyFormattedText:
    """What stands before each line of the input."""
    return [("class:input.border", " > " if line == wrapped == 0 else "   ")]


def _code_style(name: str) -> BaseStyle:
    from prompt_toolkit.styles import style_from_pygments_cls
    from pygments.styles import get_style_by_name

    try:
        return style_from_pygments_cls(get_style_by_name(name))
    except Exception:  # a style that Pygments does not have
        return Style([])


def _row(paint: Callable[[int], Line]) -> Painted:
    return Painted(lambda width, _: [paint(width)], lambda: 1)


def color_depth(env: Any) -> ColorDepth:
    """How many colours the terminal has, by what it says: NO_COLOR, COLORTERM and TERM."""
    if env.get("NO_COLOR"):
        return ColorDepth.DEPTH_1_BIT
    if env.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return ColorDepth.DEPTH_24_BIT
    return ColorDepth.DEPTH_8_BIT if "256" in env.get("TERM", "") else ColorDepth.DEPTH_4_BIT


@contextlib.contextmanager
def without_vi() -> Iterator[None]:
    """An application made meanwhile has no keys of vi: two thirds of all, and nobody can press them who did not choose
    them.
    """
    loaders = vars(defaults)
    kept = {name: loaders[name] for name in VI if name in loaders}
    loaders.update(dict.fromkeys(kept, KeyBindings))
    try:
        yield
    finally:
        loaders.update(kept)

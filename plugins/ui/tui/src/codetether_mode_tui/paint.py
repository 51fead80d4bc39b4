"""What an item looks like: lines of styled text at a width. All foreign text is cleaned here, and only here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from codetether.api import clean, one_line

from codetether_mode_tui.diffs import diff_lines
from codetether_mode_tui.items import Answered, Called, Item, Note, Said, Thinking
from codetether_mode_tui.lines import Line, fitted, width_of, wrapped
from codetether_mode_tui.markdown import markdown
from codetether_mode_tui.state import FOLDED_NOTE, State

PREVIEW = 3  # lines of a running tool's output that are shown
READABLE = 110  # columns of an answer: longer lines are hard to follow
SHOWN = 400  # lines of an output shown in the chat; all of it is in the session
ICONS = {None: ("class:tool.running", "●"), True: ("class:tool.ok", "✓"), False: ("class:tool.failed", "✗")}  # fmt: skip


class Painter:
    """Keeps what was painted until the item or the width changes."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._kept: dict[int, tuple[tuple[Any, ...], list[Line]]] = {}
        self._tail: tuple[Item, int, int, list[Line]] | None = None
        self._generation = -1

    def lines(self, at: int, width: int) -> list[Line]:
        """The lines of item `at`, with the empty one after it."""
        state = self._state
        if state.generation != self._generation:
            self._kept.clear()
            self._tail = None
            self._generation = state.generation
        item = state.items[at]
        running = isinstance(item, Called) and item.ok is None
        clock = int(state.clock() - item.since) if running else 0  # type: ignore[attr-defined]
        apart = not self._joins(at)
        key = (id(item), item.version, item.open, width, state.selected == at, clock, apart)
        kept = self._kept.get(at)
        if kept is not None and kept[0] == key:
            return kept[1]
        lines = list(self._paint(item, width, selected=state.selected == at, clock=clock))
        if apart:
            lines.append([])
        if len(self._kept) > 2_000:
            self._kept.clear()
        self._kept[at] = (key, lines)
        return lines

    def _joins(self, at: int) -> bool:
        """Whether no empty line follows: calls of one line stand together."""
        items = self._state.items
        return at + 1 < len(items) and _is_line(items[at]) and isinstance(items[at + 1], Called)

    def _paint(self, item: Item, width: int, *, selected: bool, clock: int) -> Iterator[Line]:
        match item:
            case Said():
                yield from _said(item, width)
            case Answered():
                yield from self._answered(item, width)
            case Thinking():
                yield from _thinking(item, width, selected=selected)
            case Called():
                yield from called(item, width, selected=selected, clock=clock)
            case Note():
                yield from _note(item, width, selected=selected)

    def _answered(self, item: Answered, width: int) -> list[Line]:
        """While it streams only what comes after the last whole block is parsed again."""
        text = clean(item.text).expandtabs(4)
        width = min(width, READABLE)
        if item.done:
            self._tail = None
            lines = markdown(text, width)
            if item.interrupted:
                lines.append([("class:dim", "[stopped here]")])
            return lines
        cut = _settled(text)
        done: list[Line] = []
        if cut:
            tail = self._tail
            if tail is None or tail[:3] != (item, cut, width):
                self._tail = (item, cut, width, markdown(text[:cut], width))
            done = self._tail[3] if self._tail else []
        rest = markdown(text[cut:], width)
        return [*done, *([[]] if done and rest else []), *rest]


def _is_line(item: Item) -> bool:
    """Whether a call is shown as one line."""
    if not isinstance(item, Called) or item.open:
        return False
    return not item.output if item.ok is None else not item.meta.get("diff")


def _settled(text: str) -> int:
    """Where the last blank line outside a fenced block and a list is: what comes before cannot change any more."""
    cut = at = 0
    fence = ""
    for line in text.splitlines(keepends=True):
        bare = line.strip()
        if fence:
            if bare.startswith(fence) and not bare.strip(fence[0]):
                fence = ""
        elif bare.startswith(("```", "~~~")):
            fence = bare[: len(bare) - len(bare.lstrip(bare[0]))]
        at += len(line)
        if not bare and not fence:
            following = text[at : at + 1]
            if following and not following.isspace() and following not in "-*+0123456789>|":
                cut = at
    return cut


def _said(item: Said, width: int) -> Iterator[Line]:
    bar = ("class:user.bar", "▌ ")
    for row in clean(item.text).expandtabs(4).rstrip("\n").split("\n"):
        for line in wrapped([("class:user", row)], width - 2):
            yield [bar, *line]
    for name in item.attached:
        yield fitted([bar, ("class:dim", f"+ {one_line(name)}")], width)


def _thinking(item: Thinking, width: int, *, selected: bool) -> Iterator[Line]:
    mark = ("class:selected" if selected else "class:dim", "▾ " if item.open else "▸ ")
    if not item.open:
        text = one_line(item.text[-400:] if not item.done else item.text[:400])
        label = f"thought{_lasted(item.seconds)}" if item.done else "thinking"
        yield fitted([mark, ("class:thought", f"{label}: {text}")], width)
        return
    yield [mark, ("class:thought", f"thought{_lasted(item.seconds)}")]
    for row in clean(item.text).expandtabs(4).strip().split("\n"):
        for line in wrapped([("class:thought", row)], width - 2):
            yield [("", "  "), *line]


def _lasted(seconds: float) -> str:
    return f" for {seconds:.0f} s" if seconds >= 1 else ""


# --- tool calls --------------------------------------------------------------------------------------------------
def called(item: Called, width: int, *, selected: bool, clock: int) -> Iterator[Line]:
    """One line with state, what it is about, its result and its time; opened: everything."""
    style, icon = ICONS[item.ok]
    seconds = clock if item.ok is None else item.seconds
    time = (
        f" {seconds:.1f}s"
        if item.ok is not None and seconds >= 0.05
        else f" {clock}s" * (clock > 0)
    )
    room = max(width - len(time), 8)
    head: Line = [("class:selected" if selected else style, f"{icon} ")]
    name, _, about = one_line(item.title or item.name).partition(" ")
    title: Line = [("class:tool bold", name), ("class:tool", f" {about}" if about else "")]
    if item.ok is not None and item.summary and not item.open:
        told = ("class:dim" if item.ok else "class:tool.failed", f"  {one_line(item.summary)}")
        title = fitted(title, max(room - 2 - width_of([told]), (room - 2) // 2))
        title.append(told)
    yield [*fitted([*head, *title], room), ("class:dim", time)]
    diff = item.meta.get("diff")
    if item.open:
        yield from _indented(detail(item, width - 2))
    elif item.ok is None and item.output:
        tail = clean(item.output).rstrip("\n").split("\n")[-PREVIEW:]
        yield from _indented(fitted([("class:dim", row)], width - 2) for row in tail)
    elif isinstance(diff, str) and diff:
        rows = list(diff_lines(diff, width - 2, item.title))
        yield from _indented(rows[:SHOWN_DIFF])
        if len(rows) > SHOWN_DIFF:
            yield [("class:dim", f"  … {len(rows) - SHOWN_DIFF} more lines, Ctrl+O opens")]


SHOWN_DIFF = 16


def detail(item: Called, width: int) -> Iterator[Line]:
    """Arguments, change and output of a call."""
    for name, value in item.arguments.items():
        if value in (None, "", [], {}, False):
            continue
        text = value if isinstance(value, str) else repr(value)
        rows = clean(text).expandtabs(4).rstrip("\n").split("\n")
        for number, row in enumerate(rows[:SHOWN]):
            label = f"{name}: " if number == 0 else "  "
            yield from wrapped([("class:tool.name", label), ("", row)], width, words=False)
    diff = item.meta.get("diff")
    if isinstance(diff, str) and diff:
        yield from diff_lines(diff, width, str(item.arguments.get("path", "")))
        return
    rows = clean(item.output).expandtabs(4).rstrip("\n").split("\n") if item.output else []
    for row in rows[-SHOWN:]:
        yield from wrapped([("class:output", row)], width, words=False)
    if len(rows) > SHOWN:
        yield [("class:dim", f"[the last {SHOWN} of {len(rows)} lines]")]


def _indented(lines: Any) -> Iterator[Line]:
    for line in lines:
        yield [("", "  "), *line]


# --- notes -------------------------------------------------------------------------------------------------------
def _note(item: Note, width: int, *, selected: bool) -> Iterator[Line]:
    if item.kind == "end":
        yield [("class:dim", f"─ {item.text} ")]
        return
    style = {"error": "class:error", "warning": "class:warning"}.get(item.kind, "class:note")
    mark = {"error": "✗ ", "warning": "! "}.get(item.kind, "· ")
    if item.title:
        yield fitted([(style, mark), ("class:note.title", one_line(item.title))], width)
        mark = "  "
    rows = list(_note_body(item, width - 2, style))
    shown = rows
    if not item.open and len(rows) > FOLDED_NOTE:
        rows = list(_note_body(item, width - 2, style, cut=True))
        shown = rows[:FOLDED_NOTE]
    for number, line in enumerate(shown):
        yield [("class:selected" if selected else style, mark if number == 0 else "  "), *line]
    if len(shown) < len(rows):
        more = f"  … {len(rows) - len(shown)} more lines, Ctrl+O opens"
        yield [("class:dim", more)]
    if item.hint:
        for line in wrapped([("class:dim", clean(item.hint))], width - 2):
            yield [("", "  "), *line]


def _note_body(item: Note, width: int, style: str, *, cut: bool = False) -> Iterator[Line]:
    """`cut`: rows of plain text are cut instead of wrapped, as suits what is folded."""
    if item.kind == "diff":
        yield from diff_lines(item.text, width)
    elif item.kind == "markdown":
        yield from markdown(clean(item.text), width)
    else:
        own = style if item.kind in ("error", "warning") else "class:note"
        for row in clean(item.text).expandtabs(4).rstrip("\n").split("\n"):
            yield from [fitted([(own, row)], width)] if cut else wrapped([(own, row)], width)

"""Everything around the chat, as lines of styled text: header, sidebar, inspector, status bar, question, picker, help."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, zip_longest
from typing import TYPE_CHECKING

from codetether.api import Question, Usage, clean, one_line
from codetether_conversation import Entry

from codetether_mode_tui.diffs import diff_lines
from codetether_mode_tui.items import Called
from codetether_mode_tui.lines import Line, fitted, padded, width_of, wrapped
from codetether_mode_tui.paint import detail
from codetether_mode_tui.state import STOPPED, counted

if TYPE_CHECKING:
    from codetether_mode_tui.asking import Ask
    from codetether_mode_tui.pickers import Picker
    from codetether_mode_tui.state import State

FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
WAITING = 3  # lines for messages that wait
WARN, ALARM = 0.75, 0.9  # of the context window


def header(state: State, width: int) -> Line:
    """Title and id on the left; branch, changes and model on the right."""
    now = state.standing
    title = one_line(now.title) or "new session"
    left: Line = [
        ("class:title", f" {title} "),
        ("class:dim", f"#{now.session[-4:]}" if now.session else ""),
    ]
    right: Line = []
    if now.branch is not None:
        changes = f" {now.dirty} changed" if now.dirty else " clean" if now.dirty == 0 else ""
        right = [("class:assistant", one_line(now.branch)), ("class:dim", f"{changes} · ")]
    right += [("", one_line(now.model) or "no model"), ("", " ")]
    room = width - width_of(right)
    if room < 12:
        return fitted(left, width)
    return [*padded(fitted(left, room), room), *right]


# --- status ------------------------------------------------------------------------------------------------------
def status(state: State, width: int, hints: str = "") -> Line:
    """Agent, access and key hints on the left; context, tokens and cost on the right."""
    now = state.standing
    words = [now.access, "planning" if now.planning else "", _confined(now.sandbox)]
    left: Line = [
        ("class:status.hot", f" {now.agent or 'no agent'} "),
        ("class:status", f"· {' · '.join(word for word in words if word)} "),
    ]
    right: Line = [*_context(state), ("class:status", f"{spent(state)} ")]
    room = width - width_of(right)
    hints = hints.replace(" plan", " build") if now.agent == "plan" else hints
    if width_of(left) + len(hints) + 2 <= room:
        left.append(("class:status", f"  {hints}"))
    if room < 20:
        return padded(fitted(left, width), width, "class:status")
    return [*padded(fitted(left, room), room, "class:status"), *right]


def _confined(sandbox: str) -> str:
    return {"": "", "S0": "no sandbox"}.get(sandbox, "sandbox")


def _context(state: State) -> Line:
    used, window = state.standing.context, state.standing.window
    if not used:
        return []
    if not window:
        return [("class:status", f"context {counted(used)} · ")]
    share = used / window
    word = " /compact" if share >= ALARM else ""
    style = "class:status.hot" if share >= WARN else "class:status"
    return [(style, f"context {share:.0%}{word}"), ("class:status", " · ")]


def spent(state: State) -> str:
    """Tokens of the session, and its cost where the price is known; the inspector and /cost say when it is not."""
    usage = state.standing.usage
    price = f" · {cost(usage.cost)}" if usage.cost is not None else ""
    return f"{counted(usage.input + usage.output)} tokens{price}"


def cost(usd: float | None) -> str:
    """Dollars with as many digits as they need."""
    if usd is None:
        return "unknown"
    if 0 < usd < 0.0001:
        return "<$0.0001"
    digits = 4 if usd < 0.01 else 3 if usd < 1 else 2
    return f"${usd:.{digits}f}"


def input_edge(state: State, width: int, *, reason: bool = False) -> Line:
    """The line above the input: what is being done and how to stop it, or what is expected."""
    now = state.standing
    style = "class:busy" if now.busy else "class:input.border"
    words = ""
    if state.toast and state.clock() < state.toast_until:
        words = f" {state.toast} "
    elif reason:
        words = " why not? Enter sends the reason "
    elif state.question is not None and state.question.kind == "text":
        words = " your answer "
    elif state.asks:
        words = " waits for your answer · Esc stops "
    elif now.busy:
        seconds = max(state.clock() - state.since, 0.0)
        frame = FRAMES[int(state.clock() * 8) % len(FRAMES)]
        waiting = f" · {len(now.waiting)} waiting" if now.waiting else ""
        words = (
            f" {frame} {one_line(state.doing or 'working')} {seconds:.0f}s{waiting} · Esc stops "
        )
    elif state.board is not None and state.board.running:
        way = "Esc goes to the chat" if state.view == "board" else "F2 shows it · Esc stops it"
        words = f" /{state.board.mode} runs · {way} "
    body = fitted([(style, "─"), (style, words)], max(width - 1, 1))
    return [*body, (style, "─" * max(width - width_of(body), 0))]


def waiting(state: State, width: int) -> list[Line]:
    """The messages that wait for the turn, the next first."""
    texts = state.standing.waiting if state.standing.busy else ()
    shown = [[("class:dim", f"  next: {one_line(text)}")] for text in texts[:WAITING]]
    if len(texts) > WAITING:
        shown[-1] = [("class:dim", f"  and {len(texts) - WAITING + 1} more")]
    return [fitted(line, width) for line in shown]


# --- sidebar -----------------------------------------------------------------------------------------------------
def sidebar(state: State, width: int, height: int) -> list[Line]:
    """The workspace and the sessions of this directory."""
    now = state.standing
    name = one_line(now.directory.rpartition("/")[2] or now.directory)
    lines: list[Line] = [[("class:title", "Workspace"), ("class:dim", f"  {name}")]]
    room = max((height - 6) // 2, 3)
    lines += [
        [("class:assistant" if name.endswith("/") else "", one_line(name))]
        for name in state.around.entries[:room]
    ]
    if len(state.around.entries) > room:
        lines.append([("class:dim", f"… {len(state.around.entries) - room} more")])
    lines += [[], [("class:title", "Sessions"), ("class:dim", "  /sessions")]]
    for entry in state.around.sessions[: max(height - len(lines), 0)]:
        here = entry.key == now.session
        mark = ("class:tool.ok", "● ") if here else ("class:dim", "○ ")
        lines.append([mark, ("" if here else "class:dim", one_line(entry.label))])
    return [fitted(line, width) for line in lines[:height]]


# --- inspector ---------------------------------------------------------------------------------------------------
class Inspector:
    """The tool call at hand, tokens, cost and context. What a call holds is painted once, and no more than is in sight."""

    def __init__(self) -> None:
        self._call: Called | None = None
        self._kept: tuple[tuple[int, ...], list[Line]] = ((), [])

    def lines(self, state: State, width: int, height: int) -> list[Line]:
        """At most `height` of at most `width` cells."""
        lines = _session(state, width)
        call = state.current_call
        if call is not None:
            lines += [_heading(call, state), *self._detail(call, width, height)]
        return [fitted(line, width) for line in lines[:height]]

    def _detail(self, call: Called, width: int, height: int) -> list[Line]:
        key = (call.version, width, height)
        if call is not self._call or key != self._kept[0]:
            self._call, self._kept = call, (key, list(islice(detail(call, width), height)))
        return self._kept[1]


def _session(state: State, width: int) -> list[Line]:
    now = state.standing
    return [
        [("class:title", "Session")],
        _fact("model", one_line(now.model) or "none", width),
        _fact("agent", f"{now.agent}, {now.access}", width),
        _fact("sent", _sent(now.usage), width),
        _fact("received", counted(now.usage.output), width),
        _fact("cost", cost(now.usage.cost), width),
        *_meter(state, width),
        [],
    ]


def _sent(usage: Usage) -> str:
    cached = f", {usage.cached / usage.input:.0%} cached" if usage.cached and usage.input else ""
    return f"{counted(usage.input)}{cached}"


def _fact(name: str, value: str, width: int) -> Line:
    return fitted([("class:dim", f"{name:9}"), ("", value)], width)


def _meter(state: State, width: int) -> list[Line]:
    used, window = state.standing.context, state.standing.window
    if used is None:
        return []
    if not window:
        return [_fact("context", f"{counted(used)}, window unknown", width)]
    share = min(used / window, 1.0)
    full = round(share * (width - 1))
    style = "class:error" if share >= ALARM else "class:warning" if share >= WARN else "class:gauge"
    bar: Line = [(style, "━" * full), ("class:dim", "━" * (width - 1 - full))]
    return [_fact("context", f"{counted(used)} of {counted(window)}, {share:.0%}", width), bar]


def _heading(call: Called, state: State) -> Line:
    word = STOPPED if call.summary == STOPPED else "failed"
    state_word = "running" if call.ok is None else "ok" if call.ok else word
    seconds = state.clock() - call.since if call.ok is None else call.seconds
    style = {None: "class:tool.running", True: "class:tool.ok", False: "class:tool.failed"}[call.ok]
    return [("class:title", one_line(call.name)), (style, f"  {state_word} {seconds:.1f}s")]


# --- questions ---------------------------------------------------------------------------------------------------
def question(ask: Ask, width: int, height: int, *, tall: bool = False) -> list[Line]:
    """What is asked, what would happen, and the answers; the middle scrolls when it is long. `tall`: there is room for
    what parts them.
    """
    asked = ask.question
    top: list[Line] = [[("class:busy", "─" * width)]] if tall else []
    top += [
        [("class:warning", "? "), *line]
        for line in wrapped([("bold", clean(asked.title, exact=True))], width - 2)
    ]
    bottom: list[Line] = [[]] if tall and (asked.detail or asked.diff) else []
    bottom += _answers(ask, width)
    middle = list(_what(asked, width))
    room = max(height - len(top) - len(bottom), 1)
    ask.scroll = max(0, min(ask.scroll, len(middle) - room))
    shown = middle[ask.scroll : ask.scroll + room]
    if len(middle) > room and shown:
        more = f"… lines {ask.scroll + 1} to {ask.scroll + len(shown)} of {len(middle)}, PgUp PgDn"
        shown[-1] = [("class:dim", more)]
    return [*top, *shown, *bottom]


def _what(asked: Question, width: int) -> Iterator[Line]:
    if asked.detail:
        for row in clean(asked.detail, exact=True).expandtabs(4).rstrip("\n").split("\n"):
            for line in wrapped([("", row)], width - 2, words=False):
                yield [("", "  "), *line]
    if asked.diff:
        if asked.detail:
            yield []
        yield from diff_lines(asked.diff, width, f"{asked.title} {asked.detail}")


def _answers(ask: Ask, width: int) -> Iterator[Line]:
    for number, (letter, label) in enumerate(ask.rows):
        at = number == ask.at
        line: Line = [
            ("class:picker.at" if at else "", "▶ " if at else "  "),
            ("class:picker.at" if at else "class:key", f"{letter} "),
            ("class:picker.at" if at else "", f" {one_line(label)} "),
        ]
        yield fitted(line, width)
    if ask.question.kind == "text":
        yield [
            (
                "class:dim",
                "  type a number or other words; Enter sends them"
                if ask.rows
                else "  type an answer; Enter sends it",
            )
        ]


# --- pickers -----------------------------------------------------------------------------------------------------
def picker(found: Picker, width: int, height: int) -> list[Line]:
    """Title, filter, entries under their headings, and the preview of the selected one."""
    count = len(found.entries)
    waiting = " …" if found.more else ""
    lines: list[Line] = [
        [
            ("class:title", f"{one_line(found.title)} "),
            ("class:dim", f"{count}{waiting}  type to search · Enter takes · Esc closes"),
        ],
        [("class:input.border", "> "), ("", one_line(found.filter)), ("reverse", " ")],
    ]
    preview = found.selected.preview if found.selected else ""
    below: list[Line] = [[("class:dim", row)] for row in clean(preview).split("\n") if row.strip()][
        : max(height // 4, 2)
    ]
    below += [[("class:note", one_line(note))] for note in found.notes[: max(height // 4, 1)]]
    if below:
        below.insert(0, [("class:border", "─" * width)])
    heads = [found.columns] if found.columns else []
    room = max(height - len(lines) - len(below) - len(heads), 1)
    first, entries = found.window(room)
    columns = _facts_widths([*(entry.facts for entry in entries), *heads])
    named = [Entry("", "", facts=head) for head in heads]
    lines += [_entry(each, found, columns, width, at=False, grouped=False) for each in named]
    grouped = found.about == "model"
    for number, entry in enumerate(entries, first):
        lines.append(_entry(entry, found, columns, width, at=number == found.at, grouped=grouped))
    if not entries:
        lines.append([("class:dim", "  looking…" if found.more else "  nothing fits")])
    lines += [[]] * (height - len(lines) - len(below))
    return [fitted(line, width) for line in [*lines, *below][:height]]


def _facts_widths(rows: Sequence[Sequence[str]]) -> list[int]:
    count = max((len(facts) for facts in rows), default=0)
    return [
        max((len(one_line(facts[i])) for facts in rows if i < len(facts)), default=0)
        for i in range(count)
    ]


def _entry(
    entry: Entry, found: Picker, columns: list[int], width: int, *, at: bool, grouped: bool
) -> Line:
    style = "class:picker.at" if at else ""
    mark = "▶ " if at else "✓ " if entry.key == found.current else "  "
    label = one_line(entry.label)
    if grouped:
        label = f"{one_line(entry.group)}/{label}"
    facts = "  ".join(
        f"{one_line(fact):{size}}" for fact, size in zip(entry.facts, columns, strict=False)
    )
    room = max(width - len(facts) - 3, width // 2)
    line = padded(fitted([(style, mark), (style, label)], room), room, style)
    line.append((style or "class:dim", f" {facts}"))
    return padded(fitted(line, width), width, style)


# --- help --------------------------------------------------------------------------------------------------------
def help_lines(
    keys: Sequence[tuple[str, str]],
    commands: Sequence[tuple[str, str]],
    width: int,
    height: int,
    scroll: int,
) -> list[Line]:
    """Keys, made from the bindings in force, and commands: beside each other where there is room."""
    half = width // 2 - 1
    each = half if half >= 56 else width
    left, right = list(_table("Keys", keys, each)), list(_table("Commands", commands, each))
    body: list[Line]
    if half >= 56:
        none: Line = []
        body = [
            [*padded(fitted(one, half), half), ("", "  "), *fitted(other, half)]
            for one, other in zip_longest(left, right, fillvalue=none)
        ]
    else:
        body = [fitted(line, width) for line in (*left, [], *right)]
    room = max(height - 2, 1)
    scroll = max(0, min(scroll, len(body) - room))
    more = " · PgDn shows more" if len(body) > room + scroll else ""
    return [
        [("class:title", "Help"), ("class:dim", f"  Esc closes{more}")],
        [],
        *body[scroll : scroll + room],
    ]


def _table(title: str, rows: Sequence[tuple[str, str]], width: int) -> Iterator[Line]:
    size = max((len(name) for name, _ in rows), default=0)
    yield [("class:note.title", title)]
    for name, about in rows:
        head = f"{one_line(name):{size}}  "
        for line in wrapped([("", one_line(about))], max(width - len(head), 12)):
            yield [("class:key", head), *line]
            head = " " * len(head)


# --- the beginning -----------------------------------------------------------------------------------------------
UNASKED = {
    "ask": "Files are changed and commands run only when you allow it.",
    "auto": "Files here are changed and confined commands run without asking.",
    "full": "Nothing is asked but what rules say.",
}


def welcome(state: State, hints: Sequence[tuple[str, str]], width: int) -> list[Line]:
    """What stands in an empty chat: what this is, and the keys to begin with."""
    now = state.standing
    lines: list[Line] = [[], [("class:title", "CodeTether")], []]
    said = "Say what is to be done: a bug to fix, a change to make, code to explain or to review."
    for text in (said, UNASKED.get(now.access, "")):
        lines += wrapped([("", text)], width) if text else []
    lines.append([])
    size = max((len(keys) for keys, _ in hints), default=0)
    lines += [[("class:key", f"{keys:{size}}  "), ("class:dim", about)] for keys, about in hints]
    latest = next((each for each in state.around.sessions if each.key != now.session), None)
    if latest is not None:
        lines += [
            [],
            [("class:key", "/resume"), ("class:dim", f"  goes on with: {one_line(latest.label)}")],
        ]
    return [fitted(line, width) for line in lines]

"""The full-screen interface without a terminal: every event, what it paints, where one scrolls, questions, pickers, themes."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from codetether.api import (
    Answer,
    Choice,
    CodetetherError,
    Compacted,
    Message,
    MessageDone,
    Notice,
    Question,
    Retrying,
    StepFinished,
    StepStarted,
    Text,
    TextDelta,
    Thought,
    ThoughtDelta,
    ToolCall,
    ToolFinished,
    ToolProgress,
    ToolResult,
    ToolStarted,
    TurnFinished,
    TurnStarted,
    Usage,
)
from codetether_conversation import (
    Around,
    Asking,
    Choosing,
    Entry,
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
)
from codetether_mode_ralph.events import (
    IterationStarted,
    RalphFinished,
    RalphStarted,
    StoryAttempted,
    StoryChanged,
    StoryChecked,
    StoryEvent,
    StoryMerged,
)
from codetether_mode_swarm.events import (
    GateFinished,
    SubagentEvent,
    SubtaskChanged,
    SubtaskMerged,
    SubtaskResult,
    SwarmPlanned,
    SwarmStarted,
)
from codetether_mode_tui import panels
from codetether_mode_tui.asking import GUARD, Ask
from codetether_mode_tui.chat import Scrollback
from codetether_mode_tui.diffs import diff_lines
from codetether_mode_tui.items import Answered, Called, Note, Said, Thinking, from_messages, said
from codetether_mode_tui.keys import ACTIONS, bound, help_rows, shown
from codetether_mode_tui.lines import cells, fitted, head, padded, plain, width_of, wrapped
from codetether_mode_tui.markdown import markdown
from codetether_mode_tui.pasting import Pastes
from codetether_mode_tui.pickers import Picker
from codetether_mode_tui.state import State
from codetether_mode_tui.themes import FIELDS, color, is_light, load, names, rules, shipped
from hypothesis import given
from hypothesis import strategies as st


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def state() -> State:
    return State(Clock())


def chat(state: State, width: int = 60, height: int = 30) -> str:
    return "\n".join(plain(row) for row in Scrollback(state).rows(width, height))


DONE = TurnFinished("done", "hello", Usage(), 1, 1.0)


# --- events ------------------------------------------------------------------------------------------------------
def test_an_answer_grows_and_is_kept(state: State) -> None:
    state.take(TurnStarted(1, "say hello"))
    state.take(StepStarted(1, "m"))
    state.take(TextDelta("hel"))
    state.take(TextDelta("lo"))
    assert isinstance(state.items[0], Said)
    assert isinstance(state.items[1], Answered)
    assert (state.items[1].text, state.items[1].done, state.doing) == ("hello", False, "answering")
    state.take(MessageDone(Message("assistant", (Text("hello!"),))))
    state.take(StepFinished(1))
    state.take(DONE)
    assert (state.items[1].text, state.items[1].done, state.doing) == ("hello!", True, "")
    assert isinstance(state.items[-1], Note)
    assert "▌ say hello" in chat(state)


def test_what_is_done_between_the_answer_and_its_calls_is_said(state: State) -> None:
    state.take(TextDelta("I look."))
    state.take(MessageDone(Message("assistant", (Text("I look."), ToolCall("c1", "bash", "{}")))))
    assert state.doing == "beginning bash"


def test_an_answer_without_deltas_is_shown(state: State) -> None:
    state.take(MessageDone(Message("assistant", (Text("at once"),))))
    assert "at once" in chat(state)


def test_reasoning_is_folded_and_opens(state: State) -> None:
    state.take(ThoughtDelta("first\nsecond"))
    state.take(TextDelta("then"))
    thought = state.items[0]
    assert isinstance(thought, Thinking)
    assert thought.done
    assert "second" in chat(state).splitlines()[0]
    state.toggle(0)
    assert chat(state).splitlines()[1:3] == ["  first", "  second"]


def test_a_retry_takes_back_what_was_said(state: State) -> None:
    state.take(TurnStarted(1, "go"))
    state.take(StepStarted(1, "m"))
    state.take(TextDelta("half an ans"))
    state.take(Retrying(1, 2.0, "overloaded"))
    assert "half" not in chat(state)
    assert "overloaded" in state.doing


def call(state: State, **end: Any) -> Called:
    state.take(ToolStarted("c1", "bash", {"command": "ls"}, "bash ls"))
    state.take(ToolProgress("c1", "one\n"))
    state.take(ToolProgress("c1", "two\n"))
    if end:
        fields = {"ok": True, "summary": "exit 0", "text": "one\ntwo", "seconds": 1.5} | end
        state.take(ToolFinished("c1", "bash", **fields))
    found = state.items[-1]
    assert isinstance(found, Called)
    return found


def test_a_running_call_shows_the_end_of_its_output(state: State) -> None:
    found = call(state)
    assert found.ok is None
    text = chat(state)
    assert "● bash ls" in text
    assert "two" in text
    assert state.doing == "bash ls"


def test_a_good_call_is_one_line_and_opens(state: State) -> None:
    call(state, ok=True)
    assert chat(state).splitlines()[0].startswith("✓ bash ls  exit 0")
    assert "1.5s" in chat(state)
    assert "two" not in chat(state)
    state.toggle()
    assert "two" in chat(state)


def test_a_failed_call_looks_failed(state: State) -> None:
    call(state, ok=False, summary="exit 1")
    assert chat(state).startswith("✗ bash ls  exit 1")
    row = Scrollback(state).rows(60, 5)[0]
    assert row[0][0] == "class:tool.failed"


def test_a_change_is_shown_in_colours(state: State) -> None:
    call(state, ok=True, meta={"diff": "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-old\n+new\n"})
    styles = {plain(row).strip(): row[-1][0] for row in Scrollback(state).rows(60, 20) if row}
    assert styles["1 - old"] == "class:diff.remove"
    assert styles["1 + new"] == "class:diff.add"


def test_what_looks_like_a_header_within_a_hunk_is_a_line_of_it() -> None:
    diff = "--- a/q.sql\n+++ b/q.sql\n@@ -8,3 +8,3 @@ SELECT\n one\n--- old\n+-- new\n two\n"
    rows = [plain(row).rstrip() for row in diff_lines(diff, 40)]
    assert rows == ["q.sql", " ⋯   SELECT", " 8   one", " 9 - -- old", " 9 + -- new", "10   two"]
    marked = [
        text for row in diff_lines(diff, 40) for style, text in row if style.endswith(".word")
    ]
    assert marked == ["old", "new"]


@pytest.mark.parametrize(
    ("names", "shown_name"),
    [
        (("/dev/null", "b/n"), "n  is new"),
        (("a/o", "/dev/null"), "o  is deleted"),
        (("a/o", "b/n"), "o → n"),
    ],
)
def test_what_becomes_of_a_file(names: tuple[str, str], shown_name: str) -> None:
    diff = "--- {}\n+++ {}\n@@ -1 +1 @@\n-a\n+b\n".format(*names)
    assert plain(next(diff_lines(diff, 40))) == shown_name


@given(st.text("+-@ ,01ab\n", max_size=80), st.integers(8, 30))
def test_any_diff_fits_the_width_and_loses_nothing(text: str, width: int) -> None:
    rows = list(diff_lines(text, width))
    assert all(width_of(row) <= width for row in rows)
    assert text.count("a") == sum(plain(row).count("a") for row in rows)


def test_calls_of_one_line_stand_together(state: State) -> None:
    call(state, ok=True)
    call(state, ok=True)
    state.take(MessageDone(Message("assistant", (Text("so"),))))
    assert [row[:6] for row in chat(state).splitlines()] == ["✓ bash", "✓ bash", "", "so", ""][:4]


def test_what_is_opened_stays_where_it_is(state: State) -> None:
    for n in range(30):
        state.take(MessageDone(Message("assistant", (Text(f"answer {n}"),))))
    state.take(ToolStarted("c1", "bash", {}, "bash make"))
    state.take(ToolFinished("c1", "bash", True, "exit 0", "\n".join(map(str, range(50))), 1.0))
    back = Scrollback(state)
    before = [plain(row) for row in back.rows(60, 10)]
    back.stay(state.toggle)
    assert plain(back.rows(60, 10)[0]) == before[0]
    back.stay(state.toggle)
    assert [plain(row) for row in back.rows(60, 10)] == before
    assert back.following


def test_what_waits_is_in_sight(state: State) -> None:
    state.take(Standing("/w", busy=True, waiting=("one\ntwo", "b", "c", "d")))
    assert [plain(row) for row in panels.waiting(state, 40)] == ["  next: one two", "  next: b", "  and 2 more"]  # fmt: skip


def test_without_a_board_one_is_told_what_would_make_one(state: State) -> None:
    state.take(Screen("view"))
    assert "/swarm" in plain(panels.input_edge(state, 80))


def test_the_inspector_follows_the_call_at_hand(state: State) -> None:
    inspector = panels.Inspector()

    def seen() -> str:
        return "\n".join(plain(row) for row in inspector.lines(state, 36, 30))

    state.take(ToolStarted("c1", "bash", {"command": "one"}, "bash one"))
    assert "command: one" in seen()
    state.take(ToolProgress("c1", "and its output"))
    assert "and its output" in seen()
    state.take(ToolFinished("c1", "bash", True, "exit 0", "x\n" * 100, 1.0))
    state.take(ToolStarted("c2", "bash", {"command": "two"}, "bash two"))
    assert "command: two" in seen()
    state.take(Opened("s-2", "other", ()))
    assert "command" not in seen()


def test_a_word_above_the_input_goes_by_itself(state: State) -> None:
    state.tell("copied")
    assert not state.toast_ended()
    state.clock.now += 3  # type: ignore[attr-defined]
    assert state.toast_ended()
    assert not state.toast_ended()


def test_long_help_is_wrapped_under_what_it_is_about() -> None:
    rows = panels.help_lines([("F1", "words " * 12)], [("/x", "a command")], 50, 20, 0)
    text = [plain(row).rstrip() for row in rows]
    assert text[3:5] == ["F1  " + " ".join(["words"] * 7), "    " + " ".join(["words"] * 5)]
    assert "/x  a command" in text


def test_the_result_of_a_long_call_is_in_sight(state: State) -> None:
    state.take(ToolStarted("c1", "bash", {}, "bash " + "x" * 100))
    state.take(ToolFinished("c1", "bash", ok=True, summary="exit 0", text="", seconds=1.5))
    line = chat(state, 40).splitlines()[0]
    assert line.endswith("…  exit 0 1.5s")


def test_a_stopped_turn_stops_its_calls(state: State) -> None:
    found = call(state)
    state.clock.now += 3.4
    state.take(TurnFinished("cancelled", "", Usage(), 1, 1.0))
    assert (found.ok, found.summary) == (False, "stopped")
    assert "! stopped" in chat(state)
    inspected = "\n".join(plain(row) for row in panels.Inspector().lines(state, 40, 20))
    assert "stopped 3.4s" in inspected


def test_a_failed_turn_says_why_and_what_next(state: State) -> None:
    state.take(TurnFinished("error", "", Usage(), 1, 1.0, error="no route", hint="check the net"))
    assert "✗ no route" in chat(state)
    assert "check the net" in chat(state)


def test_notices_and_compaction(state: State) -> None:
    state.take(Notice("warning", "careful", "do this"))
    state.take(Compacted(9000, 3000, "x"))
    assert "careful" in chat(state)
    assert "9,000 tokens to 3,000" in chat(state)


def test_a_command_that_answers_much_is_folded(state: State) -> None:
    state.take(Shown("\n".join(f"row {n}" for n in range(50)), title="/tools"))
    assert "row 49" not in chat(state, height=80)
    state.select(-1)
    state.toggle()
    assert "row 49" in chat(state, height=80)


def test_a_session_is_shown_as_it_was_kept(state: State) -> None:
    messages = (
        Message("user", (Text('look\n\n<file path="a.py">\nsecret\n</file>'),), id="m1"),
        Message(
            "assistant", (Thought("hm"), Text("I look"), ToolCall("c1", "bash", '{"command":"ls"}'))
        ),
        Message("tool", (ToolResult("c1", "bash", "a.py", ok=False),)),
        Message("assistant", (Text("cut"),), interrupted=True),
    )
    state.take(TextDelta("old"))
    state.take(Opened("s-1", "look", messages, draft="again"))
    text = chat(state)
    assert "old" not in text
    assert "secret" not in text
    assert "+ a.py" in text
    assert "✗ bash ls" in text
    assert "[stopped here]" in text
    assert state.draft == "again"


def test_what_is_around_and_how_things_stand(state: State) -> None:
    state.take(Around(("src/", "a.py"), (Entry("s-1", "one"), Entry("s-2", "two"))))
    state.take(
        Standing(
            "/w", "s-1", "one", model="p/m", agent="plan", access="ask", branch="main", dirty=2,
            usage=Usage(1200, 300, cost=0.01), context=800, window=1000,
        )
    )  # fmt: skip
    text = "\n".join(plain(row) for row in panels.sidebar(state, 26, 20))
    assert "src/" in text
    assert "● one" in text
    assert "○ two" in text
    head_line = plain(panels.header(state, 80))
    assert "main" in head_line
    assert "2 changed" in head_line
    assert "p/m" in head_line
    status = plain(panels.status(state, 100))
    assert "plan" in status
    assert "context 80%" in status
    assert "1.5k tokens · $0.010" in status
    assert "80%" in "\n".join(plain(row) for row in panels.Inspector().lines(state, 30, 20))


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        (None, "unknown"),
        (0.0, "$0.0000"),
        (0.00001, "<$0.0001"),
        (0.005, "$0.0050"),
        (0.5, "$0.500"),
        (12.3, "$12.30"),
    ],
)
def test_costs(usd: float | None, text: str) -> None:
    assert panels.cost(usd) == text


def test_wishes_about_the_screen(state: State) -> None:
    state.take(Screen("layout", "classic"))
    state.take(Screen("inspector"))
    state.take(Screen("help"))
    state.take(Screen("theme", "light"))
    state.take(Returned("words"))
    assert (state.layout, state.inspector, state.help) == ("classic", False, True)
    assert (state.theme, state.draft) == ("light", "words")
    state.take(Left())
    assert state.left


def test_a_mode_has_a_board_until_it_ends(state: State) -> None:
    state.take(ModeStarted("swarm", ("do", "it")))
    assert (state.view, state.board is not None and state.board.running) == ("board", True)
    assert state.board is not None
    assert "/swarm do it" in plain(state.board.lines(80, 20, 1.0)[0])
    assert "planning" in "\n".join(map(plain, state.board.lines(80, 20, 1.0)))
    state.take(ModeEnded("swarm", 1, "it failed"))
    assert state.view == "chat"
    assert "it failed" in chat(state)


def test_a_swarm_is_seen_at_work(state: State) -> None:
    one, two = {"id": "a", "name": "first", "stage": 0}, {"id": "b", "name": "second", "stage": 1, "instruction": "Do b.", "dependencies": ["a"]}  # fmt: skip
    state.take(ModeStarted("swarm", ("--format", "stream-json", "--", "do it")))
    for event in (
        SwarmStarted("s1", "do it", "/w", "p/m"),
        SwarmPlanned((one, two), 2, 1),
        SubtaskChanged("a", "first", "running", 0),
        SubagentEvent("a", {"type": "step_started", "step": 1}),
        SubagentEvent("a", {"type": "tool_started", "title": "bash make"}),
    ):
        state.take(ModeEvent("swarm", msgspec.json.decode(msgspec.json.encode(event))))
    board = state.board
    assert board is not None
    rows = [plain(row).rstrip() for row in board.lines(60, 20, 105.0)]
    assert rows[:2] == ["/swarm do it", "ACTIVE · 5s"]
    assert rows[2].endswith(" 0/2 0%")
    first, second = "▶ ● first   → bash make", "  ○ second  pending"
    assert rows[4:9] == ["stage 1 of 2", f"{first:53}1 steps", "", "stage 2 of 2", second]
    for event in (
        SubagentEvent(
            "a", {"type": "tool_finished", "name": "bash", "ok": False, "summary": "exit 2"}
        ),
        SubtaskResult("a", ok=True, text="made it", steps=1, seconds=3.0, tokens=1200),
        SubtaskMerged("a", ok=True, files=("x",)),
        SubtaskChanged("a", "first", "completed", 0),
        SubtaskChanged("b", "second", "failed", 1, why="no idea"),
        GateFinished("test", "make test", ok=True, blocks=False, seconds=1.0),
    ):
        state.take(ModeEvent("swarm", msgspec.json.decode(msgspec.json.encode(event))))
    rows = [plain(row) for row in board.lines(80, 20, 1.0)]
    assert rows[2].endswith(" 2/2 100%")
    assert "test ok" in rows[1]
    assert rows[5].startswith("▶ ✓ first")
    assert "1,200 tokens" in rows[5]
    assert rows[8].startswith("  ✗ second")
    board.detail = True
    detail = [plain(row).strip() for row in board.lines(80, 20, 1.0)]
    assert detail[6:11] == ["running", "✗ bash make exit 2", "made it", "merged", "completed"]
    board.move(1)
    detail = [plain(row).strip() for row in board.lines(80, 20, 1.0)]
    assert detail[6:9] == ["Do b.", "after a", "failed no idea"]


def test_ralph_is_seen_at_work(state: State) -> None:
    one = {
        "id": "A",
        "title": "first",
        "state": "pending",
        "priority": 1,
        "depends_on": [],
        "stage": 0,
    }
    two = {**one, "id": "B", "title": "second", "depends_on": ["A"], "stage": 1}
    state.take(ModeStarted("ralph", ("run", "--format", "stream-json", "--prd", "prd.json")))
    gate = StoryChecked(
        "A", EVIL, "make test", ok=False, blocks=True, seconds=1.0, why="1 new failure"
    )
    for event in (
        RalphStarted("r1", "/w/prd.json", "shop", "sums", "/w", "main", "p/m", (one, two), 10),
        StoryChanged("A", "first", "working"),
        IterationStarted(1, 10, "A", 1),
        StoryEvent("A", {"type": "step_started", "step": 1}),
        StoryEvent("A", {"type": "tool_started", "title": "bash make"}),
    ):
        state.take(ModeEvent("ralph", msgspec.json.decode(msgspec.json.encode(event))))
    board = state.board
    assert board is not None
    rows = [plain(row) for row in board.lines(80, 20, 1.0)]
    assert rows[0] == "/ralph shop: sums"
    assert "iteration 1/10" in rows[1]
    assert rows[5].startswith("▶ ● A first   → bash make")
    assert rows[8].startswith("  ○ B second  pending")
    for event in (
        StoryAttempted("A", 1, ok=True, text="made it", steps=1, seconds=3.0),
        StoryChanged("A", "first", "judging"),
        StoryChecked("", "test", "make test", ok=True, blocks=False, seconds=1.0),
        gate,
        StoryChecked("A", "lint", "make lint", ok=True, blocks=False, seconds=1.0),
        StoryMerged("A", ok=True, files=("x",), added=3),
        StoryChanged("A", "first", "passed"),
        StoryChanged("B", "second", "blocked", why="no way"),
        RalphFinished(success=False, result={"status": "quality_failed"}),
    ):
        state.take(ModeEvent("ralph", msgspec.json.decode(msgspec.json.encode(event))))
    rows = [plain(row) for row in board.lines(80, 20, 1.0)]
    assert rows[2].endswith(" 2/2 100%")
    assert "result quality_failed" in rows[1]
    assert rows[5].startswith("▶ ✓ A first")
    assert "✓ lint" in rows[5]
    assert not any(set("\x1b\x07\x9b\u202e\r\0") & set(row) for row in rows)
    board.detail = True
    detail = [plain(row).strip() for row in board.lines(80, 20, 1.0)]
    wanted = [
        "priority 1",
        "working",
        "attempt 1",
        "made it",
        "judging",
        "make test: 1 new failure",
        "1 files, +3 -0",
        "passed",
    ]
    assert detail[6 : 6 + len(wanted)] == wanted
    board.move(1)
    assert "  blocked no way" in [plain(row) for row in board.lines(80, 20, 1.0)]


# --- nothing foreign reaches the terminal ------------------------------------------------------------------------
EVIL = "\x1b]52;c;aGk=\x07\x1b[2J\x1b[31mred\x9b1m\u202e\x07\r\x00"


def test_escapes_of_others_are_never_painted(state: State) -> None:
    evil = Standing(EVIL, EVIL, EVIL, model=EVIL, agent="a", access="b", branch=EVIL)
    for event in (
        evil, Around((EVIL,), (Entry("s", EVIL),)), TurnStarted(1, EVIL), ThoughtDelta(EVIL), TextDelta(EVIL),
        Notice("error", EVIL, EVIL), Shown(EVIL, EVIL), Shown(EVIL, kind="diff"), Shown(EVIL, kind="markdown"),
        ToolStarted("c", EVIL, {"x": EVIL}, EVIL), ToolProgress("c", EVIL),
    ):  # fmt: skip
        state.take(event)
    for item in state.items:
        item.open = True
    question = Question("q", "approval", EVIL, EVIL, EVIL, (Choice("once", EVIL),))
    picker = Picker(Choosing("model", EVIL, (Entry("k", EVIL, EVIL, (EVIL,), EVIL),)))
    rows = [
        *Scrollback(state).rows(70, 400), *panels.sidebar(state, 30, 30), *panels.Inspector().lines(state, 40, 40),
        panels.header(state, 90), panels.status(state, 90), panels.input_edge(state, 90),
        *panels.question(Ask(question, 0.0), 70, 40), *panels.picker(picker, 70, 20),
    ]  # fmt: skip
    for row in rows:
        for _, text in row:
            assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or c == "\u202e" for c in text), row


# --- lines -------------------------------------------------------------------------------------------------------
TEXT = st.text(st.sampled_from("ab c  日本é\u0301-🙂"), max_size=60)


@given(st.lists(TEXT, max_size=5), st.integers(2, 20), st.booleans())
def test_wrapping_keeps_within_the_width_and_loses_only_blanks(
    parts: list[str], width: int, words: bool
) -> None:
    line = [("s", part) for part in parts]
    rows = wrapped(line, width, words=words)
    assert all(width_of(row) <= width for row in rows)
    kept = "".join(plain(row) for row in rows)
    assert kept.replace(" ", "") == "".join(parts).replace(" ", "")
    if not words:
        assert kept == "".join(parts)


@given(TEXT, st.integers(1, 30))
def test_cutting_and_padding(text: str, width: int) -> None:
    assert cells(head(text, width)) <= width
    assert width_of(fitted([("", text)], width)) <= width
    assert width_of(padded(fitted([("", text)], width), width)) == width


# --- markdown ----------------------------------------------------------------------------------------------------
def rows_of(text: str, width: int = 40) -> list[str]:
    return [plain(row) for row in markdown(text, width)]


def test_markdown() -> None:
    assert rows_of("# Head\n\nsome *text*\n\n- a\n- b\n  1. c") == [
        "Head", "", "some text", "", "• a", "• b", "  1. c",
    ]  # fmt: skip
    assert rows_of("> quoted\n> more") == ["│ quoted", "│ more"]
    assert rows_of("```python\nx = 1\n```")[1] == "│ x = 1"
    assert rows_of("| a | b |\n|---|---|\n| 1 | 2 |") == ["a │ b", "──┼──", "1 │ 2"]
    assert rows_of("[here](https://x.y)") == ["here (https://x.y)"]


def test_code_is_coloured_and_plain_when_unknown() -> None:
    styles = {style for row in markdown("```python\nimport os\n```", 40) for style, _ in row}
    assert any("pygments" in style for style in styles)
    assert rows_of("```nosuch\na <b>\n```")[1] == "│ a <b>"


@given(st.text(st.sampled_from("a b*_`#-|>1.\n[]()~"), max_size=120), st.integers(12, 50))
def test_any_markdown_fits_the_width(text: str, width: int) -> None:
    assert all(width_of(row) <= width for row in markdown(text, width))


@given(st.text(st.sampled_from("a b\n`#-*1.>|"), max_size=150), st.integers(0, 10_000))
def test_a_streamed_answer_ends_as_the_whole_one(text: str, seed: int) -> None:
    whole, streamed = State(Clock()), State(Clock())
    whole.take(MessageDone(Message("assistant", (Text(text or "x"),))))
    painter = Scrollback(streamed)
    rest, cutter = text or "x", random.Random(seed)
    while rest:
        cut = cutter.randint(1, 9)
        streamed.take(TextDelta(rest[:cut]))
        rest = rest[cut:]
        painter.rows(40, 30)
    streamed.take(MessageDone(Message("assistant", (Text(text or "x"),))))
    assert painter.rows(40, 30) == Scrollback(whole).rows(40, 30)


# --- scrolling ---------------------------------------------------------------------------------------------------
def long(state: State, count: int) -> Scrollback:
    for number in range(count):
        state.take(Notice("info", f"note {number}"))
    return Scrollback(state)


def test_the_end_is_followed_until_one_scrolls_up(state: State) -> None:
    back = long(state, 100)
    assert "note 99" in plain(back.rows(40, 10)[-2])
    back.scroll(-20)
    before = [plain(row) for row in back.rows(40, 10)]
    state.take(Notice("info", "note 100"))
    assert [plain(row) for row in back.rows(40, 10)] == before
    assert not back.following
    back.scroll(1000)
    assert back.following
    assert "note 100" in plain(back.rows(40, 10)[-2])
    back.to_top()
    assert "note 0" in plain(back.rows(40, 10)[0])
    back.scroll(-5)
    assert "note 0" in plain(back.rows(40, 10)[0])


@given(st.lists(st.integers(-30, 30), max_size=20))
def test_scrolling_down_undoes_scrolling_up(steps: list[int]) -> None:
    back = long(State(Clock()), 60)
    everything = [plain(row) for row in back.rows(40, 10_000)]
    back.rows(40, 10)
    at = len(everything) - 10
    for step in steps:
        back.scroll(step)
        at = max(0, min(at + step, len(everything) - 10))
        assert [plain(row) for row in back.rows(40, 10)] == everything[at : at + 10]


def test_only_what_is_in_sight_is_painted(state: State) -> None:
    state.take(Opened("s", "t", tuple(Message("user", (Text(f"m {n}"),)) for n in range(10_000))))
    back = Scrollback(state)
    painted: list[int] = []
    lines = back.painter.lines
    back.painter.lines = lambda at, width: painted.append(at) or lines(at, width)  # type: ignore[method-assign,func-returns-value]
    back.rows(80, 40)
    assert len(set(painted)) <= 41


# --- questions and pickers ---------------------------------------------------------------------------------------
def test_keys_answer_an_approval() -> None:
    ask = Ask(Question("q", "approval", "May it?"), since=0.0)
    assert ask.key("y", GUARD / 2) is None
    assert ask.key("y", 1.0) == Answer("once")
    assert ask.key("n", 1.0) == Answer("deny")
    assert ask.key("x", 1.0) is None
    assert ask.key("r", 1.0) is None
    assert ask.reasoning
    assert ask.enter(" too wide ", 1.0) == Answer("deny", "too wide")


def test_enter_takes_the_answer_under_the_cursor() -> None:
    ask = Ask(
        Question(
            "q", "choice", "Which?", choices=(Choice("a", "A"), Choice("b", "B")), default="b"
        ),
        0.0,
    )
    assert ask.enter("", 1.0) == Answer("b")
    ask.move(1)
    assert ask.enter("", 1.0) == Answer("a")
    assert ask.key("2", 1.0) == Answer("b")


def test_free_words_answer_a_text_question() -> None:
    ask = Ask(Question("q", "text", "Name?"), 0.0)
    assert ask.enter("Ada", 1.0) == Answer("text", "Ada")


def test_a_number_typed_as_free_words_is_the_choice_of_that_number() -> None:
    ask = Ask(Question("q", "text", "Which?", choices=(Choice("a", "A"), Choice("b", "B b"))), 0.0)
    assert ask.enter("2", 1.0) == Answer("b")
    assert ask.enter("b B ", 1.0) == Answer("b")
    assert ask.enter("2 of them", 1.0) == Answer("text", "2 of them")


def test_a_long_change_scrolls_and_the_answers_stay() -> None:
    ask = Ask(
        Question("q", "approval", "May it?", diff="\n".join(f"+line {n}" for n in range(100))), 0.0
    )
    rows = [plain(row) for row in panels.question(ask, 60, 15)]
    assert len(rows) == 15
    assert rows[-1].strip().startswith("r")
    ask.scroll = 1_000
    assert any(
        "line 99" in row or "of 100" in row for row in map(plain, panels.question(ask, 60, 15))
    )


def test_the_second_question_comes_into_sight_when_the_first_is_settled(state: State) -> None:
    state.take(Asking(Question("a", "approval", "A?")))
    state.take(Asking(Question("b", "approval", "B?")))
    assert state.question is not None
    assert state.question.id == "a"
    state.clock.now = 200.0  # type: ignore[attr-defined]
    state.take(Settled("a"))
    assert state.ask is not None
    assert (state.ask.question.id, state.ask.since) == ("b", 200.0)


def test_a_picker_narrows_and_keeps_its_place() -> None:
    entries = tuple(Entry(f"k{n}", f"model {n}") for n in range(50))
    picker = Picker(Choosing("model", "Model", entries, "k7", more=True))
    assert picker.selected == entries[7]
    picker.replace(Choosing("model", "Model", (Entry("new", "new"), *entries), "k7"))
    assert picker.selected == entries[7]
    picker.type("k4")
    assert [entry.label for entry in picker.entries][:2] == ["model 4", "model 40"]
    picker.move(100)
    assert picker.selected is not None
    assert picker.selected.label == "model 49"
    first, shown_entries = picker.window(5)
    assert picker.selected in shown_entries
    assert first == 6
    picker.erase()
    assert picker.at == 0


def test_a_picker_begins_at_what_is_in_force_however_late_that_comes() -> None:
    late = Entry("local/a", "a")
    picker = Picker(Choosing("model", "Model", (Entry("z", "z"),), "local/a", more=True))
    picker.replace(Choosing("model", "Model", (late, Entry("z", "z")), "local/a", more=True))
    assert picker.selected == late
    picker.move(1)
    picker.replace(Choosing("model", "Model", (late, Entry("m", "m"), Entry("z", "z")), "local/a"))
    assert picker.selected == Entry("z", "z")


def test_a_picker_that_was_closed_does_not_open_again_for_what_comes_late(state: State) -> None:
    first = Choosing("model", "Model", (), more=True)
    state.take(first)
    state.close_picker()
    for more in (True, False):
        state.take(Choosing("model", "Model", (Entry("a", "a"),), more=more))
        assert state.picker is None
    state.take(first)
    assert state.picker is not None
    state.take(Choosing("model", "Model", (), notes=("llm: no key",)))
    assert "llm: no key" in "\n".join(map(plain, panels.picker(state.picker, 60, 10)))


# --- keys, pastes, themes ----------------------------------------------------------------------------------------
def test_no_key_does_two_things() -> None:
    keys = [key for action in ACTIONS for key in action.keys]
    assert len(keys) == len(set(keys))


def test_keys_can_be_changed_and_the_help_says_so() -> None:
    rows = dict(help_rows(bound({"help": ["f9"], "copy": []})))
    assert "F9" in rows
    assert not any("clipboard" in about for about in rows.values())
    assert (shown("escape m"), shown("c-x c-e"), shown("c-_")) == (
        "Alt+M",
        "Ctrl+X Ctrl+E",
        "Ctrl+/",
    )
    with pytest.raises(CodetetherError, match="fly"):
        bound({"fly": ["f9"]})


def test_a_long_paste_is_a_mark_until_it_is_sent() -> None:
    pastes = Pastes()
    assert pastes.taken("short") == "short"
    mark = pastes.taken("x" * 1_000_000)
    assert mark == "[pasted 1: 1,000,000 characters]"
    assert pastes.filled(f"see {mark}!") == "see " + "x" * 1_000_000 + "!"
    pastes.forget()
    assert pastes.filled(mark) == mark


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("green", "ansigreen"), ("Dark_Gray", "ansibrightblack"), ("#0A0b0c", "#0a0b0c"), ([1, 2, 3], "#010203"),
        (9, "ansibrightred"), (196, "#ff0000"), (244, "#808080"), ({"Named": "red"}, "ansired"),
        ({"Rgb": [0, 0, 255]}, "#0000ff"), ({"Indexed": 1}, "ansired"), ("none", ""), (None, ""),
    ],
)  # fmt: skip
def test_every_documented_form_of_a_colour(value: Any, text: str) -> None:
    assert color(value) == text


@pytest.mark.parametrize(
    "value", ["nocolour", [1, 2], [1, 2, 300], 256, -1, True, {"Odd": 1}, "#12"]
)
def test_what_is_no_colour(value: Any) -> None:
    with pytest.raises(CodetetherError, match="no colour"):
        color(value)


def test_shipped_themes_are_whole(tmp_path: Path) -> None:
    from prompt_toolkit.styles import Style
    from pygments.styles import get_style_by_name

    assert {"dark", "light", "solarized-dark", "solarized-light"} <= set(shipped())
    for name in shipped():
        theme = load(name, tmp_path)
        assert set(theme.colors) == set(FIELDS)
        Style.from_dict(rules(theme))
        get_style_by_name(theme.code)


def test_sixteen_colours_get_no_tints(tmp_path: Path) -> None:
    for name in shipped():
        few = rules(load(name, tmp_path), few=True)
        assert (few["diff.add"], few["diff.remove.word"]) == ("ansigreen", "underline")
        assert "bg:#" in rules(load(name, tmp_path))["diff.add"]


def test_a_theme_of_ones_own_over_another(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('base = "light"\nuser_color = [1, 2, 3]\n')
    theme = load("mine", tmp_path, {"error_color": "blue"})
    assert (theme["user_color"], theme["error_color"], theme.dark) == ("#010203", "ansiblue", False)
    assert "mine" in names(tmp_path)
    (tmp_path / "broken.toml").write_text("user_color = ")
    for name in ("broken", "nowhere", "../mine"):
        with pytest.raises(CodetetherError):
            load(name, tmp_path)


@pytest.mark.parametrize(
    ("ground", "env", "light"),
    [
        ("rgb:ffff/ffff/ffff", "", True), ("rgb:0000/0000/0000", "", False), ("rgb:ff/ff/f0", "", True),
        (None, "0;15", True), (None, "15;0", False), (None, "", None), ("rgb:zz/1/1", "", None),
    ],
)  # fmt: skip
def test_light_or_dark(ground: str | None, env: str, light: bool | None) -> None:
    assert is_light(ground, env) is light


def test_what_was_attached_is_named() -> None:
    item = said('do\n\n<file path="a b.py">\nx\n</file>\n\n<directory path="src">\ny\n</directory>')
    assert (item.text, item.attached) == ("do", ("a b.py", "src"))
    assert said("a <file> b").text == "a <file> b"


def test_a_call_that_never_ran_says_so() -> None:
    items = list(from_messages([Message("assistant", (ToolCall("c", "bash", "not json"),))]))
    assert isinstance(items[0], Called)
    assert (items[0].ok, items[0].summary) == (False, "was not run")

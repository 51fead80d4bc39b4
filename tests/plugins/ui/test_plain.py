"""What a person sees: the answer apart from everything else, and nothing that commands their terminal."""

from __future__ import annotations

import io
import os
import pty
import re
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import codetether_ui_plain
import pytest
import trio
import trio.testing
from codetether import events as e
from codetether.words import Answer, Choice, Message, Question, Text, ToolCall, Usage
from codetether_ui_plain import Plain, PlainSettings
from codetether_ui_plain.questions import Prompt
from codetether_ui_plain.screen import Style

CALL = ToolCall("c1", "read_file", '{"path": "calc/stats.py"}')
DIFF = "--- a/calc/stats.py\n+++ b/calc/stats.py\n@@ -1 +1 @@\n-old\n+new\n"
TURN = (
    e.SessionStarted("ses_1", "/w", "scripted/demo", "build", "ask", sandbox="S2"),
    e.TurnStarted(1, "fix it"),
    e.StepStarted(1, "scripted/demo"),
    e.ThoughtDelta("hmm"),
    e.TextDelta("Let me "),
    e.TextDelta("look."),
    e.MessageDone(Message("assistant", (Text("Let me look."), CALL))),
    e.StepFinished(1, Usage(1000, 20)),
    e.ToolStarted("c1", "read_file", {"path": "calc/stats.py"}, "read_file calc/stats.py"),
    e.ToolFinished("c1", "read_file", True, "34 lines", "…", 0.1),
    e.ToolStarted("c2", "edit", {}, "edit calc/stats.py"),
    e.ToolFinished("c2", "edit", True, "1 replacement", "…", 0.1, {"diff": DIFF}),
    e.ToolStarted("c3", "bash", {}, "bash pytest -q"),
    e.ToolFinished("c3", "bash", False, "exit code 1", "…", 72.0),
    e.StepStarted(2, "scripted/demo"),
    e.TextDelta("Fixed.\nDone."),
    e.MessageDone(Message("assistant", (Text("Fixed.\nDone."),))),
    e.TurnFinished("done", "Fixed.\nDone.", Usage(12345, 678, 10000), 2, 4.25),
    e.SessionFinished("ses_1", Usage(12345, 678)),
)


def plain(**settings) -> Plain:
    return Plain(SimpleNamespace(settings=lambda key, cls: PlainSettings(**settings)), "ui:plain")


async def show(ui, given):
    to_ui, feed = trio.open_memory_channel(len(given))
    say, said = trio.open_memory_channel(0)
    for event in given:
        await to_ui.send(event)
    to_ui.close()
    await ui.run(feed, say)
    return said


@contextmanager
def terminal(monkeypatch, *names, columns=80):
    """Make the named standard streams one pseudo-terminal; gives a function that reads what came out."""
    import fcntl
    import struct
    import termios

    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    os.set_blocking(leader, False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = os.fdopen(follower, "w", encoding="utf-8")
    for name in names:
        monkeypatch.setattr(sys, name, stream)

    def read():
        data = b""
        while True:
            try:
                data += os.read(leader, 65536)
            except BlockingIOError:
                return data.decode().replace("\r\n", "\n")

    read.leader, read.path = leader, os.ttyname(follower)
    yield read
    stream.close()
    os.close(leader)


def pipes(monkeypatch):
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    return out, err


async def test_in_a_pipe_standard_output_is_exactly_the_answer(monkeypatch):
    out, err = pipes(monkeypatch)
    await show(plain(), TURN)
    assert out.getvalue() == "Fixed.\nDone.\n"
    assert err.getvalue().splitlines() == [
        "scripted/demo · build · access ask · sandbox S2",
        "Let me look.",
        "✓ read_file calc/stats.py · 34 lines · 0.1 s",
        "✓ edit calc/stats.py · 1 replacement · 0.1 s",
        *DIFF.splitlines(),
        "✗ bash pytest -q · exit code 1 · 1 min 12 s",
        "done · 2 steps · 12,345 tokens in (10,000 cached), 678 out · cost unknown · 4.2 s",
    ]


async def test_on_a_terminal_all_streams_in_order_and_coloured(monkeypatch):
    with terminal(monkeypatch, "stdout", "stderr") as read:
        await show(plain(), TURN)
        text = read()
    bare = re.sub(r"\x1b\[\d*m", "", text)
    assert "\x1b" not in bare
    assert (
        bare.index("hmm")
        < bare.index("Let me look.\n")
        < bare.index("✓ read_file")
        < bare.index("Fixed.\nDone.\n")
    )
    assert bare.count("Fixed.") == 1
    assert "\x1b[2mhmm\x1b[0m\nLet me look.\n" in text
    assert "\x1b[32m+new\x1b[0m" in text
    assert "\x1b[31m✗\x1b[0m \x1b[31mbash pytest -q\x1b[0m" in text


async def test_answer_to_a_file_with_a_person_watching(monkeypatch):
    out = io.StringIO()
    with terminal(monkeypatch, "stderr") as read:
        monkeypatch.setattr(sys, "stdout", out)
        await show(plain(), TURN)
        text = read()
    assert out.getvalue() == "Fixed.\nDone.\n"
    assert "\x1b[2mLet me look.\x1b[0m\n" in text
    assert "Fixed." not in text


async def test_no_colour_when_not_wanted(monkeypatch):
    with terminal(monkeypatch, "stdout", "stderr") as read:
        monkeypatch.setenv("NO_COLOR", "1")
        await show(plain(reasoning=False), TURN)
        text = read()
    assert "\x1b" not in text
    assert "hmm" not in text


PAYLOADS = (
    "\x1b]52;c;cm0=\x07", "\x1b]8;;http://e\x1b\\x\x1b]8;;\x1b\\", "\x1b]0;t\x07", "\x1bP1$r\x1b\\", "\x1b[2J",
    "\x1b[31m", "\x9b2J", "\x9d0;t\x9c", "\x1bc", "\r\x1b[K", "\x07" * 50, "\u202eabc", "\u2066x", "\x1b[?1049h",
)  # fmt: skip


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("tty", [True, False])
async def test_nothing_shown_can_command_the_terminal(monkeypatch, payload, tty):
    p = f"<{payload}>"
    call = ToolCall("c1", p, p)
    given = (
        e.SessionStarted(p, p, p, p, p, title=p, instructions=(p,), sandbox=p),
        e.TurnStarted(1, p),
        e.StepStarted(1, p),
        e.ThoughtDelta(p),
        *(e.TextDelta(letter) for letter in p),
        e.MessageDone(Message("assistant", (Text(p), call))),
        e.Retrying(1, 2.0, p),
        e.ToolStarted("c1", p, {p: p}, p),
        e.ToolProgress("c1", p),
        e.ToolFinished("c1", p, False, p, p, 0.1, {"diff": p}),
        e.ToolFinished("c2", p, True, p, p, 0.1, {"diff": f"+{p}\n-{p}"}),
        e.Compacted(1, 2, p),
        e.Notice("warning", p, p),
        e.MessageDone(Message("assistant", (Text(p),), interrupted=True)),
        e.TurnFinished("step_limit", p + "final", Usage(), 1, 1.0, p, p),
    )
    if tty:
        with terminal(monkeypatch, "stdout", "stderr") as read:
            await show(plain(), given)
            text = read()
    else:
        out, err = pipes(monkeypatch)
        await show(plain(), given)
        text = out.getvalue() + err.getvalue()
    ours = re.sub(r"\x1b\[(?:0|1|2|31|32|33|36)m|\r?\x1b\[\d*[JA]", "", text) if tty else text
    assert not re.findall("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", ours)


async def test_retrying_voids_what_was_said(monkeypatch):
    out, err = pipes(monkeypatch)
    text = "Right."
    given = (
        e.StepStarted(1, "m"),
        e.TextDelta("wrong"),
        e.Retrying(1, 3.0, "overloaded"),
        e.TextDelta(text),
        e.MessageDone(Message("assistant", (Text(text),))),
        e.TurnFinished("done", text, Usage(), 1, 1.0),
    )
    await show(plain(), given)
    assert out.getvalue() == "Right.\n"
    assert (
        "attempt 1 failed, what it said so far is void: overloaded; again in 3 s" in err.getvalue()
    )


@pytest.mark.parametrize("reason", ["cancelled", "error"])
async def test_an_unfinished_answer_is_no_answer(monkeypatch, reason):
    out, err = pipes(monkeypatch)
    part = Message("assistant", (Text("I was about"),), interrupted=True)
    given = (
        e.TextDelta("I was about"),
        e.MessageDone(part),
        e.TurnFinished(reason, "earlier words", Usage(), 1, 1.0, "broke", "try again"),
    )
    await show(plain(), given)
    assert out.getvalue() == ""
    assert "I was about" in err.getvalue()
    assert "  try again" in err.getvalue()


async def test_spinner_turns_counts_and_is_gone(monkeypatch, autojump_clock):
    to_ui, feed = trio.open_memory_channel(0)
    say, _ = trio.open_memory_channel(0)
    with terminal(monkeypatch, "stdout", "stderr", columns=40) as read:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(plain().run, feed, say)
            await to_ui.send(e.StepStarted(1, "m"))
            await trio.sleep(3.05)
            assert "waiting for the model 3.0 s" in read()
            await to_ui.send(e.ToolStarted("c", "bash", {}, "bash " + "字" * 100))
            await trio.sleep(1.05)
            frames = read().split("\r\x1b[J")
            assert all(len(frame) < 40 for frame in frames), (
                "a spinner that wraps cannot be taken away"
            )
            await to_ui.send(e.Retrying(1, 10.0, "overloaded"))
            await trio.sleep(4.05)
            assert "trying again in 6 s" in read()
            to_ui.close()
        assert read().endswith("\r\x1b[J")


async def test_broken_pipe_leaves(monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", stream)
        said = await show(plain(), TURN)
    with trio.fail_after(1):
        assert [act async for act in said] == []


# --- questions ---
APPROVE = Question("q1", "approval", "bash wants to run", "rm -rf build\x1b[8m # harmless", DIFF)


@contextmanager
def person(monkeypatch, *names):
    with terminal(monkeypatch, *(names or ("stdout", "stderr"))) as read:
        monkeypatch.setattr(
            codetether_ui_plain,
            "open_terminal",
            lambda *streams: os.open(read.path, os.O_RDWR | os.O_NOCTTY),
        )
        yield read


async def typed(read, line, seen="> "):
    """Type once the question is on the screen; what was on the screen."""
    text = ""
    while not text.endswith(seen):
        await trio.sleep(0.01)
        text += re.sub(r"\x1b\[\d*m", "", read())
    os.write(read.leader, line.encode())
    return text


async def ask(monkeypatch, lines, question=APPROVE):
    ui, answers = plain(), []
    to_ui, feed = trio.open_memory_channel(8)
    say, _ = trio.open_memory_channel(0)
    with person(monkeypatch) as read:

        async def asking():
            answers.append(await ui.codetether_ask(question, None))
            to_ui.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ui.run, feed, say)
            await trio.testing.wait_all_tasks_blocked()
            await to_ui.send(e.Asked(question))
            os.write(read.leader, b"y\n")  # typed before the question: no answer to it
            nursery.start_soon(asking)
            shown = [await typed(read, line) for line in lines]
    return answers[0], shown


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("y\n", Answer("once")),
        ("YES\n", Answer("once")),
        ("s\n", Answer("session")),
        ("project\n", Answer("project")),
        ("n use git clean instead\n", Answer("deny", "use git clean instead")),
    ],
)
async def test_a_person_approves_or_not(monkeypatch, line, answer):
    given, shown = await ask(monkeypatch, [line])
    assert given == answer
    assert "rm -rf build␛[8m # harmless" in shown[0]
    assert "+new" in shown[0]


async def test_an_empty_or_unknown_line_approves_nothing(monkeypatch):
    given, shown = await ask(monkeypatch, ["\n", "maybe\n", "y\n"])
    assert given == Answer("once")
    assert "type y, s, p, n" in shown[1]


async def test_end_of_input_is_nobody(monkeypatch):
    given, _ = await ask(monkeypatch, ["\x04"])
    assert given is None


async def test_choices_and_free_text(monkeypatch):
    question = Question(
        "q",
        "choice",
        "Which?",
        choices=(Choice("red", "Red"), Choice("blue", "Blue")),
        default="blue",
    )
    assert (await ask(monkeypatch, ["1\n"], question))[0] == Answer("red")
    assert (await ask(monkeypatch, ["\n"], question))[0] == Answer("blue")
    assert (await ask(monkeypatch, ["my own\n"], Question("q", "text", "Name?")))[0] == Answer(
        "text", "my own"
    )


COLOURS = (Choice("1", "Dark red"), Choice("2", "Blue"))


@pytest.mark.parametrize(
    ("kind", "default", "line", "answer"),
    [
        ("text", "", "2\n", Answer("2")),
        ("text", "", "dark RED\n", Answer("1")),
        ("text", "", "2 greens, please\n", Answer("text", "2 greens, please")),
        ("text", "1", "\n", Answer("1")),
        ("text", "", "\n", Answer("text", "")),
        ("choice", "", "2 but light\n", Answer("2", "but light")),
        ("choice", "", "dark red\n", Answer("1")),
    ],
)
async def test_options_and_words_of_their_own(monkeypatch, kind, default, line, answer):
    question = Question("q", kind, "Which?", choices=COLOURS, default=default)
    given, shown = await ask(monkeypatch, [line], question)
    assert given == answer
    shown = "".join(shown)
    assert "Dark red" in shown
    assert ("own words" in shown) == (kind == "text")
    assert ("(or an empty line)" in shown) == bool(default)


async def test_a_choice_is_asked_until_it_is_one(monkeypatch):
    given, shown = await ask(
        monkeypatch, ["green\n", "2\n"], Question("q", "choice", "?", choices=COLOURS)
    )
    assert given == Answer("2")
    assert "type 1, 2" in "".join(shown)


async def test_a_cancelled_question_lets_go_of_the_screen(monkeypatch):
    ui = plain()
    to_ui, feed = trio.open_memory_channel(8)
    say, _ = trio.open_memory_channel(0)
    with person(monkeypatch) as read:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ui.run, feed, say)
            await trio.testing.wait_all_tasks_blocked()
            await to_ui.send(e.Asked(APPROVE))
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as asking:
                    asking.start_soon(ui.codetether_ask, APPROVE, None)
                    await typed(read, "")
                    scope.cancel()
            await to_ui.send(e.Notice("info", "stopped"))
            to_ui.close()
        assert "stopped" in read()


async def test_nobody_there(monkeypatch):
    pipes(monkeypatch)
    ui = plain()
    assert await ui.codetether_ask(APPROVE, None) is None
    to_ui, feed = trio.open_memory_channel(0)
    say, _ = trio.open_memory_channel(0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ui.run, feed, say)
        await trio.testing.wait_all_tasks_blocked()
        assert await ui.codetether_ask(APPROVE, None) is None
        to_ui.close()


async def test_a_change_that_was_asked_about_is_not_shown_again(monkeypatch):
    _, err = pipes(monkeypatch)
    given = (
        e.Asked(Question("q1", "approval", "t", diff=DIFF, call_id="c2")),
        e.ToolStarted("c2", "edit", {}, "edit calc/stats.py"),
        e.ToolFinished("c2", "edit", True, "1 replacement", "…", 0.1, {"diff": DIFF}),
    )
    await show(plain(), given)
    assert err.getvalue() == "✓ edit calc/stats.py · 1 replacement · 0.1 s\n"


def test_an_approval_never_has_a_default():
    prompt = Prompt(Question("q", "approval", "t", default="once"), Style(False))
    assert prompt.answer("") is None


async def test_the_origin_of_instructions_is_shown(capsys):
    started = e.SessionStarted(
        "s",
        "/repo/src",
        "m/x",
        "build",
        "ask",
        instructions=("/repo/AGENTS.md", "/repo/src/AGENTS.md"),
    )
    await show(plain(), [started])
    assert "instructions from /repo/AGENTS.md, AGENTS.md" in capsys.readouterr().err

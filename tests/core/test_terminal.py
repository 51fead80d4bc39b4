"""Nothing written by others reaches the terminal as a command; writing and reading never hold up trio."""

from __future__ import annotations

import io
import os
import pty
import unicodedata

import pytest
import trio
import trio.testing
from codetether import console, terminal
from codetether.console import Output, read_line
from codetether.terminal import Cleaner, Style, cells, clean, fit, one_line
from hypothesis import given
from hypothesis import strategies as st

ESC = "\x1b"
# Text dense in what matters: introducers, terminators, format characters, and ordinary letters between them.
NASTY = st.text(
    st.one_of(
        st.sampled_from("\x1b\x9b\x9d\x90\x9c\x07\x08\r\n\t[]P\\;:mHJK?0123456789ab é字"),
        st.sampled_from("\u202e\u2066\u200b\u200d\ufe0f\ufeff\u00ad\U000e0041\U000e0100\u2028👩💻"),
        st.characters(),
    )
)


def harmless(character: str) -> bool:
    if character in "\t\n":
        return True
    kind = unicodedata.category(character)
    return kind not in ("Cc", "Cs", "Zl", "Zp") and not 0xE0000 <= ord(character) <= 0xE0FFF


@given(NASTY)
def test_no_control_character_and_no_tag_survives(text):
    assert all(harmless(character) for character in clean(text))
    assert all(harmless(character) for character in clean(text, exact=True))


@given(NASTY)
def test_no_bidi_control_survives(text):
    assert not set(clean(text)) & set(
        "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u061c\u200e\u200f"
    )


@given(NASTY)
def test_cleaning_twice_changes_nothing(text):
    assert clean(clean(text)) == clean(text)


@given(NASTY, st.lists(st.integers(0, 40), max_size=12))
def test_where_a_stream_is_cut_does_not_matter(text, cuts):
    cleaner, shown, at = Cleaner(), "", 0
    for cut in cuts:
        shown += cleaner.feed(text[at : at + cut])
        at += cut
    shown += cleaner.feed(text[at:]) + cleaner.end()
    assert shown == clean(text)


@given(NASTY)
def test_what_a_person_approves_drops_nothing(text):
    kept = [character for character in text if harmless(character)]
    shown = iter(clean(text, exact=True))
    assert all(character in shown for character in kept if character.isalnum())
    assert len(clean(text, exact=True)) >= len(text)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("a\x1b]52;c;cm0gLXJm\x07b", "a␛]52;c;cm0gLXJm␇b"),
        ("\x1b]8;;http://evil\x1b\\click\x1b]8;;\x1b\\", "␛]8;;http://evil␛\\click␛]8;;␛\\"),
        ("\x1b]0;title\x07", "␛]0;title␇"),
        ("\x1bP+q544e\x1b\\", "␛P+q544e␛\\"),
        ("\x1b[2J\x1b[1;1Hgone", "␛[2J␛[1;1Hgone"),
        ("\x1b[31mred\x1b[0m \x1b[38;5;1mx\x1b[m", "red x"),
        ("\x9b31mred\x9b2J", "red<U+009B>2J"),
        ("safe\rrm -rf /", "safe␍rm -rf /"),
        ("dos\r\nlines\r\n", "dos\nlines\n"),
        ("user\u202etxt.exe", "user<U+202E>txt.exe"),
        ("a\u200bb\u00ad", "a<U+200B>b<U+00AD>"),
        ("hi\U000e0068\U000e0069", "hi<U+E0068><U+E0069>"),
        ("👩‍💻 می‌خواهم ❤️", "👩‍💻 می‌خواهم ❤️"),
        ("pa\u200dss", "pa<U+200D>ss"),
        ("👍\ufe0f\ufe0f\ufe0f", "👍\ufe0f<U+FE0F><U+FE0F>"),
        ("\ud800", "\ufffd"),
        ("tab\tnewline\n", "tab\tnewline\n"),
    ],
)
def test_placeholders(raw, shown):
    assert clean(raw) == shown


def test_exact_shows_colours_too():
    assert clean("ls\x1b[8m; rm\r\n", exact=True) == "ls␛[8m; rm␍\n"


def test_one_line_and_width():
    assert one_line("a\n  b\tc") == "a b c"
    assert one_line("abcdef", 4) == "abc…"
    assert cells("字é") == 3
    assert fit("字字字", 5) == "字字…"
    assert cells(fit("字字字字", 4)) <= 4


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=40), st.integers(0, 20))
def test_fit_never_exceeds_the_width(text, width):
    assert cells(fit(text, width)) <= width


def test_colour_needs_a_terminal_that_wants_it():
    leader, follower = pty.openpty()
    with os.fdopen(leader, "rb"), os.fdopen(follower, "w") as stream:
        assert terminal.wants_colour(stream, {"TERM": "xterm"})
        assert not terminal.wants_colour(stream, {"TERM": "xterm", "NO_COLOR": "1"})
        assert not terminal.wants_colour(stream, {"TERM": "dumb"})
        assert not terminal.wants_colour(stream, {})
    assert not terminal.wants_colour(io.StringIO(), {"TERM": "xterm"})
    assert not terminal.wants_colour(None)


def test_style_is_silent_when_off_and_cleans_diffs():
    assert Style(False).red("x") == "x"
    assert Style(True).red("x") == "\x1b[31mx\x1b[0m"
    assert Style(False).diff("-a\n+b\x1b]0;t\x07\n") == "-a\n+b␛]0;t␇"
    assert Style(True).diff("+b") == "\x1b[32m+b\x1b[0m"


async def test_output_to_a_full_pipe_does_not_stop_trio():
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream, os.fdopen(reading, "rb") as reader:
        output = Output(stream)
        text = "x" * 300_000
        got = b""

        async def drain():
            nonlocal got
            while len(got) < len(text):
                got += await trio.to_thread.run_sync(reader.read1, 65536)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(output.write, text)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(drain)
        assert got == text.encode()


async def test_output_to_a_closed_pipe_says_so():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        with pytest.raises(BrokenPipeError):
            await Output(stream).write("x")


async def test_output_without_a_descriptor_writes_to_the_stream():
    stream = io.StringIO()
    await Output(stream).write("é")
    assert stream.getvalue() == "é"


async def test_read_line_gives_the_line_and_ends_when_cancelled():
    leader, follower = pty.openpty()
    try:
        os.write(leader, b"y because\n")
        assert await read_line(follower) == "y because"
        with trio.move_on_after(0.01) as scope:
            await read_line(follower)
        assert scope.cancelled_caught
    finally:
        os.close(leader)
        os.close(follower)


async def test_read_line_end_of_input():
    reading, writing = os.pipe()
    os.close(writing)
    assert await read_line(reading) is None
    os.close(reading)


def test_no_terminal_no_descriptor():
    assert console.open_terminal(io.StringIO()) is None


def test_forget_typed_ahead():
    leader, follower = pty.openpty()
    try:
        os.write(leader, b"y\n")
        console.forget_typed_ahead(follower)
        os.set_blocking(follower, False)
        with pytest.raises(BlockingIOError):
            os.read(follower, 10)
    finally:
        os.close(leader)
        os.close(follower)

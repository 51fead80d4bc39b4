"""The live view: what it shows of a board, on a terminal that changes its size and in a pipe."""

import io
import os
import pty
import termios

import pyte
import pytest
import trio
from codetether.api import Notice, StepFinished, Style, ToolStarted, Usage, cells
from codetether_live import Board, picture, showing
from hypothesis import given
from hypothesis import strategies as st


async def board():
    made = Board("swarm")
    for key, stage in (("one", 0), ("two", 0), ("three", 1)):
        made.add(key, key, stage)
    return made


async def test_a_board_as_lines(autojump_clock):
    shown = await board()
    shown.enter("one", "running")
    shown.heard("one", ToolStarted("c", "bash", {}, "bash: pytest -q"))
    shown.heard("one", StepFinished(1, Usage(1200, 34, cost=0.25)))
    shown.heard("one", Notice("warning", "look"))
    await trio.sleep(62)
    shown.enter("two", "failed", "exit code 1")
    lines = picture(shown, trio.current_time(), 100, 20, Style(False))
    assert (
        lines[0]
        == "swarm · 0/3 done · 1 running · 1 failed · stage 1 of 2 · 1.2k tokens · $0.25 · 1:02"
    )
    assert lines[1].split() == ["●", "one", "1", "step", "1.2k", "1:02", "bash:", "pytest", "-q"]
    assert lines[2].split() == ["✗", "two", "exit", "code", "1"]
    assert lines[3].split() == ["·", "three"]
    assert shown.lines(brief=False) == ["one: look"]
    empty = Board("swarm")
    empty.phase = "planning"
    assert picture(empty, trio.current_time(), 100, 20, Style(False)) == ["swarm · planning · 0:00"]


@given(
    width=st.integers(1, 120),
    height=st.integers(1, 12),
    name=st.text(),
    detail=st.text(max_size=80),
)
def test_it_fits_whatever_is_written_in_it(width, height, name, detail):
    async def main():
        shown = Board(name)
        for number in range(6):
            shown.add(str(number), name)
            shown.enter(str(number), "running" if number == 4 else "done", detail)
        lines = picture(shown, trio.current_time(), width, height, Style(False))
        assert 0 < len(lines) <= height
        assert all(cells(line) <= max(width - 1, 2) for line in lines)
        assert not any(ord(c) < 32 or c == "\x7f" for line in lines for c in line)
        if height > 4:
            assert any(line.startswith("●") for line in lines)

    trio.run(main)


async def test_in_a_pipe_there_is_a_line_for_each_change():
    stream = io.StringIO()
    shown = await board()
    async with showing(shown, stream):
        shown.enter("one", "running")
        shown.doing("one", "bash: ls")
        shown.enter("one", "done", "merged")
        shown.enter("three", "skipped", "two failed\x1b[2J")
    lines = stream.getvalue().splitlines()
    assert lines[:3] == [
        "[0:00] one: running",
        "[0:00] one: done, merged",
        "[0:00] three: skipped, two failed␛[2J",
    ]
    assert lines[3].startswith("swarm · 1/3 done · 1 skipped")
    assert "\x1b" not in stream.getvalue()


async def test_a_broken_stream_ends_the_showing_not_the_work(autojump_clock):
    class Broken(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    shown = await board()
    async with showing(shown, Broken()):
        shown.enter("one", "running")
        await trio.sleep(3)
        shown.enter("one", "done")
    assert shown.count("done") == 1


class Window:
    """A terminal with a screen that wraps lines again when it is resized, as terminals do."""

    def __init__(self, columns, lines):
        self.leader, self.follower = pty.openpty()
        self.stream = os.fdopen(self.follower, "w")
        self.screen = pyte.HistoryScreen(columns, lines, history=1000)
        self.parser = pyte.ByteStream(self.screen)
        os.set_blocking(self.leader, False)
        self.size(columns, lines)

    def size(self, columns, lines):
        self.read()
        termios.tcsetwinsize(self.follower, (lines, columns))
        text = self.lines()
        self.screen.resize(lines, columns)
        self.screen.reset()
        rows = [
            line[at : at + columns] for line in text for at in range(0, max(len(line), 1), columns)
        ]
        self.parser.feed("".join(f"{row}\r\n" for row in rows).encode())

    def read(self):
        try:
            while piece := os.read(self.leader, 65536):
                self.parser.feed(piece)
        except BlockingIOError:
            pass

    def shown(self):
        self.read()
        return [line.rstrip() for line in self.screen.display if line.strip()]

    def lines(self):
        self.read()
        above = [
            "".join(row[x].data for x in range(len(row))).rstrip()
            for row in self.screen.history.top
        ]
        shown = [line.rstrip() for line in self.screen.display]
        while shown and not shown[-1]:
            shown.pop()
        return [*above, *shown]

    def close(self):
        self.stream.close()
        os.close(self.leader)


@pytest.fixture
def window(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    made = Window(80, 24)
    yield made
    made.close()


async def test_a_window_that_changes_its_size_shows_one_picture(window, autojump_clock):
    shown = await board()
    async with showing(shown, window.stream):
        shown.enter("one", "running", "a long line of what it does " * 4)
        await trio.sleep(1)
        assert [line[0] for line in window.lines()] == ["s", "●", "·", "·"]
        for columns, lines in ((30, 24), (100, 24), (20, 24), (12, 40), (80, 24)):
            window.size(columns, lines)
            await trio.sleep(1)
            text = window.shown()
            assert sum(line.startswith("swarm") for line in text) == 1, text
            assert all(len(line) < columns for line in text)
        shown.say("something to know")
        shown.enter("one", "done", "merged")
        await trio.sleep(1)
    text = window.shown()
    assert text[0] == "something to know"
    assert text[1].startswith("swarm · 1/3 done")
    assert text[2].split()[:2] == ["✓", "one"]
    assert len(text) == 5


async def test_more_parts_than_lines_show_those_at_work(window, autojump_clock):
    window.size(80, 8)
    shown = Board("swarm")
    for number in range(50):
        shown.add(str(number), f"part {number}")
    async with showing(shown, window.stream):
        shown.enter("40", "running")
        shown.enter("3", "done")
        await trio.sleep(1)
        text = window.lines()
        assert len(text) <= 7
        assert any("part 40" in line for line in text)
        assert any(line.endswith("more") for line in text)

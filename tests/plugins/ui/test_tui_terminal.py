"""The interfaces in a real terminal: a pseudo terminal of the test's own, and pyte to say what a person would see."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pyte
import pytest
import trio
from adder import SCRIPT
from codetether_mode_tui.screen import without_vi
from prompt_toolkit.application import Application, create_app_session
from prompt_toolkit.input import DummyInput
from prompt_toolkit.output import DummyOutput

PROGRAM = str(Path(sys.executable).with_name("codetether"))
FAILSAFE = 30


class Terminal:
    """What is typed, and what is seen."""

    def __init__(
        self, leader: int, process: subprocess.Popen[bytes], size: tuple[int, int]
    ) -> None:
        self.leader, self.process = leader, process
        self.screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self.screen)
        self.bytes = b""

    @property
    def text(self) -> str:
        return "\n".join(self.screen.display)

    def type(self, text: str) -> None:
        os.write(self.leader, text.encode())

    async def until(self, *wanted: str, gone: Sequence[str] = ()) -> None:
        """Read until all of `wanted` is in sight, and nothing of `gone`."""
        with trio.move_on_after(FAILSAFE):
            while not all(each in self.text for each in wanted) or any(
                each in self.text for each in gone
            ):
                if not await self._read():
                    break
            else:
                return
        raise AssertionError(f"{wanted} without {gone}, in:\n{self.text}")

    async def prompted(self) -> None:
        """Read until the cursor waits behind an empty prompt."""
        with trio.fail_after(FAILSAFE):
            while not self.screen.display[self.screen.cursor.y].rstrip().endswith(">"):
                assert await self._read(), f"it ended:\n{self.text}"

    async def end(self) -> int:
        """Read to the end; the exit code."""
        with trio.fail_after(FAILSAFE):
            while await self._read():
                pass
            return await trio.to_thread.run_sync(self.process.wait)

    async def _read(self) -> bool:
        ended = (
            self.process.poll() is not None
        )  # before it is read: what it wrote at the end is there by then
        with trio.move_on_after(0.2):
            if ended and not select.select([self.leader], [], [], 0)[0]:
                return False
            await trio.lowlevel.wait_readable(self.leader)
            try:
                piece = os.read(self.leader, 65536)
            except OSError:
                return False
            self.bytes += piece
            self._stream.feed(piece)
            return bool(piece)
        return True

    def resize(self, columns: int, rows: int) -> None:
        termios.tcsetwinsize(self.leader, (rows, columns))
        self.screen.resize(rows, columns)


@asynccontextmanager
async def terminal(
    home: Path, *words: str, size: tuple[int, int] = (120, 30), settings: str = "", **env: str
) -> AsyncIterator[Terminal]:
    work = home / "work"
    work.mkdir(exist_ok=True)
    if not (work / "calc.py").exists():
        (work / "calc.py").write_text("def add(a, b):\n    return a - b\n")
    (home / "script.toml").write_text(SCRIPT)
    config = home / ".config" / "codetether-agent"
    config.mkdir(parents=True, exist_ok=True)
    (config / "config.toml").write_text(f'sandbox = "none"\naccess = "ask"\n{settings}')
    leader, follower = pty.openpty()
    termios.tcsetwinsize(leader, (size[1], size[0]))
    before = termios.tcgetattr(follower)
    clean = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
    }
    process = subprocess.Popen(
        [PROGRAM, *words, "-m", f"scripted/file:{home / 'script.toml'}"],
        cwd=work, env=clean | {"COLORFGBG": "15;0"} | env, preexec_fn=lambda: os.login_tty(follower),
    )  # fmt: skip
    try:
        yield Terminal(leader, process, size)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        after = termios.tcgetattr(follower)
        for _ in range(100):  # the watchdog acts when the process is gone
            after = termios.tcgetattr(follower)
            if after[3] == before[3]:
                break
            time.sleep(0.05)
        os.close(leader)
        os.close(follower)
        assert after[3] == before[3], "the terminal is not as before"


async def test_a_whole_piece_of_work(tmp_path: Path) -> None:
    calc = tmp_path / "work" / "calc.py"
    async with terminal(tmp_path, "tui") as t:
        await t.until("new session", "build", "Sessions", "calc.py")
        t.type("fix add\r")
        await t.until("Allow edit calc.py?", "2 -     return a - b", "2 +     return a + b")
        await trio.sleep(0.5)  # a key that comes at once answers nothing
        t.type("y")
        await t.until("Fixed", "It adds now.", "✓ edit calc.py", gone=["Allow edit"])
        assert "a + b" in calc.read_text()
        await t.until("fix add", "● fix add")
        t.type("wait\r")
        await t.until("Allow bash")
        await trio.sleep(0.5)
        t.type("y")
        await t.until("begun", "Esc stops")
        t.type("and then\r")
        await t.until("1 waiting")
        t.type("\x1b")
        await t.until("! stopped", "> and then", gone=["Esc stops"])
        t.type("\x03")
        await t.until("Ctrl+C again leaves")
        await t.until(gone=["> and then"])
        t.type("/rewind\r")
        await t.until("Rewind to before", "▶ wait")
        t.type("\x1b[B\r")
        await t.until("> fix add", "taken back", "2 -     return a + b", gone=["Rewind to"])
        assert "a - b" in calc.read_text()
        t.type("\x15")
        await t.until(gone=["> fix add"])
        t.type("/theme light\r")
        await t.until(gone=["/theme"])
        t.type("\t")
        await t.until("plan · ask")
        t.type("\x11")
        assert await t.end() == 0
        assert b"\x1b[?1049l" in t.bytes


async def test_esc_is_done_when_the_next_key_comes(tmp_path: Path) -> None:
    async with terminal(tmp_path, "tui") as t:
        await t.until("new session")
        t.type("/agent\r")
        await t.until("explore")
        t.type("\x1b")
        await trio.sleep(0.4)  # a person's next key
        t.type("/cost\r")
        await t.until("received  0 tokens", gone=["explore"])


async def test_the_keys_of_vi_are_there_for_who_chooses_them(tmp_path: Path) -> None:
    settings = '[plugins."modes:tui"]\nediting = "vi"\n'
    async with terminal(tmp_path, "tui", settings=settings) as t:
        await t.until("new session")
        t.type("one two")
        await t.until("> one two")
        t.type("\x1b")
        await trio.sleep(0.4)  # a person's next key
        t.type("0dw")
        await t.until("> two")


def test_nobody_else_pays_for_them() -> None:
    with create_app_session(input=DummyInput(), output=DummyOutput()):
        all_of_them = Application[None]()
        with without_vi():
            few = Application[None]()
        again = Application[None]()
    few_keys, all_keys, keys = (
        len(each._default_bindings.bindings) for each in (few, all_of_them, again)
    )
    assert few_keys * 2 < all_keys
    assert keys == all_keys


async def test_words_are_emptied_as_often_as_one_likes(tmp_path: Path) -> None:
    async with terminal(tmp_path, "tui") as t:
        await t.until("new session")
        for words in ("one thing", "another"):
            t.type(words)
            await t.until(f"> {words}")
            t.type("\x03")
            await t.until("Ctrl+C again leaves", gone=[f"> {words}"])
        t.type("hello\r")
        await t.until("The end.")


async def test_from_small_to_large(tmp_path: Path) -> None:
    async with terminal(tmp_path, "tui", size=(60, 15)) as t:
        await t.until("new session", ">", gone=["Workspace"])
        t.type("?")
        await t.until("Keys", "send the message")
        t.type("\x1b")
        await t.until(gone=["Keys"])
        t.resize(300, 100)
        await t.until("Workspace", "Session")
        t.type("\x02")
        await t.until(gone=["Workspace"])
        t.resize(20, 5)
        t.resize(1, 1)
        t.resize(80, 24)
        t.type("hello\r")
        await t.until("The end.")
        t.type("/quit\r")
        assert await t.end() == 0
        assert b"goes on with this session" in t.bytes


async def test_a_size_that_changes_before_it_is_first_looked_at_is_followed(tmp_path: Path) -> None:
    seldom = "import codetether_mode_tui.screen as screen; screen.SIZE_POLL = 3\n"
    (tmp_path / "sitecustomize.py").write_text(seldom)
    async with terminal(tmp_path, "tui", size=(60, 15), PYTHONPATH=str(tmp_path)) as t:
        await t.until("new session", ">", "context", gone=["Workspace"])
        with trio.move_on_after(1.5):  # all that is told at the start is drawn
            while await t._read():
                pass
        t.resize(200, 50)
        await t.until("Workspace", "Session")


async def test_completion_of_commands_and_files(tmp_path: Path) -> None:
    async with terminal(tmp_path, "tui") as t:
        await t.until("new session")
        t.type("/comp")
        await t.until("/compact", "Shorten")
        t.type("\x03")
        await t.until("Ctrl+C again leaves")
        t.type("look @clc")
        await t.until("look @clc", " calc.py  ")
        await trio.sleep(0.3)
        t.type("\t")
        await t.until("> look @calc.py")
        t.type("\r")  # takes what was completed
        t.type("\r")
        await t.until("+ calc.py", "The end.")


async def test_a_megabyte_is_pasted(tmp_path: Path) -> None:
    async with terminal(tmp_path, "tui") as t:
        await t.until("new session")
        data = b"\x1b[200~" + b"word " * 200_000 + b"\x1b[201~"

        async def paste() -> None:
            await trio.to_thread.run_sync(lambda: [os.write(t.leader, data[i : i + 4096]) for i in range(0, len(data), 4096)])  # fmt: skip

        async with trio.open_nursery() as nursery:
            nursery.start_soon(paste)
            await t.until("[pasted 1: 1,000,000 characters]")
        t.type("\x03")
        await t.until("Ctrl+C again leaves", gone=["[pasted"])


async def test_a_terminal_that_takes_nothing_holds_nobody_up(tmp_path: Path) -> None:
    """As one behind a slow line, or stopped with Ctrl-S: the work goes on, and is seen once it takes something again."""
    async with terminal(tmp_path, "tui") as t:
        await t.until("new session", "calc.py")
        t.type("count\r")
        with trio.fail_after(FAILSAFE):
            while not any(
                b"all said." in path.read_bytes() for path in tmp_path.glob("**/sessions/*.jsonl")
            ):
                await trio.sleep(0.05)
        assert "all said." not in t.text
        await t.until("2999", "all said.")
        t.type("\x04")
        assert await t.end() == 0


@pytest.mark.parametrize("how", ["SIGTERM", "SIGHUP", "SIGKILL", "SIGSEGV"])
async def test_the_terminal_is_given_back_whatever_ends_it(tmp_path: Path, how: str) -> None:
    async with terminal(tmp_path, "tui") as t:
        await t.until("new session")
        t.process.send_signal(getattr(signal, how))
        await t.end()
        with trio.fail_after(FAILSAFE):
            while b"\x1b[?1049l" not in t.bytes:
                await trio.sleep(0.02)
                t.bytes += os.read(t.leader, 65536)
        assert b"\x1b[?25h" in t.bytes


async def test_a_storm_of_interrupts_leaves(tmp_path: Path) -> None:
    async with terminal(tmp_path, "tui") as t:
        await t.until("new session", "sandbox")
        for _ in range(10):
            t.process.send_signal(signal.SIGINT)
            await trio.sleep(0.1)  # those that come while the interpreter is busy are one
        # One that comes when everything is closed already ends the interpreter itself.
        assert await t.end() in (0, 130, -signal.SIGINT)


async def test_no_colour_when_none_is_wanted(tmp_path: Path) -> None:
    async with terminal(tmp_path, "tui", NO_COLOR="1") as t:
        await t.until("new session")
        t.type("hello\r")
        await t.until("The end.")
        assert not [p for p in (b"\x1b[38;", b";38;5;", b"\x1b[31m", b";31m") if p in t.bytes]


async def test_a_theme_of_ones_own_is_drawn_and_read_again(tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "codetether-agent" / "themes"
    folder.mkdir(parents=True)
    (folder / "mine.toml").write_text("assistant_color = [1, 2, 3]\n")
    settings = '[plugins."modes:tui"]\ntheme = "mine"\n'
    async with terminal(tmp_path, "tui", settings=settings, COLORTERM="truecolor") as t:
        await t.until("new session")
        assert b"38;2;1;2;3" in t.bytes
        (folder / "mine.toml").write_text("assistant_color = [4, 5, 6]\n")
        with trio.fail_after(FAILSAFE):
            while b"38;2;4;5;6" not in t.bytes:
                await t._read()


async def test_the_colours_are_those_for_the_background_that_the_terminal_has(
    tmp_path: Path,
) -> None:
    async with terminal(tmp_path, "tui", COLORTERM="truecolor") as t:
        t.type("\x1b]11;rgb:ffff/ffff/ffff\x1b\\\x1b[?62;22c")  # as it will be asked
        await t.until("new session")
        assert b"\x1b]11;?" in t.bytes
        assert b"38;2;31;35;40" in t.bytes  # the text of `light`


async def test_code_has_its_own_colours(tmp_path: Path) -> None:
    async with terminal(tmp_path, "tui", COLORTERM="truecolor") as t:
        await t.until("new session")
        t.type("fix add\r")
        await t.until("Allow edit calc.py?")
        await trio.sleep(0.5)  # a key that comes at once answers nothing
        t.type("y")
        await t.until("It adds now.", "add(1, 2)")
        assert b"38;2;165;214;255" in t.bytes  # a number in Pygments' `github-dark`


def test_without_a_terminal_it_says_what_to_do(tmp_path: Path) -> None:
    for word in ("tui", "repl"):
        done = subprocess.run(
            [PROGRAM, word], stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, check=False,
        )  # fmt: skip
        assert done.returncode == 2
        assert "codetether exec" in done.stderr


async def test_line_by_line(tmp_path: Path) -> None:
    async with terminal(tmp_path, "repl", size=(100, 60)) as t:
        await t.until("> ")
        t.type("fix add\r")
        await t.until("Allow edit calc.py?", "+    return a + b")
        await trio.sleep(0.2)
        t.type("y\r")
        await t.until("It *adds* now.", "done ·")
        t.type("/agent\r")
        await t.until("number or name")
        t.type("plan\r")
        await t.until("· plan ·")
        t.type("wait\r")
        await t.until("✗ bash")
        await t.until("done · 2 steps")
        t.type("/nosuch\r")
        await t.until("error: there is no command /nosuch")
        await t.prompted()  # a Ctrl-D before that is the terminal's own, and lost
        t.type("\x04")
        assert await t.end() == 0
        assert b"\x1b[?1049h" not in t.bytes

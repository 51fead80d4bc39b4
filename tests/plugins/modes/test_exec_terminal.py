"""exec in a terminal of its own: questions, Ctrl-C, TERM, and a terminal left as it was found."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from contextlib import contextmanager

import pytest

SCRIPT = {
    "replies": [
        {
            "text": "I write.",
            "calls": [
                {"name": "write_file", "arguments": {"path": "made.txt", "content": "made\n"}}
            ],
        },
        {"text": "The end."},
    ]
}


class Terminal:
    def __init__(self, leader: int, process: subprocess.Popen[bytes]) -> None:
        self.leader, self.process, self.text = leader, process, ""

    def until(self, wanted: str, seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while wanted not in re.sub(r"\x1b\[\d*m", "", self.text):
            assert time.monotonic() < end, self.text
            assert self.read(), self.text

    def read(self, seconds: float = 120) -> bool:
        if not select.select([self.leader], [], [], seconds)[0]:
            return False
        try:
            piece = os.read(self.leader, 65536)
        except OSError:  # Linux: everybody on the other side is gone
            return False
        self.text += piece.decode(errors="replace")
        return bool(piece)

    def type(self, text: str) -> None:
        os.write(self.leader, text.encode())

    def end(self) -> int:
        while self.process.poll() is None:
            self.read(0.1)
        while self.read(0):  # what it wrote at the very end
            pass
        return self.process.returncode


@contextmanager
def terminal(home, *words, **env):
    """codetether in a terminal that is its controlling one; the terminal must be as before when it ends."""
    script = home / "script.json"
    script.write_text(json.dumps(SCRIPT))
    leader, follower = pty.openpty()
    before = termios.tcgetattr(follower)
    argv = [sys.executable, "-m", "codetether", *words, "-m", f"scripted/file:{script}"]
    process = subprocess.Popen(
        argv, cwd=home, env={**os.environ, "HOME": str(home), "TERM": "xterm", **env},
        preexec_fn=lambda: os.login_tty(follower), close_fds=False,
    )  # fmt: skip
    try:
        yield Terminal(leader, process)
        assert process.poll() is not None
        assert termios.tcgetattr(follower) == before
    finally:
        process.kill()
        process.wait()
        os.close(follower)
        os.close(leader)


def test_a_person_says_yes(home):
    with terminal(home, "exec", "write it") as screen:
        screen.until("made.txt")
        screen.until("> ")
        assert not (home / "made.txt").exists()
        screen.type("y\n")
        assert screen.end() == 0
    assert (home / "made.txt").read_text() == "made\n"
    assert "The end." in screen.text


def test_a_person_says_no(home):
    with terminal(home, "exec", "write it") as screen:
        screen.until("> ")
        screen.type("n not here\n")
        assert screen.end() == 0
    assert not (home / "made.txt").exists()


def test_ctrl_c_at_the_question(home):
    with terminal(home, "exec", "write it") as screen:
        screen.until("> ")
        screen.type("\x03")
        assert screen.end() == 130
    assert not (home / "made.txt").exists()
    assert "Traceback" not in screen.text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_the_spinner_turns(home, number):
    with terminal(home, "exec", "write it", CODETETHER_SCRIPTED_DELAY="50") as screen:
        screen.until("waiting for the model")
        screen.process.send_signal(number)
        assert screen.end() == 130
    assert "stopped" in screen.text.rpartition("waiting for the model")[2]
    assert not re.findall(r"\x1b\[\?", screen.text), "no mode of the terminal was ever changed"


def test_window_size_storm(home):
    with terminal(home, "exec", "write it", CODETETHER_SCRIPTED_DELAY="0.3") as screen:
        screen.until("waiting for the model")
        for number in range(60):
            termios.tcsetwinsize(screen.leader, (24, 10 + number % 40))
            screen.process.send_signal(signal.SIGWINCH)
        screen.until("> ")
        screen.type("y\n")
        assert screen.end() == 0

"""What the full screen loads before anything is said: all of it makes a person wait for the first frame. No clock is
read here.
"""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import termios

import pytest

DUMP = """
import signal, sys
def dump(*_):
    with open(sys.argv[1], "w") as file:
        print(*sys.modules, file=file)
    signal.raise_signal(signal.SIGKILL)
signal.signal(signal.SIGUSR1, dump)
from codetether.__main__ import main
main(["tui", "-m", "local/x"])
"""
UNSEEN = {
    "asyncio.sslproto", "difflib", "httpx", "markdown_it", "prompt_toolkit.shortcuts", "pygments", "rich", "ssl",
    "trio._dtls", "trio._ssl", "wcwidth._width", "xml.dom.minidom",
}  # fmt: skip


@pytest.fixture
def terminal():
    """Our end of a pseudo terminal, and the program's."""
    leader, follower = pty.openpty()
    termios.tcsetwinsize(leader, (40, 120))
    yield leader, follower
    os.close(leader)


def test_the_first_frame_loads_what_it_shows(home, terminal):
    leader, follower = terminal
    work = home / "work"
    work.mkdir()
    env = {
        **os.environ, "CODETETHER_SANDBOX": "none", "CODETETHER_LOCAL_BASE_URL": "http://127.0.0.1:9/v1",
        "TERM": "xterm-256color",
    }  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-c", DUMP, str(home / "modules")], env=env, cwd=work,
        preexec_fn=lambda: os.login_tty(follower),
    ) as program:  # fmt: skip
        os.close(follower)
        seen = b""
        while b"> " not in seen:
            piece = os.read(leader, 65536)
            if b"\x1b[c" in piece:  # what are you?
                os.write(leader, b"\x1b[?62;22c")
            seen += piece
        program.send_signal(signal.SIGUSR1)
        program.wait()
    modules = set((home / "modules").read_text().split())
    assert "prompt_toolkit.application" in modules
    assert not UNSEEN & modules

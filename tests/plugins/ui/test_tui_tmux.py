"""The full screen in a real terminal multiplexer: a whole piece of work, small and large, light and dark, with snapshots.

`UPDATE_GOLDEN=1` writes the snapshots anew. What differs from run to run (ids, times, sizes of contexts) is masked.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import debian
import pytest
from adder import SCRIPT

PROGRAM = Path(sys.executable).with_name("codetether")
SNAPSHOTS = Path(__file__).parent / "snapshots"
FAILSAFE = 60
MASKS = (
    (re.compile("[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]"), "⠋"),
    (re.compile(r"/tmp/\S+"), "/tmp/…"),
    (re.compile(r"#[0-9a-f]{4}\b"), "#0000"),
    (re.compile(r" \d+(\.\d+)? ?m?s(?=[ │]|$)", re.MULTILINE), lambda found: " " * len(found[0])),
    (re.compile(r"\d+(\.\d+)?k"), lambda found: "0" * len(found[0])),
)


class Tmux:
    """One program in a pane of its own server."""

    def __init__(self, home: Path, columns: int, rows: int, theme: str) -> None:
        program, libraries = debian.program("tmux", "tmux", "libevent-core-2.1-7", "libutempter0")
        self._words = [program, "-L", f"codetether-{os.getpid()}-{home.name}", "-f", "/dev/null"]
        self._env = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8"} | libraries
        work = home / "work"
        work.mkdir()
        (work / "calc.py").write_text("def add(a, b):\n    return a - b\n")
        (home / "s.toml").write_text(SCRIPT)
        config = home / ".config" / "codetether-agent"
        config.mkdir(parents=True)
        (config / "config.toml").write_text(
            f'sandbox = "none"\naccess = "ask"\n[plugins."modes:tui"]\ntheme = "{theme}"\n'
        )
        self.calc = work / "calc.py"
        command = f"exec {PROGRAM} tui -m scripted/file:../s.toml"
        self._tmux(
            "new-session", "-d", "-x", str(columns), "-y", str(rows), "-c", str(work), command
        )
        self._tmux("set", "-g", "remain-on-exit", "on")

    def _tmux(self, *words: str) -> str:
        done = subprocess.run(
            [*self._words, *words], env=self._env, capture_output=True, text=True, timeout=30, check=True
        )  # fmt: skip
        return done.stdout

    def type(self, *keys: str) -> None:
        """Keys as tmux names them; what it does not know is typed as it stands."""
        self._tmux("send-keys", *keys)

    @property
    def screen(self) -> str:
        return self._tmux("capture-pane", "-p")

    @property
    def colours(self) -> str:
        return self._tmux("capture-pane", "-p", "-e")

    def until(self, *wanted: str, gone: tuple[str, ...] = ()) -> str:
        ends = time.monotonic() + FAILSAFE
        while True:
            screen = self.screen
            if all(each in screen for each in wanted) and not any(each in screen for each in gone):
                return screen
            assert time.monotonic() < ends, f"{wanted} without {gone}, in:\n{screen}"
            time.sleep(0.05)

    def close(self) -> None:
        subprocess.run(
            [*self._words, "kill-server"],
            env=self._env,
            capture_output=True,
            timeout=30,
            check=False,
        )


@pytest.fixture(params=[(80, 24, "dark"), (200, 50, "light")], ids=["80x24", "200x50"])
def tmux(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tmux]:
    one = Tmux(tmp_path, *request.param)
    try:
        yield one
    finally:
        one.close()


def settled(tmux: Tmux) -> str:
    """The screen when it is twice the same but for what the masks hide."""
    ends = time.monotonic() + FAILSAFE
    before = ""
    while (now := masked(tmux.screen)) != before:
        assert time.monotonic() < ends, f"never at rest:\n{now}"
        before = now
        time.sleep(0.3)
    return now


def masked(screen: str) -> str:
    for pattern, instead in MASKS:
        screen = pattern.sub(instead, screen)
    return "\n".join(line.rstrip() for line in screen.splitlines()).rstrip() + "\n"


def same(tmux: Tmux, request: pytest.FixtureRequest, name: str) -> None:
    path = SNAPSHOTS / f"{name}-{request.node.callspec.id}.txt"
    screen = settled(tmux)
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(screen, "utf-8")
    assert screen == path.read_text("utf-8"), screen


def test_a_whole_piece_of_work(tmux: Tmux, request: pytest.FixtureRequest) -> None:
    tmux.until("new session", "scripted")
    tmux.type("fix add", "Enter")
    tmux.until("Allow edit calc.py?", "2 +     return a + b")
    same(tmux, request, "asked")
    time.sleep(0.5)  # a key that comes at once answers nothing
    tmux.type("y")
    tmux.until("It adds now.", "│ a + b", gone=("Allow edit",))
    assert "a + b" in tmux.calc.read_text()
    same(tmux, request, "fixed")
    assert "\x1b[4" in tmux.colours or "\x1b[3" in tmux.colours

    tmux.type("wait", "Enter")
    tmux.until("Allow bash")
    time.sleep(0.5)
    tmux.type("y")
    tmux.until("begun", "Esc stops")
    tmux.type("Escape")
    tmux.until("stopped")
    tmux.type("/rewind", "Enter")
    tmux.until("Rewind to before")
    tmux.type("Down", "Enter")
    tmux.until("fix add", "taken back", gone=("Rewind to",))
    assert "a - b" in tmux.calc.read_text()
    same(tmux, request, "rewound")

    tmux.type("C-u")
    tmux.type("/sessions", "Enter")
    tmux.until("Sessions 1", "▶ fix add")
    tmux.type("Enter")
    tmux.until("It adds now.", "Cancelled by the person", gone=("Sessions 1",))
    tmux.type("and on", "Enter")
    tmux.until("The end.")


def test_help_and_themes(tmux: Tmux, request: pytest.FixtureRequest) -> None:
    tmux.until("new session", "scripted")
    tmux.type("?")
    tmux.until("Esc closes")
    same(tmux, request, "help")
    tmux.type("Escape")
    tmux.until(gone=("Esc closes",))
    before = tmux.colours
    tmux.type("/theme high-contrast", "Enter")
    ends = time.monotonic() + FAILSAFE
    while tmux.colours == before or "/theme" in tmux.screen:
        assert time.monotonic() < ends, tmux.screen
        time.sleep(0.05)

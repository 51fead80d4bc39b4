"""The full screen in a pseudo terminal: first frame, a key while text streams in, doing nothing, a long session.

What the program writes is read as bytes. A frame is what comes until nothing came for a few milliseconds; those are not
counted. The model is another process on loopback, which streams 200 deltas a second. Keys that are looked for are Greek
letters, which nothing else writes.
"""

from __future__ import annotations

import os
import pty
import select
import statistics
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from loopback import model
from measuring import CODETETHER, PYTHON, empty_home, tree_memory

QUIET = 0.02
MODEL = "ΩΩΩΩ".encode()  # like nothing that stood there before: it is drawn in one piece
QUESTION, ANSWER = b"\x1b[c", b"\x1b[?62;22c"  # what it is: every terminal answers that
ROUNDS, KEYS, PAGES, IDLE_SECONDS = 9, 200, 90, 10
SERVER = """
import json, sys, trio
from functools import partial

HEAD = b"HTTP/1.1 200 OK\\r\\ncontent-type: text/event-stream\\r\\nconnection: close\\r\\n\\r\\n"

def event(**delta):
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode() + b"\\n\\n"

async def serve(stream):
    data = b""
    while b"\\r\\n\\r\\n" not in data:
        data += await stream.receive_some(65536) or b"\\r\\n\\r\\n"
    try:
        await stream.send_all(HEAD)
        started = trio.current_time()
        for n in range(200 * int(sys.argv[1])):
            await trio.sleep_until(started + n / 200)
            await stream.send_all(event(content=f"word{n} " + ("\\n\\n" if n % 60 == 59 else "")))
    except trio.BrokenResourceError:
        pass
    await stream.aclose()

async def main():
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        print(f"http://127.0.0.1:{listener.socket.getsockname()[1]}", flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel()

trio.run(main)
"""


class Screen:
    """A program in a pseudo terminal of 120 x 40."""

    def __init__(self, argv: list[str], env: Mapping[str, str], cwd: Path) -> None:
        self.leader, follower = pty.openpty()
        termios.tcsetwinsize(self.leader, (40, 120))
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            argv,
            env=dict(env),
            cwd=cwd,
            preexec_fn=lambda: os.login_tty(follower),  # noqa: PLW1509
        )
        os.close(follower)

    def type(self, text: str) -> float:
        """When it was typed."""
        os.write(self.leader, text.encode())
        return time.perf_counter()

    def until(self, wanted: bytes, limit: float = 30) -> float:
        """When `wanted` had been written, looked for from the last frame on."""
        seen, ends = b"", time.perf_counter() + limit
        while wanted not in seen:
            if not self._ready(ends - time.perf_counter()):
                raise TimeoutError(f"{wanted!r} not in {seen[-2000:]!r}")
            seen += self._read()
        return time.perf_counter()

    def frame(self, limit: float = 30) -> float:
        """When the last byte of the next frame came."""
        if not self._ready(limit):
            raise TimeoutError("no frame")
        last = time.perf_counter()
        while self._ready(QUIET):
            self._read()
            last = time.perf_counter()
        return last

    def drain(self) -> None:
        """Read what is there."""
        while self._ready(0):
            self._read()

    def look(self, seconds: float) -> None:
        """Read for so long: a terminal that nobody reads makes the program wait."""
        ends = time.perf_counter() + seconds
        while self._ready(ends - time.perf_counter()):
            self._read()

    def settle(self) -> None:
        """Read until it writes nothing for half a second."""
        while self._ready(0.5):
            self._read()

    def _read(self) -> bytes:
        piece = os.read(self.leader, 65536)
        if QUESTION in piece:
            os.write(self.leader, ANSWER)
        return piece

    def _ready(self, seconds: float) -> bool:
        return bool(select.select([self.leader], [], [], max(seconds, 0))[0])

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.leader)


@contextmanager
def screen(env: Mapping[str, str], cwd: Path, *words: str) -> Iterator[Screen]:
    one = Screen([PYTHON, CODETETHER, "tui", "-m", "local/ΩΩΩΩ", *words], env, cwd)
    try:
        yield one
    finally:
        one.close()


def measure() -> list[tuple[str, str, str, bool]]:
    with model(SERVER, "60") as url, empty_home() as (home, env):
        work = home / "work"
        work.mkdir()
        env |= {
            "CODETETHER_LOCAL_BASE_URL": f"{url}/v1",
            "TERM": "xterm-256color",
            "COLORFGBG": "15;0",
        }
        long = _session(home, work)
        return [
            _first_frame(env, work),
            _keys(env, work),
            *_idle(env, work),
            *_long(env, work, long),
        ]


def _first_frame(env: Mapping[str, str], work: Path) -> tuple[str, str, str, bool]:
    shown, ready, bare = [], [], []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        subprocess.run([PYTHON, "-c", "pass"], env=env, check=True)
        bare.append(time.perf_counter() - started)
        with screen(env, work) as one:
            shown.append(one.until(b"> ") - one.began)
            ready.append(one.until(MODEL) - one.began)
    floor = statistics.median(bare)
    wall, opened = ((statistics.median(each) - floor) * 1000 for each in (shown, ready))
    what = "full screen: its first frame, wall beyond bare python"
    told = f"{wall:.0f} ms (the session is open after {opened:.0f} ms)"
    return what, "<= 350 ms", told, wall <= 350


def _keys(env: Mapping[str, str], work: Path) -> tuple[str, str, str, bool]:
    with screen(env, work) as one:
        one.until(MODEL)
        one.settle()
        one.type("go\r")
        one.until(b"word5")
        waits = []
        for n in range(KEYS):
            letter = chr(0x3B1 + n % 17)
            one.drain()
            typed = one.type(letter)
            waits.append(one.until(letter.encode()) - typed)
            one.look(0.05 + 0.007 * (n % 7))
            if n % 17 == 16:
                one.type("\x15")
                one.look(0.1)
    high = statistics.quantiles(waits, n=20)[-1] * 1000
    middle = statistics.median(waits) * 1000
    what = "full screen: key to redraw while 200 deltas/s stream in, p95"
    return what, "<= 16 ms", f"{high:.1f} ms (median {middle:.1f})", high <= 16


def _idle(env: Mapping[str, str], work: Path) -> list[tuple[str, str, str, bool]]:
    with screen(env, work) as one:
        one.until(MODEL)
        one.settle()
        time.sleep(2)
        before = _cpu(one.process.pid)
        time.sleep(IDLE_SECONDS)
        used = (_cpu(one.process.pid) - before) / IDLE_SECONDS * 1000
        memory = tree_memory(one.process.pid) / 1e6
    return [
        ("full screen: CPU while nothing happens", "<= 5 ms/s", f"{used:.1f} ms/s", used <= 5),
        (
            "full screen: memory of the process tree (PSS) while nothing happens",
            "<= 60 MB",
            f"{memory:.1f} MB",
            memory <= 60,
        ),
    ]


def _cpu(pid: int) -> float:
    spent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(spent[11]) + int(spent[12])) / os.sysconf("SC_CLK_TCK")


def _long(env: Mapping[str, str], work: Path, session: str) -> list[tuple[str, str, str, bool]]:
    opened, empty = [], []
    for _ in range(5):
        with screen(env, work) as one:
            empty.append(one.until(MODEL) - one.began)
        with screen(env, work, "-s", session) as one:
            opened.append(one.until(b"Answer#2499.") - one.began)
            one.settle()
    with screen(env, work, "-s", session) as one:
        one.until(b"Answer#2499.")
        one.settle()
        waits = [-one.type("\x1b[5~") + one.frame() for _ in range(PAGES)]
    wall = (statistics.median(opened) - statistics.median(empty)) * 1000
    rate = 1 / statistics.mean(waits)
    slowest = max(waits) * 1000
    return [
        (
            "full screen: a session of 10,000 messages, its first frame beyond an empty one's",
            "<= 300 ms",
            f"{wall:.0f} ms",
            wall <= 300,
        ),
        (
            "full screen: scrolling through it, a page a key",
            ">= 30 frames/s",
            f"{rate:.0f} frames/s (slowest {slowest:.0f} ms)",
            rate >= 30,
        ),
    ]


def _session(home: Path, work: Path) -> str:
    from bench_resume import filled

    return filled(home / ".local" / "share" / "codetether-agent" / "sessions", work)


if __name__ == "__main__":
    sys.exit(print(measure()))

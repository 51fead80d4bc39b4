"""Where a test runs codetether: its home, its repository, its processes, and what it left on disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import trio
from codetether.testing import ScriptedServer, processes_with
from strict_chat import chat_faults

CODETETHER = str(Path(sys.executable).with_name("codetether"))
FAILSAFE = 120  # seconds; nothing is measured by it
GONE = 5  # seconds for what is being killed to be gone


class Strict(ScriptedServer):
    """A scripted model that remembers whether it was asked in a way a strict vendor would have refused."""

    def __init__(self, replies, **how):
        super().__init__(replies, **how)
        self.faults = []

    def _chat(self, asked):
        self.faults += chat_faults(asked)
        return super()._chat(asked)

    async def __aexit__(self, kind, error, trace):
        # A program that is killed may be in the middle of a request.
        self.surprises = [said for said in self.surprises if " ended " not in said]
        swallowed = await super().__aexit__(kind, error, trace)
        if error is None:
            assert self.faults == []
        return swallowed


class Done(NamedTuple):
    code: int
    out: str
    err: str


class Running:
    """A codetether that was started and not waited for."""

    def __init__(self, process):
        self.process = process
        self.out = self.err = b""

    def signal(self, number):
        self.process.send_signal(number)

    async def until(self, text):
        """Wait until standard output holds `text`."""
        with trio.fail_after(FAILSAFE):
            while text.encode() not in self.out:
                more = await self.process.stdout.receive_some()
                assert more, f"it ended before it said {text!r}:\n{self.out.decode()}"
                self.out += more

    async def end(self):
        """Read all it says, and its exit code (negative: the signal that ended it)."""
        with trio.fail_after(FAILSAFE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._rest)
                async for more in self.process.stdout:
                    self.out += more
            code = await self.process.wait()
        return Done(code, self.out.decode(), self.err.decode())

    async def _rest(self):
        async for more in self.process.stderr:
            self.err += more


class Place:
    def __init__(self, home, work):
        self.home, self.work = home, work
        self.marker = (
            f"XDG_CONFIG_HOME={home}/config"  # children get it, whatever else is taken from them
        )
        self.pids = []
        self.url = ""
        self.settings = home / "config" / "codetether-agent" / "config.toml"
        self.data = home / "data" / "codetether-agent"
        self.sessions = self.data / "sessions"
        work.mkdir()
        self.git("init", "-q")

    # --- the repository ---
    def git(self, *words, cwd=None):
        done = subprocess.run(
            ["git", *words], cwd=cwd or self.work, capture_output=True, text=True, check=True
        )
        return done.stdout

    def write(self, **files):
        """Files of the repository, by name with `__` for `/` and `_dot_` for `.`; committed."""
        for name, text in files.items():
            path = self.work / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "files")

    def set(self, text):
        """The person's own settings."""
        self.settings.parent.mkdir(parents=True, exist_ok=True)
        self.settings.write_text(text)

    # --- programs ---
    @asynccontextmanager
    async def model(self, *replies, **how):
        """A model that says `replies` (or what a function makes of a request); `exec` finds it as local/scripted."""
        script = replies[0] if len(replies) == 1 and callable(replies[0]) else list(replies)
        async with Strict(script, **how) as server:
            self.url = server.url
            yield server

    def env(self, **more):
        given = {
            "CODETETHER_LOCAL_BASE_URL": self.url,
            "CODETETHER_SANDBOX": "none",
            "TERM": "xterm",
        }
        return {
            **os.environ,
            **given,
            **more,
        }  # without a sandbox: these tests are of what the program does itself

    async def start(self, *words, cwd=None, stdin=subprocess.DEVNULL, argv=(), **env):
        """`codetether WORDS...`; `argv` comes before it (another program that runs it)."""
        process = await trio.lowlevel.open_process(
            [*argv, CODETETHER, *words], stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            cwd=cwd or self.work, env=self.env(**env),
        )  # fmt: skip
        self.pids.append(process.pid)
        return Running(process)

    @asynccontextmanager
    async def running(self, *words, **how):
        """A started codetether, killed when the test is through with it."""
        run = await self.start(*words, **how)
        try:
            yield run
        finally:
            with trio.CancelScope(shield=True):
                if run.process.poll() is None:
                    run.process.kill()
                await run.process.wait()
                for stream in (run.process.stdout, run.process.stderr):
                    await stream.aclose()

    async def __call__(self, *words, **how):
        """Run codetether to its end."""
        async with self.running(*words, **how) as run:
            return await run.end()

    async def exec(self, *words, **how):
        """`codetether exec -m local/scripted WORDS...` to its end."""
        return await self("exec", "-m", "local/scripted", *words, **how)

    # --- what is left ---
    def session_files(self):
        return sorted(self.sessions.glob("*.jsonl"))

    def newest(self):
        """The session written last; names tell the second only."""
        return max(self.sessions.glob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns)

    def records(self, path=None):
        """The lines of a session (default: the only one), each of which must be whole."""
        if path is None:
            (path,) = self.session_files()
        return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]

    def messages(self, path=None):
        return [record["message"] for record in self.records(path) if record["kind"] == "message"]

    def left(self):
        """Processes of this place that still run: children by their environment, guards by whom they guard."""
        found = processes_with(self.marker)
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = entry.read_bytes().split(b"\0")
            except OSError:
                continue
            if b"codetether-guard" in words and any(
                word.startswith(f"{pid}-".encode()) for word in words for pid in self.pids
            ):
                found[int(entry.parent.name)] = "guard"
        return found

    def assert_nothing_left(self):
        until = time.monotonic() + GONE
        while (found := self.left()) and time.monotonic() < until:
            time.sleep(0.02)
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        assert found == {}


def calls_of(messages):
    return [part for m in messages for part in m["parts"] if part["type"] == "tool_call"]


def results_of(messages):
    return [
        {"ok": True, **part}
        for m in messages
        for part in m["parts"]
        if part["type"] == "tool_result"
    ]


def assert_answered(messages):
    """Every call that was written to its end has exactly one result, in order."""
    whole = [message for message in messages if not message.get("interrupted")]
    assert [part["id"] for part in calls_of(whole)] == [
        part["call_id"] for part in results_of(messages)
    ]


def text_of(message):
    """What one message says, without calls and results."""
    return "".join(part["text"] for part in message["parts"] if part["type"] == "text")

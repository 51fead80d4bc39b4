"""A NATS server, swarm workers as processes of their own, and a kernel that hands them tasks."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import threading
from argparse import ArgumentParser
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from codetether.api import AgentTask
from codetether.testing import Reply, call, make_kernel
from codetether.words import Usage

_spec = importlib.util.spec_from_file_location(
    "nats_server", Path(__file__).parents[2] / "peers" / "nats_server.py"
)
nats_server = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(nats_server)
NatsServer = nats_server.NatsServer

WORKS = ["executors:local", "modes:swarm-worker", "sandboxes", "tools:write_file", "tools:bash", "tools:read_file"]  # fmt: skip
HANDS_IN = ["executors", "modes:swarm", "sandboxes", "tools:bash", "tools:write_file"]
LEASE = 1.5
USAGE = Usage(900, 100)  # of each call of a worker's model
SETTLED = 60  # seconds that nothing here ever takes


def said(request):
    """What a worker's model says: the first line of the prompt is a list of shell commands and of words to end with."""
    text = next(message for message in request.messages if message.role == "user").text
    found = re.search(r"STEPS (\[.*\])", text)
    steps = json.loads(found[1]) if found else ["done"]
    step = steps[min(sum(message.role == "assistant" for message in request.messages), len(steps) - 1)]  # fmt: skip
    if step == "STALL":
        return Reply(stall=True)
    if step == "LONG":
        return "\N{EURO SIGN}" * 600_000
    if step.startswith("$ "):
        calls = call("bash", command=step[2:]).calls
        return Reply(calls=calls, usage=USAGE)
    return Reply(text=step, usage=USAGE)


def steps(*said):
    """A prompt that has the worker's model say so."""
    return f"STEPS {json.dumps(said)}"


async def _work(home, flags):
    async with make_kernel(home, replies=said, plugins=WORKS) as kernel:
        mode = kernel.mode("swarm-worker")
        parser = ArgumentParser()
        mode.arguments(parser)
        return await mode.run(parser.parse_args(flags))


def work():
    """The process of a worker: its home, then its flags."""
    sys.exit(trio.run(_work, Path(sys.argv[1]), sys.argv[2:]))


class Worker:
    """A worker that runs. `lines` is what it said so far."""

    def __init__(self, home, url, *flags, space="codetether", settings="", env=None):
        home.mkdir(parents=True, exist_ok=True)
        if settings:
            config = home / "config" / "codetether-agent" / "config.toml"
            config.parent.mkdir(parents=True)
            config.write_text(f'[plugins."modes:swarm-worker"]\n{settings}\n')
        code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import brokers; brokers.work()"
        self.home = home
        self.lines = []
        self._told = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, home, "--nats", url, "--space", space, *map(str, flags)],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=home, env={**os.environ, **(env or {})},
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self.process.stderr:
            with self._told:
                self.lines.append(line.rstrip())
                self._told.notify_all()
        with self._told:
            self.lines.append("END")
            self._told.notify_all()

    def until(self, text, after=0):
        """The number of lines there are once one has `text`; looked for after so many."""
        with self._told:
            there = self._told.wait_for(
                lambda: any(text in line or line == "END" for line in self.lines[after:]), SETTLED
            )
            assert there, (text, self.lines)
            assert any(text in line for line in self.lines[after:]), (text, self.lines)
            return len(self.lines)

    async def told(self, text):
        """`until`, while tasks of ours go on."""
        return await trio.to_thread.run_sync(self.until, text)

    def send(self, number):
        self.process.send_signal(number)

    def end(self, number=signal.SIGTERM):
        """Its exit code."""
        if self.process.poll() is None:
            self.send(number)
            self.send(signal.SIGCONT)
        code = self.process.wait(SETTLED)
        self._reader.join(SETTLED)
        self.process.stderr.close()
        return code


@asynccontextmanager
async def coordinator(home, url, *, replies=("x",), directory=None, **settings):
    """A kernel whose executor `nats` is at `url`."""
    given = {"url": url, "outage": 30.0, "patience": SETTLED, **settings}
    async with make_kernel(
        home, replies=replies, plugins=HANDS_IN, directory=directory,
        settings={f"executors:nats.{name}": value for name, value in given.items()},
    ) as kernel:  # fmt: skip
        yield kernel


def task(prompt, name="t", directory="/", **more):
    return AgentTask(id=name, prompt=prompt, directory=str(directory), access="auto", **more)


def go(worker):
    """Let what runs in a worker's tree end."""
    for tree in (worker.home / "data").glob("*-workers/*/*/trees/job-*/.git"):
        (tree.parent / "go").touch()

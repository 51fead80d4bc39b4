"""The demo as a person sees it: the shipped script, the real tools, a real repository."""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated

import msgspec
import pytest
from codetether.api import Effect, Tool, ToolOutput
from codetether.testing import make_kernel
from msgspec import Meta

TOOLS = ["tools:read_file", "tools:list_dir", "tools:edit"]
TASK = "The tests fail. Find the bug and fix it."


class Command(msgspec.Struct):
    command: Annotated[str, Meta(description="A command.")]


class Shell(Tool[Command]):
    """Runs the command outside any sandbox: what is examined here is the script."""

    api = 1
    params = Command
    effect = Effect.EXECUTE
    text = "Run a command."

    async def run(self, params, ctx):
        argv = params.command.replace("python3", sys.executable).split()
        done = subprocess.run(argv, cwd=ctx.session.directory, capture_output=True, text=True)
        return ToolOutput(done.stdout + done.stderr, ok=done.returncode == 0)


def repaired(work):
    argv = [sys.executable, "-m", "unittest", "-q"]
    return subprocess.run(argv, cwd=work, capture_output=True).returncode == 0


@pytest.fixture
def demo(tmp_path, monkeypatch):
    """Run the demo with an access mode; the turn's end, the session's messages and the repository."""
    monkeypatch.setenv("CODETETHER_SCRIPTED_DELAY", "0")

    async def run(access):
        work = tmp_path / "work"
        async with make_kernel(
            tmp_path / "home", plugins=TOOLS, extra={"tools:bash": Shell}, directory=work
        ) as kernel:
            for name, data in kernel.provider("scripted").demo_files().items():
                (work / name).parent.mkdir(parents=True, exist_ok=True)
                (work / name).write_bytes(data)
            how = {"directory": work, "model": "scripted/demo", "access": access}
            async with kernel.open_session(**how) as session:
                return await session.prompt(TASK), session.messages, work

    return run


async def test_the_bug_is_found_and_fixed(demo):
    finished, messages, work = await demo("full")
    assert finished.reason == "done"
    assert "All tests pass" in finished.text
    assert "I am a scripted model" in finished.text
    assert repaired(work)
    calls = [tuple(call.name for call in message.calls) for message in messages if message.calls]
    assert calls == [("list_dir", "read_file"), ("bash",), ("read_file",), ("edit",), ("bash",)]
    assert [r.ok for m in messages for r in m.results] == [True, True, False, True, True, True]


async def test_what_is_denied_is_not_claimed(demo):
    finished, messages, work = await demo("ask")
    assert finished.reason == "denied"
    assert "nothing is changed" in finished.text
    assert not repaired(work)
    assert [r.name for m in messages for r in m.results if not r.ok] == ["bash", "edit"]

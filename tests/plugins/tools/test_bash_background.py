"""Background commands of bash: started at once, heard later, ended with the session at the latest."""

from __future__ import annotations

import os
from contextlib import ExitStack, asynccontextmanager

import pytest
import trio
import trio.testing
from codetether.api import Notice
from codetether.testing import ByteServer, call, make_kernel, processes_with, reply
from codetether_tool_bash.interactive import wants_input

TOOLS = ["sandboxes", "tools:bash", "tools:bash_output", "tools:task", "executors"]


@asynccontextmanager
async def session_of(tmp_path, replies, rules=(), **settings):
    given = {f'plugins."tools:bash".{name}': value for name, value in settings.items()}
    given["permissions.rules"] = list(rules)
    async with (
        make_kernel(tmp_path, replies=replies, plugins=TOOLS, settings=given) as kernel,
        kernel.open_session(directory=tmp_path / "work", access="full") as session,
    ):
        yield session


def results(session):
    return [r for m in session.messages if m.role == "tool" for r in m.results]


def asked(session):
    return session.kernel.provider("scripted").asked


async def test_output_comes_later_and_only_once(tmp_path):
    script = [
        reply(call("bash", command="echo one; read x <go; echo two; exit 3", background=True)),
        reply(call("bash_output", id="b1")),
        reply(call("bash_output", id="b1", wait=60)),
        reply(call("bash_output", id="b1")),
        reply(call("bash_output")),
        "done",
    ]
    async with session_of(tmp_path, script) as session:
        os.mkfifo(session.directory / "go")
        session.beside(lambda: go_when_awaited(session))
        assert (await session.prompt("go")).reason == "done"
    first, second, third, fourth, listed = results(session)
    heard = first.text + second.text
    assert heard.count("one\n") == 1
    assert "[b1: running for 0 s]" in first.text
    assert first.meta["running"]
    assert third.text == "two\n[b1: exit 3 after 0 s]"
    assert (third.ok, third.meta["exit_code"]) == (False, 3)
    assert fourth.text == "(no new output)\n[b1: exit 3 after 0 s]"
    assert listed.text.startswith("b1: exit 3 after 0 s: echo one;")
    assert not any("Background command" in m.text for m in session.messages)  # it looked itself


async def go_when_awaited(session):
    """Once the first look is over and the second waits for the end."""
    while not session.state.get("tools:bash") or len(results(session)) < 2:
        await trio.sleep(0.01)
    while not session.state["tools:bash"].all["b1"].awaited:
        await trio.sleep(0.01)
    (session.directory / "go").write_text("\n")


async def test_the_model_is_told_once_when_one_ends(tmp_path):
    script = [
        reply(call("bash", command="read x <go; echo over", background=True)),
        reply(call("bash", command="echo >go; while [ -e busy ]; do sleep 0.02; done")),
        "first",
        "second",
    ]
    async with session_of(tmp_path, script) as session:
        os.mkfifo(session.directory / "go")
        (session.directory / "busy").touch()
        session.beside(lambda: free_when_over(session))
        await session.prompt("go")
        last = asked(session)[-1].messages
        notice = "[Background command b1 (read x <go; echo over): exit 0 after 0 s. Its output: bash_output.]"
        assert last[-1].text == notice
        await session.prompt("more")
        assert sum(m.text.count(notice) for m in asked(session)[-1].messages) == 1


async def free_when_over(session):
    while not (jobs := session.state.get("tools:bash")):
        await trio.sleep(0.01)
    await jobs.all["b1"].over.wait()
    await trio.testing.wait_all_tasks_blocked(0.02)
    (session.directory / "busy").unlink()


async def test_kill_ends_all_it_started(tmp_path):
    script = [
        reply(call("bash", command="MINE=kill-1 setsid sleep 900 & MINE=kill-1 sleep 900", background=True)),
        reply(call("bash_output", id="b1", kill=True)),
        reply(call("bash_output", id="b9")),
        "done",
    ]  # fmt: skip
    async with session_of(tmp_path, script) as session:
        await session.prompt("go")
        assert not processes_with("MINE=kill-1")
    killed, unknown = results(session)[1:]
    assert "[b1: killed]" in killed.text
    assert killed.ok
    assert "There is no background command 'b9': b1." in unknown.text


async def test_none_outlives_the_session_and_the_person_is_told(tmp_path):
    script = [
        reply(call("bash", command="MINE=end-1 sleep 900", background=True)),
        "done",
    ]
    with ExitStack() as stack:
        async with session_of(tmp_path, script) as session:
            feed = stack.enter_context(session.feed.listen(1000))
            await session.prompt("go")
            assert processes_with("MINE=end-1")
        heard = [event async for event in feed]
    assert not processes_with("MINE=end-1")
    texts = [event.text for event in heard if isinstance(event, Notice)]
    assert "background command b1 was ended with the session: MINE=end-1 sleep 900" in texts


async def test_limits(tmp_path):
    script = [
        reply(call("bash", command="sleep 900", background=True)),
        reply(call("bash", command="sleep 900", background=True)),
        reply(call("bash_output", id="b1", wait=60)),
        reply(call("bash", command="no-such-program", background=True)),
        reply(call("bash", command="seq 30000", background=True)),
        "done",
    ]
    async with session_of(tmp_path, script, background_at_once=1, background_seconds=1) as session:
        await session.prompt("go")
    _, many, long, wrong, much = results(session)
    assert many.text == "Too many background commands run (b1). Kill one with bash_output."
    assert "[b1: ended after 1 s, the most a background command may take]" in long.text
    assert "[b2: exit 127 after 0 s]" in wrong.text  # told at once
    assert "bytes left out here]" in much.text
    assert "30000\n[b3: exit 0" in much.text


async def test_a_sub_agents_commands_end_with_it(tmp_path):
    def answer(request):
        last = request.messages[-1]
        if last.text == "go":
            return reply(call("task", description="x", prompt="start it", agent="build"))
        if last.text == "start it":
            return reply(call("bash", command="MINE=sub-1 sleep 900", background=True))
        if last.role == "tool" and "running" in last.results[0].text:
            assert processes_with("MINE=sub-1")
        return "done"

    async with session_of(tmp_path, answer) as session:
        assert (await session.prompt("go")).reason == "done"
        assert not processes_with("MINE=sub-1")


@pytest.mark.parametrize(
    "command",
    [
        "git -c user.name=x -c user.email=y commit --allow-empty",
        "git -c credential.helper= clone http://127.0.0.1:{port}/x.git",
        "cat </dev/tty",
        "python3 -c 'input()'",
        "stty -F /dev/tty",
    ],
)
async def test_who_asks_a_person_ends_at_once_and_is_explained(tmp_path, command):
    locked = (
        b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=x\r\n"
        b"Content-Length: 0\r\nConnection: close\r\n\r\n"
    )
    async with ByteServer(lambda request: [locked]) as server:
        command = f"git init -q .; {command.format(port=server.url.rpartition(':')[2])}"
        script = [reply(call("bash", command=command)), "done"]
        rule = {"tool": "bash", "command": command, "verdict": "allow"}
        async with session_of(tmp_path, script, [rule], network=True) as session:
            with trio.fail_after(20):
                await session.prompt("go")
    (result,) = results(session)
    assert not result.ok
    assert "[it asked for input: nobody can answer." in result.text, result.text


def test_an_ordinary_failure_is_not_taken_for_a_question():
    assert not wants_input("AssertionError: 1 != 2\nFAILED tests/test_a.py")

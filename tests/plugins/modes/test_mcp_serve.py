"""Our tools over standard input and output, with the SDK's client: what it gets, what it may do, how it ends."""

import json
import signal
import subprocess
import sys

import mcp_types as types
import pytest
import trio
from codetether.api import Kernel, Transcript
from codetether.testing import ScriptedServer, call, check_plugin, processes_with
from codetether_mode_mcp.client import MOST_CALLS
from jsonschema import Draft202012Validator
from mcp import MCPError
from mcp_serving import (
    CODETETHER,
    ERAS,
    FAILSAFE,
    Person,
    environment,
    in_process,
    over_stdio,
    rest,
    text,
)

HELLO = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "raw", "version": "1"},
}


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.setenv("CODETETHER_SANDBOX", "none")
    work = tmp_path / "work"
    work.mkdir()
    (work / "a.txt").write_text("hello\n")
    return work


def transcripts(home):
    return sorted((home / "data" / "codetether-agent" / "sessions").glob("*.jsonl"))


def sleeping(home):
    """The commands of a test that still run."""
    running = processes_with(f"XDG_CONFIG_HOME={home}/config").values()
    return [command for command in running if command.startswith("sleep 4242")]


def test_contract():
    check_plugin("mcp", "codetether.modes")


@pytest.mark.parametrize("era", ERAS)
async def test_a_client_reads_edits_and_runs_and_it_is_on_record(home, work, era):
    """As a child process, over standard input and output; the user's list names the server itself."""
    listed = home / "config" / "codetether-agent" / "mcp.json"
    listed.parent.mkdir(parents=True)
    own = {"command": CODETETHER, "args": ["mcp", "serve"]}
    listed.write_text(json.dumps({"mcpServers": {"own": own}}))
    async with over_stdio(home, work, "--access-mode", "full", era=era) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert {"read_file", "edit", "bash", "grep"} <= tools.keys()
        assert not {"task", "swarm", "rlm"} & tools.keys()  # they need a model
        assert not any(
            name.startswith("mcp") for name in tools
        )  # no other server's, nor its own again
        for tool in tools.values():
            Draft202012Validator.check_schema(tool.input_schema)
            assert tool.input_schema["type"] == "object"
        assert tools["read_file"].annotations.read_only_hint
        assert tools["edit"].annotations.destructive_hint
        assert not tools["batch"].annotations.read_only_hint  # what it starts may do more

        assert "hello" in text(await client.call_tool("read_file", {"path": "a.txt"}))
        edit = {"path": "a.txt", "old_string": "hello", "new_string": "goodbye"}
        assert not (await client.call_tool("edit", edit)).is_error
        ran = await client.call_tool("bash", {"command": "cat a.txt; echo error >&2; exit 3"})
        assert "goodbye" in text(ran)
        undone = await client.call_tool("undo", {"action": "undo", "turn": 1})
        assert not undone.is_error, text(undone)
    assert (work / "a.txt").read_text() == "hello\n"
    (transcript,) = transcripts(home)
    record = transcript.read_text()
    for word in ("read_file", "old_string", "goodbye", "over MCP"):
        assert word in record
    assert [json.loads(line)["kind"] for line in record.splitlines()].count("message") == 9


async def test_nothing_outside_of_the_workspace(work):
    (work.parent / "secret.txt").write_text("secret\n")
    (work / "link").symlink_to(work.parent / "secret.txt")
    async with in_process(work, "--access-mode", "full") as client:
        for path in ("../secret.txt", str(work.parent / "secret.txt"), "link"):
            result = await client.call_tool("read_file", {"path": path})
            assert result.is_error
            assert "secret\n" not in text(result)
        outside = await client.call_tool("write_file", {"path": "../new.txt", "content": "x"})
        assert outside.is_error
    assert not (work.parent / "new.txt").exists()


async def test_what_nobody_can_approve_is_denied_and_a_wrong_call_is_explained(work):
    async with in_process(work) as client:
        denied = await client.call_tool("bash", {"command": "touch made"})
        assert denied.is_error
        assert "Denied" in text(denied)
        assert "nobody is there to ask" in text(denied)
        with pytest.raises(MCPError, match="read_file"):
            await client.call_tool("read_fil", {"path": "a.txt"})
        wrong = await client.call_tool("read_file", {"path": "a.txt", "colour": "red"})
        assert wrong.is_error
        assert "colour" in text(wrong)
    assert not (work / "made").exists()


async def test_with_no_ask_nobody_is_asked(work):
    person = Person()
    async with in_process(work, "--no-ask", person=person) as client:
        assert "Denied" in text(await client.call_tool("bash", {"command": "touch made"}))
    assert person.asked == []


@pytest.mark.parametrize("era", ERAS)
async def test_a_person_is_asked_by_way_of_the_client(work, era):
    no = types.ElicitResult(action="decline")
    odd = types.ElicitResult(action="accept", content={"answer": "project"})
    person = Person("once", no, odd, "session")
    async with in_process(work, era=era, person=person) as client:
        assert not (await client.call_tool("bash", {"command": "touch one"})).is_error
        assert "Denied" in text(await client.call_tool("bash", {"command": "touch two"}))
        assert "Denied" in text(await client.call_tool("bash", {"command": "touch three"}))
        for _ in range(2):  # granted for the session, it is not asked again
            assert not (await client.call_tool("bash", {"command": "touch four"})).is_error
    assert sorted(path.name for path in work.iterdir()) == ["a.txt", "four", "one"]
    assert len(person.asked) == 4
    assert "touch one" in person.asked[0].message
    schema = person.asked[0].requested_schema
    assert schema["properties"]["answer"]["enum"] == ["once", "session", "deny"]  # never for good


async def test_what_a_sub_agent_wants_is_asked_too(work, monkeypatch):
    def answer(asked):
        done = asked["messages"][-1]["role"] == "tool"
        return "It is made." if done else call("bash", command="touch made")

    person = Person("once")
    arguments = {"description": "make it", "prompt": "Make it.", "agent": "build"}
    async with ScriptedServer(answer) as server:
        monkeypatch.setenv("CODETETHER_LOCAL_BASE_URL", f"{server.url}/v1")
        async with in_process(work, "-m", "local/x", person=person) as client:
            assert text(await client.call_tool("task", arguments)) == "It is made."
    assert "touch made" in person.asked[0].message
    assert (work / "made").exists()


@pytest.mark.parametrize("era", ERAS)
async def test_an_answer_that_comes_too_late_allows_nothing(home, work, era):
    async def late(context, params):
        while "Denied" not in transcripts(home)[0].read_text():
            await trio.sleep(0.02)
        return types.ElicitResult(action="accept", content={"answer": "once"})

    words = ("--ask-timeout", "0.1")
    async with in_process(work, *words, era=era, person=late) as client:
        result = await client.call_tool("bash", {"command": "touch made"})
        assert result.is_error
        assert ("Denied" if era == "legacy" else "Nobody waits") in text(result)
        assert not (work / "made").exists()


async def test_the_end_of_a_command_in_the_background_is_told_with_a_later_answer(work):
    async with in_process(work, "--access-mode", "full") as client:
        await client.call_tool("bash", {"command": "sleep 0.5; exit 3", "background": True})
        said = ""
        while "Background command b1" not in said:
            said = text(await client.call_tool("read_file", {"path": "a.txt"}))
        assert said.startswith("1|hello")


async def test_more_calls_than_may_be_open_are_refused_at_once(work):
    results = []
    async with in_process(work, "--access-mode", "full") as client:

        async def wait():
            command = "until [ -e go ]; do sleep 0.05; done"
            results.append(await client.call_tool("bash", {"command": command}))

        async with trio.open_nursery() as nursery:
            for _ in range(MOST_CALLS + 3):
                nursery.start_soon(wait)
            while len(results) < 3:
                await trio.sleep(0.02)
            (work / "go").touch()
    refused = [text(result) for result in results if result.is_error]
    assert len(refused) == 3
    assert all("open already" in each for each in refused)
    assert len(results) == MOST_CALLS + 3


async def test_a_fault_costs_one_call_and_not_the_server(work, monkeypatch):
    whole, broken = Transcript.append_message, []

    def once(self, message):
        if message.role == "assistant" and not broken:
            broken.append(message)
            raise RuntimeError("a bug")
        return whole(self, message)

    monkeypatch.setattr(Transcript, "append_message", once)
    async with in_process(work) as client:
        failed = await client.call_tool("read_file", {"path": "a.txt"})
        assert failed.is_error
        assert "a bug" in text(failed)
        assert "hello" in text(await client.call_tool("read_file", {"path": "a.txt"}))


async def test_progress_is_told_while_it_runs(work):
    heard = []
    go = work / "go"

    async def progress(count, total, message):
        heard.append((count, message))
        go.touch()

    async with in_process(work, "--access-mode", "full") as client:
        command = "echo begun; until [ -e go ]; do sleep 0.05; done; echo over"
        result = await client.call_tool("bash", {"command": command}, progress_callback=progress)
    assert "over" in text(result)
    assert "begun" in heard[0][1]
    assert [count for count, _ in heard] == sorted({count for count, _ in heard})


async def test_a_cancelled_call_ends_its_children_and_the_rest_goes_on(home, work):
    started = trio.Event()

    async def progress(count, total, message):
        started.set()

    async with over_stdio(home, work, "--access-mode", "full") as client:
        async with trio.open_nursery() as nursery:
            command = "echo begun; sleep 4242 & sleep 4242"
            nursery.start_soon(
                lambda: client.call_tool("bash", {"command": command}, progress_callback=progress)
            )
            await started.wait()
            while len(sleeping(home)) < 2:
                await trio.sleep(0.05)
            nursery.cancel_scope.cancel()
        while sleeping(home):
            await trio.sleep(0.05)
        assert "hello" in text(await client.call_tool("read_file", {"path": "a.txt"}))
    assert "Cancelled before it finished" in transcripts(home)[0].read_text()


async def test_calls_that_look_run_side_by_side_and_one_that_acts_in_its_turn(work):
    """Asked at once: an edit, and then what reads it; the order asked for is the order meant."""
    results = {}

    async with in_process(work, "--access-mode", "full") as client:

        async def call(name, number, **arguments):
            results[number] = text(await client.call_tool(name, arguments))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: call("write_file", 0, path="b.txt", content="written\n"))
            await trio.testing.wait_all_tasks_blocked()
            for number in range(1, 20):
                nursery.start_soon(lambda number=number: call("read_file", number, path="b.txt"))
    assert all("written" in results[number] for number in range(1, 20))


async def test_an_agent_goes_on_with_what_a_client_did(home, work, monkeypatch):
    async with in_process(work, "--access-mode", "full") as client:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(client.call_tool, "read_file", {"path": "a.txt"})
        await client.call_tool("bash", {"command": "echo done by the client"})
    async with ScriptedServer(lambda asked: "It did.") as server:
        monkeypatch.setenv("CODETETHER_LOCAL_BASE_URL", f"{server.url}/v1")
        session = transcripts(home)[0].stem
        async with (
            Kernel.load(work) as kernel,
            kernel.open_session(directory=work, model="local/x", resume=session) as resumed,
        ):
            assert (await resumed.prompt("What was done?")).text == "It did."
        sent = json.dumps(server.asked[-1]["messages"])
    assert sent.count("tool_call_id") == 6
    assert "done by the client" in sent
    assert "interrupted" not in sent


async def test_of_what_an_agent_has_only_the_tools_named(work):
    words = (
        "--agent",
        "explore",
        "--access-mode",
        "full",
        "--tools",
        "read_*,bash",
        "--tools=grep",
    )
    async with in_process(work, *words) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["grep", "read_file"]
        with pytest.raises(MCPError):
            await client.call_tool("bash", {"command": "true"})
    async with in_process(work, "--model", "scripted/x", "--tools", "task") as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["task"]


# --- the wire, by hand -------------------------------------------------------------------------------------------
async def raw(home, work, *words, **more):
    return await trio.lowlevel.open_process(
        [CODETETHER, "mcp", "serve", *words], cwd=work, env=environment(home, **more),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def line(method, number=None, **params):
    message = {"jsonrpc": "2.0", "method": method, "params": params}
    return json.dumps(message if number is None else message | {"id": number}).encode() + b"\n"


BEGIN = line("initialize", 1, **HELLO) + line("notifications/initialized")


async def said(process):
    with trio.fail_after(FAILSAFE):
        out = await rest(process.stdout)
        errors = await rest(process.stderr)
        return await process.wait(), out, errors


async def test_a_script_pipes_its_calls_in_and_standard_output_is_clean(home, work):
    process = await raw(home, work, "--access-mode", "full")
    call = line("tools/call", 2, name="bash", arguments={"command": "echo out; echo err >&2"})
    too_long = b'{"jsonrpc":"2.0","id":9,"method":"' + b"x" * (9 * 1024 * 1024) + b'"}\n'
    await process.stdin.send_all(too_long + BEGIN + b"not json\n\n" + b"[1]\n" + call)
    await process.stdin.aclose()
    code, out, _ = await said(process)
    messages = [json.loads(each) for each in out.splitlines()]
    assert code == 0
    assert sorted(each["id"] for each in messages if each["id"] is not None) == [1, 2]
    wrong = [each["error"]["code"] for each in messages if each["id"] is None]
    assert wrong == [-32600, -32700, -32700]


async def test_a_signal_ends_it_and_what_it_runs(home, work):
    process = await raw(home, work, "--access-mode", "full")
    command = "sleep 4242 & sleep 4242"
    call = line("tools/call", 2, name="bash", arguments={"command": command})
    await process.stdin.send_all(BEGIN + call)
    with trio.fail_after(FAILSAFE):
        while len(sleeping(home)) < 2:
            await trio.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    code, _, errors = await said(process)
    assert code == 130
    assert b"Traceback" not in errors
    assert sleeping(home) == []


PARENT = """
import subprocess, sys, time
child = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE)
child.stdin.write(sys.argv[1].encode()); child.stdin.flush()
time.sleep(600)
"""


async def test_a_client_that_is_killed_leaves_nothing(home, work):
    call = line("tools/call", 2, name="bash", arguments={"command": "sleep 4242 & sleep 4242"})
    serve = [CODETETHER, "mcp", "serve", "--access-mode", "full"]
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", PARENT, (BEGIN + call).decode(), *serve],
        cwd=work, env=environment(home), stdout=subprocess.DEVNULL,
    )  # fmt: skip
    with trio.fail_after(FAILSAFE):
        while len(sleeping(home)) < 2:
            await trio.sleep(0.05)
        process.kill()
        await process.wait()
        while processes_with(f"XDG_CONFIG_HOME={home}/config"):
            await trio.sleep(0.05)


async def test_what_cannot_begin_is_told_before_it_serves(home, work):
    for words, told in (
        (["--tools", "no_such"], b"no tool is served"),
        (["--http", "--host", "0.0.0.0"], b"--allow-remote"),
    ):
        process = await raw(home, work, *words)
        await process.stdin.aclose()
        code, out, errors = await said(process)
        assert code == 2, errors
        assert told in errors
        assert out == b""

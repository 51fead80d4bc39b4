"""lsp with servers that misbehave: each is a clear error for the model, and the next question is served."""

from __future__ import annotations

import json
import os
import resource
import socket
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from codetether import standing
from codetether.testing import make_kernel, processes_with
from codetether.words import ToolCall
from codetether_tool_lsp import connection, crew, server, watch

SERVER = Path(__file__).parents[2] / "peers/lsp_server.py"
PLUGINS = [
    "tools:lsp",
    "tools:edit",
    "tools:write_file",
    "tools:apply_patch",
    "tools:bash",
]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(standing, "PAUSE", 0.01)
    monkeypatch.setattr(watch, "FRESH", 0.0)


@asynccontextmanager
async def session_with(tmp_path, mode, *, access="full", sandbox="none", more=(), **settings):
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    (work / "a.fake").write_text("one\n")
    notes = "/dev/null" if sandbox != "none" else str(tmp_path / "notes")
    command = [os.path.realpath(sys.executable), str(SERVER), mode, notes, *more]
    fake = {"command": command, "extensions": [".fake"], "settings": {"fake": {"a": {"b": 1}}}}
    chosen = {'plugins."tools:lsp"': {"servers": {"fake": fake}, **settings}, "sandbox": sandbox}
    async with (
        make_kernel(
            tmp_path, replies=[], plugins=[*PLUGINS, f"sandboxes:{sandbox}"], settings=chosen
        ) as kernel,
        kernel.open_session(directory=work, access=access) as session,
    ):
        yield session
    assert not processes_with(str(tmp_path))
    assert kernel.host.faults == []


async def use(session, name, **arguments):
    return await session.toolbox.one(ToolCall(session.new_id("call"), name, json.dumps(arguments)))


async def ask(session, operation="definition", **more):
    given = {"path": "a.fake", "line": 1, "column": 1} | more
    return await use(session, "lsp", operation=operation, **given)


def notes(tmp_path, method=""):
    lines = [json.loads(line) for line in (tmp_path / "notes").read_text().splitlines()]
    return [
        line
        for line in lines
        if not method or (isinstance(line, dict) and line["method"] == method)
    ]


@pytest.mark.parametrize(
    ("mode", "why"),
    [
        ("die", "fake: it ended (exit code 3): it is all too much"),
        ("killed", "fake: it ended (signal 9)"),
        ("garbage", "fake: it sent something that is no header"),
        ("huge", "fake: it sent a message of 2147483648 bytes"),
        ("error", "fake: no idea"),
        ("hang", "fake: no answer within 0.3 s"),
        ("odd", "The server's answer cannot be read: it sent something that is no Location."),
    ],
)
async def test_a_failing_server_is_told_and_the_next_question_served(tmp_path, mode, why):
    limit = 0.3 if mode == "hang" else 20.0
    async with session_with(tmp_path, mode, request_seconds=limit) as session:
        failed = await ask(session)
        assert not failed.ok
        assert failed.text.startswith(why)
        after = await ask(session, "hover")
        assert after.text == "one"


async def test_a_flood_is_stopped_and_held_nowhere(tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "FLOOD", 40 << 20)
    async with session_with(tmp_path, "flood") as session:
        assert (await ask(session, "hover")).ok
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        failed = await ask(session)
        assert failed.text == "fake: it sent 40 MB that nobody asked for"
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000  # KiB


async def test_three_falls_are_the_end(tmp_path):
    async with session_with(tmp_path, "die") as session:
        for _ in range(3):
            assert "exit code 3" in (await ask(session)).text
        given_up = await ask(session)
        assert "fake: it ended (exit code 3)" in given_up.text
        assert "not started again" in given_up.text
    assert notes(tmp_path).count("started") == 3


async def test_a_server_that_never_answers_is_ended(tmp_path):
    async with session_with(tmp_path, "hang", request_seconds=0.05) as session:
        for _ in range(3):
            assert "no answer" in (await ask(session)).text
        assert (await ask(session, "hover")).text == "one"  # another one
    assert notes(tmp_path).count("started") == 2
    assert len(notes(tmp_path, "$/cancelRequest")) >= 2


async def test_a_server_that_does_not_start(tmp_path):
    async with session_with(tmp_path, "mute", start_seconds=0.2) as session:
        failed = await ask(session)
        assert "it could not be initialized: no answer within 0.2 s" in failed.text


async def test_a_program_that_is_none(tmp_path):
    async with session_with(tmp_path, "die") as session:
        (tmp_path / "work/b.unknown").write_text("x\n")
        assert (
            "No language server is known for .unknown"
            in (await ask(session, path="b.unknown")).text
        )


async def test_content_modified_is_asked_again(tmp_path):
    async with session_with(tmp_path, "modified") as session:
        assert (await ask(session)).text == "a.fake:1:1 one"
    assert len(notes(tmp_path, "textDocument/definition")) == 3


async def test_what_the_server_asks_is_answered_whatever_its_id(tmp_path):
    async with session_with(tmp_path, "asks") as session:
        assert (await ask(session)).text == "a.fake:1:1 one"
        assert (
            await ask(session, "implementation")
        ).text == "No implementation found."  # it registered that
    said = {line[0]: line[1] for line in notes(tmp_path) if isinstance(line, list)}
    assert said["configuration"]["result"] == [{"b": 1}]
    assert said["register"] == {"jsonrpc": "2.0", "id": "text", "result": None}
    assert said["apply"]["result"] == {
        "applied": False,
        "failureReason": "nobody asked for a change",
    }
    assert said["else"]["error"]["code"] == -32601
    assert said["wrong"]["error"]["code"] == -32603


async def test_cancelling_a_question_tells_the_server(tmp_path):
    async with session_with(tmp_path, "hang") as session:
        await ask(session, "hover")
        with trio.move_on_after(0.2):
            await ask(session)
        assert (await ask(session, "hover")).ok
    (cancelled,) = notes(tmp_path, "$/cancelRequest")
    assert cancelled["params"]["id"] == notes(tmp_path, "textDocument/definition")[0]["id"]


async def test_it_is_shut_down_as_the_protocol_says(tmp_path):
    async with session_with(tmp_path, "good") as session:
        await ask(session)
    methods = [line["method"] for line in notes(tmp_path) if isinstance(line, dict)]
    assert methods[:2] == ["initialize", "initialized"]
    assert methods[-2:] == ["shutdown", "exit"]
    (start,) = notes(tmp_path, "initialize")
    assert start["params"]["rootUri"] == (tmp_path / "work").as_uri()
    assert start["params"]["processId"] is None


async def test_many_questions_start_one_server_and_few_servers_stay(tmp_path):
    async with session_with(tmp_path, "good", most=1) as session:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(ask, session)
        assert notes(tmp_path).count("started") == 1


@pytest.mark.parametrize("mode", ["good", "lingers"])
async def test_idle_servers_end(tmp_path, monkeypatch, mode):
    """A question that comes while one leaves waits, and goes to a new one."""
    monkeypatch.setattr(crew, "CHECK", 0.02)
    async with session_with(tmp_path, mode, idle_minutes=0.005) as session:
        await ask(session)
        with trio.fail_after(20):
            while not notes(tmp_path, "exit"):
                await trio.sleep(0.01)
        assert (await ask(session)).ok
    assert notes(tmp_path).count("started") == 2


# --- files ---
async def test_the_server_knows_what_is_on_the_disk(tmp_path):
    async with session_with(tmp_path, "good") as session:
        await ask(session, "hover")
        (tmp_path / "work/a.fake").write_text("two\n")
        assert (await ask(session, "hover")).text == "two"
        (tmp_path / "work/b.fake").write_text("new\n")
        (tmp_path / "work/a.fake").unlink()
        assert (await ask(session, "hover", path="b.fake")).text == "new"
        assert "a.fake" in (await ask(session, "hover")).text
    (change,) = notes(tmp_path, "textDocument/didChange")
    assert change["params"]["textDocument"]["version"] == 2
    assert len(notes(tmp_path, "textDocument/didClose")) == 1
    assert notes(tmp_path, "textDocument/didSave")[0]["params"]["text"] == "two\n"
    told = [
        (Path(each["uri"]).name, each["type"])
        for line in notes(tmp_path, "workspace/didChangeWatchedFiles")
        for each in line["params"]["changes"]
    ]
    assert told == [("a.fake", 2), ("a.fake", 3), ("b.fake", 1)]


@pytest.mark.parametrize("data", [b"\0\1", b"x" * (5 << 20)])
async def test_what_no_server_should_read_starts_none(tmp_path, data):
    async with session_with(tmp_path, "good") as session:
        (tmp_path / "work/a.fake").write_bytes(data)
        assert not (await ask(session)).ok
        assert not (await ask(session, path="../notes")).ok
    assert not (tmp_path / "notes").exists()


# --- edits ---
async def test_new_problems_are_told_with_the_edit_and_old_ones_not(tmp_path):
    async with session_with(tmp_path, "good") as session:
        (tmp_path / "work/a.fake").write_text("wrong\nfine\n")
        first = await use(
            session, "edit", path="a.fake", old_string="fine", new_string="ok\nwrong 2"
        )
        assert first.text.endswith(
            "New problems after this edit:\na.fake:3:1 error: it is wrong [fake: 7]"
        )
        assert first.meta["problems"] == {"a.fake": ["3:1 error: it is wrong [fake: 7]"]}
        second = await use(session, "edit", path="a.fake", old_string="ok", new_string="fine")
        assert "problems" not in second.text
        made = await use(session, "write_file", path="b.fake", content="wrong\n")
        assert "b.fake:1:1 error" in made.text


async def test_the_servers_answer_about_an_older_text_does_not_count(tmp_path):
    async with session_with(tmp_path, "old") as session:
        edited = await use(session, "edit", path="a.fake", old_string="one", new_string="wrong")
        assert edited.text.endswith(
            "New problems after this edit:\na.fake:1:1 error: it is wrong [fake: 7]"
        )


async def test_what_comes_too_late_is_told_with_the_next_edit(tmp_path):
    async with session_with(tmp_path, "slow", edit_seconds=0.1) as session:
        await ask(session)
        late = await use(session, "edit", path="a.fake", old_string="one", new_string="wrong")
        assert "problems" not in late.text
        assert (await ask(session, "hover")).text == "wrong"  # it is done with that now
        (tmp_path / "work/b.txt").write_text("x")
        after = await use(session, "write_file", path="b.fake", content="fine\n")
        assert "a.fake:1:1 error" in after.text


@pytest.mark.parametrize("on_edit", ["off", "running"])
async def test_an_edit_starts_no_server_where_that_is_not_wished(tmp_path, on_edit):
    async with session_with(tmp_path, "good", on_edit=on_edit) as session:
        edited = await use(session, "edit", path="a.fake", old_string="one", new_string="wrong")
        assert "problems" not in edited.text
        assert not (tmp_path / "notes").exists()
        await ask(session)
        again = await use(
            session, "edit", path="a.fake", old_string="wrong", new_string="wrong\nwrong"
        )
        assert ("problems" in again.text) is (on_edit == "running")


async def test_an_edit_never_waits_for_a_server_that_hangs_or_falls(tmp_path):
    async with session_with(tmp_path, "mute", first_seconds=0.1) as session:
        edited = await use(session, "edit", path="a.fake", old_string="one", new_string="wrong")
        assert edited.ok
        assert "problems" not in edited.text


async def test_without_a_sandbox_and_trust_nothing_starts(tmp_path):
    async with session_with(tmp_path, "good", access="auto") as session:
        assert "no sandbox works here" in (await ask(session)).text
        assert (await use(session, "edit", path="a.fake", old_string="one", new_string="wrong")).ok
    assert not (tmp_path / "notes").exists()


async def test_a_server_that_does_not_repeat_itself_is_understood(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "QUIET", 0.2)
    monkeypatch.setattr(server, "SETTLE", 0.05)
    async with session_with(tmp_path, "quiet") as session:
        same = await use(session, "edit", path="a.fake", old_string="one", new_string="two")
        assert "problems" not in same.text
        wrong = await use(session, "edit", path="a.fake", old_string="two", new_string="wrong")
        assert "a.fake:1:1 error: it is wrong" in wrong.text
        other = await use(session, "edit", path="a.fake", old_string="wrong", new_string="wrong 2")
        assert "problems" not in other.text
        assert "1:1 error" in (await ask(session, "diagnostics")).text


async def test_a_server_in_the_sandbox_can_change_and_reach_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_SECRET", "s")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        async with session_with(
            tmp_path, "nosy", access="ask", sandbox="bubblewrap", more=[port]
        ) as session:
            tried = json.loads((await ask(session, "hover")).text)
    assert tried == {
        "write": False, "overwrite": False, "cache": True, "connect": False, "secrets": [],
    }  # fmt: skip


# --- changes that servers want ---
async def test_a_change_of_files_is_made_by_apply_patch_whole_or_not(tmp_path):
    async with session_with(tmp_path, "files") as session:
        work = tmp_path / "work"
        (work / "old.fake").write_text("gone\n")
        shown = await ask(session, "rename", new_name="x", dry_run=True)
        assert "rename to sub/b.fake" in shown.text
        assert (work / "a.fake").exists()
        done = await ask(session, "rename", new_name="x")
        assert done.ok, done.text
        tree = {str(path.relative_to(work)): path.read_text() for path in work.rglob("*.fake")}
        assert tree == {"sub/b.fake": "Wne\n", "c.fake": "made\n"}


@pytest.mark.parametrize(
    ("mode", "why"), [("outside", "outside the workspace"), ("overlap", "overlaps")]
)
async def test_a_change_that_must_not_be_is_refused(tmp_path, mode, why):
    async with session_with(tmp_path, mode) as session:
        failed = await ask(session, "rename", new_name="x")
        assert why in failed.text
        assert (tmp_path / "work/a.fake").read_text() == "one\n"


async def test_a_change_is_permitted_like_any_edit(tmp_path):
    async with session_with(tmp_path, "files") as session:
        (tmp_path / "work/old.fake").write_text("gone\n")
        session.plan("look")
        denied = await ask(session, "rename", new_name="x")
        assert "planning is read-only" in denied.text
        assert not denied.ok


async def test_an_action_that_is_a_command(tmp_path):
    async with session_with(tmp_path, "good") as session:
        listed = await ask(session, "code_actions")
        assert listed.text == "1. Do it by a command"
        done = await ask(session, "code_actions", action="by a command")
        assert done.ok, done.text
        assert (tmp_path / "work/a.fake").read_text() == "done one\n"
        assert "Which action?" in (await ask(session, "code_actions", action="2")).text


@pytest.mark.parametrize(
    ("question", "why"),
    [
        ({"line": None, "column": None}, "Say where"),
        ({"line": 9, "column": 1}, "has 2 lines"),
        ({"line": 1, "column": None, "symbol": "two"}, "holds no 'two'"),
        ({"line": None, "column": None, "symbol": "two"}, "holds no 'two'"),
        ({"operation": "rename"}, "needs new_name"),
        ({"operation": "completion", "column": None, "symbol": "one"}, "needs line and column"),
        ({"operation": "workspace_symbols"}, "needs symbol"),
        ({"operation": "references"}, "fake cannot do that"),
        ({"path": ""}, "needs path"),
        ({"path": "none.fake"}, "none.fake"),
    ],
)
async def test_questions_that_cannot_be_answered(tmp_path, question, why):
    async with session_with(tmp_path, "good") as session:
        answer = await ask(session, **question)
        assert not answer.ok
        assert why in answer.text

"""todo_write and todo_read, as a session calls them: through the toolbox, from a scripted model."""

from __future__ import annotations

import itertools
import json
import stat
from contextlib import asynccontextmanager

import pytest
from codetether.events import ToolFinished
from codetether.testing import Call, Reply, files_with, make_kernel
from codetether.words import ToolCall
from hypothesis import given, settings
from hypothesis import strategies as st

SWITCHES = ["tools:todo_read", "tools:todo_write"]


@asynccontextmanager
async def session_of(tmp_path, replies=(), **wishes):
    async with make_kernel(tmp_path, replies=list(replies), plugins=SWITCHES) as kernel:
        async with kernel.open_session(directory=tmp_path / "work", **wishes) as session:
            yield session


async def do(session, name, **arguments):
    """The result of one call through the session's toolbox."""
    call = ToolCall(session.new_id("call"), name, json.dumps(arguments))
    return await session.toolbox.one(call)


async def write(session, **arguments):
    result = await do(session, "todo_write", **arguments)
    assert result.ok, result.text
    return result


async def read(session, **arguments):
    """The list as interfaces get it: id, content, status, priority."""
    result = await do(session, "todo_read", **arguments)
    assert result.ok, result.text
    keys = ("id", "content", "status", "priority")
    rows = [tuple(todo[key] for key in keys) for todo in result.meta["todos"]]
    assert result.meta["count"] == len(rows)
    assert [content for _, content, _, _ in rows if content not in result.text] == []
    return rows


def file_of(session):
    return session.files / "todos.json"


async def test_a_model_plans_without_being_allowed_anything(tmp_path):
    """An agent that only reads, with nobody to ask, keeps a list; it lies with the session, for this user alone."""
    whole = [{"content": "look"}, {"content": "tell", "status": "in_progress", "priority": "high"}]
    script = [
        Reply(calls=(Call("todowrite", {"todos": whole}),)),
        Reply(calls=(Call("todoread", {}),)),
        "Planned.",
    ]
    async with session_of(tmp_path, script, agent="plan", access="ask") as session:
        with session.feed.listen(1000) as feed:
            finished = await session.prompt("plan")
            finishes = [
                event
                for item in feed._queue
                if isinstance(
                    event := item.event() if hasattr(item, "texts") else item, ToolFinished
                )
            ]
        assert (finished.reason, finished.text) == ("done", "Planned.")
        assert [(event.name, event.ok) for event in finishes] == [
            ("todo_write", True),
            ("todo_read", True),
        ]
        told = list(finishes[0].meta["todos"])
        assert [(t["id"], t["content"], t["status"]) for t in told] == [
            ("t1", "look", "pending"),
            ("t2", "tell", "in_progress"),
        ]
        assert list(finishes[1].meta["todos"]) == told
        asked = session.kernel.provider("scripted").asked[-1].messages[-1].results[0].text
        assert [word for word in ("t1", "look", "high") if word not in asked] == []
        assert stat.S_IMODE(file_of(session).stat().st_mode) == 0o600
        assert [path.name for path in (tmp_path / "work").iterdir()] == []


async def test_one_change_at_a_time(tmp_path):
    async with session_of(tmp_path) as session:
        assert await read(session) == []
        assert "t1" in (await write(session, action="add", content="one\n  line")).text
        await write(session, action="add", content="two", status="blocked", priority="critical")
        await write(session, action="update", id="t1", status="in_progress")
        await write(session, action="update", id="t2", content="zwei", priority="low")
        assert await read(session) == [
            ("t1", "one line", "in_progress", "medium"),
            ("t2", "zwei", "blocked", "low"),
        ]
        await write(session, action="delete", id="t1")
        assert await read(session) == [("t2", "zwei", "blocked", "low")]
        result = await write(session, action="clear")
        assert (await read(session), list(result.meta["todos"])) == ([], [])


async def test_ids_stay_and_are_never_given_twice(tmp_path):
    async with session_of(tmp_path) as session:
        await write(session, todos=[{"content": word} for word in ("a", "b", "c")])
        await write(session, action="delete", id="t3")
        await write(session, action="add", content="d")
        await write(
            session, todos=[{"content": "new"}, {"id": "t2", "content": "B", "status": "done"}]
        )
        assert [row[:2] for row in await read(session)] == [("t5", "new"), ("t2", "B")]
        await write(session, action="clear")
        await write(session, action="add", content="e")
        assert [row[0] for row in await read(session)] == ["t6"]


async def test_the_list_is_still_there_when_the_session_is_resumed(tmp_path):
    async with session_of(tmp_path, ["hello"]) as session:
        await session.prompt("hi")
        await write(session, action="add", content="later")
        name = session.id
    async with session_of(tmp_path, resume=name) as session:
        assert [row[:2] for row in await read(session)] == [("t1", "later")]
    async with session_of(tmp_path) as session:
        assert await read(session) == []


async def test_filters(tmp_path):
    kinds = list(
        itertools.product(["pending", "in_progress", "done", "blocked"], ["low", "critical"])
    )
    whole = [{"content": f"{s} and {p}", "status": s, "priority": p} for s, p in kinds]
    async with session_of(tmp_path) as session:
        await write(session, todos=whole)
        assert len(await read(session)) == 8
        for status, priority in kinds:
            (row,) = await read(session, status=status, priority=priority)
            assert row[1] == f"{status} and {priority}"
            assert len(await read(session, status=status)) == 2
            assert len(await read(session, priority=priority)) == 4
        assert await read(session, priority="high") == []
        assert not (await do(session, "todo_read", status="lost")).ok


async def test_calls_side_by_side_lose_nothing(tmp_path):
    words = [f"word {number}" for number in range(12)]
    async with session_of(tmp_path) as session:
        calls = [
            ToolCall(f"c{n}", "todo_write", json.dumps({"action": "add", "content": word}))
            for n, word in enumerate(words)
        ]
        results = {}
        await session.toolbox.run(calls, results)
        assert all(result.ok for result in results.values())
        rows = await read(session)
    assert sorted(row[1] for row in rows) == sorted(words)
    assert [row[0] for row in rows] == [f"t{n}" for n in range(1, 13)]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"action": "update", "id": "t9", "status": "done"}, "NOT_FOUND"),
        ({"action": "delete", "id": "t9"}, "NOT_FOUND"),
        ({"action": "update", "id": "t1"}, "INVALID_ARGUMENT"),
        ({"action": "add", "content": " \n "}, "INVALID_ARGUMENT"),
        ({"action": "add", "content": "x" * 20_000}, "INVALID_ARGUMENT"),
        ({"todos": [{"content": "x"}] * 5000}, "INVALID_ARGUMENT"),
        ({"todos": [{"content": "ok"}, {"content": ""}]}, "INVALID_ARGUMENT"),
        ({}, "INVALID_ARGUMENT"),
        ({"action": "clear", "id": "t1"}, "INVALID_ARGUMENT"),
        ({"action": "add", "id": "t1", "content": "x"}, "INVALID_ARGUMENT"),
        ({"todos": [{"content": "x"}], "status": "done"}, "INVALID_ARGUMENT"),
    ],
)
async def test_what_cannot_be_done_changes_nothing(tmp_path, arguments, code):
    async with session_of(tmp_path) as session:
        await write(session, todos=[{"content": "a"}, {"content": "b"}])
        before = file_of(session).read_bytes()
        result = await do(session, "todo_write", **arguments)
        assert (result.ok, result.meta["code"]) == (False, code)
        if code == "NOT_FOUND":
            assert "t9" in result.text
            assert "t1, t2" in result.text
        assert file_of(session).read_bytes() == before


DAMAGED = b'{"next": 8, "todos": [{"id": "t7", "content": "prec'


@pytest.mark.parametrize("damaged", [DAMAGED, b"", b"\xff", b"7", b'{"todos": [1]}', b"[[]]"])
async def test_a_damaged_file_is_kept_and_told(tmp_path, damaged):
    async with session_of(tmp_path) as session:
        await write(session, todos=[{"content": "a"}])
        file_of(session).write_bytes(damaged)
        assert "damaged" in (await do(session, "todo_read")).text
        assert file_of(session).read_bytes() == damaged
        result = await write(session, todos=[{"content": "b"}])
        assert "todos.json.bak" in result.text
        assert file_of(session).with_name("todos.json.bak").read_bytes() == damaged
        assert [row[:2] for row in await read(session)] == [
            ("t8" if damaged is DAMAGED else "t1", "b")
        ]
        file_of(session).write_bytes(b"again")
        refused = await do(session, "todo_write", action="delete", id="t1")
        assert refused.meta["code"] == "NOT_FOUND"
        assert "todos.json.2.bak" in refused.text
        assert file_of(session).with_name("todos.json.bak").read_bytes() == damaged
        assert file_of(session).with_name("todos.json.2.bak").read_bytes() == b"again"


async def test_a_file_that_cannot_be_read_is_no_damage(tmp_path):
    async with session_of(tmp_path) as session:
        file_of(session).mkdir(parents=True)
        for name, arguments in (("todo_read", {}), ("todo_write", {"action": "clear"})):
            result = await do(session, name, **arguments)
            assert not result.ok
            assert "cannot be read" in result.text
        assert [path.name for path in session.files.iterdir()] == ["todos.json"]


async def test_files_of_the_original_are_read(tmp_path):
    rows = [
        {
            "id": "todo_17",
            "content": "a",
            "status": "inprogress",
            "priority": "low",
            "created_at": "x",
        },
        {"id": "t4", "content": "b", "status": "done", "priority": "high", "created_at": "x"},
    ]
    async with session_of(tmp_path) as session:
        file_of(session).write_text(json.dumps(rows))
        assert (await read(session))[0] == ("todo_17", "a", "in_progress", "low")
        await write(session, action="add", content="c")
        assert [row[0] for row in await read(session)] == ["todo_17", "t4", "t5"]


async def test_no_secret_is_kept(tmp_path):
    secret = "sk-0123456789abcdef"
    async with session_of(tmp_path) as session:
        session.kernel.redact.add(secret)
        one = await write(session, action="add", content=f"use {secret}")
        whole = await write(session, todos=[{"content": f"use {secret}"}])
        assert secret not in f"{one} {whole}"
        assert files_with(secret, session.files) == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "delete", "clear", "whole"]), st.integers(0, 5)),
        max_size=12,
    )
)
def test_no_id_is_ever_given_twice(script):
    """Whatever is added, taken away or replaced, in any order, an id means one to-do for the whole session."""
    from codetether_todos import Item, Todos, change, replace

    todos, names = Todos(), itertools.count()
    meant = {}
    for action, number in script:
        if action == "whole":
            kept = [Item(t.content, t.status, t.priority, t.id) for t in todos.todos[:number]]
            new = [Item(f"word {next(names)}", None, None, "") for _ in range(number)]
            todos = replace(todos, [*new, *kept])
        elif action == "delete" and not todos.todos:
            continue
        else:
            gone = todos.todos[number % len(todos.todos)].id if action == "delete" else ""
            content = f"word {next(names)}" if action == "add" else ""
            todos, _ = change(todos, action, Item(content, None, None, gone))
        ids = [todo.id for todo in todos.todos]
        assert len(ids) == len(set(ids))
        for todo in todos.todos:
            assert meant.setdefault(todo.id, todo.content) == todo.content

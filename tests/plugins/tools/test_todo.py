"""todo_read and todo_write: one list per session, whole or not at all."""

from __future__ import annotations

import json
from types import SimpleNamespace

import msgspec
import pytest
import trio
from codetether.errors import ToolError
from codetether.testing import check_plugin
from codetether.toolbox import decode
from codetether.words import Effect
from codetether_tool_todo_read import Params as ReadParams
from codetether_tool_todo_read import TodoRead
from codetether_tool_todo_write import Params, TodoWrite


@pytest.fixture
def ctx(tmp_path):
    session = SimpleNamespace(files=tmp_path / "files", state={}, redact=str)
    return SimpleNamespace(session=session)


async def write(ctx, **how):
    return await called(TodoWrite(None, "tools:todo_write"), Params, ctx, how)


async def read(ctx, **how):
    return await called(TodoRead(None, "tools:todo_read"), ReadParams, ctx, how)


async def called(tool, params, ctx, how):
    return await tool.run(decode(json.dumps(how), params, tool.schema().parameters), ctx)


async def refused(ctx, **how):
    with pytest.raises(ToolError) as caught:
        await write(ctx, **how)
    return caught.value


async def test_one_at_a_time(ctx):
    assert (await read(ctx)).text == "No todos found"
    assert (await write(ctx, action="add", content="look")).text == "Added todo: t1\n[ ] t1 look"
    await write(ctx, action="add", content="build\n it", priority="high", status="in_progress")
    assert (await read(ctx)).text == "[ ] t1 look\n[~] t2 build it (high)"
    done = await write(ctx, action="update", id="t1", status="done")
    assert done.text == "Updated todo: t1\n[x] t1 look\n[~] t2 build it (high)"
    assert done.summary == "1 of 2 done"
    assert (await write(ctx, action="delete", id="t1")).text.startswith("Deleted todo: t1")
    assert "t3" in (await write(ctx, action="add", content="an id is not given twice")).text
    assert (await write(ctx, action="clear")).text == "Cleared 2 todos"
    assert "t4" in (await write(ctx, action="add", content="not even then")).text


async def test_the_whole_list(ctx):
    await write(ctx, todos=[{"content": "a"}, {"content": "b"}])
    output = await write(
        ctx,
        todos=[
            {"content": "c"},
            {"id": "t2", "content": "b", "status": "done"},
            {"id": "t2", "content": "twice"},
            {"id": "99", "content": "unknown"},
        ],
    )
    assert output.text == "4 todos:\n[ ] t3 c\n[x] t2 b\n[ ] t4 twice\n[ ] t5 unknown"
    assert output.meta["todos"][1] == {
        "id": "t2",
        "content": "b",
        "status": "done",
        "priority": "medium",
    }
    assert (await write(ctx, todos=[])).text == "0 todos:"


async def test_filters(ctx):
    await write(
        ctx,
        todos=[
            {"content": "a", "priority": "low"},
            {"content": "b", "status": "blocked"},
        ],
    )
    assert (await read(ctx, status="blocked")).text == "[!] t2 b"
    assert (await read(ctx, priority="low")).text == "[ ] t1 a (low)"
    assert (await read(ctx, status="done")).text == "No todos found"
    with pytest.raises(msgspec.ValidationError):
        await read(ctx, status="inprogress")


@pytest.mark.parametrize("status", ["inprogress", "in-progress", "In Progress"])
async def test_near_misses_are_understood(ctx, status):
    assert "[~] t1" in (await write(ctx, todos=[{"content": "a", "status": status}])).text
    assert "[x]" in (await write(ctx, action="update", id="t1", status="completed")).text


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({}, "INVALID_ARGUMENT"),
        ({"action": "add", "todos": []}, "INVALID_ARGUMENT"),
        ({"action": "add"}, "INVALID_ARGUMENT"),
        ({"action": "add", "content": "x" * 2000}, "INVALID_ARGUMENT"),
        ({"action": "add", "content": "x", "status": "soon"}, "INVALID_ARGUMENT"),
        ({"action": "add", "content": "x", "priority": "huge"}, "INVALID_ARGUMENT"),
        ({"action": "update", "id": "t9", "status": "done"}, "NOT_FOUND"),
        ({"action": "delete", "id": "t9"}, "NOT_FOUND"),
        ({"action": "update", "id": "t1"}, "INVALID_ARGUMENT"),
        ({"todos": [{"content": "x"}] * 101}, "INVALID_ARGUMENT"),
    ],
)
async def test_refusals_change_nothing(ctx, how, code):
    await write(ctx, action="add", content="here")
    assert (await refused(ctx, **how)).code == code
    assert (await read(ctx)).text == "[ ] t1 here"


async def test_side_by_side_writes_lose_nothing(ctx):
    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(lambda n=number: write(ctx, action="add", content=f"item {n}"))
    output = await read(ctx)
    assert output.meta["count"] == 20
    assert len({todo["id"] for todo in output.meta["todos"]}) == 20


@pytest.mark.parametrize("damage", [b"{", b"\xff", b'{"todos":[{"id":1}]}', b"[[]]"])
async def test_a_damaged_list_is_told_and_kept(ctx, damage):
    await write(ctx, action="add", content="a")
    (ctx.session.files / "todos.json").write_bytes(damage)
    with pytest.raises(ToolError, match="damaged"):
        await read(ctx)
    assert "damaged" in (await write(ctx, action="add", content="new")).text
    assert (ctx.session.files / "todos.json.bak").read_bytes() == damage
    assert (await read(ctx)).text == "[ ] t1 new"


async def test_the_file_is_for_this_user_alone(ctx):
    await write(ctx, action="add", content="a")
    path = ctx.session.files / "todos.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["todos.json"]


def test_they_need_no_permission_and_keep_their_old_names():
    assert TodoRead.effect is TodoWrite.effect is Effect.READ
    assert (TodoRead.aliases, TodoWrite.aliases) == (("todoread",), ("todowrite",))


@pytest.mark.parametrize("name", ["todo_read", "todo_write"])
def test_contract(name):
    check_plugin(name, "codetether.tools")

"""undo: what a turn's tools changed is given back, and nothing else."""

from __future__ import annotations

import json
import stat
from contextlib import asynccontextmanager

from codetether import faults
from codetether.events import Notice
from codetether.testing import Call, Reply, make_kernel
from codetether.words import ToolCall

PLUGINS = ["tools:undo", "tools:edit", "tools:multiedit", "tools:apply_patch", "tools:write_file"]
PATCH = (
    "*** Begin Patch\n*** Delete File: gone\n*** Add File: d/made\n+new\n"
    "*** Update File: a\n-2\n+3\n*** End Patch\n"
)


def edit(old, new):
    return Reply(calls=(Call("edit", {"path": "a", "old_string": old, "new_string": new}),))


@asynccontextmanager
async def session_of(tmp_path, *, resume=None, replies=None):
    work = tmp_path / "work"
    if not work.exists():
        work.mkdir()
        (work / "a").write_text("1\n")
        (work / "gone").write_bytes(b"gone\r\n")
        (work / "gone").chmod(0o700)
    patch = Reply(calls=(Call("apply_patch", {"patch": PATCH}),))
    script = [edit("1", "2"), "One.", patch, edit("3", "4"), "Two."] if replies is None else replies
    async with (
        make_kernel(tmp_path, replies=script, plugins=PLUGINS) as kernel,
        kernel.open_session(directory=work, access="full", resume=resume) as session,
    ):
        yield session


async def undo(session, **arguments):
    call = ToolCall(session.new_id("call"), "undo", json.dumps(arguments))
    return await session.toolbox.one(call)


def tree(session):
    root = session.directory
    return {
        str(path.relative_to(root)): (path.read_bytes(), stat.S_IMODE(path.stat().st_mode) & 0o700)
        for path in root.rglob("*")
        if path.is_file()
    }


async def test_turns_are_undone_and_redone(tmp_path):
    async with session_of(tmp_path) as session:
        states = [tree(session)]
        for text in ("one", "two"):
            assert (await session.prompt(text)).reason == "done"
            states.append(tree(session))
        assert set(states[2]) == {"a", "d/made"}
        listed = (await undo(session, action="list")).text
        assert listed == "turn 2: removed gone, added d/made, a\nturn 1: a"
        result = await undo(session)
        assert result.ok, result.text
        assert tree(session) == states[1]
        assert not (session.directory / "d").exists()
        assert "turn 2 (undone)" in (await undo(session, action="list")).text
        assert (await undo(session)).ok
        assert tree(session) == states[0]
        assert "nothing to undo" in (await undo(session)).text
        for state in states[1:]:
            assert (await undo(session, action="redo")).ok
            assert tree(session) == state
        assert "nothing to redo" in (await undo(session, action="redo")).text


async def test_a_resumed_session_still_can(tmp_path):
    async with session_of(tmp_path) as session:
        before, name = tree(session), session.id
        await session.prompt("one")
    async with session_of(tmp_path, resume=name, replies=[]) as session:
        assert (await undo(session)).ok
        assert tree(session) == before


async def test_what_others_changed_is_never_touched(tmp_path):
    async with session_of(tmp_path) as session:
        for text in ("one", "two"):
            await session.prompt(text)
        (session.directory / "other").write_text("theirs\n")
        (session.directory / "a").write_text("theirs\n")
        before = tree(session)
        result = await undo(session)
        assert not result.ok
        assert "Not as turn 2 left them: a" in result.text
        assert not (await undo(session, turn=1)).ok
        assert tree(session) == before
        assert not (await undo(session, action="sideways")).ok


async def test_an_earlier_turn_alone_and_what_is_kept_is_private(tmp_path):
    async with session_of(tmp_path) as session:
        for text in ("one", "two"):
            await session.prompt(text)
        assert not (await undo(session, turn=1)).ok, "turn 2 changed the same file"
        for path in (session.files / "undo").iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE((session.files / "undo").stat().st_mode) == 0o700
        assert session.workspace.keep is None


async def test_a_change_that_failed_is_nothing_to_undo(tmp_path):
    """Though it is kept before it is made."""
    failing = edit("2", "3"), Reply(calls=(Call("apply_patch", {"patch": PATCH}),)), "Two."
    async with session_of(tmp_path, replies=[edit("1", "2"), "One.", *failing]) as session:
        await session.prompt("one")
        before = tree(session)
        faults.arm("changes.put=raise@3")
        try:
            await session.prompt("two")
        finally:
            faults.arm("")
        results = [r for message in session.messages for r in message.results]
        assert [result.ok for result in results] == [True, True, False]
        assert (session.directory / "a").read_text() == "3\n"
        listed = await undo(session, action="list")
        assert listed.text == "turn 2: a\nturn 1: a"
        assert (await undo(session)).ok
        assert tree(session) == before
        assert (await undo(session, action="redo")).ok
        assert (session.directory / "a").read_text() == "3\n"


async def test_a_change_that_cannot_be_kept_is_made_and_told(tmp_path):
    async with session_of(tmp_path) as session:
        session.files.mkdir(parents=True, exist_ok=True)
        (session.files / "undo").write_text("in the way")
        with session.feed.listen() as feed:
            assert (await session.prompt("one")).reason == "done"
            session.feed.close()
            notices = [event.text async for event in feed if isinstance(event, Notice)]
        assert (session.directory / "a").read_text() == "2\n"
        assert any("cannot be undone" in text for text in notices), notices

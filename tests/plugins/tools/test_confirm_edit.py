"""confirm_edit and confirm_multiedit: a person decides, and nobody else can."""

from __future__ import annotations

from contextlib import asynccontextmanager

import msgspec
import pytest
from codetether.api import hookimpl
from codetether.testing import make_kernel
from codetether.words import Answer, ToolCall

TOOLS = ["confirm_edit", "confirm_multiedit"]
EDIT = {"path": "a", "old_string": "one", "new_string": "1"}


class Person:
    """Answers every question alike; `meanwhile` happens while they think."""

    def __init__(self, answer, meanwhile=lambda: None):
        self.answer, self.meanwhile, self.asked = answer, meanwhile, []

    @hookimpl
    async def codetether_ask(self, question, session):
        self.asked.append(question)
        self.meanwhile()
        return self.answer


@asynccontextmanager
async def session_of(tmp_path, person=None):
    work = tmp_path / "work"
    work.mkdir()
    (work / "a").write_text("one\n")
    (work / "b").write_text("one\n")
    switches = [f"tools:{name}" for name in TOOLS]
    async with make_kernel(tmp_path, replies=[], plugins=switches) as kernel:
        if person is not None:
            kernel.host.pm.register(person, "person")
        async with kernel.open_session(directory=work, access="full") as session:
            yield session


async def do(session, name, **more):
    given = EDIT if name == "confirm_edit" else {"edits": [EDIT, {**EDIT, "path": "b"}]}
    arguments = msgspec.json.encode({**given, **more}).decode()
    return await session.toolbox.one(ToolCall("call", name, arguments))


def texts(session):
    return [(session.directory / name).read_text() for name in "ab"]


@pytest.mark.parametrize("name", TOOLS)
async def test_approved_changes_are_made_as_shown(tmp_path, name):
    person = Person(Answer("once"))
    async with session_of(tmp_path, person) as session:
        result = await do(session, name)
        assert result.ok, result.text
        assert texts(session) == ["1\n", "one\n" if name == "confirm_edit" else "1\n"]
    [question] = person.asked
    assert question.diff == result.meta["diff"]
    assert "-one\n+1\n" in question.diff
    assert question.default == "deny"


@pytest.mark.parametrize("name", TOOLS)
async def test_a_refusal_and_its_reason_reach_the_model(tmp_path, name):
    async with session_of(tmp_path, Person(Answer("deny", "use 2"))) as session:
        result = await do(session, name)
        assert not result.ok
        assert "They said: use 2" in result.text
        assert texts(session) == ["one\n", "one\n"]


@pytest.mark.parametrize("name", TOOLS)
async def test_nobody_there_and_no_parameter_approves(tmp_path, name):
    async with session_of(tmp_path) as session:
        result = await do(session, name)
        assert not result.ok
        assert "Nobody is there" in result.text
        result = await do(session, name, confirm=True)
        assert not result.ok
        assert "unknown parameter confirm" in result.text
        assert texts(session) == ["one\n", "one\n"]


@pytest.mark.parametrize("name", TOOLS)
async def test_a_file_that_changes_while_the_person_thinks_is_kept(tmp_path, name):
    file = tmp_path / "work" / "a"
    person = Person(Answer("once"), lambda: file.write_text("theirs one\n"))
    async with session_of(tmp_path, person) as session:
        result = await do(session, name)
        assert not result.ok
        assert "changed" in result.text
        assert texts(session) == ["theirs one\n", "one\n"]


@pytest.mark.parametrize("name", TOOLS)
async def test_nobody_is_asked_about_what_cannot_be_done(tmp_path, name):
    person = Person(Answer("once"))
    async with session_of(tmp_path, person) as session:
        (session.directory / "a").write_text("two\n")
        assert not (await do(session, name)).ok
    assert person.asked == []

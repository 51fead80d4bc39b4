"""question, batch, invalid, plan_enter and plan_exit, as a session calls them: through the toolbox."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import ClassVar

import msgspec
import pytest
import trio
import trio.testing
from codetether.api import Answer, Effect, Extension, Tool, ToolOutput, hookimpl
from codetether.testing import Call, Reply, make_kernel
from codetether.words import ToolCall

PLUGINS = [f"tools:{name}" for name in ("question", "batch", "invalid", "plan_enter", "plan_exit")]
PLUGINS += ["sandboxes"]


class Word(msgspec.Struct):
    word: str = ""


class Look(Tool[Word]):
    """Two side by side wait for each other."""

    api = 1
    params = Word
    effect = Effect.READ
    text = "Look."
    met: ClassVar[list[str]] = []
    both: ClassVar[trio.Event]

    async def run(self, params, ctx):
        Look.met.append(params.word)
        if params.word.startswith("pair"):
            if len(Look.met) == 2:
                Look.both.set()
            await Look.both.wait()
        return ToolOutput(f"saw {params.word}")


class Change(Tool[Word]):
    """Notes its beginning and its end."""

    api = 1
    params = Word
    effect = Effect.WRITE
    text = "Change."
    log: ClassVar[list[str]] = []

    async def run(self, params, ctx):
        Change.log.append(f"begin {params.word}")
        await trio.testing.wait_all_tasks_blocked()
        Change.log.append(f"end {params.word}")
        return ToolOutput("changed")


class Person(Extension):
    """Answers what is asked, in order; then nobody is there."""

    api = 1
    answers: ClassVar[list[Answer]] = []
    asked: ClassVar[list] = []

    @hookimpl
    async def codetether_ask(self, question, session):
        Person.asked.append(question)
        return Person.answers.pop(0) if Person.answers else None


EXTRA = {"tools:look": Look, "tools:change": Change, "extensions:person": Person}


@pytest.fixture(autouse=True)
def fresh():
    Look.met, Look.both = [], trio.Event()
    Change.log, Person.answers, Person.asked = [], [], []


@asynccontextmanager
async def session_of(tmp_path, replies=(), **wishes):
    async with make_kernel(tmp_path, replies=list(replies), plugins=PLUGINS, extra=EXTRA) as kernel:
        wishes.setdefault("access", "full")
        async with kernel.open_session(directory=tmp_path / "work", **wishes) as session:
            yield session


async def do(session, name, **arguments):
    call = ToolCall(session.new_id("call"), name, json.dumps(arguments))
    return await session.toolbox.one(call)


# --- question ---
@pytest.mark.parametrize(
    ("arguments", "answer", "said"),
    [
        ({"options": ["red", "dark blue"]}, Answer("2"), "dark blue"),
        ({"options": ["red", "blue"]}, Answer("1", "but light"), "red - but light"),
        ({"options": ["red"]}, Answer("text", "green"), "green"),
        ({}, Answer("text", " a name \n"), "a name"),
        ({}, Answer("text", ""), ""),
    ],
)
async def test_an_answer_comes_back(tmp_path, arguments, answer, said):
    Person.answers = [answer]
    async with session_of(tmp_path) as session:
        result = await do(session, "question", question="Which?", **arguments)
    assert (result.ok, result.meta["answer"]) == (True, said)
    assert said in result.text
    assert Person.asked[0].title == "Which?"


async def test_only_the_options_where_words_are_not_free(tmp_path):
    Person.answers = [Answer("1"), Answer("1")]
    async with session_of(tmp_path) as session:
        await do(session, "question", question="?", options=["a", "b"], free=False, default="b")
        await do(session, "question", question="?", options=["a", "b"])
    closed, free = Person.asked
    assert (closed.kind, closed.default, free.kind, free.default) == ("choice", "2", "text", "")
    assert [choice.label for choice in closed.choices] == ["a", "b"]


async def test_nobody_is_there(tmp_path):
    async with session_of(tmp_path) as session:
        result = await do(session, "question", question="Which?")
    assert not result.ok
    assert "Nobody is there" in result.text


@pytest.mark.parametrize(
    "arguments",
    [
        {"question": " "},
        {"question": "?", "options": ["a", "a"]},
        {"question": "?", "options": ["a", " "]},
        {"question": "?", "options": ["a"], "default": "b"},
        {"question": "?", "options": [str(n) for n in range(10)]},
    ],
)
async def test_a_wrong_question_is_not_asked(tmp_path, arguments):
    async with session_of(tmp_path) as session:
        assert not (await do(session, "question", **arguments)).ok
    assert Person.asked == []


# --- batch ---
def calls(*pairs):
    return [{"tool": tool, "args": args} for tool, args in pairs]


async def test_looking_is_side_by_side_and_changing_in_order(tmp_path):
    async with session_of(tmp_path) as session:
        with trio.fail_after(5):
            result = await do(
                session,
                "batch",
                calls=calls(
                    ("look", '{"word": "pair one"}'),
                    ("look", {"word": "pair two"}),
                    ("change", {"word": "x"}),
                    ("change", {"word": "y"}),
                    ("lok", {}),
                    ("look", ""),
                ),
            )
    assert Change.log == ["begin x", "end x", "begin y", "end y"]
    assert (result.ok, result.meta) == (False, {"done": 5, "failed": 1})
    order = [result.text.index(f"[{number}] ") for number in range(1, 7)]
    assert order == sorted(order)
    assert "saw pair two" in result.text
    assert "[5] lok: FAILED\nThere is no tool 'lok'" in result.text


async def test_each_call_has_its_own_permission(tmp_path):
    Person.answers = [Answer("once"), Answer("deny", "not that")]
    async with session_of(tmp_path, access="ask") as session:
        result = await do(
            session,
            "batch",
            calls=calls(("change", {"word": "x"}), ("change", {"word": "y"}), ("look", {})),
        )
    assert Change.log == ["begin x", "end x"]
    assert "not that" in result.text
    assert len(Person.asked) == 2


async def test_a_batch_adds_nothing_to_what_an_agent_may(tmp_path):
    async with session_of(tmp_path, agent="explore") as session:
        result = await do(session, "batch", calls=calls(("change", {"word": "x"})))
        assert "no tool 'change'" in result.text
    assert Change.log == []


@pytest.mark.parametrize(
    ("inner", "told"),
    [
        ([], "invalid arguments"),
        (calls(*[("change", {})] * 11), "invalid arguments"),
        (calls(("change", {}), ("batch", {"calls": []})), "cannot hold a batch"),
        (calls(("change", {}), ("look", "{")), "Call 2 (look): args is not JSON"),
        (calls(("change", {}), ("look", "[1]")), "must be a JSON object"),
        (calls(("change", {}), ("look", "[" * 100_000)), "not JSON"),
    ],
)
async def test_a_wrong_batch_runs_nothing(tmp_path, inner, told):
    async with session_of(tmp_path) as session:
        result = await do(session, "batch", calls=inner)
    assert not result.ok
    assert told in result.text
    assert Change.log == []


# --- invalid ---
async def test_invalid_is_there_and_never_advertised(tmp_path):
    async with session_of(tmp_path) as session:
        assert "invalid" not in [schema.name for schema in session.toolbox.schemas]
        result = await do(session, "invalid", requested_tool="chang", args={"word": "x"})
        direct = await do(session, "chang")
        same = await do(session, "invalid", requested_tool="change")
    assert not result.ok
    assert "- change(word?: string)" in result.text
    assert direct.text == result.text
    assert "invalid" not in result.text.partition("Tools: ")[2]
    assert same.text == "Call change itself."


@pytest.mark.parametrize("name", ["", "x" * 100_000, "\x1b]0;\x07", "CHANGE", "change_file"])
async def test_any_name_is_answered_briefly(tmp_path, name):
    async with session_of(tmp_path) as session:
        result = await do(session, name)
    assert not result.ok
    assert len(result.text) < 1500
    assert "\x1b" not in result.text
    assert ("change(" in result.text) == ("change" in name.lower())


# --- plan_enter, plan_exit ---
async def test_planning_is_read_only_until_the_plan_is_approved(tmp_path):
    Person.answers = [Answer("revise", "smaller"), Answer("approve")]
    change = Reply(calls=(Call("change", {"word": "x"}),))
    leave = Reply(calls=(Call("plan_exit", {"plan": "1. do it"}),))
    enter = Reply(calls=(Call("plan_enter", {"goal": "a change"}), Call("change", {"word": "w"})))
    script = [enter, change, leave, change, leave, change, "Done."]
    async with session_of(tmp_path, script) as session:
        told = session.toolbox.schemas
        await session.prompt("go")
        results = [r for message in session.messages for r in message.results]
        assert session.toolbox.schemas is told
    assert [(r.name, r.ok) for r in results] == [
        ("plan_enter", True), ("change", False), ("change", False), ("plan_exit", True),
        ("change", False), ("plan_exit", True), ("change", True),
    ]  # fmt: skip
    assert "planning is read-only" in results[1].text
    assert "smaller" in results[3].text
    assert Change.log == ["begin x", "end x"]
    assert Person.asked[0].detail == "1. do it"


async def test_planning_goes_on_when_the_session_is_resumed(tmp_path):
    async with session_of(tmp_path, ["hello"]) as session:
        await session.prompt("hi")
        assert (await do(session, "plan_enter", goal="a change")).ok
        name = session.id
    async with session_of(tmp_path, resume=name) as session:
        assert "change" in session.toolbox.tools
        assert not (await do(session, "change")).ok
        Person.answers = [Answer("approve")]
        assert (await do(session, "plan_exit", plan="it")).ok
    async with session_of(tmp_path, resume=name) as session:
        assert (await do(session, "change")).ok


async def test_what_planning_forbids_does_not_fail_the_turn(tmp_path):
    enter = Reply(calls=(Call("plan_enter", {"goal": "g"}), Call("change", {"word": "w"})))
    async with session_of(tmp_path, [enter, "The plan."]) as session:
        finished = await session.prompt("go")
    assert (finished.reason, finished.text) == ("done", "The plan.")
    assert Change.log == []


async def test_nobody_approves(tmp_path):
    async with session_of(tmp_path, access="auto") as session:
        await do(session, "plan_enter", goal="a change")
        result = await do(session, "plan_exit", plan="it")
        assert (result.ok, result.meta["code"]) == (False, "DENIED")
        assert not (await do(session, "change")).ok
    async with session_of(tmp_path, access="full") as session:
        await do(session, "plan_enter", goal="a change")
        assert (await do(session, "plan_exit", plan="it")).ok
        assert (await do(session, "change")).ok


async def test_what_makes_no_sense_is_refused(tmp_path):
    async with session_of(tmp_path) as session:
        assert (await do(session, "plan_exit", plan="it")).meta["code"] == "NO_OP"
        assert (await do(session, "plan_enter", goal=" ")).meta["code"] == "INVALID_ARGUMENT"
        await do(session, "plan_enter", goal="a")
        assert (await do(session, "plan_enter", goal="b")).meta["code"] == "NO_OP"
        assert (await do(session, "plan_exit", plan="")).meta["code"] == "INVALID_ARGUMENT"


async def test_leaving_does_not_widen_an_agent(tmp_path):
    async with session_of(tmp_path, agent="plan") as session:
        await do(session, "plan_enter", goal="a")
        assert (await do(session, "plan_exit", plan="it")).ok
        assert "change" not in session.toolbox.tools

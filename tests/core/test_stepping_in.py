"""Plugins that step in: change a call, say why not, refuse a prompt, make a turn go on; and work beside the turns."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import ClassVar

import msgspec
import pytest
import trio
from codetether.api import (
    CodetetherError,
    DeniedError,
    Effect,
    Extension,
    Ruling,
    Tool,
    ToolOutput,
    Verdict,
    hookimpl,
)
from codetether.testing import call, make_kernel, reply


class Params(msgspec.Struct):
    command: str = ""


class Do(Tool[Params]):
    """Does it."""

    api = 1
    params = Params
    effect = Effect.EXECUTE
    text = "Do it."
    done: ClassVar[list] = []

    async def run(self, params, ctx):
        self.done.append(params.command)
        return ToolOutput(f"did {params.command}")


class Steps(Extension):
    """Answers what the test says; `asked` are the commands it was asked about."""

    api = 1
    answers: ClassVar[dict] = {}
    asked: ClassVar[list] = []

    @hookimpl
    async def codetether_permit(self, call):
        command = msgspec.json.decode(call.arguments)["command"]
        self.asked.append(command)
        return self.answers.get(command)


class Last(Steps):
    """Another of the kind."""

    api = 1
    answers: ClassVar[dict] = {}
    asked: ClassVar[list] = []


def to(command, verdict=Verdict.ALLOW, why=""):
    return Ruling(verdict, why, f'{{"command": "{command}"}}')


@pytest.fixture(autouse=True)
def fresh():
    for kept in (Do.done, Steps.asked, Last.asked):
        kept.clear()
    Steps.answers, Last.answers = {}, {}


@asynccontextmanager
async def session_of(tmp_path, replies, *, extra=(), settings=None, access="full"):
    tools = {"tools:do": Do, "extensions:a": Steps, "extensions:b": Last}
    async with (
        make_kernel(
            tmp_path,
            replies=replies,
            plugins=["sandboxes"],
            extra=tools | dict(extra),
            settings=settings,
        ) as kernel,
        kernel.open_session(directory=tmp_path / "work", access=access) as session,
    ):
        yield session


async def did(session, command="x"):
    await session.prompt("go")
    return next(m for m in reversed(session.messages) if m.role == "tool").results[0]


def doing(command="x"):
    return [reply(call("do", command=command)), "done"]


# --- a call is changed ---
async def test_a_changed_call_runs_and_the_model_is_told(tmp_path):
    Last.answers = {"x": to("y")}
    async with session_of(tmp_path, doing()) as session:
        result = await did(session)
    assert Do.done == ["y"]
    assert result.text == 'did y\n[extensions:b changed the arguments to {"command": "y"}]'
    assert (Last.asked, Steps.asked) == (["x", "y"], ["y", "y"])  # each hears the call that runs


@pytest.mark.parametrize("denied", ["x", "y"])
async def test_of_both_calls_the_stricter_rule_holds(tmp_path, denied):
    Steps.answers = {"x": to("y")}
    rules = {"permissions.commands": {denied: "deny"}}
    async with session_of(tmp_path, doing(), settings=rules) as session:
        result = await did(session)
    assert Do.done == []
    assert f"rule `* {denied}`" in result.text


async def test_what_was_changed_into_is_asked_about(tmp_path):
    Steps.answers = {"x": to("y")}
    rules = {"permissions.commands": {"x": "allow"}}
    async with session_of(tmp_path, doing(), settings=rules, access="ask") as session:
        result = await did(session)
    assert Do.done == []
    assert "nobody is there to ask" in result.text


async def test_a_changed_call_is_judged_by_every_plugin(tmp_path):
    Last.answers = {"y": Ruling(Verdict.DENY, "not y")}
    Steps.answers = {"x": to("y")}
    async with session_of(tmp_path, doing()) as session:
        result = await did(session)
        assert session.toolbox.denied_by_plugins == 1
    assert Do.done == []
    assert result.text == "Denied: not y (extensions:b). Do not try another way around it."
    assert result.meta["denied_by"] == "extensions:b"


async def test_plugins_cannot_change_a_call_in_turn(tmp_path):
    Steps.answers = {"x": to("y"), "y": to("z")}
    async with session_of(tmp_path, doing()) as session:
        result = await did(session)
    assert Do.done == []
    assert "is changed already" in result.text


async def test_a_call_changed_into_nonsense_is_denied(tmp_path):
    Steps.answers = {"x": Ruling(arguments='{"nothing": 1}')}
    async with session_of(tmp_path, doing()) as session:
        result = await did(session)
    assert Do.done == []
    assert "extensions:a changed the arguments wrongly" in result.text


# --- a turn is refused, or goes on ---
class Gate(Extension):
    """Refuses a prompt that says no; goes on until three answers were given."""

    api = 1

    @hookimpl
    def codetether_around_turn(self, session):
        return self._held(session)

    @asynccontextmanager
    async def _held(self, session):
        if session.messages[-1].text == "no":
            raise DeniedError("I will not hear it", "say yes")
        yield
        answers = sum(message.role == "assistant" for message in session.messages)
        if answers < 3:
            session.tell(f"more, after {answers}", go_on=True)

    @hookimpl
    def codetether_around_tool(self, call):
        raise DeniedError("not while I am here")


async def test_a_refused_prompt_is_never_sent(tmp_path):
    async with session_of(
        tmp_path, ["one", "two", "three"], extra={"extensions:gate": Gate}
    ) as session:
        refused = await session.prompt("no")
        assert (refused.reason, refused.error, refused.hint) == (
            "denied",
            "I will not hear it",
            "say yes",
        )
        finished = await session.prompt("yes")
        asked = session.kernel.provider("scripted").asked
        session_id = session.id
        assert [m.text for m in asked[0].messages] == ["yes"]
        assert finished.text == "three"
        assert [m.text for m in asked[-1].messages] == [
            "yes", "one", "more, after 1", "two", "more, after 2",
        ]  # fmt: skip
        kernel = session.kernel
        with pytest.raises(CodetetherError):  # it is open here
            async with kernel.open_session(directory=session.directory, resume=session_id):
                pass


async def test_a_refused_prompt_is_not_sent_after_a_resume(tmp_path):
    extra = {"extensions:gate": Gate}
    async with session_of(tmp_path, ["one", "two", "three"], extra=extra) as session:
        kernel, session_id = session.kernel, session.id
        await session.prompt("no")
        session.transcript.close()
        async with kernel.open_session(
            directory=session.directory, resume=session_id, access="full"
        ) as again:
            await again.prompt("yes")
            assert [m.text for m in kernel.provider("scripted").asked[0].messages] == ["yes"]


async def test_a_plugin_can_refuse_a_call_as_it_begins(tmp_path):
    class Refuses(Extension):
        """Refuses."""

        api = 1

        @hookimpl
        def codetether_around_tool(self, call):
            @asynccontextmanager
            async def held():
                raise DeniedError("not now")
                yield

            return held()

    async with session_of(tmp_path, doing(), extra={"extensions:r": Refuses}) as session:
        finished = await session.prompt("go")
    assert Do.done == []
    assert (finished.reason, finished.error) == ("denied", "do x: not now")


# --- beside the turns ---
async def test_what_runs_beside_ends_with_the_session(tmp_path):
    log = []

    async def work():
        try:
            log.append("begun")
            await trio.sleep_forever()
        finally:
            log.append("ended")

    async with session_of(tmp_path, ["hi"]) as session:
        session.beside(work)
        await session.prompt("hello")
        assert log == ["begun"]
    assert log == ["begun", "ended"]
    with pytest.raises(RuntimeError):
        session.beside(work)


async def test_a_failure_beside_is_a_fault_and_an_error_comes_out_as_it_is(tmp_path):
    async def fails():
        raise ValueError("beside")

    async def in_a_session():
        async with session_of(tmp_path, ["hi"]) as session:
            session.beside(fails)
            session.beside(trio.sleep_forever)
            await session.prompt("hello")
            assert [fault.error for fault in session.host.faults] == ["ValueError: beside"]
            raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        await in_a_session()


async def test_a_cancelled_session_is_cancelled(tmp_path):
    with trio.CancelScope() as scope:
        async with session_of(tmp_path, ["hi"]) as session:
            session.beside(trio.sleep_forever)
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught

"""task: sub-agents with a session of their own, never with more than the session that starts them."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import ClassVar

import msgspec
import pytest
import trio
import trio.testing
from codetether.api import (
    AgentTask,
    CodetetherError,
    Effect,
    Tool,
    ToolOutput,
    Usage,
)
from codetether.events import ToolProgress
from codetether.testing import Call, Reply, make_kernel
from codetether.words import ToolCall

PLUGINS = ["tools:task", "tools:plan_enter", "executors:local", "sandboxes"]


class Nothing(msgspec.Struct):
    pass


class Look(Tool[Nothing]):
    api = 1
    params = Nothing
    effect = Effect.READ
    text = "Look."

    async def run(self, params, ctx):
        return ToolOutput("seen")


class Change(Look):
    api = 1
    effect = Effect.WRITE
    text = "Change."
    done: ClassVar[list[str]] = []

    async def run(self, params, ctx):
        Change.done.append(ctx.session.id)
        return ToolOutput("changed")


EXTRA = {"tools:look": Look, "tools:change": Change}


@pytest.fixture(autouse=True)
def fresh():
    Change.done = []


@asynccontextmanager
async def session_of(tmp_path, replies=(), settings=None, **wishes):
    replies = replies if callable(replies) else list(replies)
    async with make_kernel(
        tmp_path, replies=replies, plugins=PLUGINS, extra=EXTRA, settings=settings
    ) as kernel:
        wishes.setdefault("access", "full")
        async with kernel.open_session(directory=tmp_path / "work", **wishes) as session:
            yield session


async def task(session, prompt="do it", **arguments):
    arguments = {"description": "some work", "prompt": prompt, **arguments}
    call = ToolCall(session.new_id("call"), "task", json.dumps(arguments))
    return await session.toolbox.one(call)


def names(request):
    return {tool.name for tool in request.tools}


async def test_it_reports_and_its_doings_are_seen(tmp_path):
    script = [
        Reply(calls=(Call("task", {"description": "find it", "prompt": "Where is it?"}),)),
        Reply(calls=(Call("look", {}),), usage=Usage(5, 1)),
        Reply(text="It is there.", usage=Usage(10, 3)),
        "Done.",
    ]
    async with session_of(tmp_path, script) as session:
        with session.feed.listen(1000) as feed:
            finished = await session.prompt("go")
            session.feed.close()
            events = [event async for event in feed]
        asked = session.kernel.provider("scripted").asked
    assert finished.text == "Done."
    (result,) = [r for message in session.messages for r in message.results]
    assert (result.ok, result.text) == (True, "It is there.")
    assert result.meta["agent"] == "explore"
    assert "look" in "".join(e.text for e in events if isinstance(e, ToolProgress))
    assert [m.text for m in asked[1].messages] == ["Where is it?"]  # nothing of the conversation
    assert names(asked[1]) == {"look", "plan_enter"}
    assert (session.usage.input, session.usage.output) == (15, 4)
    header = tmp_path.rglob(f"{result.meta['session']}.jsonl")
    assert session.id in next(header).read_text()


async def test_a_sub_agent_has_no_effect_its_starter_lacks(tmp_path):
    """A plan agent starts build: it is offered no tool that changes, and one called all the same does not run."""
    script = [Reply(calls=(Call("change", {}),)), "Could not."]
    async with session_of(tmp_path, script, agent="plan") as session:
        result = await task(session, agent="build")
        asked = session.kernel.provider("scripted").asked
    assert result.text == "Could not."
    assert names(asked[0]) == {"look", "task", "plan_enter"}
    assert Change.done == []


async def test_the_kernel_holds_it_whatever_is_asked_for(tmp_path):
    async with session_of(tmp_path, agent="explore", access="ask") as session:
        async with session.kernel.open_session(
            directory=tmp_path, agent="build", access="full", started_by=session.id
        ) as child:
            assert child.effects == {Effect.READ}
            assert (child.access, child.depth) == ("ask", 1)
            assert "may not write" in child.why_not(Effect.WRITE)


async def test_planning_binds_those_started_before(tmp_path):
    async with session_of(tmp_path) as session:
        async with session.kernel.open_session(
            directory=tmp_path, agent="build", started_by=session.id
        ) as child:
            assert Effect.WRITE in child.effects
            session.plan("a change")
            assert Effect.WRITE not in child.effects
            result = await child.toolbox.one(ToolCall("c1", "change", "{}"))
            assert not result.ok
            session.plan("")
            assert Effect.WRITE in child.effects
    assert Change.done == []


async def test_a_limit_that_travels_holds_without_the_starter(tmp_path):
    async with session_of(tmp_path, [Reply(calls=(Call("change", {}),)), "no"]) as session:
        work = AgentTask("t", "p", str(tmp_path), access="full", within=frozenset({Effect.READ}))
        work = msgspec.json.decode(msgspec.json.encode(work), type=AgentTask)
        await session.kernel.executor().run(work)
    assert Change.done == []


async def test_sub_agents_end_at_their_depth(tmp_path):
    """Every agent that can starts another: two levels, and the lowest is not even offered the tool."""

    def answer(request):
        if request.messages[-1].role == "tool" or "task" not in names(request):
            return "end"
        return Reply(calls=(Call("task", {"description": "d", "prompt": "p", "agent": "build"}),))

    async with session_of(tmp_path, answer) as session:
        finished = await session.prompt("go")
        asked = session.kernel.provider("scripted").asked
        assert finished.text == "end"
        assert sum("task" not in names(request) for request in asked) == 1
        assert len(asked) == 5
        with pytest.raises(CodetetherError, match="2 deep"):
            async with session.kernel.open_session(directory=tmp_path, depth=3):
                pass
        assert not (
            await session.kernel.executor().run(AgentTask("t", "p", str(tmp_path), depth=3))
        ).ok


async def test_their_number_in_a_turn_is_limited(tmp_path):
    settings = {"plugins.tools:task": {"per_turn": 2, "at_once": 1}}
    many = Reply(calls=tuple(Call("task", {"description": "d", "prompt": "p"}) for _ in range(5)))

    def answer(request):
        return many if request.messages[-1].text == "go" else "end"

    async with session_of(tmp_path, answer, settings=settings) as session:
        await session.prompt("go")
        results = [r for message in session.messages for r in message.results]
        assert [r.ok for r in results].count(True) == 2
        assert "2 sub-agents" in next(r.text for r in results if not r.ok)
        await session.prompt("go")
        results = [r for message in session.messages for r in message.results]
        assert [r.ok for r in results].count(True) == 4


async def test_cancelling_ends_it(tmp_path):
    async with session_of(tmp_path, lambda request: Reply(stall=True)) as session:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(task, session)
            while len(session.kernel.sessions) < 2:
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        assert session.kernel.sessions == [session]


async def test_a_budget_is_shared_and_counted(tmp_path):
    class Executor:
        budgets: ClassVar[list] = []
        elsewhere = False

        async def run(self, work, observe=None):
            from codetether.api import AgentResult

            self.budgets.append(work.budget_usd)
            await trio.testing.wait_all_tasks_blocked()
            return AgentResult(work.id, True, "ok", "done", "s", 1, 1.0, 10, 1, work.budget_usd)

    async with session_of(tmp_path, budget_usd=1.0) as session:
        session.kernel.executor = lambda name="local": Executor()
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(task, session)
        assert sorted(Executor.budgets) == [0.125, 0.25, 0.5]
        assert session.usage.cost == pytest.approx(0.875)
        session.budget_usd = 0.5
        result = await task(session)
        assert (result.ok, result.meta["code"]) == (False, "DENIED")


async def test_wrong_calls_and_failures_are_told(tmp_path):
    settings = {"plugins.tools:task": {"seconds": 0.3}}
    async with session_of(tmp_path, lambda r: Reply(stall=True), settings=settings) as session:
        unknown = await task(session, agent="nobody")
        assert (unknown.ok, unknown.meta["code"]) == (False, "INVALID_ARGUMENT")
        assert "build" in unknown.text
        assert not (await task(session, " ")).ok
        late = await task(session)
        assert not late.ok
        assert "longer than 0.3 s" in late.text

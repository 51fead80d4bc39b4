"""The tool `rlm`: a session's model has large files looked through, within what the session may read."""

import sys
from pathlib import Path

import trio
from codetether.events import Spending, Spent
from codetether.testing import call, make_kernel

sys.path.insert(0, str(Path(__file__).parents[1] / "modes"))

from rlms import Model, log, python

ON = ["sandboxes", "modes:rlm", "tools:rlm"]


class Talk(Model):
    """A person's session whose model makes `calls`, one a step; the rest is rlm's."""

    def __init__(self, *replies, calls, **more):
        super().__init__(*replies, **more)
        self.calls = calls
        self.results = []

    def __call__(self, request):
        if not request.tools:
            return super().__call__(request)
        done = sum(message.role == "tool" for message in request.messages)
        self.results = [r for m in request.messages if m.role == "tool" for r in m.results]
        said = self.calls[done] if done < len(self.calls) else "told"
        return said(self.results) if callable(said) else said


async def session_of(tmp_path, model, *, settings=None, context=8_000, plugins=(), **how):
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    async with (
        make_kernel(tmp_path / "home", replies=model, plugins=[*ON, *plugins], directory=work, context=context, settings=settings) as kernel,
        kernel.open_session(directory=work, **how) as session,
    ):  # fmt: skip
        finished = await session.prompt("please")
        return finished, session


async def test_a_session_has_a_file_looked_through_and_pays_for_it(tmp_path):
    (tmp_path / "work").mkdir()
    log(tmp_path / "work" / "big.log", l17_000="ERROR node 7 is full")
    model = Talk("grep('ERROR')", 'FINAL("node 7")', calls=[call("rlm", query="what broke?", paths=["big.log"])])  # fmt: skip
    finished, session = await session_of(tmp_path, model)
    [result] = model.results
    assert (finished.reason, result.ok) == ("done", True)
    assert finished.usage.input == 200
    assert result.text == "node 7\n\nRead: big.log:17000"
    assert result.meta["ranges"] == [
        {"source": "big.log", "first_line": 17_000, "last_line": 17_000}
    ]
    assert result.meta["ended"] == "final"
    assert session.usage.input >= 200


async def test_each_of_its_calls_is_told_before_it_is_made_and_when_it_is_over(tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    log(work / "big.log")
    ask = python("llm_query_batched(['what?'] * 3)")
    model = Talk(ask, 'FINAL("x")', calls=[call("rlm", query="what?", paths=["big.log"])])
    events = []

    async def hear(feed):
        async for event in feed:
            events.append(event)

    async with (
        make_kernel(tmp_path / "home", replies=model, plugins=ON, directory=work, context=8_000) as kernel,
        kernel.open_session(directory=work) as session,
        trio.open_nursery() as nursery,
    ):  # fmt: skip
        with session.feed.listen() as feed:
            nursery.start_soon(hear, feed)
            await session.prompt("please")
            session.feed.close()
    told = [event for event in events if isinstance(event, Spending | Spent)]
    assert [type(event) for event in told].count(Spending) == 5
    assert {(event.why, event.model) for event in told} == {(told[0].why, "scripted/test")}
    spent = [event.usage for event in told if isinstance(event, Spent)]
    assert [(usage.input, usage.output) for usage in spent] == [(100, 10)] * 5
    assert session.usage.input == 500  # the scripted steps say nothing of theirs


async def test_what_may_not_be_read_is_not_read_this_way(tmp_path):
    work = tmp_path / "work"
    (work / "d" / "private").mkdir(parents=True)
    (work / ".git").mkdir()
    log(work / "d" / "open.txt", l3="needle in the open")
    log(work / "d" / "private" / "key.txt", l3="needle of mine")
    log(tmp_path / "outside.txt", l3="needle outside")
    (work / "link.txt").symlink_to(tmp_path / "outside.txt")
    asked = [
        ["d", "d/open.txt"],
        ["d/private/key.txt"],
        ["../outside.txt"],
        ["link.txt"],
        [".git"],
        ["missing"],
    ]
    model = Talk("grep('needle')", 'FINAL("found")', calls=[call("rlm", query="?", paths=paths) for paths in asked])  # fmt: skip
    settings = {"permissions.rules": [{"tool": "*", "path": "d/private/**", "verdict": "deny"}]}
    await session_of(tmp_path, model, settings=settings, access="full")
    assert [result.ok for result in model.results] == [True, False, False, False, False, False]
    assert "needle in the open" in model.told(1)
    sent = "".join(message.text for request in model.root for message in request.messages)
    assert "of mine" not in sent
    assert "needle outside" not in sent


async def test_an_answer_that_is_partial_says_so_and_limits_are_settings(tmp_path):
    (tmp_path / "work").mkdir()
    log(tmp_path / "work" / "big.log")
    model = Talk("slice(1, 2)", "slice(3, 4)", calls=[call("rlm", query="what?", paths=["big.log"])])  # fmt: skip
    await session_of(tmp_path, model, settings={"plugins.tools:rlm.max_iterations": 2})
    [result] = model.results
    assert result.text.startswith("[This answer is partial: 2 iterations brought no answer]")
    assert "request 3 done" in result.text


async def test_the_budget_of_the_session_holds(tmp_path):
    (tmp_path / "work").mkdir()
    log(tmp_path / "work" / "big.log")
    model = Talk('FINAL("x")', calls=[call("rlm", query="what?", paths=["big.log"])])
    finished, _ = await session_of(tmp_path, model, budget_usd=1.0)
    assert (finished.reason, model.results[0].text) == ("done", "x")


async def test_an_earlier_result_that_was_cut_is_looked_through(tmp_path):
    (tmp_path / "work").mkdir()
    log(tmp_path / "work" / "big.log", l17_000="ERROR node 7 is full")

    def look(results):
        return call("rlm", query="what broke?", paths=[results[0].meta["spilled"]])

    calls = [call("bash", command="cat big.log; rm big.log"), look]
    model = Talk("grep('ERROR')", 'FINAL("node 7")', calls=calls)
    await session_of(tmp_path, model, plugins=["tools:bash"], access="full", context=200_000)
    first, second = model.results
    assert "node 7" not in first.text
    assert (second.ok, second.text.partition("\n")[0]) == (True, "node 7")
    assert second.meta["ranges"][0]["first_line"] == 17_000


async def test_without_the_mode_the_model_is_told(tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "a.txt").write_text("a\n")
    model = Talk(calls=[call("rlm", query="what?", paths=["a.txt"])])
    work = tmp_path / "work"
    async with (
        make_kernel(
            tmp_path / "home", replies=model, plugins=["tools:rlm"], directory=work
        ) as kernel,
        kernel.open_session(directory=work) as session,
    ):
        await session.prompt("please")
    [result] = model.results
    assert not result.ok
    assert "No rlm here" in result.text

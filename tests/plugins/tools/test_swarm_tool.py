"""The tool `swarm`: a session's model has a task split, within what the session may."""

import sys
from pathlib import Path

import pytest
from codetether.testing import Reply, call, make_kernel
from codetether.words import Usage

sys.path.insert(0, str(Path(__file__).parents[1] / "modes"))

from swarms import PLUGINS, Model, branches, git, plan, repository, task, writes

ON = [*PLUGINS, "tools:swarm", "tools:task"]


@pytest.fixture
def user(tmp_path):
    return repository(tmp_path / "repo")


class Talk(Model):
    """A person's session whose model calls the tool; the rest is the swarm's."""

    def __call__(self, request):
        first = next(message for message in request.messages if message.role == "user").text
        if first == "please":
            if request.messages[-1].role == "user":
                return call("swarm", task="build it", max_subagents=3)
            self.report = request.messages[-1].results[0]
            return "told"
        return super().__call__(request)


async def session_of(tmp_path, model, user, access, **how):
    async with (
        make_kernel(tmp_path / "home", replies=model, plugins=ON, directory=user) as kernel,
        kernel.open_session(directory=user, access=access, **how) as session,
    ):
        finished = await session.prompt("please")
        return finished, session.usage


async def test_a_session_has_a_task_split_and_pays_for_it(tmp_path, user):
    model = Talk(
        plan(task("one"), task("two", "one")),
        one=writes("x.txt", "x", "wrote x"),
        two=writes("y.txt", "y"),
    )
    finished, usage = await session_of(tmp_path, model, user, "auto")
    assert (finished.reason, model.report.ok) == ("done", True)
    assert (user / "y.txt").read_text() == "y"
    assert "wrote x" in model.report.text
    assert "Merged into main: the files here are changed." in model.report.text
    assert usage.input >= 100 * 5
    assert "at most 3 sub-tasks" in model.prompts["plan"][0]


async def test_what_failed_is_told_with_its_branches(tmp_path, user):
    model = Talk(
        plan(task("one"), task("two")),
        one=writes("a.txt", "1"),
        two=writes("a.txt", "2"),
        conflict=["no"],
    )
    await session_of(tmp_path, model, user, "auto")
    assert not model.report.ok
    assert "marks of the conflict are left" in model.report.text
    kept = [name for name in branches(user) if name != "main"]
    assert len(kept) == 2
    assert all(name in model.report.text for name in kept)
    assert (user / "a.txt").read_text() == "one\ntwo\nthree\n"


async def test_who_may_only_look_has_sub_agents_that_only_look(tmp_path, user):
    model = Talk(plan(task("one")), one=writes("x.txt", "x"))
    await session_of(tmp_path, model, user, "auto", agent="plan")
    assert git(user, "status", "--porcelain") == ""
    assert branches(user) == ["main"]
    assert not (user / "x.txt").exists()


async def test_without_a_plan_or_the_mode_it_says_what_else_to_do(tmp_path, user):
    model = Talk("no plan")
    await session_of(tmp_path, model, user, "auto")
    assert not model.report.ok
    assert "made no plan that can be carried out" in model.report.text
    on = [name for name in ON if name != "modes:swarm"]
    async with (
        make_kernel(tmp_path / "home", replies=model, plugins=on, directory=user) as kernel,
        kernel.open_session(directory=user, access="auto") as session,
    ):
        await session.prompt("please")
    assert "No swarm here" in model.report.text


async def test_a_session_that_is_cancelled_pays_for_what_was_spent(tmp_path, user):
    model = Talk(plan(task("one")), usage=Usage(900, 100))
    async with (
        make_kernel(tmp_path / "home", replies=model, plugins=ON, directory=user) as kernel,
        kernel.open_session(directory=user, access="auto") as session,
    ):

        def one(request, step):
            session.cancel()
            return Reply(stall=True)

        model.parts["one"] = one
        finished = await session.prompt("please")
    assert (finished.reason, session.usage.input) == ("cancelled", 900)

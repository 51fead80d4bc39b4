"""A swarm whose sub-agents work on other machines: the same plan, merge and journal, and what can happen on the way."""

from __future__ import annotations

import signal

import pytest
from brokers import HANDS_IN, NatsServer, Worker, steps
from codetether.testing import make_kernel
from swarms import Model, branches, git, plan, repository, result, task


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    yield server
    server.close()


@pytest.fixture
def workers(tmp_path, server):
    made = []

    def make(space, *flags, wait=True):
        home = tmp_path / f"worker-{len(made)}"
        made.append(Worker(home, server.address, *flags, space=space))
        if wait:
            made[-1].until("serves")
        return made[-1]

    yield make
    for worker in made:
        worker.end(signal.SIGKILL)


@pytest.fixture
def user(tmp_path, monkeypatch):
    where = repository(tmp_path / "repo")
    monkeypatch.chdir(where)
    return where


def kernel_at(tmp_path, model, where, space):
    return make_kernel(
        tmp_path / "home", replies=model, plugins=HANDS_IN, directory=where,
        settings={"executors:nats.space": space, "executors:nats.outage": 3.0},
    )  # fmt: skip


def does(name, *said, after=()):
    return {**task(name, *after), "instruction": f"Do {name}.\n{steps(*said)}"}


LEVELS = plan(
    does("base", "$ echo base > base.txt", "base says 42"),
    does("left", "$ cat base.txt > left.txt; echo left > both.txt", "left is done", after=["base"]),
    does("right", "$ cat base.txt > right.txt; echo right > both.txt", "right is done", after=["base"]),
    does("top", "$ cat left.txt right.txt > top.txt", "top is done", after=["left", "right"]),
)  # fmt: skip


async def test_three_levels_on_two_machines_with_a_conflict(
    tmp_path, user, server, workers, capsys
):
    ends = [workers("levels", "--concurrency", 1, wait=False) for _ in range(2)]
    mended = ["$ printf both > both.txt", "put together"]

    def conflict(request, step):
        return brokers_said(mended, step)

    model = Model(LEVELS, conflict=conflict)
    async with kernel_at(tmp_path, model, user, "levels") as kernel:
        code, said = await result(
            kernel, capsys, "build a tower", "--nats", server.address, "--no-gates"
        )
    assert (code, said["success"]) == (0, True), said
    assert set(model.asked) == {"plan", "conflict"}  # the rest is the workers' models' to say
    assert git(user, "show", "main:top.txt") == "base\nbase"
    assert git(user, "show", "main:both.txt") == "both"
    assert branches(user) == ["main"]
    assert {each["status"] for each in said["subtask_results"]} == {"completed"}
    assert [end.end() for end in ends] == [0, 0]
    assert all(any(": done" in line for line in end.lines) for end in ends)


def brokers_said(said, step):
    from codetether.testing import call

    text = said[min(step, len(said) - 1)]
    return call("bash", command=text[2:]) if text.startswith("$ ") else text

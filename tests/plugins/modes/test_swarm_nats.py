"""A swarm whose sub-agents work on other machines: the same plan, merge and journal, and what can happen on the way."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from brokers import HANDS_IN, NatsServer, Worker, go, steps
from codetether.api import CodetetherError, Effect, Tool, ToolOutput, UsageError
from codetether.testing import call, make_kernel
from codetether.words import Usage
from msgspec import Struct
from swarms import Model, answered, branches, git, plan, repository, result, task


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    yield server
    server.close()


@pytest.fixture
def workers(tmp_path, server):
    made = []

    def make(space, *flags, wait=True, home=""):
        home = home or f"worker-{len(made)}"
        made.append(Worker(tmp_path / home, server.address, *flags, space=space))
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


def kernel_at(tmp_path, model, where, space, **how):
    return make_kernel(
        tmp_path / "home", replies=model, plugins=HANDS_IN, directory=where,
        settings={"executors:nats.space": space, "executors:nats.outage": 1.0}, **how,
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


CHILD = """
import os, sys, trio
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from swarms import Model, swarm
from test_swarm_nats import LONG, kernel_at

async def main():
    where = Path(sys.argv[2])
    os.chdir(where)
    async with kernel_at(where.parent, Model(LONG), where, sys.argv[4]) as kernel:
        flags = ["--nats", sys.argv[3], "--no-gates", "--format", "stream-json"]
        sys.exit(await swarm(kernel, "build a tower", flags=flags))

trio.run(main)
"""
LONG = plan(
    does("base", "$ echo base > base.txt", "base says 42"),
    does("long", "$ for n in $(seq 900); do [ -e go ] && break; sleep 0.05; done; mv go long.txt", "long is done", after=["base"]),
)  # fmt: skip


def begun(user, server, space):
    """A swarm as a process of its own, whose second sub-task has begun to run something: its id and process."""
    words = [str(Path(__file__).parent), str(user), server.address, space]
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )  # fmt: skip
    run = ""
    for text in process.stdout:
        line = json.loads(text)
        run = run or line["id"]
        if line["type"] == "subagent_event" and line["subtask"] == "long" and line["event"]["type"] == "tool_started":  # fmt: skip
            return run, process
    raise AssertionError("it ended")


@pytest.mark.parametrize(
    "whose", ["another", "home"]
)  # the worker of another user, and of the same
async def test_a_coordinator_that_was_killed_finds_what_workers_did_meanwhile(
    tmp_path, user, server, workers, capsys, whose
):
    worker = workers(f"killed-{whose}", home=whose)
    run, process = begun(user, server, f"killed-{whose}")
    process.kill()
    process.wait(60)
    process.stdout.close()
    go(worker)
    worker.until(": done", after=worker.until(":base:1: done"))
    model = Model(LONG)
    async with kernel_at(tmp_path, model, user, f"killed-{whose}") as kernel:
        code, said = await result(kernel, capsys, "resume", run)
    assert (code, said["success"]) == (0, True), said
    assert model.asked == {}
    assert said["tokens"]["total"] == answered(tmp_path) == 1_000 * 4 + 110
    assert sum("begun" in line for line in worker.lines) == 2  # once each, in all
    assert sorted(path.name for path in user.iterdir() if path.name != ".git") == ["a.txt", "base.txt", "long.txt"]  # fmt: skip
    assert branches(user) == ["main"]


async def test_without_its_broker_a_run_stops_and_can_be_resumed(tmp_path, user, workers, capsys):
    own = NatsServer(tmp_path / "own")
    worker = Worker(tmp_path / "w", own.address)
    try:
        worker.until("serves")
        run, process = begun(user, own, "codetether")
        own.kill()
        assert process.wait(60) == 1
        last = [json.loads(line) for line in process.stdout][-1]
        process.stdout.close()
        assert last["type"] == "swarm_finished"
        assert "the broker has been away" in last["result"]["error"]
        assert last["result"]["status"] == "stopped"
        go(worker)
        own.start()
        async with kernel_at(tmp_path, Model(LONG), user, "codetether") as kernel:
            with pytest.raises(UsageError, match="those of the executor nats"):
                await result(kernel, capsys, "resume", run, "--executor", "local")
            code, said = await result(kernel, capsys, "resume", run)
        assert (code, said["success"]) == (0, True), said
        assert git(user, "show", "main:base.txt") == "base"
        assert "long.txt" in git(user, "ls-tree", "--name-only", "main").split()
        assert sum("begun" in line for line in worker.lines) == 2
    finally:
        worker.end(signal.SIGKILL)
        own.close()


async def test_what_cannot_be_done_elsewhere_is_said_before_anything_is_asked(
    tmp_path, user, server, capsys, monkeypatch
):
    model = Model(LONG)
    async with kernel_at(tmp_path, model, user, "said") as kernel:
        with pytest.raises(UsageError, match="needs no broker"):
            await result(kernel, capsys, "x", "--nats", server.address, "--executor", "local")
        with pytest.raises(UsageError, match="holds a name or a password"):
            await result(kernel, capsys, "x", "--nats", "nats://me:canary-pass@127.0.0.1")
        with pytest.raises(CodetetherError, match="cannot be used"):
            await result(kernel, capsys, "x", "--nats", "nats://127.0.0.1:1")
        with pytest.raises(CodetetherError, match="worktrees are switched off"):
            await result(kernel, capsys, "x", "--nats", server.address, "--no-worktrees")
        assert model.asked == {}
        assert not list(kernel.dirs.data.glob("swarm/*"))
        assert "canary-pass" not in "".join(capsys.readouterr())


class Nothing(Struct):
    pass


class Afar(Tool[Nothing]):
    """Has a swarm do something on other machines, for the session whose tool it is."""

    api = 1
    params = Nothing
    effect = Effect.AGENT
    text = "Have it done."
    address = ""

    async def run(self, params, ctx):
        wanted = {"task": "far", "executor": "nats", "address": self.address, "gates": ()}
        data = await self.kernel.mode("swarm").work(wanted, ctx.session, ctx.progress)
        return ToolOutput(data["status"])


async def within(tmp_path, user, server, space, capsys, *said, budget):
    """Of a run whose only sub-agent has another swarm do one thing elsewhere: the exit code and the object."""
    Afar.address = server.address
    model = Model(
        plan(task("one")), plan(does("far", *said)), one=[call("afar"), "done"], usage=Usage(900, 100),
    )  # fmt: skip
    async with kernel_at(tmp_path, model, user, space, extra={"tools:afar": Afar}) as kernel:
        return await result(kernel, capsys, "do it", "--budget-tokens", str(budget))


async def test_what_a_swarm_within_a_sub_agent_spends_elsewhere_counts(
    tmp_path, user, server, workers, capsys
):
    workers("within", "--once")
    said = ["$ true", "$ true", "done"]
    code, told = await within(tmp_path, user, server, "within", capsys, *said, budget=50_000)
    steps = 1 + 2  # the inner plan, and the one that has it done
    assert (code, told["tokens"]["total"]) == (0, 1_000 * (1 + steps + 3)), told
    assert told["subtask_results"][0]["tokens"] == 1_000 * (steps + 3)


async def test_what_is_spent_elsewhere_for_a_sub_agent_ends_it_when_the_budget_is_used_up(
    tmp_path, user, server, workers, capsys
):
    worker = workers("ended", "--once")
    said = ["$ true", "$ sleep 60", "done"]
    code, told = await within(tmp_path, user, server, "ended", capsys, *said, budget=4_000)
    assert (code, told["tokens"]["total"] in (4_000, 5_000)) == (1, True), told
    assert "the budget of 4,000 tokens is used up" in told["error"]
    worker.until("taken back")

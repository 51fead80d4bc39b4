"""Sub-agents on other machines: real NATS servers, workers as processes, and everything that can happen to both."""

from __future__ import annotations

import signal

import pytest
import trio
from brokers import LEASE, NatsServer, Worker, coordinator, steps, task
from codetether.api import Notice, ToolStarted, TurnFinished
from codetether_nats import key_of
from swarms import branches, git, repository


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    yield server
    server.close()


@pytest.fixture
def workers():
    """Makes workers, and ends them."""
    made = []

    def make(*words, **how):
        made.append(Worker(*words, **how))
        made[-1].until("serves")
        return made[-1]

    yield make
    for worker in made:
        worker.end(signal.SIGKILL)


@pytest.fixture
def user(tmp_path):
    return repository(tmp_path / "repo")


class Seen:
    """The events of a task, and a wait for one of them."""

    def __init__(self):
        self.events = []
        self._news = trio.Event()

    async def observe(self, event):
        self.events.append(event)
        self._news.set()
        self._news = trio.Event()

    async def until(self, wanted):
        with trio.fail_after(60):
            while not any(wanted(event) for event in self.events):
                await self._news.wait()

    async def working(self, times=1):
        """Until a worker's agent has begun to run something, for so many times."""
        with trio.fail_after(60):
            while sum(isinstance(event, ToolStarted) for event in self.events) < times:
                await self._news.wait()

    @property
    def places(self):
        """The workers that had it, in order."""
        return [event.text for event in self.events if isinstance(event, Notice) and "on " in event.text]  # fmt: skip


def go(worker):
    """Let what runs in a worker's tree end."""
    for tree in (worker.home / "data").glob("*-workers/*/*/trees/job-*/.git"):
        (tree.parent / "go").touch()


async def kept(kernel, name="t"):
    """What is still on the broker of a task."""
    link = await kernel.executor("nats")._connected()
    return await link.read(key_of(name))


async def test_a_task_is_done_elsewhere_and_its_work_comes_back_as_a_branch(
    tmp_path, server, workers, user
):
    (user / "sub").mkdir()
    (user / "sub" / "b.txt").write_text("b\n")
    git(user, "add", "-A")
    git(user, "commit", "-qm", "second")
    (user / "a.txt").write_text("not committed\n")
    base = git(user, "rev-parse", "HEAD")
    worker = workers(tmp_path / "w", server.address, space="one")
    seen = Seen()
    async with coordinator(tmp_path / "home", server.address, space="one") as kernel:
        executor = kernel.executor("nats")
        did = steps("$ cat b.txt > made.txt; pwd", "made it")
        first = task(did, "run:one:1", user / "sub", base=base, branch="codetether/run-one")
        result = await executor.run(first, seen.observe)
        assert (result.ok, result.text, result.reason, result.steps) == (True, "made it", "done", 2)
        assert isinstance(seen.events[-1], TurnFinished)
        assert len(seen.places) == 1
        assert git(user, "show", "codetether/run-one:sub/made.txt") == "b"
        assert await kept(kernel, "run:one:1") is None
        # What was sent once is not sent again, and a task may start from what another did.
        tip = git(user, "rev-parse", "codetether/run-one")
        more = task(
            steps("$ cat sub/made.txt > top.txt", "ok"), "run:two:1", user, base=tip, branch="codetether/run-two"
        )  # fmt: skip
        assert (await executor.run(more)).ok
        assert git(user, "diff", "--name-only", tip, "codetether/run-two") == "top.txt"
        # Nothing changed, nothing comes back; a task without a repository has an empty folder.
        looked = await executor.run(
            task(steps("seen"), "l", user, base=base, branch="codetether/run-look")
        )
        assert (looked.ok, looked.text) == (True, "seen")
        empty = await executor.run(task(steps("$ ls -A | wc -l", "0"), "e"))
        assert (empty.ok, empty.text) == (True, "0")
    assert branches(user) == ["codetether/run-one", "codetether/run-two", "main"]
    assert (user / "a.txt").read_text() == "not committed\n"
    assert git(user, "for-each-ref", "refs/codetether") == ""
    assert worker.end() == 0
    data = worker.home / "data"
    assert list(data.with_name("codetether-agent-workers").glob("*")) == []


async def test_a_failed_task_sends_what_it_did_so_far(tmp_path, server, workers, user):
    base = git(user, "rev-parse", "HEAD")
    workers(tmp_path / "w", server.address, space="failed")
    async with coordinator(tmp_path / "home", server.address, space="failed") as kernel:
        half = task(
            steps("$ echo half > half.txt", "$ echo more", "never"), "h", user, base=base, branch="codetether/half",
            max_steps=1,
        )  # fmt: skip
        result = await kernel.executor("nats").run(half)
        assert (result.ok, result.reason) == (False, "step_limit")
    assert git(user, "show", "codetether/half:half.txt") == "half"


async def test_a_killed_worker_and_a_frozen_one_lose_the_task_and_only_one_result_is_taken(
    tmp_path, server, workers, user
):
    base = git(user, "rev-parse", "HEAD")
    seen = Seen()
    waits = (
        "$ echo $$ >> who.txt; for n in $(seq 900); do [ -e go ] && break; sleep 0.05; done; rm go"
    )

    async with (
        coordinator(tmp_path / "home", server.address, space="lost", lease=LEASE) as kernel,
        trio.open_nursery() as nursery,
    ):
        results = []

        async def run():
            work = task(steps(waits, "done"), "t", user, base=base, branch="codetether/t")
            results.append(await kernel.executor("nats").run(work, seen.observe))

        await kernel.executor("nats").ready()  # who comes first sets the lease
        first = workers(tmp_path / "w1", server.address, space="lost")
        nursery.start_soon(run)
        await seen.working(1)
        first.end(signal.SIGKILL)
        second = workers(tmp_path / "w2", server.address, space="lost")
        await seen.working(2)
        second.send(signal.SIGSTOP)
        third = workers(tmp_path / "w3", server.address, space="lost")
        await seen.working(3)
        go(second)  # what it runs is not frozen, and ends
        go(third)
        with trio.fail_after(60):
            while not results:
                await trio.sleep(0.05)
        tip = git(user, "rev-parse", "codetether/t")
        second.send(signal.SIGCONT)  # its agent goes on at once, and has the same to hand in
        second.until("t: lost to another worker")
        nursery.cancel_scope.cancel()
    assert results[0].ok
    assert len(seen.places) == 3
    assert git(user, "rev-parse", "codetether/t") == tip
    assert len(git(user, "show", "codetether/t:who.txt").splitlines()) == 1
    assert (second.end(), third.end()) == (0, 0)

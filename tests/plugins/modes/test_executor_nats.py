"""Sub-agents on other machines: real NATS servers, workers as processes, and everything that can happen to both."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess

import msgspec
import pytest
import trio
from brokers import LEASE, NatsServer, Worker, coordinator, go, steps, task
from codetether.api import (
    AgentResult,
    Effect,
    Notice,
    Spent,
    ToolFinished,
    ToolStarted,
    TurnFinished,
)
from codetether.words import Usage
from codetether_nats import Job, Record, Told, fetch, key_of, pack, stamp
from codetether_nats.messages import job as read_job
from codetether_worktrees import Repository
from swarms import branches, git, repository

WAITS = "$ echo $$ >> who.txt; for n in $(seq 900); do [ -e go ] && break; sleep 0.05; done; rm go"


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


async def ended(results, many):
    """Until so many results are there."""
    with trio.fail_after(60):
        while len(results) < many:
            await trio.sleep(0.02)


async def waits_in_the_queue(executor, many):
    link = await executor._connected()
    with trio.fail_after(60):
        while (await link.crowd()).queued < many:
            await trio.sleep(0.02)


async def gone(kernel, name="t"):
    """Until nothing of a task is on the broker, but for the word that nobody wants it any more."""
    with trio.fail_after(60):
        while (await kept(kernel, name)).state != "over":
            await trio.sleep(0.02)


async def kept(kernel, name="t"):
    """What is still on the broker of a task."""
    link = await kernel.executor("nats")._connected()
    return (await link.read(key_of(name)))[1]


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
        await gone(kernel, "run:one:1")
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

    async with (
        coordinator(tmp_path / "home", server.address, space="lost", lease=LEASE) as kernel,
        trio.open_nursery() as nursery,
    ):
        results = []

        async def run():
            work = task(steps(WAITS, "done"), "t", user, base=base, branch="codetether/t")
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
        await second.told("t: lost to another worker")
        nursery.cancel_scope.cancel()
    assert results[0].ok
    assert len(seen.places) == 3
    assert git(user, "rev-parse", "codetether/t") == tip
    assert len(git(user, "show", "codetether/t:who.txt").splitlines()) == 1
    assert (second.end(), third.end()) == (0, 0)


async def test_a_broker_that_dies_and_comes_back_loses_nothing(tmp_path, workers, user):
    base = git(user, "rev-parse", "HEAD")
    own = NatsServer(tmp_path / "own")
    try:
        async with (
            coordinator(tmp_path / "home", own.address, outage=4.0) as kernel,
            trio.open_nursery() as nursery,
        ):
            executor = kernel.executor("nats")
            await executor.ready()
            worker = workers(tmp_path / "w", own.address, "--concurrency", 1)
            seen, results, late = Seen(), {}, trio.current_time() + 4.0

            async def run(name, *said):
                work = task(steps(*said), name, user, base=base, branch=f"codetether/{name}")
                results[name] = await executor.run(work, seen.observe)

            nursery.start_soon(run, "one", WAITS, "done")
            await seen.working()
            nursery.start_soon(run, "two", "$ echo two > two.txt", "done too")
            await waits_in_the_queue(executor, 1)
            await trio.sleep_until(
                late
            )  # how long it was there says nothing of how long it is away
            own.kill()
            go(worker)  # it is done while there is no broker
            await trio.sleep(0.3)
            own.start()
            await ended(results, 2)
        assert all(result.ok for result in results.values()), results
        assert git(user, "show", "codetether/one:who.txt").count("\n") == 0  # one line: done once
        assert git(user, "show", "codetether/two:two.txt") == "two"
        assert sum("begun" in line for line in worker.lines) == 2
    finally:
        own.close()


async def test_a_worker_that_is_handed_what_it_is_at_does_not_begin_it_again(
    tmp_path, server, workers
):
    """A broker that is killed may forget that it handed something out."""
    async with (
        coordinator(tmp_path / "home", server.address, space="forgot") as kernel,
        trio.open_nursery() as nursery,
    ):
        executor, seen, results = kernel.executor("nats"), Seen(), {}
        worker = workers(tmp_path / "w", server.address, "--concurrency", 2, space="forgot")

        async def run():
            results["t"] = await executor.run(task(steps(WAITS, "done")), seen.observe)

        nursery.start_soon(run)
        await seen.working()
        link = executor._link
        stream = link._broker._js
        known = (await link._loop.run(stream.consumer_info, "forgot-jobs", "workers")).config
        await link._loop.run(stream.delete_consumer, "forgot-jobs", "workers")
        await link._loop.run(stream.add_consumer, "forgot-jobs", known)
        with trio.fail_after(60):
            while not (await link.crowd()).busy:
                await trio.sleep(0.02)
        await trio.sleep(0.5)  # for the worker to look at it
        (next(worker.home.glob("data/*-workers/*/job-*")) / "go").touch()
        await ended(results, 1)
        assert results["t"].ok
        with trio.fail_after(60):
            while (await link.crowd()).busy:
                await trio.sleep(0.02)
    assert sum("begun" in line for line in worker.lines) == 1
    assert worker.end() == 0


async def test_after_an_outage_longer_than_a_lease_nobody_takes_what_another_is_still_at(
    tmp_path, workers
):
    own = NatsServer(tmp_path / "own")
    try:
        async with (
            coordinator(tmp_path / "home", own.address, lease=LEASE) as kernel,
            trio.open_nursery() as nursery,
        ):
            await kernel.executor("nats").ready()
            first = workers(tmp_path / "w1", own.address, "--concurrency", 1)
            seen, results = Seen(), {}

            async def run():
                results["t"] = await kernel.executor("nats").run(
                    task(steps(WAITS, "done")), seen.observe
                )

            nursery.start_soon(run)
            await seen.working()
            second = workers(tmp_path / "w2", own.address)
            own.kill()
            first.send(signal.SIGSTOP)  # so that the other one is back earlier
            own.start()
            await second.told("another worker may still be at it")
            first.send(signal.SIGCONT)
            (next(first.home.glob("data/*-workers/*/job-*")) / "go").touch()
            await ended(results, 1)
        assert results["t"].ok
        assert len(seen.places) == 1
    finally:
        own.close()


async def test_without_a_broker_for_too_long_it_is_unreachable_and_still_there_later(
    tmp_path, workers, user
):
    base = git(user, "rev-parse", "HEAD")
    own = NatsServer(tmp_path / "own")
    results = {}
    work = task(steps("$ echo 1 > one.txt", "done"), "t", user, base=base, branch="codetether/t")
    try:
        async with (
            coordinator(tmp_path / "home", own.address, outage=1.0) as kernel,
            trio.open_nursery() as nursery,
        ):

            async def run():
                results["t"] = await kernel.executor("nats").run(work)

            await kernel.executor("nats").ready()
            nursery.start_soon(run)
            await waits_in_the_queue(kernel.executor("nats"), 1)
            own.kill()
            await ended(results, 1)
            assert results["t"].reason == "unreachable"
            assert "has been away for" in results["t"].error
            again = await kernel.executor("nats").run(work)
            assert again.reason == "unreachable"
        own.start()
        workers(tmp_path / "w", own.address)
        async with coordinator(tmp_path / "home2", own.address) as kernel:
            result = await kernel.executor("nats").run(work)
            assert result.ok
            await gone(kernel)
        assert git(user, "show", "codetether/t:one.txt") == "1"
    finally:
        own.close()


async def test_what_somebody_took_out_of_the_queue_is_not_waited_for(tmp_path, server, monkeypatch):
    from codetether_executor_nats import following

    monkeypatch.setattr(following, "LOOK", 0.2)
    results = {}
    async with (
        coordinator(tmp_path / "home", server.address, space="taken") as kernel,
        trio.open_nursery() as nursery,
    ):
        executor = kernel.executor("nats")

        async def run():
            results["t"] = await executor.run(task("x"))

        nursery.start_soon(run)
        await waits_in_the_queue(executor, 1)
        link = executor._link
        await link._loop.run(link._broker._js.purge_stream, "taken-jobs")
        await ended(results, 1)
    assert "is no longer on the broker" in results["t"].error


async def test_a_broker_that_comes_back_without_what_it_kept_is_worked_on_all_the_same(
    tmp_path, workers, user, monkeypatch
):
    from codetether_executor_nats import following

    monkeypatch.setattr(following, "LOOK", 0.2)
    base = git(user, "rev-parse", "HEAD")
    own = NatsServer(tmp_path / "own")
    try:
        async with (
            coordinator(tmp_path / "home", own.address, lease=LEASE) as kernel,
            trio.open_nursery() as nursery,
        ):
            executor, seen, results = kernel.executor("nats"), Seen(), {}
            await executor.ready()

            async def run(name, *said):
                work = task(steps(*said), name, user, base=base, branch=f"codetether/{name}")
                results[name] = await executor.run(work, seen.observe)

            worker = workers(tmp_path / "w", own.address, "--concurrency", 1)
            nursery.start_soon(run, "one", WAITS, "done")
            await seen.working()
            nursery.start_soon(run, "two", "done")
            await waits_in_the_queue(executor, 1)
            own.kill()
            shutil.rmtree(tmp_path / "own" / "store")
            own.start()
            await worker.told("one: lost")
            await ended(results, 2)  # the other one was handed in again, or is lost too
            assert "one is no longer on the broker" in results["one"].error
            await run("three", "$ echo 3 > three.txt", "done")
            assert results["three"].ok, results
        assert git(user, "show", "codetether/three:three.txt") == "3"
        assert worker.end() == 0
    finally:
        own.close()


async def test_cancelling_reaches_the_queue_and_the_worker(tmp_path, server, workers, user):
    base = git(user, "rev-parse", "HEAD")
    seen = Seen()
    async with coordinator(tmp_path / "home", server.address, space="cancel") as kernel:
        executor = kernel.executor("nats")
        worker = workers(tmp_path / "w", server.address, "--concurrency", 1, space="cancel")
        async with trio.open_nursery() as nursery:
            for name in ("one", "two"):
                work = task(steps(WAITS, "x"), name, user, base=base, branch=f"codetether/{name}")
                nursery.start_soon(executor.run, work, seen.observe)
                if name == "one":
                    await seen.working()
            await waits_in_the_queue(executor, 1)
            nursery.cancel_scope.cancel()
        lost = "lost to another worker, or taken back"
        await worker.told(f"one: {lost}")
        result = await executor.run(task(steps("$ echo 3 > 3", "3"), "three"))
        assert result.ok
        assert "two: begun" not in worker.lines
        # The same task may be handed in again.
        again = task(
            steps("$ echo 1 > 1.txt", "1"), "one", user, base=base, branch="codetether/one"
        )
        assert (await executor.run(again)).ok
        timed = await executor.run(task(steps("STALL"), "four", timeout=0.5))
        assert "longer than 0.5 s" in timed.error
    assert worker.end() == 0


async def test_a_worker_that_is_told_to_end_finishes_or_at_the_second_word_gives_back(
    tmp_path, server, workers, user
):
    base = git(user, "rev-parse", "HEAD")
    async with (
        coordinator(tmp_path / "home", server.address, space="drain") as kernel,
        trio.open_nursery() as nursery,
    ):
        executor, seen, results = kernel.executor("nats"), Seen(), {}

        async def run(name):
            work = task(steps(WAITS, "done"), name, user, base=base, branch=f"codetether/{name}")
            results[name] = await executor.run(work, seen.observe)

        first = workers(tmp_path / "w1", server.address, "--concurrency", 1, space="drain")
        nursery.start_soon(run, "one")
        await seen.working(1)
        first.send(signal.SIGTERM)
        await first.told("no more sub-tasks")
        nursery.start_soon(run, "two")
        await waits_in_the_queue(executor, 1)
        second = workers(tmp_path / "w2", server.address, "--once", space="drain")
        await seen.working(2)
        go(first)
        await ended(results, 1)
        assert first.process.wait(60) == 0
        second.send(signal.SIGTERM)
        await second.told("no more sub-tasks")
        assert (
            second.end(signal.SIGTERM) == 0
        )  # without waiting for its agent, whose lease is given back
        third = workers(tmp_path / "w3", server.address, "--once", space="drain")
        await seen.working(3)
        go(third)
        await ended(results, 2)
        assert third.process.wait(60) == 0  # once
    assert results["one"].ok
    assert results["two"].ok


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_worker_that_waits_for_its_broker_ends_when_it_is_told_to(tmp_path, number):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and says nothing
        worker = Worker(tmp_path / "w", f"nats://127.0.0.1:{silent.getsockname()[1]}")
        try:
            held, _ = silent.accept()
            worker.send(number)
            assert worker.process.wait(60) == 0
            held.close()
        finally:
            worker.end(signal.SIGKILL)
    assert not any("trying again" in line for line in worker.lines)  # it waited for nothing more


def test_a_worker_that_cannot_work_where_it_is_told_to_says_so(tmp_path, server):
    (tmp_path / "file").touch()
    worker = Worker(tmp_path / "w", server.address, "--work-dir", tmp_path / "file" / "below")
    assert worker.process.wait(60) == 1
    worker.end()
    said = [line for line in worker.lines if "cannot be worked in: Not a directory" in line]
    assert any("UsageError" in line for line in said), worker.lines


async def test_what_kills_its_workers_is_given_up(tmp_path, server, workers, monkeypatch):
    async with (
        coordinator(tmp_path / "home", server.address, space="poison", lease=LEASE) as kernel,
        trio.open_nursery() as nursery,
    ):
        seen, results = Seen(), {}

        async def run():
            results["t"] = await kernel.executor("nats").run(task(steps("STALL")), seen.observe)

        await kernel.executor("nats").ready()
        workers_of = {"space": "poison", "settings": "tries = 2"}
        for number in range(2):
            worker = workers(tmp_path / f"w{number}", server.address, **workers_of)
            if not number:
                nursery.start_soon(run)
            await worker.told("t: begun")
            worker.end(signal.SIGKILL)
        workers(tmp_path / "last", server.address, **workers_of)
        await ended(results, 1)
    assert not results["t"].ok
    assert "it was begun 2 times, and no worker lived to finish it" in results["t"].error


async def test_what_was_handed_out_and_not_begun_is_no_try(tmp_path, server, workers):
    async with coordinator(tmp_path / "home", server.address, space="declined") as kernel:
        executor, results = kernel.executor("nats"), {}
        await executor.ready()
        link = executor._link
        async with trio.open_nursery() as nursery:

            async def run():
                results["t"] = await executor.run(task(steps("done")))

            nursery.start_soon(run)
            async with link.line(lambda delivery: None) as take:
                for number in range(1, 6):
                    with trio.fail_after(60):
                        while (got := await take(5.0)) is None:
                            pass
                    assert got[0].delivery == number
                    await link.give_back(got[0])
            workers(tmp_path / "w", server.address, space="declined", settings="tries = 1")
    assert results["t"].ok, results["t"].error


async def test_without_any_worker_it_is_said_and_in_the_end_an_error(tmp_path, server, monkeypatch):
    from codetether_executor_nats import following

    monkeypatch.setattr(following, "LOOK", 0.2)
    seen = Seen()
    async with coordinator(
        tmp_path / "home", server.address, space="nobody", patience=1.0
    ) as kernel:
        result = await kernel.executor("nats").run(task("x"), seen.observe)
        assert "no worker came within 1 s" in result.error
        assert (await kept(kernel)).state == "over"
    assert [event.text for event in seen.events] == ["there is no worker yet"]


async def test_a_repository_may_come_from_a_remote_that_the_worker_allows(
    tmp_path, server, workers, user
):
    origin = tmp_path / "origin.git"
    git(tmp_path, "clone", "-q", "--bare", str(user), str(origin))
    git(user, "remote", "add", "origin", str(origin))
    git(user, "fetch", "-q", "origin")
    there = git(user, "rev-parse", "HEAD")
    (user / "new.txt").write_text("only here\n")
    git(user, "add", "-A")
    git(user, "commit", "-qm", "not pushed")
    here = git(user, "rev-parse", "HEAD")
    workers(tmp_path / "w", server.address, "--remote", tmp_path / "orig", space="remote")

    async with coordinator(
        tmp_path / "home", server.address, space="remote", remote="origin"
    ) as kernel:
        executor = kernel.executor("nats")
        for name, base in (("there", there), ("here", here)):
            work = task(steps(f"$ ls > {name}.txt", "ok"), name, user, base=base, branch=f"codetether/{name}")  # fmt: skip
            result = await executor.run(work)
            assert result.ok, result.error
        [sender] = executor._senders.values()
        [sent] = sender._sent
        assert sent.commit == here
        assert sent.size < 1000  # the one commit that is not there
        for secret in ("me:pass", "ghp_token"):
            git(user, "remote", "set-url", "origin", f"https://{secret}@example.org/x.git")
            sender._url = ""
            refused = await executor.run(
                task(steps("x"), "n", user, base=here, branch="codetether/n")
            )
            assert "holds a password" in refused.error
    assert git(user, "show", "codetether/here:here.txt") == "a.txt\nhere.txt\nnew.txt"
    for name, address in (("o", "other.git"), ("dots", "orig/../other.git")):
        async with coordinator(
            tmp_path / name, server.address, space="remote", remote="origin"
        ) as kernel:
            git(user, "remote", "set-url", "origin", f"{tmp_path}/{address}")
            work = task(steps("x"), name, user, base=there, branch=f"codetether/{name}")
            result = await kernel.executor("nats").run(work)
            assert "may not fetch from" in result.error


async def test_what_is_too_large_or_no_repository_is_told(tmp_path, server, workers, user):
    (user / "big.bin").write_bytes(os.urandom(40_000))
    git(user, "add", "-A")
    git(user, "commit", "-qm", "big")
    base = git(user, "rev-parse", "HEAD")
    async with coordinator(
        tmp_path / "home", server.address, space="large", largest=20_000
    ) as kernel:
        work = task(steps("x"), "l", user, base=base, branch="codetether/l")
        result = await kernel.executor("nats").run(work)
        assert "and 20,000 are allowed" in result.error
        nowhere = task("x", "n", tmp_path, base=base, branch="codetether/n")
        assert "is not in a git repository" in (await kernel.executor("nats").run(nowhere)).error
        huge = await kernel.executor("nats").run(task("x" * 2_000_000, "h"))
        assert "larger than the broker takes" in huge.error


async def test_the_broker_takes_a_result_only_in_the_place_of_the_last_claim(tmp_path, server):
    """Fencing, at the level where it is decided: whoever's claim was replaced can hand in nothing."""

    def record(state, **more):
        return Record(state=state, submission="s", stamp=stamp(), **more)

    async with coordinator(tmp_path / "home", server.address, space="fence") as kernel:
        await kernel.executor("nats").ready()
        link = kernel.executor("nats")._link
        slept = await link.write("k", record("claimed", worker="a", delivery=1), 0)
        assert not await link.write("k", record("claimed", worker="late", delivery=1), 0)
        woke = await link.write("k", record("claimed", worker="b", delivery=2), slept)
        assert 0 < slept < woke
        assert not await link.write("k", record("done", worker="a", token=slept), slept)
        same = record("done", worker="b", token=woke)
        done = await link.write("k", same, woke)
        assert done
        assert await link.write("k", same, woke) == done  # said twice, as when an answer was lost
        assert not await link.write("k", record("done", worker="b", token=woke), woke)
        assert (await link.read("k"))[1].worker == "b"


@pytest.mark.parametrize(
    ("forged", "why"),
    [
        ("an earlier claim", "of a worker that had lost the sub-task"),
        ("the same number", "of a worker that had lost the sub-task"),
        ("nothing in it", "of a worker that had lost the sub-task"),
        ("money back", "is said to cost less than nothing, by w"),
        ("tokens back", "is said to cost less than nothing, by w"),
    ],
)
async def test_a_result_that_is_not_of_the_last_claim_or_gives_something_back_is_not_taken(
    tmp_path, server, forged, why
):
    """That the broker let it through does not make it one: it may have lost what it had, and count anew."""
    space = f"forged-{forged.replace(' ', '')}"
    seen, results = Seen(), {}

    async with (
        coordinator(tmp_path / "home", server.address, space=space) as kernel,
        trio.open_nursery() as nursery,
    ):
        executor = kernel.executor("nats")
        await executor.ready()
        link = executor._link

        async def run():
            results["t"] = await executor.run(task("x"), seen.observe)

        nursery.start_soon(run)
        submission = read_job((await taken(link)).data).submission
        claim = Record(
            state="claimed", submission=submission, stamp=stamp(), worker="w", delivery=1
        )
        first = await link.write(key_of("t"), claim, 0)
        again = msgspec.structs.replace(claim, stamp=stamp(), delivery=2)
        token = await link.write(key_of("t"), again, first)
        await seen.until(lambda event: isinstance(event, Notice) and "on w" in event.text)
        for usage in (
            Usage(-5, 1),
            Usage(1, -5),
            Usage(1, 1, cost=-1e9),
            Usage(900, 100, cost=0.5),
        ):
            await link.tell(key_of("t"), Told(token, Spent("rlm", "m", usage)))
        await seen.until(lambda event: isinstance(event, Spent))
        said = AgentResult("t", True, "not this one", "done", "", 0, 0.0)
        done = Record(
            state="done", submission=submission, stamp=stamp(), worker="w", token=token, claim=again.stamp, result=said
        )  # fmt: skip
        wrong = {
            "an earlier claim": {"token": first, "claim": claim.stamp},
            "the same number": {"claim": claim.stamp},
            "nothing in it": {"result": None},
            "money back": {"result": msgspec.structs.replace(said, cost=-1e9)},
            "tokens back": {"result": msgspec.structs.replace(said, input_tokens=-900)},
        }[forged]
        assert await link.write(key_of("t"), msgspec.structs.replace(done, **wrong), token)
        await ended(results, 1)
    assert [event.usage for event in seen.events if isinstance(event, Spent)] == [Usage(900, 100, cost=0.5)]  # fmt: skip
    assert not results["t"].ok
    assert why in results["t"].error


async def taken(link):
    """A job out of the queue, by a worker that a test plays."""
    async with link.line(lambda delivery: None) as take:
        with trio.fail_after(60):
            while (got := await take(5.0)) is None:
                pass
    return got[0]


async def test_whoever_lost_the_claim_hands_in_nothing(tmp_path, server):
    async with coordinator(tmp_path / "home", server.address, space="hands") as kernel:
        await kernel.executor("nats").ready()
        link = kernel.executor("nats")._link
        await link.hand_in(Job("k", "s", task("x")))
        delivery = await taken(link)

        def record(state, **more):
            return Record(state=state, submission="s", stamp=stamp(), **more)

        slept = await link.claim(delivery, "k", record("claimed", worker="a", delivery=1), 0)
        woke = await link.write("k", record("claimed", worker="b", delivery=2), slept.token)
        assert not await link.finish(slept, record("done", worker="a", token=slept.token))
        assert (await link.read("k"))[0] == woke
        assert await link.queued("k") is not None  # the job is still the other one's to do
        link.release(slept)


async def test_a_lease_is_extended_as_long_as_the_work_takes(tmp_path, server, workers):
    async with (
        coordinator(tmp_path / "home", server.address, space="long-lease", lease=1.0) as kernel,
        trio.open_nursery() as nursery,
    ):
        executor, seen, results = kernel.executor("nats"), Seen(), []
        await executor.ready()
        first, second = (
            workers(tmp_path / name, server.address, space="long-lease") for name in "ab"
        )

        async def run():
            results.append(await executor.run(task(steps("$ sleep 4", "done")), seen.observe))

        nursery.start_soon(run)
        await ended(results, 1)
        assert results[0].ok
        link = executor._link
        info = await link._loop.run(link._broker._js.consumer_info, "long-lease-jobs", "workers")
        assert info.delivered.consumer_seq == 1  # handed out once
    assert sum("begun" in line for line in first.lines + second.lines) == 1


def made_up(clone, base):
    """What a worker may say it did: a name for it, what is in the bundle, the commit it names, and what it ends in."""
    tree = git(clone, "rev-parse", f"{base}^{{tree}}")
    follows = git(clone, "commit-tree", tree, "-p", base, "-m", "follows")
    alien = git(clone, "commit-tree", tree, "-m", "from nowhere")
    blob = git(clone, "rev-parse", f"{base}:a.txt")
    entry = f"100644 blob {blob}\t.git\n"
    evil = subprocess.run(["git", "mktree"], cwd=clone, input=entry, text=True, capture_output=True, check=True).stdout.strip()  # fmt: skip
    escapes = git(clone, "commit-tree", evil, "-p", base, "-m", "in .git")
    return {
        "true": (follows, follows, None),
        "another file": (follows, follows, "is not what was said it is"),
        "another commit": (follows, "f" * 40, "does not hold the commit"),
        "no successor": (alien, alien, "does not follow from the commit that was sent"),
        "a file in .git": (escapes, escapes, "failed"),
        "beside ours": (follows, follows, "holds commits that the worker's work does not come after"),
    }  # fmt: skip


@pytest.mark.parametrize(
    "what", ["true", "another file", "another commit", "no successor", "a file in .git", "beside ours"]
)  # fmt: skip
async def test_commits_that_come_back_are_believed_nothing(tmp_path, server, user, what):
    space = f"made-{what.replace(' ', '-').replace('.', '')}"
    base, results = git(user, "rev-parse", "HEAD"), []
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(user), str(clone))
    packed, named, why = made_up(clone, base)[what]
    if what == "beside ours":
        ours = git(user, "commit-tree", f"{base}^{{tree}}", "-p", base, "-m", "ours")
        git(user, "update-ref", "refs/heads/codetether/t", ours)
    before = git(user, "for-each-ref")
    async with (
        coordinator(tmp_path / "home", server.address, space=space) as kernel,
        trio.open_nursery() as nursery,
    ):
        executor = kernel.executor("nats")
        await executor.ready()
        link = executor._link

        async def run():
            work = task("x", "t", user, base=base, branch="codetether/t")
            results.append(await executor.run(work))

        nursery.start_soon(run)
        job = read_job((await taken(link)).data)
        theirs = await Repository.find(clone, tmp_path / "trees")
        bundle = await pack(link, theirs, packed, [base])
        digest = "0" * 64 if what == "another file" else bundle.digest
        said = msgspec.structs.replace(bundle, commit=named, digest=digest)
        result = AgentResult("t", True, "x", "done", "", 0, 0.0)
        claim = Record(state="claimed", submission=job.submission, stamp=stamp(), delivery=1)
        token = await link.write(job.key, claim, 0)
        done = Record(
            state="done", submission=job.submission, stamp=stamp(), token=token, claim=claim.stamp, result=result,
            bundle=said,
        )  # fmt: skip
        assert await link.write(job.key, done, token)
        await ended(results, 1)
    if why is None:
        assert results[0].ok, results[0].error
        assert git(user, "rev-parse", "codetether/t") == named
    else:
        assert not results[0].ok
        assert why in results[0].error
        assert git(user, "for-each-ref") == before


async def test_what_is_no_sub_task_is_dropped_and_the_next_one_is_done(tmp_path, server, workers):
    worker = workers(tmp_path / "w", server.address, space="rubbish")
    async with coordinator(tmp_path / "home", server.address, space="rubbish") as kernel:
        await kernel.executor("nats").ready()
        link = kernel.executor("nats")._link
        for number, data in enumerate((b"", b"{", b'{"key": "k"}', b"\xff" * 10)):
            await link._ask(link._hand_in, f"k{number}", f"s{number}", data)
        await link._ask(link._broker.write, "bad", b"not a record", 0)
        await link.hand_in(Job("bad", "s", task("x")))
        looks = task(steps("seen"), "l", within=frozenset({Effect.READ}))
        assert (await kernel.executor("nats").run(looks)).text == "seen"
        for name, base, origin in (
            ("out", "a" * 40, "../../etc"), ("word", "HEAD", "a" * 16), ("flag", "--all", "a" * 16),
        ):  # fmt: skip
            await link.hand_in(Job(name, name, task("x", name, base=base), origin=origin))
            await worker.told(f"{name}: failed: ")
            assert any(f"{name}: failed: " in line and "names no repository" in line for line in worker.lines)  # fmt: skip
    assert sum("is dropped" in line for line in worker.lines) == 5
    assert worker.end() == 0


async def test_a_sub_task_may_do_no_more_than_its_worker_allows(tmp_path, server, workers):
    for allowed, wanted, denied in (("ask", "full", True), ("auto", "ask", True), ("auto", "full", False)):  # fmt: skip
        space = f"allowed-{allowed}-{wanted}"
        worker = workers(tmp_path / space, server.address, "--access-mode", allowed, space=space)
        async with coordinator(tmp_path / "home", server.address, space=space) as kernel:
            seen = Seen()
            work = msgspec.structs.replace(task(steps("$ true", "x")), access=wanted)
            await kernel.executor("nats").run(work, seen.observe)
        [finished] = [event for event in seen.events if isinstance(event, ToolFinished)]
        assert finished.meta.get("denied", False) == denied, finished
        assert worker.end() == 0


@pytest.mark.parametrize("inside", ["/", "..", "out", "a.txt", "absent"])
async def test_a_sub_task_is_begun_in_its_own_tree_wherever_it_wants_to(
    tmp_path, server, workers, user, inside
):
    (user / "out").symlink_to("/")
    git(user, "add", "-A")
    git(user, "commit", "-qm", "a way out")
    space = f"inside-{sum(inside.encode())}"
    workers(tmp_path / "w", server.address, "--remote", user, space=space)
    async with coordinator(tmp_path / "home", server.address, space=space) as kernel:
        await kernel.executor("nats").ready()
        link = kernel.executor("nats")._link
        work = task(steps("$ echo here > here.txt", "x"), "k", inside, base=git(user, "rev-parse", "HEAD"))  # fmt: skip
        await link.hand_in(Job("k", "k", work, origin="a" * 16, remote=str(user)))
        with trio.fail_after(60):
            while (record := (await link.read("k"))[1]) is None or record.state != "done":
                await trio.sleep(0.02)
        assert record.result.ok, record.result.error
        assert record.bundle is not None
        await fetch(
            link, await Repository.find(user, tmp_path / "trees"), record.bundle, check=True
        )
    assert git(user, "show", f"{record.bundle.commit}:here.txt") == "here"


async def test_a_result_larger_than_a_message_is_cut_and_the_worker_goes_on(
    tmp_path, server, workers
):
    worker = workers(tmp_path / "w", server.address, space="long")
    async with coordinator(tmp_path / "home", server.address, space="long") as kernel:
        result = await kernel.executor("nats").run(task(steps("LONG")))
        assert result.ok, result.error
        assert result.text.startswith("\N{EURO SIGN}" * 100_000)
        assert result.text.endswith("[the rest is left out]")
        assert (await kernel.executor("nats").run(task(steps("short"), "s"))).text == "short"
    assert worker.end() == 0


async def test_a_file_that_takes_too_long_fails_its_task(tmp_path, server, user, monkeypatch):
    from codetether_nats import link
    from codetether_nats.files import Files

    async def never(files, name, path):
        await asyncio.sleep(3600)

    monkeypatch.setattr(
        Files, "put", never
    )  # a small one may be there before its time is looked at
    monkeypatch.setattr(link, "FILE", 0.05)
    base = git(user, "rev-parse", "HEAD")
    async with coordinator(tmp_path / "home", server.address, space="slow") as kernel:
        work = task("x", "t", user, base=base, branch="codetether/t")
        assert "took longer than 0.05 s" in (await kernel.executor("nats").run(work)).error


async def test_leaving_does_not_wait_for_a_broker_that_is_gone(tmp_path, user):
    base = git(user, "rev-parse", "HEAD")
    own = NatsServer(tmp_path / "own")
    try:
        with trio.fail_after(60):
            async with coordinator(tmp_path / "home", own.address, outage=300.0) as kernel:
                executor = kernel.executor("nats")
                async with trio.open_nursery() as nursery:
                    work = task("x", "t", user, base=base, branch="codetether/t")
                    nursery.start_soon(executor.run, work)
                    await waits_in_the_queue(executor, 1)
                    nursery.cancel_scope.cancel()
                own.kill()
    finally:
        own.close()


async def test_what_was_done_for_somebody_who_is_gone_is_the_result_with_and_without_a_worker(
    tmp_path, server, workers, monkeypatch
):
    from codetether_executor_nats import following

    async def was_done(link, name):
        said = AgentResult(name, True, f"{name} was done", "done", "", 0, 0.0)
        claimed = Record(state="claimed", submission="old", stamp=stamp(), delivery=1)
        token = await link.write(key_of(name), claimed, 0)
        done = Record(state="done", submission="old", stamp=stamp(), token=token, result=said)
        assert await link.write(key_of(name), done, token)

    monkeypatch.setattr(following, "LOOK", 0.2)
    async with coordinator(tmp_path / "home", server.address, space="gone") as kernel:
        executor = kernel.executor("nats")
        await executor.ready()
        await was_done(executor._link, "alone")
        assert (await executor.run(task(steps("no"), "alone"))).text == "alone was done"
        monkeypatch.setattr(following, "LOOK", 60.0)
        await was_done(executor._link, "told")
        worker = workers(tmp_path / "w", server.address, space="gone")
        assert (await executor.run(task(steps("no"), "told"))).text == "told was done"
        # What is left of it keeps nobody from handing it in once more.
        await gone(kernel, "told")
        assert (await executor.run(task(steps("yes"), "told"))).text == "yes"
    assert [line for line in worker.lines if "begun" in line] == ["told: begun"]

"""What is said to a broker for a sub-task and what that takes here, the line for jobs, and that no word stops the hearing."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import shutil
import signal
import socket
import threading
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path

import nats.errors
import pytest
import trio
import trio.testing
from brokers import NatsServer, Worker, coordinator, steps, task
from codetether.api import CodetetherError, Notice
from codetether_mode_swarm_worker.ground import Ground
from codetether_nats import Job, Record, Told, Unreachable, key_of, stamp
from codetether_nats import broker as broker_module
from codetether_nats import files as files_module
from codetether_nats import link as link_module
from codetether_nats.broker import Broker
from codetether_nats.loop import READ
from codetether_nats.words import subscribe
from nats.js.errors import APIError, ServiceUnavailableError
from swarms import git, repository


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    yield server
    server.close()


class Tap:
    """Stands between clients and a broker. `said` is what clients said: the command, and what it is about."""

    def __init__(self, port):
        self.said = Counter()
        self._port = port
        self._still = 0  # connections that carry nothing any more, and do not end
        self._made = 0
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"nats://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            there = socket.create_connection(("127.0.0.1", self._port))
            for stream in (here, there):
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._made += 1
            for target, *ends in ((self._listen, here, there), (self._repeat, there, here)):
                threading.Thread(target=target, args=[self._made, *ends], daemon=True).start()

    def _repeat(self, number, from_, to):
        with from_, to:
            try:
                while data := self._read(number, from_):
                    to.sendall(data)
            except OSError:
                pass

    def _listen(self, number, from_, to):
        heard = b""
        with from_, to:
            try:
                while data := self._read(number, from_):
                    heard = self._understood(heard + data)
                    to.sendall(data)
            except OSError:
                pass

    def _read(self, number, from_):
        data = from_.recv(65536)
        if number <= self._still:
            self._over.wait()
        return data

    def stand_still(self):
        """As when the broker's machine is cut off: what connections there are end neither now nor later. New ones go through."""
        self._still = self._made

    def _understood(self, heard):
        while b"\r\n" in heard:
            line, rest = heard.split(b"\r\n", 1)
            command, *words = line.split()
            if command in (b"PUB", b"HPUB"):
                size = int(words[-1]) + 2
                if len(rest) < size:
                    break
                self._count(command.decode(), words[0].decode(), rest[:size])
                rest = rest[size:]
            else:
                self._count(command.decode(), words[0].decode() if command == b"SUB" else "", b"")
            heard = rest
        return heard

    def _count(self, command, subject, data):
        state = re.search(rb'"state":"(\w+)"', data)
        about = state[1].decode() if state else re.sub(r"\.[^.]*-[0-9a-f]{10}$", "", subject)
        self.said[command, about.split(".workers")[0]] += 1

    def close(self):
        self._over.set()
        self._listener.close()


async def until(known):
    with trio.fail_after(60):
        while not await known():
            await trio.sleep(0.02)


async def test_what_is_said_for_a_sub_task_on_both_sides(tmp_path, server):
    ours, theirs = Tap(server.port), Tap(server.port)
    worker = Worker(tmp_path / "w", theirs.address, "--concurrency", 1, space="said")
    try:
        worker.until("serves")
        async with coordinator(tmp_path / "home", ours.address, space="said") as kernel:
            executor = kernel.executor("nats")
            assert (await executor.run(task(steps("x"), "first"))).ok
            link = executor._link

            async def closed():
                return not link._loop._begun and not link._broker._closing

            await until(closed)
            before, worked, made = ours.said.copy(), theirs.said.copy(), Counter()

            def counting(loop, work, **more):
                made[work.__qualname__] += 1
                return asyncio.Task(work, loop=loop, **more)

            asyncio_loop = link._loop._loop
            asyncio_loop.set_task_factory(counting)
            for number in range(5):
                assert (await executor.run(task(steps("x"), f"t{number}"))).ok
            await until(closed)
            await link.read("x")  # what was said before is with the tap now
            asyncio_loop.set_task_factory(None)
        said, done = ours.said - before, theirs.said - worked
        assert {words: many for words, many in said.items() if words[0] != "PING" and "$JS" not in words[1]} == {
            ("SUB", "said.kept"): 5, ("HPUB", "said.jobs"): 5, ("HPUB", "over"): 5, ("UNSUB", ""): 5,
        }  # fmt: skip
        of_a_job = ("claimed", "done", "$JS.ACK.said-jobs")
        assert {words: many for words, many in done.items() if words[1] in of_a_job} == {
            ("HPUB", "claimed"): 5, ("HPUB", "done"): 5, ("PUB", "$JS.ACK.said-jobs"): 5,
        }  # fmt: skip
        # One thing for asyncio to do for each, and one for some of them at the end; none for a subscription or an answer.
        assert made.pop("Broker.promptly") == 5 + 1
        assert 1 <= made.pop("Broker.close_all") <= 5
        assert not made
        assert worker.end() == 0
    finally:
        worker.end(signal.SIGKILL)
        ours.close()
        theirs.close()


@asynccontextmanager
async def linked(tmp_path, address, space, **settings):
    async with coordinator(tmp_path / "home", address, space=space, **settings) as kernel:
        await kernel.executor("nats").ready()
        yield kernel.executor("nats")._link


async def lined(link):
    """A place in the line, for the jobs of a test."""
    return await link._ask(link._broker.queue)


async def job(link, line, seconds=30.0):
    return await link._again(link._broker.promptly, line.job, seconds)


async def test_one_job_is_asked_for_at_one_time_and_one_that_came_is_the_next(tmp_path, server):
    async with linked(tmp_path, server.address, "line") as link:
        line = await lined(link)
        for _ in range(3):
            with trio.move_on_after(0.05) as given_up:
                await job(link, line)
            assert given_up.cancelled_caught
        assert (await link.crowd()).idle == 1
        await link.hand_in(Job("a", "a", task("x")))

        async def came():
            return line._came

        await until(came)
        await link.hand_in(Job("b", "b", task("x")))
        await trio.sleep(0.1)
        crowd = await link.crowd()
        assert (crowd.idle, crowd.busy, crowd.queued) == (0, 1, 1)  # not asked for by us
        assert [(await job(link, line)).subject for _ in "ab"] == ["line.jobs.a", "line.jobs.b"]
        assert await job(link, line, 0.2) is None
        assert (await link.crowd()).idle == 0


async def test_a_job_that_came_as_we_left_is_another_s_at_once(tmp_path, server):
    async with linked(tmp_path, server.address, "left") as link:
        line, other = await lined(link), await lined(link)
        with trio.move_on_after(0.05):
            await job(link, line)
        await link.hand_in(Job("a", "a", task("x")))

        async def came():
            return line._came

        await until(came)
        await link._loop.run(line.leave)
        with trio.fail_after(30):  # long before the lease ends
            assert (await job(link, other)).metadata.num_delivered == 2


async def test_a_job_whose_claim_was_cut_off_is_another_s_at_once(tmp_path):
    own = NatsServer(tmp_path / "own")
    try:
        async with linked(tmp_path, own.address, "cut") as link:

            def offer(delivery):
                own._process.send_signal(signal.SIGSTOP)  # the claim has no answer
                os.waitpid(own._process.pid, os.WUNTRACED)
                return "a", b'{"state":"claimed","submission":"a","stamp":"s"}'

            await link.hand_in(Job("a", "a", task("x")))
            async with link.line(offer) as take:
                with trio.move_on_after(1.0) as cut:
                    await take(30.0)
                assert cut.cancelled_caught
                own._process.send_signal(signal.SIGCONT)
            other = await lined(link)
            with trio.fail_after(30):
                assert (await job(link, other)).metadata.num_delivered == 2
    finally:
        own._process.send_signal(signal.SIGCONT)
        own.close()


async def test_after_an_outage_a_job_is_asked_for_anew(tmp_path):
    own = NatsServer(tmp_path / "own")
    try:
        async with linked(tmp_path, own.address, "anew") as link, trio.open_nursery() as nursery:
            line, jobs = await lined(link), []

            async def wait():
                jobs.append(await job(link, line, 300.0))

            async def idle():
                return (await link.crowd()).idle == 1

            nursery.start_soon(wait)
            await until(idle)
            own.kill()
            own.start()
            await link.hand_in(Job("a", "a", task("x")))
            with trio.fail_after(60):
                while not jobs:
                    await trio.sleep(0.02)
            assert jobs[0].subject == "anew.jobs.a"
    finally:
        own.close()


async def test_what_others_are_at_is_theirs_from_the_first_word_after_an_outage(
    tmp_path, monkeypatch
):
    async def not_yet(broker):
        """The client tells us that it is back after it was told other things."""

    monkeypatch.setattr(Broker, "_back", not_yet)
    own = NatsServer(tmp_path / "own")
    try:
        async with linked(tmp_path, own.address, "grace") as link:
            assert link.grace == 0.0
            own.kill()
            own.start()
            assert await link.read("k") == (0, None)
            assert link.grace == link_module.GRACE
    finally:
        own.close()


async def test_a_connection_that_takes_nothing_any_more_holds_nobody_up_and_is_left_for_a_new_one(
    tmp_path, server, monkeypatch
):
    monkeypatch.setattr(broker_module, "STUCK", 0.1)
    tap = Tap(server.port)
    try:
        async with linked(tmp_path, tap.address, "still") as link:
            await link.read("k")
            tap.stand_still()
            told = Told(1, Notice("info", "x" * 500_000))
            with trio.fail_after(60):
                for _ in range(40):  # more than all buffers on the way
                    await link.tell("k", told)
            await link._loop.run(
                link._broker.client._process_op_err, nats.errors.StaleConnectionError()
            )
            with trio.fail_after(60):
                assert await link.read("k") == (0, None)
            tap.stand_still()
            with trio.fail_after(60):
                for _ in range(40):
                    await link.tell("k", told)
        # and to leave it is no trouble either
    finally:
        tap.close()


async def test_a_broker_without_jetstream_just_now_is_waited_for_and_what_it_refuses_is_an_error(
    tmp_path, server
):
    async with linked(tmp_path, server.address, "told") as link:
        line = await lined(link)
        for status, error in (
            ("503", ServiceUnavailableError), ("500", APIError), ("408", None), ("409", None),
        ):  # fmt: skip
            got = []

            async def wait(got=got):
                try:
                    got.append(await link._loop.run(line.job, 30.0))
                except nats.errors.Error as refused:
                    got.append(type(refused))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                await trio.testing.wait_all_tasks_blocked()
                inbox, say = f"{line._inbox}.{line._number}", link._broker.client.publish
                await link._loop.run(say, inbox, b"", "", {"Status": status, "Description": "x"})
            assert got == [error]
        assert issubclass(ServiceUnavailableError, link_module.PASSING)


async def came(things):
    return things


async def test_no_word_that_somebody_makes_up_stops_the_hearing(tmp_path, server):
    async with linked(tmp_path, server.address, "rubbish") as link:
        broker, line = link._broker, await lined(link)
        client, say = broker.client, broker.client.publish
        token = await link.write("k", Record(state="claimed", submission="s", stamp=stamp()), 0)
        with link.ear("k") as ear:
            assert (await link.changed(ear, 0, 0.1))[0] == token
            for number in ("9" * 5000, "x", "-1", "\N{ARABIC-INDIC DIGIT NINE}", ""):
                await link._loop.run(say, "rubbish.kept.k", b"{", "", {"Nats-Sequence": number})
            await link._loop.run(say, "rubbish.kept.k", b"{")
            for inbox in (broker._answers._inbox, line._inbox):
                await link._loop.run(say, f"{inbox}.7", b"{")
                await link._loop.run(say, f"{inbox}.7", b"", "", {"Status": "x"})
            with trio.move_on_after(0.05):
                await job(link, line)
            await link._loop.run(say, f"{line._inbox}.1", b"", "", {"Status": "4x4"})
            done = Record(state="done", submission="s", stamp=stamp(), token=token)
            assert (await link.changed(ear, token, 0.1))[0] == token
            version = await link.write("k", done, token)
            with trio.fail_after(30):
                assert await link.changed(ear, token, 30.0) == (version, done)
        async with link.line(lambda delivery: None) as take, trio.open_nursery() as nursery:
            asked, got = [], []

            async def wait():
                got.append(await take(30.0))

            subject = "$JS.API.CONSUMER.MSG.NEXT.rubbish-jobs.workers"
            await link._loop.run(subscribe, client, subject, asked.append)
            nursery.start_soon(wait)
            await until(lambda: came(asked))
            await link._loop.run(say, asked[0].reply, b"{}", "an.answer")  # like a job of the queue
            await until(lambda: came(got))
            assert got == [None]
        assert client.is_connected


async def test_what_is_larger_than_one_reading_comes_whole(tmp_path, server):
    async with linked(tmp_path, server.address, "whole") as link:
        assert link._broker.client._transport._io_reader._transport.max_size == READ
        large = os.urandom(5 * READ + 7)
        (tmp_path / "sent").write_bytes(large)
        await link.get_file(await link.put_file(tmp_path / "sent"), tmp_path / "got")
        assert (tmp_path / "got").read_bytes() == large


async def stored(link):
    """Of the files on the broker: messages, and our subscriptions and tasks."""
    client, js = link._broker.client, link._broker._js
    state = (await link._loop.run(js.stream_info, f"OBJ_{link.place.space}-files")).state
    return state.messages, len(client._subs), len(asyncio.all_tasks(link._loop._loop))


async def test_a_file_that_is_not_put_to_its_end_leaves_nothing(tmp_path, server, monkeypatch):
    (tmp_path / "large").write_bytes(b"x" * 1_000_000)
    go_on, read = threading.Event(), files_module._read

    def slow(path, start):
        if start > 300_000:
            go_on.wait(60)
        return read(path, start)

    monkeypatch.setattr(files_module, "_read", slow)
    async with linked(tmp_path, server.address, "half") as link:
        await link._loop.run(link._broker._js.account_info)  # what is subscribed to once is
        before = await stored(link)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.put_file, tmp_path / "large")

            async def some():
                return (await stored(link))[0] >= 2

            await until(some)
            nursery.cancel_scope.cancel()
        assert await stored(link) == before
    go_on.set()


async def test_a_file_that_is_more_or_less_than_it_says_is_not_got_and_is_sent_no_longer(
    tmp_path, server, monkeypatch
):
    monkeypatch.setattr(files_module, "SILENCE", 0.5)
    async with linked(tmp_path, server.address, "says") as link:
        client, js, loop = link._broker.client, link._broker._js, link._loop
        large = tmp_path / "large"
        large.write_bytes(b"x" * 3_000_000)
        with pytest.raises(CodetetherError, match="no longer on the broker"):
            await link.get_file("absent", tmp_path / "got")
        before = (await stored(link))[1:]
        name = await link.put_file(large)
        for trouble, file in (("No space left", "/dev/full"), ("Is a directory", "/")):
            with pytest.raises(CodetetherError, match=trouble), trio.fail_after(20):
                await link.get_file(
                    name, Path(file)
                )  # no trouble of the broker's, which is waited for
            assert (await stored(link))[1:] == before
        info = await loop.run(link._broker.files._store.get_info, name)

        async def says(**more):
            key = base64.urlsafe_b64encode(name.encode()).decode()
            said = json.dumps(info.evolve(**more).as_dict()).encode()
            await loop.run(js.publish, f"$O.says-files.M.{key}", said)

        for more, why in (
            ({"size": 100_000}, "larger than allowed"),
            ({"size": 4_000_000}, "no longer on the broker"),
            ({"size": 10**12}, "larger than allowed"),
            ({"nuid": "no word"}, "no longer on the broker"),
            ({"nuid": ""}, "no longer on the broker"),
        ):
            await says(**more)
            with pytest.raises(CodetetherError, match=why) as caught:
                await link.get_file(name, tmp_path / "got")
            assert not isinstance(caught.value, Unreachable)
            assert (await stored(link))[1:] == before, more
        assert client.is_connected


async def test_events_are_heard_as_they_come_and_too_many_are_lost(tmp_path, server, monkeypatch):
    monkeypatch.setattr(link_module, "HEARD", 10)
    async with linked(tmp_path, server.address, "events") as link:
        async with link.events("k") as events:
            for number in range(30):
                await link.tell("k", Told(1, Notice("info", str(number))))
            await link.read("k")  # what was said before is here now
            assert events.statistics().current_buffer_used == 10
            assert b'"0"' in await events.receive()
            await link.tell("k", Told(1, Notice("info", "last")))
            await link.read("k")
            assert events.statistics().current_buffer_used == 10
        await link.tell("k", Told(1, Notice("info", "nobody hears")))
        assert (await link.read("k")) == (0, None)


async def test_a_sub_task_that_is_handed_in_again_at_once_is_done_again(tmp_path, server):
    worker = Worker(tmp_path / "w", server.address, space="again")
    try:
        worker.until("serves")
        async with coordinator(tmp_path / "home", server.address, space="again") as kernel:
            executor = kernel.executor("nats")
            for said in ("first", "second", "third"):
                assert (await executor.run(task(steps(said), "t"))).text == said
            link = executor._link
        assert not link._broker._closing
        async with linked(tmp_path, server.address, "again") as link:
            assert (await link.read(key_of("t")))[1].state == "over"
        assert worker.end() == 0
    finally:
        worker.end(signal.SIGKILL)


# --- the folder of a sub-task without a repository ---
async def test_an_empty_folder_is_used_again_only_when_nobody_touched_it(tmp_path):
    def put(folder):
        (folder / "left.txt").write_text("left")

    def put_and_took(folder):
        put(folder)
        (folder / "left.txt").unlink()

    def closed(folder):
        folder.chmod(0o500)

    def away(folder):
        folder.rmdir()

    def another(folder):
        folder.rename(folder.with_name("moved"))
        folder.mkdir(mode=0o700)

    with Ground.at(tmp_path / "work") as ground:
        async with ground.empty("a") as first, ground.empty("b") as second:
            assert first != second
        used = {first, second}
        async with ground.empty("c") as third:
            assert third in used
        for number, touch in enumerate((put, put_and_took, closed, away, another)):
            await trio.sleep(0.02)  # clocks of file systems are slow
            async with ground.empty(f"d{number}") as touched:
                touch(touched)
            async with ground.empty(f"e{number}") as folder, ground.empty(f"f{number}") as other:
                for each in (folder, other):
                    assert list(each.iterdir()) == []
                    assert each != touched
                    assert each.stat().st_mode & 0o777 == 0o700
    assert list((tmp_path / "work").iterdir()) == []


async def test_a_clone_that_is_on_its_way_out_is_not_in_the_way_of_a_new_one(tmp_path, monkeypatch):
    from codetether_mode_swarm_worker import ground as ground_module

    user = repository(tmp_path / "repo")
    base = git(user, "rev-parse", "HEAD")
    work = Job("k", "s", task("x", base=base), origin="a" * 16, remote=str(user))
    going, go_on, remove = trio.Event(), threading.Event(), shutil.rmtree
    token = trio.lowlevel.current_trio_token()

    def slow(folder, **how):
        if folder.parent.parent == tmp_path / "work":  # a clone
            token.run_sync_soon(going.set)
            go_on.wait(60)
        remove(folder, **how)

    monkeypatch.setattr(ground_module, "KEPT", 0)
    monkeypatch.setattr(shutil, "rmtree", slow)
    with Ground.at(tmp_path / "work") as ground:

        async def first():
            async with ground.tree(None, work, "job-1", (str(user),)):
                pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(first)
            await going.wait()
            async with ground.tree(None, work, "job-2", (str(user),)) as tree:
                go_on.set()
                await trio.testing.wait_all_tasks_blocked(0.2)
                assert (tree.path / "a.txt").exists()
                assert await tree.tip() == base
    assert list((tmp_path / "work").iterdir()) == []

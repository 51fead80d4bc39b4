"""Stopped in the middle: 130, nothing said is lost, every call is answered, the next request is valid, nobody is left."""

from __future__ import annotations

import json
import signal
import time

import pytest
import trio
from codetether.testing import Call, Reply, call
from in_terminal import terminal
from place import assert_answered, results_of, text_of

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
STREAM = ("--format", "stream-json", "--access-mode", "full")
# A tree that does not want to go: the shell and its children ignore TERM, one has a session of its own.
STUBBORN = "trap '' TERM HUP INT; sleep 300 & setsid sleep 300 & echo be''gun; wait; sleep 300"
LOOKS = Call("read_file", {"path": "a.txt"})


@pytest.fixture
def repository(place):
    place.write(a_dot_txt="one\n")
    return place


async def stopped(run, number):
    """Send the signal and see it end. `pytest -rP` shows how long a turn took to stop; nothing is asserted of it."""
    sent = time.perf_counter()
    run.signal(number)
    if number == signal.SIGINT:
        await run.until('"type":"turn_finished"')
        print(f"SIGINT to the turn's end: {(time.perf_counter() - sent) * 1000:.0f} ms")
    done = await run.end()
    assert done.code == 130
    assert "Traceback" not in done.err
    return done


async def goes_on(place, *said):
    """The next turn: its request is valid (place.model looks), and holds all that was said before."""
    async with place.model("Going on.") as server:
        done = await place.exec("--continue", "and now?")
    assert (done.code, done.out) == (0, "Going on.\n"), done.err
    (asked,) = server.asked
    texts = [m["content"] for m in asked["messages"] if m["role"] in ("user", "assistant")]
    assert [text for text in texts if text] == [*said, "and now?"]
    assert len(place.session_files()) == 1
    return asked


@pytest.mark.parametrize("number", SIGNALS)
async def test_while_the_model_speaks(repository, number):
    async with repository.model(Reply("Half a thought", stall=True)):
        async with repository.running("exec", "-m", "local/scripted", *STREAM, "go") as run:
            await run.until("thought")
            done = await stopped(run, number)
    assert json.loads(done.out.splitlines()[-1])["type"] == "session_finished"
    said = repository.messages()
    assert [(m["role"], text_of(m), m.get("interrupted", False)) for m in said] == [
        ("user", "go", False),
        ("assistant", "Half a thought", True),
    ]
    assert repository.records()[-1]["kind"] in ("interrupted", "state")
    assert any(record["kind"] == "interrupted" for record in repository.records())
    await goes_on(repository, "go", "Half a thought")


async def test_while_the_model_thinks(repository):
    """Headers came, nothing else; there is nothing to keep but the question."""
    async with repository.model(Reply(stall=True)) as server:
        async with repository.running("exec", "-m", "local/scripted", *STREAM, "go") as run:
            await run.until('"step_started"')
            while not server.asked:
                await trio.sleep(0.01)
            await stopped(run, signal.SIGINT)
    assert [m["role"] for m in repository.messages()] == ["user"]
    async with repository.model("Going on.") as server:
        assert (await repository.exec("--continue", "and now?")).code == 0
    assert "go" in server.asked[0]["messages"][1]["content"]


async def test_while_a_call_is_written(repository):
    """The arguments are half there: the call is not run, and not sent back."""
    cut = Reply(
        "I write.", calls=(Call("write_file", '{"path": "b.txt", "content": "b'),), stall=True
    )
    async with repository.model(cut):
        async with repository.running("exec", "-m", "local/scripted", *STREAM, "go") as run:
            await run.until("write.")  # the words may come in any pieces
            await trio.sleep(0.1)
            await stopped(run, signal.SIGINT)
    assert not (repository.work / "b.txt").exists()
    await goes_on(repository, "go", "I write.")


@pytest.mark.parametrize("number", SIGNALS)
async def test_while_a_command_runs(repository, number):
    """Three calls: one done, one running, one not begun."""
    later = Call("bash", {"command": "touch never"})
    reply = Reply("I run.", calls=(LOOKS, Call("bash", {"command": STUBBORN}), later))
    async with repository.model(reply):
        async with repository.running("exec", "-m", "local/scripted", *STREAM, "go") as run:
            await run.until("begun")
            assert len(repository.left()) >= 4  # the agent, the shell, two sleeps
            await stopped(run, number)
    repository.assert_nothing_left()
    messages = repository.messages()
    assert_answered(messages)
    first, second, third = results_of(messages)
    assert "one" in first["text"]
    assert not second["ok"]
    assert not third["ok"]
    assert not (repository.work / "never").exists()
    await goes_on(repository, "go", "I run.")


async def test_a_command_that_goes_willingly_ends_the_turn_fast(repository):
    async with repository.model(
        Reply("", calls=(Call("bash", {"command": "echo be''gun; sleep 300"}),))
    ):
        async with repository.running("exec", "-m", "local/scripted", *STREAM, "go") as run:
            await run.until("begun")
            await stopped(run, signal.SIGINT)
    assert_answered(repository.messages())


async def test_twice_while_a_command_will_not_end(repository):
    async with repository.model(call("bash", command=STUBBORN)):
        async with repository.running("exec", "-m", "local/scripted", *STREAM, "go") as run:
            await run.until("begun")
            run.signal(signal.SIGINT)
            await trio.sleep(0.05)
            run.signal(signal.SIGINT)
            done = await run.end()
    assert done.code == 130
    assert "Traceback" not in done.err
    repository.assert_nothing_left()
    await goes_on(repository, "go")


async def test_ten_times_in_a_second(repository):
    async with repository.model(Reply("Half a thought", stall=True)):
        async with repository.running("exec", "-m", "local/scripted", *STREAM, "go") as run:
            await run.until("thought")
            for _ in range(10):
                run.signal(signal.SIGINT)
                await trio.sleep(0.02)
            done = await run.end()
    assert done.code == 130
    assert "Traceback" not in done.err
    await goes_on(repository, "go", "Half a thought")


@pytest.mark.parametrize("number", SIGNALS)
async def test_while_a_person_is_asked(repository, number):
    reply = Reply("I write.", calls=(Call("write_file", {"path": "b.txt", "content": "b"}),))
    async with repository.model(reply):
        async with terminal(repository, "exec", "-m", "local/scripted", "go") as screen:
            await screen.until("n Deny")
            if number == signal.SIGINT:
                await screen.type("\x03")  # through the terminal, to the whole foreground group
            else:
                screen.process.send_signal(number)
            assert await screen.end() == 130
    assert "Traceback" not in screen.text
    assert not (repository.work / "b.txt").exists()
    assert_answered(repository.messages())
    await goes_on(repository, "go", "I write.")


@pytest.mark.parametrize("when", ["asked", "running", "speaking"])
async def test_the_window_is_closed(repository, when):
    """Whatever it was doing, it ends by itself, takes its children along and keeps what was said."""
    replies = {
        "asked": Reply("I write.", calls=(Call("write_file", {"path": "b.txt", "content": "b"}),)),
        "running": Reply("I run.", calls=(Call("bash", {"command": STUBBORN}),)),
        "speaking": Reply("Half a thought", stall=True),
    }
    access = () if when == "asked" else ("--access-mode", "full")
    words = ("exec", "-m", "local/scripted", *access, "go")
    async with repository.model(replies[when]):
        async with terminal(repository, *words) as screen:
            await screen.until({"asked": "n Deny", "running": "begun", "speaking": "thought"}[when])
            assert await screen.close() == 130
    repository.assert_nothing_left()
    messages = repository.messages()
    assert_answered(messages)
    await goes_on(repository, "go", text_of(messages[1]))


async def test_as_it_ends(repository):
    """What was decided stays: no Ctrl-C while Python tidies up makes a traceback of it."""
    for hundredths in range(10):
        async with (
            repository.model("Done."),
            repository.running("exec", "-m", "local/scripted", *STREAM, "go") as run,
        ):
            await run.until('"turn_finished"')
            await trio.sleep(hundredths * 0.01)
            run.signal(signal.SIGINT)
            done = await run.end()
        assert done.code in (0, 130)
        assert "Traceback" not in done.err


async def test_at_any_moment_of_a_turn(repository):
    """Whatever it was doing: 130 or done, and the session goes on."""
    replies = [
        Reply("One.", calls=(LOOKS, LOOKS), delay=0.01),
        Reply("Two.", calls=(Call("bash", {"command": "echo two"}),), delay=0.01),
        Reply("Three.", delay=0.01),
    ]
    for tenths in range(1, 6):
        async with repository.model(*replies) as server:
            async with repository.running("exec", "-m", "local/scripted", *STREAM, "go") as run:
                await run.until('"session_started"')
                await trio.sleep(tenths * 0.05)
                run.signal(signal.SIGINT)
                done = await run.end()
            assert done.code in (0, 130)
            assert "Traceback" not in done.err
        path = repository.newest()
        assert_answered(repository.messages(path))
        async with repository.model("Going on.") as server:
            assert (await repository.exec("-s", path.stem, "and now?")).code == 0
        assert server.asked[0]["messages"][1]["content"].startswith("go")

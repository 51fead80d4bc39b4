"""kill -9 at every step of every write, and at any moment: what was acknowledged is there, and the session goes on."""

from __future__ import annotations

import json
import random
import re
import signal
import time

import pytest
import trio
from codetether.testing import Call, Reply
from place import assert_answered

BEFORE, AFTER = "one\ntwo\n", "one\nthree\n"
NEW = "x" * 20_000
EDIT = {"path": "a.txt", "old_string": "two", "new_string": "three"}
REPLIES = [
    Reply("I look.", calls=(Call("read_file", {"path": "a.txt"}),)),
    Reply("I edit.", calls=(Call("edit", EDIT),)),
    Reply("I write.", calls=(Call("write_file", {"path": "new/b.txt", "content": NEW}),)),
    Reply("I run.", calls=(Call("bash", {"command": "sleep 300 & (setsid sleep 300 &) ; echo ran"}),)),
    "All done.",
]  # fmt: skip
WORDS = ("exec", "-m", "local/scripted", "--format", "stream-json", "--access-mode", "full", "go")


@pytest.fixture
def repository(place):
    place.write(a_dot_txt=BEFORE)
    (place.work / "a.txt").chmod(0o640)
    return place


def acknowledged(out):
    """The ids of messages whose event came out, which is after they were written."""
    events = [json.loads(line) for line in out.splitlines() if line.endswith("}")]
    return [event["message"]["id"] for event in events if event["type"] == "message_done"]


def assert_files_whole(place):
    a = place.work / "a.txt"
    assert a.read_text() in (BEFORE, AFTER)
    assert a.stat().st_mode & 0o777 == 0o640
    b = place.work / "new" / "b.txt"
    assert not b.exists() or b.read_text() == NEW
    others = [
        path.name
        for path in place.work.rglob("*")
        if path.is_file() and ".git" not in path.parts and path.name not in ("a.txt", "b.txt")
    ]
    assert all(re.fullmatch(r"\.codetether-[0-9a-f]{24}\.tmp", name) for name in others)
    assert len(others) <= 1
    assert place.git("fsck", "--strict") == ""


async def assert_goes_on(place, path, done):
    """Nothing acknowledged is missing, changed or doubled, and the next turn is as if nothing had happened."""
    whole = path.read_bytes().rpartition(b"\n")[0].split(b"\n")
    messages = [json.loads(line) for line in whole if b'"kind":"message"' in line]
    ids = [record["message"]["id"] for record in messages]
    assert ids[0].startswith("prompt_")
    assert len(ids) == len(set(ids))
    assert [name for name in ids if name in acknowledged(done.out)] == acknowledged(done.out)
    async with place.model("Going on.") as server:
        again = await place.exec("-s", path.stem, "and now?")
    assert (again.code, again.out) == (0, "Going on.\n"), again.err
    assert "and now?" in server.asked[0]["messages"][-1]["content"]
    assert "go" in server.asked[0]["messages"][1]["content"]
    assert path.read_bytes().split(b"\n")[: len(whole)] == whole
    assert [*place.work.rglob(".codetether-*")] == []
    assert_answered_or_known(place.records(path))


def assert_answered_or_known(records):
    """Only the call that ran when it was killed has no result; it is sent as interrupted, never run again."""
    messages = [record["message"] for record in records if record["kind"] == "message"]
    open_calls = [m for m, then in zip(messages, [*messages[1:], {"role": ""}], strict=True)
                  if m["role"] == "assistant" and m["parts"][-1]["type"] == "tool_call" and then["role"] != "tool"]  # fmt: skip
    assert len(open_calls) <= 1
    assert_answered([message for message in messages if message not in open_calls])


# `undo` keeps what was there before in files of its own, which would be counted among those replaced.
SETTING = {"CODETETHER_TESTING": "1", "CODETETHER_PLUGINS_OFF": "tools:undo"}


async def killed(place, fault="", after=None):
    async with place.model(*REPLIES):
        async with place.running(*WORDS, **SETTING, CODETETHER_FAULT=fault) as run:
            if after is not None:
                await run.until('"session_started"')
                await trio.sleep(after)
                run.signal(signal.SIGKILL)
            done = await run.end()
    return done


@pytest.mark.parametrize("point", ["opened", "written", "synced", "renamed", "finished"])
@pytest.mark.parametrize("time", [1, 2])
async def test_at_every_step_of_replacing_a_file(repository, point, time):
    done = await killed(repository, f"files.{point}=kill@{time}")
    assert done.code == -signal.SIGKILL
    assert_files_whole(repository)
    renamed = point in ("renamed", "finished")
    a, b = repository.work / "a.txt", repository.work / "new" / "b.txt"
    assert a.read_text() == (AFTER if renamed or time == 2 else BEFORE)
    assert b.exists() == (renamed and time == 2)
    await assert_goes_on(repository, repository.session_files()[0], done)


async def test_between_two_files_of_one_edit(repository):
    """The next start gives the first file back, and says so."""
    repository.write(b_dot_txt=BEFORE)
    edits = [{**EDIT, "path": path} for path in ("a.txt", "b.txt")]
    async with repository.model(Reply("", calls=(Call("multiedit", {"edits": edits}),))):
        async with repository.running(
            *WORDS, CODETETHER_TESTING="1", CODETETHER_FAULT="changes.put=kill"
        ) as run:
            done = await run.end()
    assert done.code == -signal.SIGKILL
    assert (repository.work / "a.txt").read_text() == AFTER
    async with repository.model("Hello."):
        again = await repository.exec("hello")
    assert (again.code, again.out) == (0, "Hello.\n")
    assert "was cut off in the middle and is taken back: a.txt" in again.err
    assert repository.git("status", "--porcelain") == ""


EDITS = {
    "edit": EDIT,
    "multiedit": {"edits": [{**EDIT, "path": path} for path in ("a.txt", "b.txt")]},
}


@pytest.mark.parametrize(
    ("tool", "point", "times"),
    [
        ("edit", "files.renamed", 5),  # undo keeps what was and what will be, in files of its own
        ("edit", "files.finished", 5),
        ("multiedit", "files.renamed", 5),
        ("multiedit", "changes.noted", 1),
        ("multiedit", "changes.put", 2),
        ("multiedit", "changes.ended", 1),
    ],
)
async def test_whatever_an_edit_did_can_be_undone(repository, tool, point, times):
    """Between the new name of a file and what `undo` knows of it there is no moment to be killed in."""
    repository.write(b_dot_txt=BEFORE)
    for at in range(1, times + 1):
        fault = f"{point}=kill@{at}"
        calls = (Call("read_file", {"path": "a.txt"}),), (Call(tool, EDITS[tool]),)
        async with repository.model(*(Reply("", calls=each) for each in calls), "Done."):
            async with repository.running(
                *WORDS, CODETETHER_TESTING="1", CODETETHER_FAULT=fault
            ) as run:
                done = await run.end()
        assert done.code == -signal.SIGKILL, fault
        path = repository.newest()
        async with repository.model(Reply("", calls=(Call("undo", {}),)), "Undone."):
            again = await repository.exec("-s", path.stem, "--access-mode", "full", "undo it")
        assert again.out == "Undone.\n", again.err
        assert "changed them since" not in again.err, fault
        assert repository.git("status", "--porcelain") == "", fault
        path.unlink()


@pytest.mark.parametrize("line", range(2, 12))
async def test_at_every_line_of_the_transcript(repository, line):
    done = await killed(repository, f"journal.write=kill@{line}")
    assert done.code == -signal.SIGKILL
    repository.assert_nothing_left()
    assert_files_whole(repository)
    (path,) = repository.session_files()
    assert len(repository.records(path)) == line - 1
    if line > 2:
        await assert_goes_on(repository, path, done)


async def test_at_its_first_line(repository):
    """There is no session yet; what is left of it is in nobody's way."""
    done = await killed(repository, "journal.write=kill@1")
    assert done.code == -signal.SIGKILL
    async with repository.model("Going on."):
        again = await repository.exec("--continue", "hello")
    assert (again.code, again.out) == (0, "Going on.\n"), again.err


async def test_while_a_command_runs(repository):
    """Children end though nobody is there to end them."""
    calls = (
        Call("bash", {"command": "sleep 300 & (setsid sleep 300 &) ; echo be''gun; sleep 300"}),
    )
    async with repository.model(Reply("", calls=calls)):
        async with repository.running(*WORDS) as run:
            await run.until("begun")
            assert len(repository.left()) >= 5  # the agent, its guard, the shell and three sleeps
            run.signal(signal.SIGKILL)
            done = await run.end()
    repository.assert_nothing_left()
    await assert_goes_on(repository, repository.session_files()[0], done)


async def test_at_any_moment(repository):
    seed = time.time_ns()
    print("seed", seed)
    moments = random.Random(seed)
    for _ in range(5):
        done = await killed(repository, after=moments.uniform(0, 0.35))
        assert done.code in (0, -signal.SIGKILL)
        assert_files_whole(repository)
        path = repository.newest()
        if len(repository.records(path)) > 1:
            await assert_goes_on(repository, path, done)
        for name in [*repository.work.rglob(".codetether-*"), *repository.session_files()]:
            name.unlink()
        (repository.work / "a.txt").write_text(BEFORE)
    repository.assert_nothing_left()

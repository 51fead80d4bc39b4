"""A session over many processes: found again, forked, with other models and agents, listed, exported, deleted."""

from __future__ import annotations

import json

import pytest
from codetether.testing import Call, Reply
from place import assert_answered, text_of


@pytest.fixture
def repository(place):
    place.write(a_dot_txt="one\n")
    return place


async def say(place, text, *words, answer="Yes.", model="scripted", code=0, **how):
    """One turn in a process of its own; what the server was asked, as texts by role."""
    async with place.model(answer) as server:
        done = await place("exec", "-m", f"local/{model}", *words, text, **how)
    assert done.code == code, done.err
    return [
        (m["role"], m["content"]) for m in (server.asked or [{"messages": []}])[0]["messages"][1:]
    ]


def texts(asked):
    return [text for _, text in asked]


async def test_by_id_by_beginning_and_by_end(repository):
    await say(repository, "one")
    name = repository.newest().stem
    assert texts(await say(repository, "two", "-s", name)) == ["one", "Yes.", "two"]
    assert len(await say(repository, "three", "--session", name[:-2])) == 5
    assert len(await say(repository, "four", "-s", name[-4:])) == 7
    assert len(repository.session_files()) == 1
    seqs = [record["seq"] for record in repository.records()]
    assert seqs == list(range(len(seqs)))


async def test_a_name_that_fits_none_or_many(repository):
    await say(repository, "one")
    await say(repository, "two")
    before = [path.read_bytes() for path in repository.session_files()]
    assert await say(repository, "x", "-s", "s-2", code=1) == []
    assert await say(repository, "x", "-s", "nope", code=1) == []
    assert await say(repository, "x", "-s", "../../etc/passwd", code=2) == []
    assert [path.read_bytes() for path in repository.session_files()] == before


async def test_continue_is_per_directory(repository, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    await say(repository, "here")
    await say(repository, "there", cwd=other)
    assert texts(await say(repository, "again", "-c"))[0] == "here"
    assert texts(await say(repository, "again", "-c", cwd=other))[0] == "there"
    sub = repository.work / "sub"
    sub.mkdir()
    assert texts(await say(repository, "first", "-c", cwd=sub)) == ["first"], (
        "a directory below is another"
    )
    assert len(repository.session_files()) == 3
    assert texts(await say(repository, "once more", "-c", "-C", str(other))) == [
        "there", "Yes.", "again", "Yes.", "once more",
    ]  # fmt: skip


async def test_a_fork_leaves_the_first_as_it_was(repository):
    await say(repository, "one")
    first = repository.newest()
    before = first.read_bytes()
    assert texts(await say(repository, "two", "-c", "--fork", answer="No.")) == [
        "one",
        "Yes.",
        "two",
    ]
    assert first.read_bytes() == before
    fork = repository.newest()
    assert fork != first
    assert repository.records(fork)[0]["session"]["parent"] == first.stem
    assert texts(await say(repository, "three", "-s", first.stem)) == ["one", "Yes.", "three"]
    assert texts(await say(repository, "four", "-s", fork.stem))[-2:] == ["No.", "four"]


async def test_other_models_and_agents_on_the_way(repository):
    """What holds last is what the next turn takes, unless it says otherwise."""
    run = Reply("", calls=(Call("bash", {"command": "echo hi"}),))
    async with repository.model(run, "Ran.", models=("scripted", "big")) as server:
        assert (await repository.exec("--access-mode", "full", "go")).code == 0
    async with repository.model("Planned.") as server:
        done = await repository("exec", "-c", "-m", "local/big", "--agent", "plan", "plan it")
        assert done.code == 0, done.err
        assert server.asked[0]["model"] == "big"
        assert "bash" not in {tool["function"]["name"] for tool in server.asked[0]["tools"]}
        assert any(m["role"] == "tool" for m in server.asked[0]["messages"]), "what was done stays"
    async with repository.model("Still.", "Built.") as server:
        assert (await repository("exec", "-c", "go on")).code == 0
        assert (
            await repository("exec", "-c", "--agent", "build", "-m", "local/scripted", "do it")
        ).code == 0
    assert [asked["model"] for asked in server.asked] == ["big", "scripted"]
    first, second = (asked["messages"][0]["content"] for asked in server.asked)
    assert first != second
    settings = [r["settings"] for r in repository.records() if r["kind"] == "setting"]
    assert settings == [
        {"model": "local/big", "agent": "plan", "access": "ask"},
        {"model": "local/scripted", "agent": "build"},
    ]
    assert_answered(repository.messages())


async def test_two_at_once_on_one_session(repository):
    """The second says who has it and changes nothing; a fork may go on."""
    await say(repository, "one")
    name = repository.newest().stem
    async with repository.model(Reply("I am busy", stall=True), "Forked."):
        words = ("exec", "-m", "local/scripted", "-s", name, "--format", "stream-json", "two")
        async with repository.running(*words) as first:
            await first.until("busy")
            second = await repository.exec("-s", name, "three")
            fork = await repository.exec("-s", name, "--fork", "four")
            assert first.process.poll() is None
            first.process.terminate()
            await first.end()
    assert second.code == 1
    assert f"in use by process {first.process.pid}" in second.err
    assert "--fork" in second.err
    assert (fork.code, fork.out) == (0, "Forked.\n"), fork.err
    path = repository.sessions / f"{name}.jsonl"
    assert [text_of(m) for m in repository.messages(path)] == ["one", "Yes.", "two", "I am busy"]


async def test_what_the_sessions_command_makes_of_it(repository):
    await say(repository, "the quick brown fox", answer="jumped over it")
    await say(repository, "something else")
    newest = repository.newest().stem
    (oldest,) = {path.stem for path in repository.session_files()} - {newest}

    async def sessions(*words, code=0):
        done = await repository("sessions", *words)
        assert done.code == code, done.err
        return done.out

    listed = json.loads(await sessions("list", "--json"))
    assert [(entry["id"], entry["title"]) for entry in listed] == [
        (newest, "something else"), (oldest, "the quick brown fox"),
    ]  # fmt: skip
    assert "jumped over it" in await sessions("show", oldest)
    assert [m["role"] for m in json.loads(await sessions("export", oldest, "--format", "json"))["messages"]] == [
        "user", "assistant",
    ]  # fmt: skip
    assert "# " in await sessions("export", oldest, "--format", "md")
    await sessions("export", oldest, "--format", "html", "-o", str(repository.work / "x.html"))
    assert "jumped over it" in (repository.work / "x.html").read_text()
    assert [
        hit["id"] for hit in json.loads(await sessions("search", "--json", "brown", "quick"))
    ] == [oldest]
    await sessions("rm", oldest, code=3)
    await sessions("rm", oldest, "--yes")
    assert [path.stem for path in repository.session_files()] == [newest]
    assert not list(repository.sessions.glob(f"{oldest}*"))
    assert "brown" not in await sessions("search", "brown")
    assert (
        "There is no session" in (await repository("exec", "-s", oldest, "x", "-m", "local/x")).err
    )

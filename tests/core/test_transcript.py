"""A session is on disk what it was in memory, whatever happened to its file in between."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from codetether.errors import UsageError
from codetether.journal import SessionBusy, is_leased
from codetether.records import GitState, SessionHeader
from codetether.session_files import (
    SessionMissing,
    find_session,
    latest_session,
    list_sessions,
    new_id,
)
from codetether.transcript import SessionReadOnly, Transcript
from codetether.words import Image, Message, Text, Thought, ToolCall, ToolResult, Usage

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "sessions"


def user(text, name=""):
    return Message("user", (Text(text),), id=name)


def begin(root, directory="/work", **header):
    return Transcript.create(root, SessionHeader(directory=directory, **header))


def written(root, *messages, **header):
    with begin(root, **header) as transcript:
        for message in messages:
            transcript.append_message(message)
        return transcript.id


def read(root, session, **how):
    transcript, loaded = Transcript.open(root, session, **how)
    transcript.close()
    return loaded


CONVERSATION = (
    Message("user", (Text("look\u2028here"), Image("image/png", b"\x89PNG")), id="u1"),
    Message(
        "assistant",
        (
            Thought("hm", opaque="sig", origin="anthropic"),
            Text("ok"),
            ToolCall("c1", "bash", '{"command":"ls"}', label="x"),
        ),
        id="a1",
        model="a/b",
        usage=Usage(10, 2, cost=0.25),
        stop="tool_calls",
    ),
    Message(
        "tool",
        (ToolResult("c1", "bash", "no\nsuch", ok=False, meta={"exit_code": 1, "paths": ["a"]}),),
        id="t1",
    ),
    Message("assistant", (Text("half an ans"),), id="a2", interrupted=True),
)


def test_what_was_written_is_read(root):
    git = GitState("/work", "main", "abc")
    session = written(root, *CONVERSATION, model="a/b", agent="build", access="ask", git=git)
    loaded = read(root, session)
    assert loaded.messages == list(CONVERSATION) == loaded.context
    assert loaded.usage == Usage(10, 2, cost=0.25)
    assert loaded.settings == {"model": "a/b", "agent": "build", "access": "ask"}
    assert (loaded.header.id, loaded.header.git, loaded.header.directory) == (session, git, "/work")
    assert loaded.title == "look here"
    assert (loaded.repairs, loaded.damaged, loaded.unknown) == ([], False, 0)


def test_messages_get_an_id_of_their_own(root):
    with begin(root) as transcript:
        first = transcript.append_message(user("a"))
        second = transcript.append_message(user("b", first.id))
        assert first.id
        assert second.id not in ("", first.id)
    transcript, _loaded = Transcript.open(root, transcript.id)
    with transcript:
        third = transcript.append_message(user("c", first.id))
    assert len({first.id, second.id, third.id}) == 3
    assert [m.id for m in read(root, transcript.id).messages] == [first.id, second.id, third.id]


def test_settings_usage_notices_and_interruptions(root):
    with begin(root, model="a/b") as transcript:
        transcript.append_setting(model="c/d", title="Fix it")
        size = transcript.path.stat().st_size
        transcript.append_setting(model="c/d")
        assert transcript.path.stat().st_size == size  # nothing changed, nothing written
        transcript.append_usage(Usage(5, 1, cost=0.5), why="summary")
        transcript.append_notice("warning", "slow")
        transcript.append_interrupted("cancelled")
        with pytest.raises(TypeError, match="colour"):
            transcript.append_setting(colour="red")
    loaded = read(root, transcript.id)
    assert loaded.settings == {"model": "c/d", "title": "Fix it"}
    assert loaded.title == "Fix it"
    assert loaded.usage == Usage(5, 1, cost=0.5)


def test_compaction_replaces_what_came_before_and_nothing_after(root):
    with begin(root) as transcript:
        for name in ("m1", "m2", "m3"):
            transcript.append_message(user(name, name))
        transcript.append_compaction([user("summary of two", "s")], upto="m2")
        transcript.append_message(user("m4", "m4"))
    loaded = read(root, transcript.id)
    assert [m.text for m in loaded.messages] == ["m1", "m2", "m3", "m4"]
    assert [m.text for m in loaded.context] == ["summary of two", "m3", "m4"]


def test_the_last_compaction_counts_even_when_its_message_is_unknown(root):
    with begin(root) as transcript:
        transcript.append_message(user("m1", "m1"))
        transcript.append_compaction([user("one", "s")], upto="m1")
        transcript.append_message(user("m2", "m2"))
        transcript.append_compaction([user("two", "s2")], upto="gone")
        transcript.append_message(user("m3", "m3"))
    assert [m.text for m in read(root, transcript.id).context] == ["two", "m3"]


def test_large_results_and_pictures_live_beside_the_file(root):
    text, picture = "ä" * 100_000, b"\x00\x01" * 50_000
    small = Image("image/png", b"small")
    result = ToolResult(
        "c", "bash", text, images=(small, Image("image/png", picture)), meta={"n": 1}
    )
    messages = (
        Message("user", (Text("see"), Image("image/jpeg", picture)), id="u"),
        Message("tool", (result,), id="t"),
    )
    with begin(root) as transcript:
        for message in messages:
            transcript.append_message(message)
        transcript.append_compaction(messages, upto="t")
        assert transcript.path.stat().st_size < 10_000
        files = sorted(transcript.files.iterdir())
    assert len(files) == 2  # the picture once, though it occurs four times
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)
    loaded = read(root, transcript.id)
    assert loaded.messages == list(messages) == loaded.context
    for file in files:
        file.write_bytes(b"other")
    loaded = read(root, transcript.id)
    assert len(loaded.repairs) == 6
    assert loaded.messages[0].text.startswith("see[100000 bytes")
    (lost,) = loaded.messages[1].results
    assert lost.images == (small,)
    assert "bytes of content were lost" in lost.text


def test_a_side_file_name_cannot_leave_its_directory(root):
    session = written(root, Message("tool", (ToolResult("c", "x", "y" * 70_000),), id="t"))
    path = find_session(root, session)
    (root / "secret").write_text("secret")
    name = next((root / f"{session}.files").iterdir()).name
    path.write_bytes(path.read_bytes().replace(name.encode(), b"../secret"))
    (result,) = read(root, session).messages[0].results
    assert "secret" not in result.text


def test_text_that_is_no_unicode_and_numbers_that_are_no_json(root):
    meta = {"big": 2**80, "set": {1}, "path": "\udc80", 3: "x"}
    message = Message("tool", (ToolResult("c", "x", "a\ud83db", meta=meta),), id="t")
    session = written(root, message, user("after"))
    loaded = read(root, session)
    assert [m.role for m in loaded.messages] == ["tool", "user"]
    assert loaded.messages[0].results[0].text == "a?b"
    assert loaded.repairs == []


def test_only_the_owner_may_read(root):
    session = written(root, user("x"))
    transcript, _ = Transcript.open(root, session)
    with transcript:
        modes = [root, transcript.path, root / f"{session}.lock", transcript.files]
        assert [stat.S_IMODE(path.stat().st_mode) for path in modes] == [
            0o700,
            0o600,
            0o600,
            0o700,
        ]


def test_secrets_do_not_reach_the_disk(root):
    def redact(text):
        return text.replace("hunter2", "[secret]").replace('"user"', '"***"')

    big = Message("tool", (ToolResult("c", "x", "hunter2 " * 10_000),), id="t")
    with Transcript.create(root, SessionHeader(directory="/w"), redact=redact) as transcript:
        transcript.append_message(
            user("my key is hunter2")
        )  # and a secret that is also a word of the format
        transcript.append_message(big)
        transcript.append_setting(title="hunter2")
    for path in root.rglob("*"):
        assert path.is_dir() or b"hunter2" not in path.read_bytes()
    loaded = read(root, transcript.id)
    assert loaded.repairs == []
    assert loaded.messages[0].text == "my key is [secret]"
    assert loaded.messages[1].results[0].text == "[secret] " * 10_000


def test_closed_and_read_only_sessions_refuse(root):
    session = written(root, user("x"))
    path = find_session(root, session)
    path.write_bytes(path.read_bytes() + b'{"kind":"mess')
    before = path.read_bytes()
    transcript, loaded = Transcript.open(root, session, write=False)
    assert [m.text for m in loaded.messages] == ["x"]
    assert "not read" in loaded.repairs[0]
    with pytest.raises(SessionReadOnly):
        transcript.append_message(user("y"))
    assert path.read_bytes() == before
    assert sorted(p.name for p in root.iterdir()) == [path.name]
    transcript.close()
    transcript.close()


# --- one writer ---
def test_a_second_writer_is_refused_and_may_read_or_fork(root):
    session = written(root, user("x"))
    transcript, _ = Transcript.open(root, session)
    lock = root / f"{session}.lock"
    with pytest.raises(SessionBusy, match=f"process {os.getpid()}") as busy:
        Transcript.open(root, session)
    assert "--fork" in busy.value.hint
    assert is_leased(lock)
    assert read(root, session, write=False).messages
    fork, _loaded = Transcript.fork(root, session)
    fork.append_message(user("in the fork"))
    transcript.append_message(user("in the first"))
    fork.close()
    transcript.close()
    assert not is_leased(lock)
    assert not lock.exists()
    assert [m.text for m in read(root, session).messages] == ["x", "in the first"]
    assert [m.text for m in read(root, fork.id).messages] == ["x", "in the fork"]


@pytest.mark.parametrize("content", ["", "garbage", "999999999 -", "1 another-boot\n"])
def test_a_lock_file_left_by_a_dead_process_does_not_matter(root, content):
    session = written(root, user("x"))
    (root / f"{session}.lock").write_text(content)
    assert read(root, session).messages


def test_without_file_locks_the_named_owner_decides(root, monkeypatch):
    from codetether import journal

    session = written(root, user("x"))

    def no_locks(fd, how):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(journal.fcntl, "flock", no_locks)
    lock = root / f"{session}.lock"
    lock.write_text(f"{os.getppid()} {journal.boot_id()}\n")
    with pytest.raises(SessionBusy):
        Transcript.open(root, session)
    lock.write_text(f"{os.getppid()} an-earlier-boot\n")
    transcript, _ = Transcript.open(root, session)
    with transcript:
        transcript.append_message(user("y"))
    assert len(read(root, session).messages) == 2


# --- forks ---
def test_fork_up_to_a_message(root):
    with begin(root, model="a/b", title="T") as transcript:
        transcript.append_message(Message("tool", (ToolResult("c", "x", "y" * 70_000),), id="t"))
        transcript.append_message(user("two", "m2"))
        transcript.append_setting(model="c/d")
        transcript.append_message(user("three", "m3"))
        (transcript.files / "todos.json").write_text("[]")
    fork, loaded = Transcript.fork(root, transcript.id, upto="m2")
    with fork:
        assert [m.id for m in loaded.messages] == ["t", "m2"]
        assert len(loaded.messages[0].results[0].text) == 70_000
        assert loaded.settings["model"] == "a/b"
        assert (loaded.header.parent, loaded.header.id) == (transcript.id, fork.id)
        assert (fork.files / "todos.json").read_text() == "[]"
        fork.append_message(user("else"))
    assert [m.text for m in read(root, fork.id).messages][1:] == ["two", "else"]
    assert len(read(root, transcript.id).messages) == 3
    with pytest.raises(SessionMissing):
        Transcript.fork(root, transcript.id, upto="nowhere")


# --- names ---
@pytest.mark.parametrize("bad", ["", "../x", "a/b", ".hidden", "x" * 65, "a\0b", "-rf", "ä", "a\n"])
def test_what_cannot_be_an_id_is_no_path(root, bad):
    with pytest.raises(UsageError):
        find_session(root, bad)
    if bad:
        with pytest.raises(UsageError):
            begin(root, id=bad)


def test_ids_sort_by_time_and_a_beginning_is_enough(root):
    ids = [new_id(NOON + timedelta(seconds=i)) for i in range(3)]
    assert sorted(ids) == ids
    for name in ("s-20261125-120000-aaaa", "s-20261125-120001-bbbb", "s-20261125-120002-aacc"):
        written(root, user("x"), id=name)
    assert find_session(root, "s-20261125-120001").stem == "s-20261125-120001-bbbb"
    assert find_session(root, "bb").stem == "s-20261125-120001-bbbb"
    for word, why in (("s-2026", "3 sessions"), ("aa", "2 sessions"), ("zz", "no session")):
        with pytest.raises(SessionMissing, match=why):
            find_session(root, word)
    with pytest.raises(SessionMissing):
        find_session(root / "absent", "x")


def test_an_id_can_be_had_once(root):
    written(root, user("x"), id="mine")
    with pytest.raises(Exception, match="already"):
        begin(root, id="mine")


# --- lists ---
def set_time(root, session, seconds):
    os.utime(find_session(root, session), (seconds, seconds))


def test_latest_is_of_the_directory_and_never_a_sub_agent(root, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    here = written(root, user("a"), directory=str(tmp_path))
    there = written(root, user("b"), directory="/elsewhere")
    helper = written(root, user("c"), directory=str(tmp_path), started_by=here)
    empty = written(root, directory=str(tmp_path))
    for age, session in enumerate((here, there, helper, empty)):
        set_time(root, session, 1_000_000 + age)
    (root / "junk.jsonl").write_text("no json")
    (root / "s-dir.jsonl").mkdir()
    (root / "link.jsonl").symlink_to(root / f"{there}.jsonl")
    assert latest_session(root) == there
    assert latest_session(root, tmp_path / "link") == here
    assert latest_session(root, tmp_path / "nowhere") is None
    assert latest_session(tmp_path / "absent") is None
    assert [s.id for s in list_sessions(root)] == [there, here]
    assert [s.id for s in list_sessions(root, limit=1)] == [there]
    everything = [s.id for s in list_sessions(root, everything=True)]
    assert everything == [empty, helper, there, here]
    os.utime(root / f"{here}.jsonl", (50, 50))
    assert [s.id for s in list_sessions(root, since=49.5)] == [there, here]
    assert [s.id for s in list_sessions(root, since=50.5)] == [there]


@pytest.mark.parametrize("closed", [True, False])
def test_a_listing_of_a_long_session_agrees_with_reading_it(root, closed):
    transcript = begin(root, model="a/b")
    transcript.append_message(user("the first words"))
    for number in range(400):
        usage = Usage(number, 1, cost=0.5)
        transcript.append_message(Message("assistant", (Text("x" * 1000),), usage=usage))
        if number == 50:
            transcript.append_setting(model="c/d")
    if closed:
        transcript.close()
    else:  # as after kill -9, and with one record larger than what a listing reads of the end
        transcript.append_message(user("y" * 200_000))
        os.truncate(transcript.path, transcript.path.stat().st_size - 10)
    states = transcript.path.read_bytes().count(b'\n{"kind":"state"')
    assert states >= 400_000 // (64 * 1024)  # so that the end of the file is enough
    loaded = read(root, transcript.id, write=False)
    (summary,) = list_sessions(root)
    assert summary.size > 400_000
    assert summary.messages == len(loaded.messages)
    assert (summary.usage, summary.settings) == (loaded.usage, loaded.settings)
    assert summary.title == loaded.title == "the first words"
    transcript.close()


def test_titles_are_cut_between_characters(root):
    (summary,) = list_sessions(root) or [None] if written(root, user("ä€\n😀 " * 40)) else [None]
    assert len(summary.title) <= 60
    assert summary.title.endswith("…")
    assert "\n" not in summary.title


# --- clocks ---
def test_order_does_not_depend_on_the_clock(root):
    times = iter(
        [
            NOON,
            NOON - timedelta(days=3650),
            NOON + timedelta(days=3650),
            datetime(1970, 1, 1, tzinfo=UTC),
        ]
    )

    def clock():
        return next(times, NOON)

    with Transcript.create(root, SessionHeader(directory="/"), clock=clock) as transcript:
        for number in range(5):
            transcript.append_message(user(str(number)))
    assert [m.text for m in read(root, transcript.id).messages] == list("01234")
    lines = [msgspec.json.decode(line) for line in transcript.path.read_bytes().splitlines()]
    assert [line["seq"] for line in lines] == list(range(len(lines)))
    assert [line.get("parent", "") for line in lines] == ["", *(line["id"] for line in lines[:-1])]

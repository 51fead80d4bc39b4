"""NL-session: every acknowledged record is there after any fault, once, in order; the repair is told."""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
import subprocess
import sys
import time

import msgspec
import pytest
from codetether import faults, journal
from codetether.journal import Journal, SessionBusy
from codetether.records import SessionHeader
from codetether.scan import scan_bytes
from codetether.session_files import find_session, list_sessions
from codetether.transcript import SessionReadOnly, Transcript
from codetether.words import Message, Text, ToolResult


def user(text, name=""):
    return Message("user", (Text(text),), id=name)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "sessions"


@pytest.fixture
def session(root):
    """Three messages on disk; the id."""
    with Transcript.create(root, SessionHeader(directory="/w")) as transcript:
        for name in ("m1", "m2", "m3"):
            transcript.append_message(user(f"text of {name}", name))
    return transcript.id


def read(root, session):
    transcript, loaded = Transcript.open(root, session)
    transcript.close()
    return loaded


# --- F50: kill -9 ---
def fork_writer(path, name):
    """A process that appends for ever and says what was acknowledged; its pid and the pipe it says it in."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid:
        os.close(theirs)
        return pid, open(ours, "rb")
    try:
        lines = Journal(path)
        for number in range(10**9):
            lines.append(
                b'{"w":"%s","n":%d,"x":"%s"}'
                % (name.encode(), number, b"x" * (number * 7919 % 20000))
            )
            os.write(theirs, b"%d\n" % number)
    finally:
        os._exit(1)


def kill(pid, pipe):
    """Kill -9; the last number acknowledged, or -1."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with pipe:
        lines = pipe.read().split(b"\n")[:-1]
    return int(lines[-1]) if lines else -1


def test_three_writers_of_one_file_killed_at_random(tmp_path):
    """60 kills; the two others go on writing each time, so that a half line would swallow the next record."""
    rng = random.Random(1)
    path = tmp_path / "journal"
    path.touch()
    said = {}
    living = {}
    for _ in range(60):
        while len(living) < 3:
            name = f"w{len(said)}"
            said[name] = -1
            living[name] = fork_writer(path, name)
        time.sleep(rng.random() * 0.01)
        victim = rng.choice(sorted(living))
        said[victim] = kill(*living.pop(victim))
    said |= {name: kill(*process) for name, process in living.items()}
    found = {name: [] for name in said}
    for line in path.read_bytes().split(b"\n"):
        try:
            record = msgspec.json.decode(line)
        except msgspec.DecodeError:
            continue  # a fragment: never acknowledged
        found[record["w"]].append(record["n"])
    assert sum(map(len, found.values())) > 60
    for name, last in said.items():
        assert found[name][: last + 1] == list(range(last + 1))  # all, once, in order
        assert len(found[name]) <= last + 2  # at most the one being written


SESSION_WRITER = """
import sys
from pathlib import Path
from codetether.transcript import Transcript
from codetether.words import Message, Text
transcript, loaded = Transcript.open(Path(sys.argv[1]), sys.argv[2])
number = len(loaded.messages)
sys.stdout.write(f"{number}\\n"); sys.stdout.flush()
while True:
    transcript.append_message(Message("user", (Text(f"{number} " + "x" * (number * 7919 % 50000)),)))
    number += 1
    sys.stdout.write(f"{number}\\n"); sys.stdout.flush()
"""


def spawn(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE
    )


def acknowledged(process):
    """The last number a killed writer said, or -1."""
    lines = process.stdout.read().split(b"\n")[:-1]
    process.stdout.close()
    return int(lines[-1]) if lines else -1


def test_a_session_killed_and_resumed_again_and_again(root, session):
    rng = random.Random(2)
    least = 3
    for _ in range(12):
        process = spawn(SESSION_WRITER, root, session)
        assert int(process.stdout.readline()) >= least
        time.sleep(rng.random() * 0.02)
        process.kill()
        process.wait()
        least = max(least, acknowledged(process))
    loaded = read(root, session)
    assert not loaded.damaged
    assert len(loaded.messages) >= least
    for number, message in enumerate(loaded.messages[3:], 3):
        assert message.text == f"{number} " + "x" * (number * 7919 % 50000)


def test_killed_between_two_writes_of_one_record(root, session, monkeypatch):
    """The kernel may stop a write in the middle; here it always does."""
    write = os.write
    monkeypatch.setattr(journal.os, "write", lambda fd, data: write(fd, data[:10]))
    faults.arm("journal.write=raise@3")
    told = []
    transcript, _ = Transcript.open(root, session, on_trouble=told.append)
    size = transcript.path.stat().st_size
    transcript.append_message(user("cut", "m4"))
    assert transcript.path.stat().st_size == size  # cut back, so that nothing is glued to it
    assert transcript.unsaved == 1
    assert len(told) == 1
    faults.arm("")
    transcript.append_message(user("next", "m5"))
    assert transcript.unsaved == 0
    transcript.close()
    assert [m.id for m in read(root, session).messages] == ["m1", "m2", "m3", "m4", "m5"]
    assert "saved again" in told[1]


# --- F51: disk full ---
def test_a_file_size_limit_cuts_a_write_and_nothing_is_lost(root, session):
    """RLIMIT_FSIZE gives a short write first, then EFBIG."""
    told = []
    transcript, _ = Transcript.open(root, session, on_trouble=told.append)
    size = transcript.path.stat().st_size
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 500, old[1]))
        for number in range(4, 8):
            transcript.append_message(user("x" * 1000, f"m{number}"))
        assert not transcript.sync()
        reader, loaded = Transcript.open(root, session, write=False)  # reading goes on
        reader.close()
        assert [m.id for m in loaded.messages] == ["m1", "m2", "m3"]
        assert loaded.repairs == []
        assert len(list_sessions(root)) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, before)
    assert len(told) == 1  # once, not per record
    assert "kept in memory" in told[0]
    assert transcript.unsaved == 4
    assert transcript.sync()
    transcript.append_message(user("after", "m8"))
    transcript.close()
    loaded = read(root, session)
    assert [m.id for m in loaded.messages] == [f"m{n}" for n in range(1, 9)]
    assert loaded.repairs == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
def test_whatever_the_disk_says_the_conversation_goes_on(root, session, monkeypatch, number):
    write, full = os.write, [True]

    def refuse(fd, data):
        if full[0]:
            raise OSError(number, os.strerror(number))
        return write(fd, data)

    monkeypatch.setattr(journal.os, "write", refuse)
    told = []
    transcript, _ = Transcript.open(root, session, on_trouble=told.append)
    transcript.append_message(user("a", "m4"))
    transcript.append_message(Message("tool", (ToolResult("c", "x", "y" * 70_000),), id="m5"))
    assert transcript.unsaved >= 2
    assert len(told) == 1
    full[0] = False
    transcript.close()  # closing tries once more
    assert [m.id for m in read(root, session).messages] == ["m1", "m2", "m3", "m4", "m5"]


def test_a_large_result_that_cannot_go_beside_the_file_stays_in_it(root, session, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("codetether.files.write_atomic", full)
    transcript, _ = Transcript.open(root, session)
    with transcript:
        transcript.append_message(Message("tool", (ToolResult("c", "x", "y" * 70_000),)))
    assert read(root, session).messages[3].results[0].text == "y" * 70_000


def test_a_device_that_is_always_full(tmp_path):
    told = []
    path = tmp_path / "full"
    journal_ = Journal.__new__(Journal)
    path.touch()
    Journal.__init__(journal_, path, told.append)
    os.dup2(os.open("/dev/full", os.O_RDWR), journal_._fd)
    assert not journal_.append(b"a")
    assert not journal_.append(b"b")
    assert (journal_.unsaved, len(told)) == (2, 1)
    journal_.close()
    journal_.close()


def test_a_directory_that_cannot_be_written_is_a_plain_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(Exception, match="Cannot write"):
        Transcript.create(tmp_path / "file", SessionHeader(directory="/"))


# --- F52: what is found in files ---
def corpus(lines):
    """Name -> (bytes, texts expected, part of a complaint or "", whether a record in the middle is lost)."""
    whole = b"\n".join(lines) + b"\n"
    three = ["text of m1", "text of m2", "text of m3"]
    odd = "a\u2028b\u2029c\x85d"
    strange = lines[2].replace(b"text of m2", odd.encode())
    return {
        "sound": (whole, three, "", False),
        "torn tail": (whole + lines[3][:40], three, "moved to", False),
        "torn inside a character": (
            whole + b'{"kind":"notice","v":1,"text":"\xe2\x80',
            three,
            "moved to",
            False,
        ),
        "zero bytes at the end": (whole + b"\0" * 4096, three, "moved to", False),
        "zero bytes, then written on": (
            whole.replace(lines[2], b"\0" * 512 + lines[2]),
            three,
            "512 damaged bytes",
            False,
        ),
        "junk in the middle": (
            whole.replace(lines[2], lines[2] + b"\n<<<<<<< HEAD\xff"),
            three,
            "line 4: damaged",
            True,
        ),
        "a record lost in the middle": (
            whole.replace(lines[2], lines[2][:50]),
            [three[0], three[2]],
            "line 3: damaged",
            True,
        ),
        "glued to half a record": (
            whole.replace(lines[2], lines[1][:60] + lines[2]),
            three,
            "60 damaged bytes",
            False,
        ),
        "line separators inside a text": (
            whole.replace(lines[2], strange),
            [three[0], odd, three[2]],
            "",
            False,
        ),
        "no newline at the end": (whole[:-1], three, "", False),
        "carriage returns": (whole.replace(b"\n", b"\r\n"), three, "", False),
        "empty lines and a doubled one": (
            whole.replace(lines[2], b"\n" + lines[2] + b"\n" + lines[2] + b"\n"),
            three,
            "",
            False,
        ),
        "empty": (b"", [], "first record", False),
        "only junk": (b"\x7fELF\0\0", [], "first record", False),
        "first line lost": (whole.replace(lines[0], b"\0" * 80), three, "first record", True),
        "byte order mark": (b"\xef\xbb\xbf" + whole, three, "3 damaged bytes", False),
        "a known kind in an unknown form": (
            whole.replace(
                b'"role":"user","parts":[{"type":"text","text":"text of m2"',
                b'"role":"user","parts":[{"type":"smell","text":"text of m2"',
            ),
            [three[0], three[2]],
            "message record that cannot be read",
            True,
        ),
    }


CASES = sorted(corpus([b"a", b"b", b"c", b"d"]))


@pytest.mark.parametrize("case", CASES)
def test_damaged_files(root, session, case):
    path = find_session(root, session)
    data, texts, complaint, damaged = corpus(path.read_bytes().splitlines())[case]
    path.write_bytes(data)
    transcript, loaded = Transcript.open(root, session)
    assert [m.text for m in loaded.messages] == texts
    assert (
        any(complaint in repair for repair in loaded.repairs) if complaint else loaded.repairs == []
    )
    assert loaded.damaged == damaged
    with transcript:
        transcript.append_message(user("appended", "m9"))
    again = read(root, session)
    assert [m.text for m in again.messages] == [*texts, "appended"]
    backup = path.with_name(path.name + ".bak")
    kept = path.read_bytes() + (backup.read_bytes() if backup.exists() else b"")
    assert all(line in kept for line in data.split(b"\n"))  # nothing was thrown away
    assert [r for r in again.repairs if "moved" in r] == []
    seqs = [record.seq for record in scan_bytes(path.read_bytes()).records if record]
    assert seqs == sorted(set(seqs))


def test_10_000_records_are_read_in_order(root):
    with Transcript.create(root, SessionHeader(directory="/w")) as transcript:
        for number in range(10_000):
            transcript.append_message(user(f"{number} " + "x" * 2000))
    assert [m.text.split()[0] for m in read(root, transcript.id).messages] == [
        str(n) for n in range(10_000)
    ]


# --- F53: two processes ---
HOLDER = """
import sys, time
from pathlib import Path
from codetether.transcript import Transcript
transcript, _ = Transcript.open(Path(sys.argv[1]), sys.argv[2])
print("held", flush=True)
time.sleep(60)
"""


def test_two_processes_on_one_session(root, session):
    first = spawn(HOLDER, root, session)
    assert first.stdout.readline() == b"held\n"
    with pytest.raises(SessionBusy, match=f"process {first.pid}"):
        Transcript.open(root, session)
    first.kill()
    first.wait()
    first.stdout.close()
    transcript, loaded = Transcript.open(
        root, session
    )  # its lock file is still there, and means nothing
    with transcript:
        assert len(loaded.messages) == 3


# --- F54: versions ---
def test_unknown_kinds_and_fields_stay_and_are_passed_over(root, session):
    path = find_session(root, session)
    later = b'{"kind":"hologram","v":1,"seq":50,"id":"h","ts":"2030-01-01T00:00:00Z","depth":3}\n'
    data = path.read_bytes().replace(b'"v":1,', b'"v":1,"shade":"blue",') + later
    path.write_bytes(data)
    transcript, loaded = Transcript.open(root, session)
    assert len(loaded.messages) == 3
    assert (loaded.repairs, loaded.unknown, loaded.damaged) == ([], 1, False)
    with transcript:
        transcript.append_message(user("after", "m4"))
    assert path.read_bytes().startswith(data)
    last = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()][-2]
    assert (last["seq"], last["parent"]) == (51, "h")
    fork, loaded = Transcript.fork(root, session)
    fork.close()
    assert later in fork.path.read_bytes()
    assert len(loaded.messages) == 4


@pytest.mark.parametrize("form", ["same", "unreadable"])
def test_a_newer_format_is_shown_and_not_touched(root, session, form):
    path = find_session(root, session)
    data = path.read_bytes().replace(b'"v":1,"seq":3', b'"v":2,"seq":3')
    if form == "unreadable":
        data = data.replace(b'"text of m3"', b'{"rich":"text of m3"}') + b'{"v":2'
    path.write_bytes(data)
    transcript, loaded = Transcript.open(root, session)
    with pytest.raises(SessionReadOnly, match="newer"):
        transcript.append_message(user("x"))
    transcript.close()
    assert len(loaded.messages) == (3 if form == "same" else 2)
    assert any("newer" in repair for repair in loaded.repairs)
    assert path.read_bytes() == data
    assert sorted(p.name for p in root.iterdir()) == [path.name]
    with pytest.raises(Exception, match="newer"):
        Transcript.fork(root, session)


def test_a_fork_of_a_damaged_session_says_so(root, session):
    path = find_session(root, session)
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:2], b"junk", *lines[2:], b""]))
    fork, loaded = Transcript.fork(root, session)
    fork.close()
    assert len(loaded.messages) == 3
    assert "line 3: damaged" in loaded.repairs[0]
    assert b"junk" not in fork.path.read_bytes()

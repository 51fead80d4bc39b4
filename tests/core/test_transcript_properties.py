"""Random lives of a session, and random damage to its file."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from pathlib import Path

from codetether.journal import Journal
from codetether.records import SessionHeader
from codetether.scan import scan_bytes
from codetether.session_files import list_sessions
from codetether.transcript import Transcript
from codetether.words import Message, Text, ToolResult, Usage
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

texts = st.one_of(st.text(max_size=30), st.text(alphabet='\n\r\u2028\x00\ud800{"', max_size=10))


class Life(RuleBasedStateMachine):
    """Appends, settings, compactions, crashes with half a record, forks and clean ends, against a plain list."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.root = self.folder / "sessions"
        self.transcript = Transcript.create(self.root, SessionHeader(directory="/w", model="a/b"))
        self.messages = []
        self.context = []
        self.settings = {"model": "a/b"}
        self.usage = Usage()

    @rule(text=texts, cost=st.sampled_from([None, 0.5]))
    def say(self, text, cost):
        usage = Usage(3, 1, cost=cost)
        self.transcript.append_message(Message("assistant", (Text(text),), usage=usage))
        self._keep("a", text.encode("utf-8", "replace").decode())
        self.usage += usage

    @rule(size=st.sampled_from([10, 30_000, 70_000]))
    def answer(self, size):
        self.transcript.append_message(Message("tool", (ToolResult("c", "x", "y" * size),)))
        self._keep("t", "y" * size)

    def _keep(self, kind, text):
        self.messages.append((kind, text))
        self.context.append((kind, text))

    @rule(model=st.sampled_from(["a/b", "c/d"]), title=st.sampled_from(["", "T"]))
    def set(self, model, title):
        given = {"model": model} | ({"title": title} if title else {})
        self.transcript.append_setting(**given)
        self.settings |= given

    @precondition(lambda self: self.messages)
    @rule(data=st.data())
    def compact(self, data):
        upto = data.draw(st.integers(0, len(self.messages) - 1))
        ids = [m.id for m in self._load().messages]
        self.transcript.append_compaction([Message("user", (Text("sum"),))], upto=ids[upto])
        self.context = [("u", "sum"), *self.messages[upto + 1 :]]

    @rule(
        rest=st.sampled_from(
            [b"", b'{"kind":"message","v":1,"se', b"\0\0\0", b"\xe2\x80", b"junk\n\n"]
        )
    )
    def crash(self, rest):
        """As kill -9: nothing is flushed or closed by us, and half a record may be at the end."""
        os.close(self.transcript._journal._fd)
        os.close(self.transcript._lease._fd)
        self.transcript._journal = self.transcript._lease = None
        with self.transcript.path.open("ab") as file:
            file.write(rest)
        self._open(bool(rest))

    @rule()
    def leave_and_return(self):
        self.transcript.close()
        self._open(False)

    @rule()
    def fork(self):
        old = self.transcript
        self.transcript, loaded = Transcript.fork(self.root, old.id)
        old.close()
        assert loaded.header.parent == old.id
        self._check(loaded)

    def _open(self, torn):
        self.transcript, loaded = Transcript.open(self.root, self.transcript.id)
        assert bool(loaded.repairs) == torn
        self._check(loaded)

    def _load(self):
        reader, loaded = Transcript.open(self.root, self.transcript.id, write=False)
        reader.close()
        return loaded

    def _check(self, loaded):
        def plain(messages):
            return [(m.role[0], m.text or "".join(r.text for r in m.results)) for m in messages]

        assert plain(loaded.messages) == self.messages
        assert plain(loaded.context) == self.context
        assert loaded.settings == self.settings
        assert loaded.usage == self.usage
        assert len({m.id for m in loaded.messages}) == len(self.messages)
        assert not loaded.damaged

    @invariant()
    def what_is_on_disk_is_what_was_said(self):
        loaded = self._load()
        self._check(loaded)
        (summary,) = [
            s for s in list_sessions(self.root, everything=True) if s.id == self.transcript.id
        ]
        assert (summary.messages, summary.usage) == (len(self.messages), self.usage)
        assert summary.settings == self.settings
        assert summary.title == loaded.title

    def teardown(self):
        self.transcript.close()
        shutil.rmtree(self.folder)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)


def sound_file():
    folder = Path(tempfile.mkdtemp())
    with Transcript.create(folder, SessionHeader(directory="/w")) as transcript:
        for number in range(8):
            transcript.append_message(Message("user", (Text(f"text {number}"),)))
    data = transcript.path.read_bytes()
    shutil.rmtree(folder)
    return data


SOUND = sound_file()


@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(SOUND)), st.integers(0, 300), st.binary(max_size=40))
def test_damage_anywhere_costs_only_the_lines_it_touches(start, length, put):
    data = SOUND[:start] + put + SOUND[start + length :]
    found = scan_bytes(data)
    untouched = [line for line in data.split(b"\n") if line in SOUND.split(b"\n") and line]
    assert [line for line in found.lines if line in untouched] == untouched
    assert data.endswith(found.tail)
    assert len(data) == found.end + len(found.tail) or not found.tail


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_can_be_read(data):
    found = scan_bytes(data)
    assert len(found.records) == len(found.lines)


def test_syncing_in_a_thread_while_appending(tmp_path):
    path = tmp_path / "journal"
    path.touch()
    journal = Journal(path)
    done = threading.Event()

    def sync():
        while not done.is_set():
            journal.sync()

    thread = threading.Thread(target=sync)
    thread.start()
    try:
        for number in range(500):
            assert journal.append(b"%d" % number)
    finally:
        done.set()
        thread.join()
        journal.close()
    assert path.read_bytes().split() == [b"%d" % number for number in range(500)]

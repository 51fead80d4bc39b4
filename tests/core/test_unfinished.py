"""kill -9 between the files of a set: the next start, or the next write, makes it whole; what others did is kept."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys

import pytest
from codetether import unfinished
from codetether.changes import Change
from codetether.errors import ToolError
from codetether.unfinished import Notes, settle
from codetether.workspace import Workspace

# One program that has imported everything, of which each line it reads makes a copy: the copies are killed.
FORKS = """
import os, sys
from pathlib import Path
from codetether import changes, faults
from codetether.changes import Change
from codetether.unfinished import Notes, settle
from codetether.workspace import Workspace

def change(work):
    old, gone = work.digest(b"old\\n"), work.digest(b"gone\\n")
    work._begin()
    changes.apply(work, [
        Change("a", b"new\\n", old),
        Change("d/e/made", b"made\\n", ""),
        Change("gone", None, gone),
        Change("b", b"old\\n", old, executable=True),
        Change("c", b"new\\n", old),
    ])

def run(what, root, folder, fault):
    work = Workspace(Path(root))
    work.noting = lambda: Notes(Path(folder), work.root, print)
    faults.arm(fault)
    if what == "change":
        change(work)
    elif what == "write":
        work._write("sub/x", b"x", None, True)
    else:
        settle(Path(folder))
    work.close()

for line in sys.stdin:
    child = os.fork()
    if not child:
        code = 1
        try:
            run(*line.rstrip("\\n").split("\\t"))
            code = 0
        finally:
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
# Every place where the process can be cut off, and how often it is reached.
POINTS = [("files.opened", 4), ("files.written", 4), ("files.synced", 4), ("changes.noted", 1), ("changes.put", 5),
          ("changes.ended", 1)]  # fmt: skip
BEFORE = {"a": b"old\n", "b": b"old\n", "c": b"old\n", "gone": b"gone\n", "free": b"free\n"}
AFTER = {"a": b"new\n", "b": b"old\n", "c": b"new\n", "d/e/made": b"made\n", "free": b"free\n"}


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    for name, data in BEFORE.items():
        (root / name).write_bytes(data)
        (root / name).chmod(0o640)
    return root


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "unfinished"


def tree(root):
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


@pytest.fixture(scope="module")
def forks():
    with subprocess.Popen(
        [sys.executable, "-c", FORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        yield program
        program.stdin.close()


@pytest.fixture
def started(forks, root, folder):
    """Does `what` in a process of its own; its exit code."""

    def started(what, fault=""):
        print(what, root, folder, fault, sep="\t", file=forks.stdin, flush=True)
        return int(forks.stdout.readline())

    return started


@pytest.fixture
def killed(started):
    def killed(fault, what="change"):
        assert started(what, fault) == -signal.SIGKILL

    return killed


def is_executable(path):
    return bool(path.stat().st_mode & stat.S_IXUSR)


def test_a_set_that_ends_leaves_no_notes(root, folder, started):
    assert started("change") == 0
    assert tree(root) == AFTER
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("point", "time"), [(point, n + 1) for point, count in POINTS for n in range(count)]
)
def test_killed_at_every_point(root, folder, point, time, killed):
    killed(f"{point}=kill@{time}")
    told = settle(folder)
    complete = point == "changes.ended" or (point, time) == ("changes.put", 5)
    assert tree(root) == (AFTER if complete else BEFORE)
    assert is_executable(root / "b") is complete
    if point.startswith("changes"):  # before that an empty directory may be left
        assert (root / "d").exists() is complete
    assert all(stat.S_IMODE((root / name).stat().st_mode) & ~0o111 == 0o640 for name in "abc")
    assert list(folder.iterdir()) == []
    if point == "changes.put":
        (text,) = told
        assert ("was complete" if complete else "is taken back") in text
        assert str(root) in text
    else:
        assert told == []
    assert settle(folder) == []


@pytest.mark.parametrize("again", range(1, 5))
def test_killed_while_it_settles(root, folder, again, killed):
    killed("changes.put=kill@4")
    killed(f"unfinished.step=kill@{again}", "settle")
    settle(folder)
    assert tree(root) == BEFORE
    assert not is_executable(root / "b")
    assert not (root / "d").exists()


def test_a_result_somebody_worked_on_is_kept_and_the_set_finished(root, folder, killed):
    killed("changes.put=kill@2")
    (root / "a").write_bytes(b"new\nand more\n")
    (told,) = settle(folder)
    assert "is finished, because a was changed since" in told
    assert tree(root) == AFTER | {"a": b"new\nand more\n"}
    assert is_executable(root / "b")


def test_a_file_not_reached_that_somebody_changed_is_kept_and_the_set_taken_back(
    root, folder, killed
):
    killed("changes.put=kill@2")
    (root / "c").write_bytes(b"theirs\n")
    (told,) = settle(folder)
    assert "is taken back: a, d/e/made" in told
    assert tree(root) == BEFORE | {"c": b"theirs\n"}


def test_changed_on_both_sides_nothing_more_is_touched_and_the_old_content_named(
    root, folder, killed
):
    killed("changes.put=kill@2")
    (root / "a").unlink()
    (root / "a").write_bytes(b"theirs\n")
    (root / "c").write_bytes(b"theirs\n")
    (told,) = settle(folder)
    assert "settle it by hand" in told
    left = tree(root)
    kept = next(name for name in left if name.startswith(".codetether-"))
    assert f"a (was {kept})" in told
    assert left.pop(kept) == b"old\n"
    assert left == BEFORE | {"a": b"theirs\n", "c": b"theirs\n", "d/e/made": b"made\n"}


@pytest.mark.parametrize("point", ["files.opened", "files.synced"])
async def test_the_next_write_of_anybody_removes_what_a_single_write_left(
    root, folder, point, killed
):
    (root / "sub").mkdir()
    killed(f"{point}=kill")
    assert len(tree(root)) == len(BEFORE) + 1
    killed("files.synced=kill", "write")
    assert len(list((root / "sub").iterdir())) == 1
    told = []
    work = Workspace(root)
    work.noting = lambda: Notes(folder, work.root, told.append)
    await work.write("free", b"free\n")
    assert tree(root) == BEFORE
    assert told == []
    work.close()
    assert list(folder.iterdir()) == []


async def test_what_a_living_session_writes_is_left_alone(root, folder):
    other = Notes(folder, root, print)
    other.directory(".")
    theirs = root / f".codetether-{unfinished.files.WRITER}{'0' * 16}.tmp"
    theirs.write_bytes(b"x")
    assert settle(folder) == []
    assert theirs.exists()
    os.close(other._fd)  # as a kill does
    settle(folder)
    assert not theirs.exists()


async def test_without_room_for_the_notes_nothing_is_begun(root, folder, monkeypatch):
    work = Workspace(root)
    work.noting = lambda: Notes(folder, work.root, print)
    digest = work.digest(b"old\n")
    await work.write("free", b"free\n")

    def full(_fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("codetether.unfinished.os.fsync", full)
    work.notes.directory("elsewhere")
    with pytest.raises(ToolError):
        await work.change([Change("a", b"new\n", digest), Change("b", b"new\n", digest)])
    monkeypatch.undo()
    assert tree(root) == BEFORE
    await work.change([Change("a", b"new\n", digest), Change("b", b"new\n", digest)])
    work.close()
    assert settle(folder) == []
    assert (root / "a").read_bytes() == b"new\n"


def test_notes_that_are_damaged_or_of_a_place_that_is_gone_stop_nobody(
    root, folder, monkeypatch, killed
):
    killed("changes.put=kill@2")
    (notes,) = folder.iterdir()
    notes.write_bytes(notes.read_bytes() + b'{"planned": [{"pa')  # killed in the middle of a line
    (folder / "torn.jsonl").write_bytes(b'{"root": "/no')
    (folder / "gone.jsonl").write_bytes(b'{"root":"/nowhere/at/all","writer":"00000000"}\n')
    assert len(settle(folder)) == 1
    assert tree(root) == BEFORE
    assert [path.name for path in folder.iterdir()] == ["gone.jsonl"]
    monkeypatch.setattr(unfinished, "LONGEST", -1)
    settle(folder)
    assert list(folder.iterdir()) == []


def test_names_in_notes_cannot_reach_outside(root, folder, tmp_path, killed):
    """Notes are ours, but a workspace can be swapped for another between two starts."""
    killed("changes.put=kill@2")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "made").write_bytes(b"made\n")
    (root / "d" / "e" / "made").unlink()
    (root / "d" / "e").rmdir()
    (root / "d" / "e").symlink_to(tmp_path / "out")
    (told,) = settle(folder)
    assert "cannot be settled" in told
    assert (tmp_path / "out" / "made").read_bytes() == b"made\n"
    assert len(list(folder.iterdir())) == 1
    assert settle(folder) == []  # told once by a process

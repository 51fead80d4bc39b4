"""Who may write a session, where one process writes many: their lock files are names of one file that it keeps locked."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
import time
from contextlib import AsyncExitStack

import pytest
import trio
from codetether import journal, session_files
from codetether.journal import Lease, Owner, SessionBusy, is_leased
from codetether.records import SessionHeader
from codetether.session_files import Names
from codetether.testing import make_kernel
from codetether.transcript import Transcript

HOLDER = """
import sys, time
from pathlib import Path
from codetether.journal import Lease, Owner
owner = Owner(Path(sys.argv[1]))
leases = [Lease(Path(path), owner) for path in sys.argv[2:]]
for lease in leases:
    lease.take()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def owner(tmp_path):
    owner = Owner(tmp_path / "owners")
    yield owner
    owner.close()


@pytest.fixture
def paths(tmp_path):
    return [tmp_path / f"{name}.lock" for name in ("a", "b")]


@pytest.fixture
def elsewhere(tmp_path, paths):
    """Another process, which holds both."""
    command = [sys.executable, "-c", HOLDER, tmp_path / "owners", *paths]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def taken(path, owner=None):
    lease = Lease(path, owner)
    lease.take()
    return lease


def dead():
    """The id of a process that there was."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_many_sessions_of_one_process_need_one_lock(tmp_path, owner, paths):
    leases = [taken(path, owner) for path in paths]
    (mine,) = (tmp_path / "owners").iterdir()
    assert {path.stat().st_ino for path in paths} == {mine.stat().st_ino}
    assert paths[0].read_text() == f"{os.getpid()} {journal.boot_id()}\n"
    assert paths[0].stat().st_mode & 0o777 == 0o600
    leases[0].drop()
    leases[0].drop()
    assert [path.exists() for path in paths] == [False, True]
    assert not is_leased(paths[0])
    assert is_leased(paths[1])
    leases[1].drop()
    assert mine.stat().st_nlink == 1


def test_another_lease_of_the_same_process_is_refused(owner, paths):
    lease = taken(paths[0], owner)
    for mine in (owner, None):
        with pytest.raises(SessionBusy, match=f"process {os.getpid()}"):
            taken(paths[0], mine)
    lease.drop()
    taken(paths[0], owner).drop()


def test_a_lock_of_its_own_is_respected(owner, paths):
    lease = taken(paths[0])
    with pytest.raises(SessionBusy, match=f"process {os.getpid()}"):
        taken(paths[0], owner)
    lease.drop()
    taken(paths[0], owner).drop()


def test_a_second_process_is_refused(tmp_path, owner, paths, elsewhere):
    for path in paths:
        with pytest.raises(SessionBusy, match=f"process {elsewhere.pid}"):
            taken(path, owner)
    lease = taken(tmp_path / "c.lock", owner)
    assert len(list((tmp_path / "owners").iterdir())) == 2
    lease.drop()


def test_what_a_killed_process_held_is_free_one_by_one(tmp_path, paths, elsewhere):
    """Its sessions have one file between them, and go to different processes."""
    elsewhere.kill()
    elsewhere.wait()
    assert [path.exists() for path in paths] == [True, True]
    one, other = Owner(tmp_path / "owners"), Owner(tmp_path / "owners")
    leases = [taken(paths[0], one), taken(paths[1], other)]
    for path in paths:
        assert is_leased(path)
    leases[0].drop()
    assert not is_leased(paths[0])
    assert is_leased(paths[1])
    leases[1].drop()
    one.close()
    other.close()
    assert not any(path.exists() for path in paths)


def test_without_an_owner_they_are_free_one_by_one_too(paths, elsewhere):
    elsewhere.kill()
    elsewhere.wait()
    leases = [taken(path) for path in paths]
    assert all(map(is_leased, paths))
    for lease in leases:
        lease.drop()


def test_the_file_of_a_killed_process_is_not_locked_again_while_sessions_have_its_name(
    tmp_path, owner, paths, elsewhere
):
    """Else these sessions would be in use for as long as the next process lives."""
    elsewhere.kill()
    elsewhere.wait()
    lease = taken(tmp_path / "c.lock", owner)
    assert [path.exists() for path in paths] == [True, True]
    assert not any(map(is_leased, paths))
    assert len(list((tmp_path / "owners").iterdir())) == 1
    lease.drop()


def test_files_are_used_again(tmp_path):
    for _ in range(3):
        owner = Owner(tmp_path / "owners")
        taken(tmp_path / "a.lock", owner).drop()
        owner.close()
    assert [path.name for path in (tmp_path / "owners").iterdir()] == ["0"]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOSYS])
def test_where_a_file_cannot_have_two_names(owner, paths, monkeypatch, number):
    def refuse(source, target):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(journal.os, "link", refuse)
    leases = [taken(path, owner) for path in paths]
    assert [path.stat().st_nlink for path in paths] == [1, 1]
    assert all(map(is_leased, paths))
    with pytest.raises(SessionBusy):
        taken(paths[0], owner)
    for lease in leases:
        lease.drop()
    assert not any(path.exists() for path in paths)


def test_when_the_owner_can_have_no_file(tmp_path, paths):
    (tmp_path / "owners").write_text("in the way")
    owner = Owner(tmp_path / "owners")
    leases = [taken(path, owner) for path in paths]
    assert all(map(is_leased, paths))
    for lease in leases:
        lease.drop()


def test_when_somebody_takes_the_owners_file_away(tmp_path, owner, paths):
    lease = taken(paths[0], owner)
    (tmp_path / "owners" / "0").unlink()
    other = Owner(tmp_path / "owners")
    theirs = taken(tmp_path / "c.lock", other)
    mine = taken(paths[1], owner)  # whose name is now that of the other's file
    theirs.drop()
    other.close()
    assert all(map(is_leased, paths))
    for each in (lease, mine):
        each.drop()
    assert not any(path.exists() for path in paths)


def test_given_back_between_a_look_and_the_lock(owner, paths, monkeypatch):
    first = taken(paths[0], owner)
    flock = fcntl.flock

    def late(fd, how):
        try:
            flock(fd, how)
        except BlockingIOError:
            first.drop()
            raise

    monkeypatch.setattr(journal.fcntl, "flock", late)
    second = taken(paths[0], owner)
    assert is_leased(paths[0])
    second.drop()


def test_who_looks_at_a_dead_ones_lock_is_waited_for(paths):
    """To look at it is to lock it, for a moment."""
    paths[0].write_text(f"{dead()} {journal.boot_id()}\n")
    fd = os.open(paths[0], os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    looked = threading.Timer(0.03, os.close, [fd])
    looked.start()
    lease = taken(paths[0])
    looked.join()
    assert is_leased(paths[0])
    lease.drop()


def test_nobody_is_waited_for_long(paths):
    paths[0].write_text("1 another-boot\n")
    with open(paths[0], "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        started = time.monotonic()
        with pytest.raises(SessionBusy, match="process 1"):
            taken(paths[0])
        assert time.monotonic() - started < 5


def test_sessions_in_threads_share_one_owner(tmp_path, owner):
    paths = [tmp_path / f"{number}.lock" for number in range(40)]
    leases = [Lease(path, owner) for path in paths]
    threads = [threading.Thread(target=lease.take) for lease in leases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({path.stat().st_ino for path in paths}) == 1
    assert all(lease.shared for lease in leases)
    for lease in leases:
        lease.drop()


def test_a_file_system_without_locks(tmp_path, owner, paths, monkeypatch):
    def no_locks(fd, how):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(journal.fcntl, "flock", no_locks)
    lease = taken(paths[0], owner)
    assert not lease.shared
    with pytest.raises(SessionBusy):
        taken(paths[0], owner)
    lease.drop()


async def test_the_sessions_of_a_kernel_have_one_owner(tmp_path):
    async with make_kernel(tmp_path, replies=lambda request: "x") as kernel:
        root, work = kernel.sessions_folder, tmp_path / "work"
        async with kernel.open_session(directory=work) as one:
            async with kernel.open_session(directory=work) as other:
                locks = [root / f"{each.id}.lock" for each in (one, other)]
                assert len({lock.stat().st_ino for lock in locks}) == 1
                with pytest.raises(SessionBusy):
                    Transcript.open(root, one.id)
            assert [lock.exists() for lock in locks] == [True, False]
            first = one.id
        async with kernel.open_session(directory=work, resume=first):
            assert is_leased(locks[0])
        (mine,) = (kernel.dirs.data / "owners").iterdir()
        assert mine.stat().st_nlink == 1
    assert not is_leased(mine)


def test_two_owners_never_write_one_session(tmp_path, owner):
    root = tmp_path / "sessions"
    transcript = Transcript.create(root, SessionHeader(directory="/w"), owner=owner)
    other = Owner(tmp_path / "owners")
    with pytest.raises(SessionBusy):
        Transcript.open(root, transcript.id, owner=other)
    transcript.close()
    again, _ = Transcript.open(root, transcript.id, owner=other)
    with pytest.raises(SessionBusy):
        Transcript.open(root, transcript.id, owner=owner)
    again.close()
    other.close()
    assert [path.name for path in root.iterdir()] == [transcript.path.name]


# --- names on the disk ---
async def test_one_sync_has_the_disk_keep_the_names_of_all_that_were_there(tmp_path, monkeypatch):
    synced = []
    sync = session_files.sync_directory

    def counted(path):
        synced.append(path)
        sync(path)

    monkeypatch.setattr(session_files, "sync_directory", counted)
    async with make_kernel(tmp_path, replies=lambda request: "x") as kernel:
        async with AsyncExitStack() as stack:
            for _ in range(10):
                opening = kernel.open_session(directory=tmp_path / "work")
                session = await stack.enter_async_context(opening)
            async with trio.open_nursery() as nursery:
                for each in kernel.sessions:
                    nursery.start_soon(each.sync)
            assert synced == [kernel.sessions_folder]
            await session.sync()
        assert len(synced) == 1
        async with kernel.open_session(directory=tmp_path / "work") as later:
            await later.sync()
            assert len(synced) == 2


def test_a_name_the_disk_did_not_keep_is_tried_again(tmp_path, monkeypatch):
    names, sync = Names(tmp_path), session_files.sync_directory
    header = SessionHeader(directory="/w")
    one, other = (Transcript.create(tmp_path, header, names=names) for _ in range(2))

    def refuse(path):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(session_files, "sync_directory", refuse)
    assert not one.sync()
    synced = []
    monkeypatch.setattr(session_files, "sync_directory", lambda path: synced.append(sync(path)))
    assert other.sync()
    assert one.sync()
    assert len(synced) == 1
    one.close()
    other.close()


def test_a_file_made_while_a_sync_runs_is_not_taken_for_kept(tmp_path, monkeypatch):
    names, synced, made = Names(tmp_path), [], []

    def sync(path):
        synced.append(path)
        if len(synced) == 1:
            made.append(names.made())

    monkeypatch.setattr(session_files, "sync_directory", sync)
    names.keep(names.made())
    names.keep(made[0])
    assert len(synced) == 2

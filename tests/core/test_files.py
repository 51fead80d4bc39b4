"""A crash, a full disk or an error leaves the old file or the new one, and nothing else."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
import time

import pytest
from codetether import files
from codetether.files import replace_at, write_atomic

POINTS = ("files.opened", "files.written", "files.synced", "files.renamed", "files.finished")
OLD = b"old content\n" * 1000
NEW = b"new content, longer\n" * 3000

CHILD = """
import sys
from pathlib import Path
from codetether.files import write_atomic
write_atomic(Path(sys.argv[1]), b"new content, longer\\n" * 3000)
"""


def temporaries(directory):
    return [name for name in os.listdir(directory) if name.startswith(".codetether-")]


@pytest.fixture(autouse=True)
def nothing_swept(monkeypatch):
    monkeypatch.setattr(files, "_swept", {})


def test_makes_and_replaces(tmp_path):
    path = tmp_path / "a.txt"
    write_atomic(path, b"one")
    assert path.read_bytes() == b"one"
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_new_file_follows_the_umask_or_the_mode_given(tmp_path):
    old = os.umask(0o027)
    try:
        write_atomic(tmp_path / "a", b"")
        write_atomic(tmp_path / "b", b"", 0o600)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o600


def test_keeps_mode_owner_and_attributes(tmp_path):
    path = tmp_path / "run.sh"
    path.write_bytes(b"#!")
    path.chmod(0o751)
    attributes = True
    try:
        os.setxattr(path, "user.origin", b"here")
    except OSError:
        attributes = False  # this file system has none; mode and owner are still compared
    before = path.stat()
    write_atomic(path, b"#!/bin/sh")
    after = path.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )
    assert after.st_ino != before.st_ino
    assert not attributes or os.getxattr(path, "user.origin") == b"here"


def test_a_link_is_kept_and_its_target_written(tmp_path):
    (tmp_path / "real").mkdir()
    target = tmp_path / "real" / "file"
    target.write_bytes(b"old")
    link = tmp_path / "link"
    link.symlink_to("real/file")
    write_atomic(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert temporaries(tmp_path) == temporaries(tmp_path / "real") == []


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_every_point(tmp_path, monkeypatch, point):
    path = tmp_path / "file"
    path.write_bytes(OLD)
    path.chmod(0o640)
    ended = subprocess.run(
        [sys.executable, "-c", CHILD, path],
        env=os.environ | {"CODETETHER_TESTING": "1", "CODETETHER_FAULT": f"{point}=kill"},
        check=False,
        timeout=60,
    )
    assert ended.returncode == -signal.SIGKILL
    wanted = NEW if POINTS.index(point) >= POINTS.index("files.renamed") else OLD
    assert path.read_bytes() == wanted
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    left = temporaries(tmp_path)
    assert len(left) == (0 if wanted == NEW else 1)
    monkeypatch.setattr(files, "STALE", -1)
    write_atomic(tmp_path / "other", b"")
    assert sorted(os.listdir(tmp_path)) == ["file", "other"]


def test_an_error_at_every_point_before_the_rename_leaves_the_old(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(OLD)
    for point in POINTS[:3]:

        def fault(name, point=point):
            if name == point:
                raise KeyboardInterrupt

        monkeypatch.setattr(files, "fault", fault)
        with pytest.raises(KeyboardInterrupt):
            write_atomic(path, NEW)
        assert path.read_bytes() == OLD
        assert os.listdir(tmp_path) == ["file"]


def test_a_full_disk_leaves_the_old(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(OLD)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (25_998, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_atomic(path, NEW)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes() == OLD
    assert os.listdir(tmp_path) == ["file"]


def test_short_writes_are_continued(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(files.os, "write", lambda fd, data: real(fd, data[:1000]))
    write_atomic(tmp_path / "file", NEW)
    assert (tmp_path / "file").read_bytes() == NEW


def test_devices_and_directories_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    for name in ("pipe", "directory"):
        with pytest.raises(OSError, match="not a regular file"):
            write_atomic(tmp_path / name, b"x")
    with pytest.raises(OSError):
        write_atomic(tmp_path / "absent" / "file", b"x")
    assert temporaries(tmp_path) == []


def test_only_old_temporaries_of_ours_are_removed(tmp_path, monkeypatch):
    """Old is what nobody has touched in any way: what a file was before keeps its old time of writing."""
    ours, foreign = f".codetether-{'0123456789abcdef' * 2:.24}.tmp", ".codetether.tmp"
    for name in (ours, foreign):
        (tmp_path / name).write_bytes(b"")
        os.utime(tmp_path / name, (time.time() - 7200,) * 2)
    write_atomic(tmp_path / "file", b"")
    assert sorted(os.listdir(tmp_path)) == sorted([ours, foreign, "file"])
    monkeypatch.setattr(files, "STALE", -1)
    write_atomic(tmp_path / "file", b"")
    assert sorted(os.listdir(tmp_path)) == sorted([foreign, "file"])


@pytest.mark.parametrize("how", ["renameat2", "link"])
def test_new_never_replaces(tmp_path, monkeypatch, how):
    if how == "link":
        monkeypatch.setattr("codetether.syscalls._libc", lambda: object())
    directory = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        replace_at(directory, "file", b"one", new=True)
        with pytest.raises(FileExistsError):
            replace_at(directory, "file", b"two", new=True)
    finally:
        os.close(directory)
    assert (tmp_path / "file").read_bytes() == b"one"
    assert os.listdir(tmp_path) == ["file"]

"""A disk that is full: said to the person and to the model, nothing lost that was there, no half file, an honest exit code.

Without root the limit is one on the size of files. With root, and where mounting is allowed, a small file system too.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager

import pytest
from codetether.testing import Call, Reply
from place import assert_answered, results_of

LIMIT = ("bash", "-c", 'ulimit -f "$0"; exec "$@"')  # in KiB
BEFORE = "one\n" * 10


def may_mount():
    """Whether this machine lets us have a file system of our own."""
    done = subprocess.run(
        ["unshare", "-m", "true"], capture_output=True, check=False
    ) if os.geteuid() == 0 else None  # fmt: skip
    return done is not None and done.returncode == 0


@contextmanager
def small(folder, kilobytes):
    """`folder` is a file system of this size."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder], check=True
    )
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


WAYS = ["limit", "tmpfs"] if may_mount() else ["limit"]
FULL = ("--access-mode", "full")


@pytest.fixture
def repository(place):
    place.write(a_dot_txt=BEFORE)
    return place


def big(path, size):
    return Reply("I write.", calls=(Call("write_file", {"path": path, "content": "x" * size}),))


if "tmpfs" in WAYS:

    @pytest.mark.parametrize("path", ["a.txt", "new.txt", "deep/new.txt"])
    async def test_the_workspace_is_full(repository, path):
        with small(repository.work, 512):
            repository.git("init", "-q")
            repository.write(a_dot_txt=BEFORE)
            free = os.statvfs(repository.work)
            (repository.work / "fill").write_bytes(bytes((free.f_bavail - 16) * free.f_bsize))
            await write_fails(repository, big(path, 200_000), path)


async def test_a_file_may_not_grow(repository):
    """A change that is small to say and large to save."""
    repository.write(a_dot_txt="one\n" * 10_000)
    grow = {"path": "a.txt", "old_string": "one", "new_string": "one hundred", "replace_all": True}
    reply = Reply("I edit.", calls=(Call("edit", grow),))
    await write_fails(repository, reply, "a.txt", (*LIMIT, "64"))


async def write_fails(place, reply, path, argv=()):
    before = (place.work / "a.txt").read_bytes()
    look = Reply("", calls=(Call("read_file", {"path": "a.txt", "limit": 10}),))
    async with place.model(look, reply, "The disk is full.") as server:
        done = await place.exec(*FULL, "go", argv=argv)
    assert (done.code, done.out) == (0, "The disk is full.\n"), done.err
    assert f"{path}: the disk is full" in done.err
    assert "Traceback" not in done.err
    assert "nothing was changed" in server.asked[-1]["messages"][-1]["content"]
    assert (place.work / "a.txt").read_bytes() == before
    assert path == "a.txt" or not (place.work / path).exists()
    assert not list(place.work.rglob("*.tmp"))
    assert_answered(place.messages())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", ["text", "json"])
async def test_the_session_cannot_be_saved(repository, way, form):
    """The work is done and the answer given; that the rest of the session is lost is said, and is a failure."""
    edit = {"path": "a.txt", "old_string": BEFORE, "new_string": "two\n"}
    replies = [Reply("y" * 40_000, calls=(Call("edit", edit),)), "All done."]
    if way == "limit":
        done = await saving(repository, replies, form, argv=(*LIMIT, "16"))
    else:
        with small(repository.home / "small", 16) as folder:
            repository.sessions = folder / "sessions"
            done = await saving(repository, replies, form, CODETETHER_DATA_DIR=str(folder))
    assert (repository.work / "a.txt").read_text() == "two\n"
    assert "All done." in done.out
    assert done.code == 1, done.err
    assert "records of session" in done.err
    assert "could not be saved" in done.err
    assert "Traceback" not in done.err


async def saving(place, replies, form, argv=(), **env):
    async with place.model(*replies):
        done = await place.exec(*FULL, "--format", form, "go", argv=argv, **env)
    assert [m["role"] for m in place.messages()] == ["user"]
    assert place.session_files()[0].read_bytes().endswith(b"}\n")
    (path,) = place.session_files()
    async with place.model("Going on."):  # there is room again, or room enough for this
        again = await place.exec("-s", path.stem, "and now?", **env)
    assert (again.code, again.out) == (0, "Going on.\n"), again.err
    return done


@pytest.mark.parametrize("way", WAYS)
async def test_no_session_can_be_made_at_all(repository, way):
    """Reading goes on without one (F51)."""
    replies = [Reply("", calls=(Call("read_file", {"path": "a.txt"}),)), "It says one."]
    async with repository.model(*replies):
        if way == "limit":
            done = await repository.exec(*FULL, "go", argv=(*LIMIT, "0"))
        else:
            with small(repository.home / "small", 16) as folder:
                (folder / "fill").write_bytes(bytes(os.statvfs(folder).f_bavail * 4096))
                done = await repository.exec(*FULL, "go", CODETETHER_DATA_DIR=str(folder))
    assert (done.code, done.out) == (1, "It says one.\n"), done.err
    assert "Cannot save the session" in done.err
    assert "could not be saved" in done.err


@pytest.mark.parametrize("way", WAYS)
async def test_long_output_has_no_place_to_go(repository, way):
    """What does not fit beside the session is cut in the middle; the model still gets head and tail."""
    command = "seq 200000; echo the end"
    replies = [Reply("", calls=(Call("bash", {"command": command}),)), "I saw it."]
    async with repository.model(*replies) as server:
        if way == "limit":
            done = await repository.exec(*FULL, "go", argv=(*LIMIT, "256"))
        else:
            with small(repository.home / "small", 256) as folder:
                done = await repository.exec(*FULL, "go", CODETETHER_DATA_DIR=str(folder))
    assert (done.code, done.out) == (0, "I saw it.\n"), done.err
    result = server.asked[-1]["messages"][-1]["content"]
    assert result.startswith("1\n2\n3\n")
    assert "the end" in result
    assert len(result) < 60_000


async def test_after_all_of_it_the_session_is_whole(repository):
    """Full in the middle of a turn and free again before its end: all of it is there."""
    folder = repository.home / "small"
    fill = f"head -c 100000 /dev/zero > {folder}/fill 2>/dev/null; true"
    free = f"rm {folder}/fill"
    replies = [
        Reply("I fill.", calls=(Call("bash", {"command": fill}),)),
        Reply("y" * 6000, calls=(Call("read_file", {"path": "a.txt"}),)),
        Reply("I free.", calls=(Call("bash", {"command": free}),)),
        "All done.",
    ]
    if "tmpfs" in WAYS:
        with small(folder, 64):
            repository.sessions = folder / "sessions"
            async with repository.model(*replies):
                done = await repository.exec(*FULL, "go", CODETETHER_DATA_DIR=str(folder))
            messages = repository.messages()
        assert "Cannot save the session" in done.err
        assert "is being saved again" in done.err
    else:
        async with repository.model(*replies):
            folder.mkdir()
            done = await repository.exec(*FULL, "go")
        messages = repository.messages()
    assert (done.code, done.out) == (0, "All done.\n"), done.err
    assert_answered(messages)
    assert [m["role"] for m in messages] == ["user", *["assistant", "tool"] * 3, "assistant"]
    assert "one" in results_of(messages)[1]["text"]

"""What an agent may touch, checked against both ways of opening: openat2 and the walk."""

from __future__ import annotations

import itertools
import os
import socket
import stat
import subprocess
import sys
import time

import pytest
import trio
from codetether import syscalls, workspace
from codetether.errors import ToolError
from codetether.workspace import Entry, Workspace


@pytest.fixture(params=["openat2", "walk"])
def walk(request):
    if request.param == "openat2" and sys.platform.startswith("linux"):
        assert syscalls.has_openat2(), (
            "this kernel should have openat2; the test would prove nothing"
        )
    return request.param == "walk"


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    (root / "src").mkdir(parents=True)
    (root / "src" / "main.py").write_bytes(b"print()\n")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"secret")
    return root


@pytest.fixture
def space(root, tmp_path, walk):
    (tmp_path / "side").mkdir()
    return Workspace(root, [tmp_path / "side"], walk=walk)


async def refused(call, code):
    with pytest.raises(ToolError) as caught:
        await call
    assert caught.value.code == code, caught.value.text
    return caught.value.text


def test_relative(space, root, tmp_path):
    assert space.relative("") == space.relative(".") == space.relative(str(root)) == "."
    assert space.relative("src//./main.py") == space.relative("src/x/../main.py") == "src/main.py"
    assert space.relative(f"{root}/src/main.py") == "src/main.py"
    side = str(tmp_path / "side" / "out.txt")
    assert space.relative(side) == side
    for path in (
        "..",
        "../outside/secret",
        "/etc/passwd",
        f"{root}2/x",
        "~/x",
        "src/../../outside",
    ):
        with pytest.raises(ToolError) as caught:
            space.relative(path)
        assert caught.value.code == "DENIED"
        assert not space.is_inside(path)
    for path in ("a\0b", "a\ud800b"):
        with pytest.raises(ToolError) as caught:
            space.relative(path)
        assert caught.value.code == "INVALID_ARGUMENT"


async def test_a_root_spelled_through_a_link(root, tmp_path, walk):
    (tmp_path / "alias").symlink_to(root)
    (tmp_path / "other").symlink_to(root)
    space = Workspace(tmp_path / "alias", walk=walk)
    assert space.root == root.resolve()
    for spelling in (tmp_path / "alias", tmp_path / "other", root):
        assert space.relative(f"{spelling}/src/main.py") == "src/main.py"
        assert await space.read(f"{spelling}/src/main.py") == b"print()\n"


async def test_read(space, root):
    assert await space.read("src/main.py") == b"print()\n"
    assert await space.read("src/main.py", 3) == b"pri"
    assert await space.read("src/main.py", 3, 2) == b"int"
    assert await space.read("src/main.py", offset=100) == b""
    big = os.urandom(workspace.DIRECT + 1000)
    (root / "big").write_bytes(big)
    assert await space.read("big") == big
    assert await space.read("big", workspace.DIRECT + 10, 5) == big[5 : workspace.DIRECT + 15]


async def test_a_huge_file_is_read_in_parts_only(space, root):
    with open(root / "huge", "wb") as file:
        file.truncate(5_000_000_000)
    assert "5000000000 bytes" in await refused(space.read("huge"), "INVALID_ARGUMENT")
    assert await space.read("huge", 10, 4_999_999_995) == b"\0" * 5


async def test_missing_names_are_suggested(space):
    assert "src/main.py" in await refused(space.read("src/mian.py"), "NOT_FOUND")
    await refused(space.read("nowhere/at/all"), "NOT_FOUND")
    await refused(space.read("src/main.py/x"), "NOT_FOUND")


async def test_links_inside_are_followed(space, root):
    (root / "relative").symlink_to("src/main.py")
    (root / "absolute").symlink_to(root / "src")
    (root / "src" / "up").symlink_to("../src/../relative")
    (root / "chain").symlink_to("absolute/up")
    for path in ("relative", "absolute/main.py", "src/up", "chain"):
        assert await space.read(path) == b"print()\n"
        assert space.real(path) == "src/main.py"
        assert space.is_inside(path)
    await space.write("chain", b"changed")
    assert (root / "chain").is_symlink()
    assert (root / "src" / "main.py").read_bytes() == b"changed"
    assert space.last_seen("relative") == space.digest(b"changed")
    (root / "dangling").symlink_to("src/new")
    await space.write("dangling", b"made")
    assert (root / "src" / "new").read_bytes() == b"made"


async def test_links_outside_are_refused(space, root, tmp_path):
    outside = tmp_path / "outside"
    (root / "directory").symlink_to(outside)
    (root / "up").symlink_to("../outside")
    (root / "file").symlink_to(outside / "secret")
    (root / "hop").symlink_to("src/../up/secret")
    (root / "proc").symlink_to("/proc/self/root")
    for path in ("directory/secret", "up/secret", "file", "hop", f"proc{outside}/secret"):
        assert "link" in await refused(space.read(path), "DENIED")
        assert "link" in await refused(space.write(path, b"x"), "DENIED")
        assert not space.is_inside(path)
    await refused(space.write("directory/made/new", b"x"), "DENIED")
    assert os.listdir(outside) == ["secret"]
    assert (outside / "secret").read_bytes() == b"secret"


async def test_circles_end(space, root):
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    await refused(space.read("a"), "INVALID_ARGUMENT")
    await refused(space.write("a", b""), "INVALID_ARGUMENT")


async def test_special_files_are_refused(space, root):
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        where = os.getcwd()
        os.chdir(root)  # the address of a socket is at most 107 bytes
        listener.bind("socket")
        os.chdir(where)
    for path in ("pipe", "socket"):
        await refused(space.read(path), "DENIED")
        await refused(space.write(path, b"x"), "DENIED")
    assert "list_dir" in await refused(space.read("src"), "INVALID_ARGUMENT")
    await refused(space.write("src", b""), "INVALID_ARGUMENT")
    await refused(space.write(".", b""), "INVALID_ARGUMENT")


async def test_git_is_never_written(space, root):
    (root / ".git" / "hooks").mkdir(parents=True)
    (root / ".git" / "config").write_bytes(b"[core]")
    (root / "link").symlink_to(".git/hooks")
    for path in (
        ".git/hooks/pre-commit",
        ".git/new/x",
        "link/pre-commit",
        ".git",
        ".GIT/x",
        ".g\u200cit/x",
        "a/.git/x",
    ):
        await refused(space.write(path, b"x"), "DENIED")
    assert await space.read(".git/config") == b"[core]"
    assert os.listdir(root / ".git" / "hooks") == []
    assert sorted(os.listdir(root)) == [".git", "link", "src"]
    await space.write(".gitignore", b"x")


async def test_side_files_can_be_read_and_not_written(space, tmp_path):
    side = tmp_path / "side" / "out.txt"
    side.write_bytes(b"all of it")
    (tmp_path / "side" / "link").symlink_to("../outside/secret")
    assert await space.read(str(side)) == b"all of it"
    assert space.is_inside(str(side))
    space.saw(str(side), "d")
    assert space.last_seen(str(side)) == "d"
    await refused(space.write(str(side), b"x"), "DENIED")
    await refused(space.read(str(tmp_path / "side" / "link")), "DENIED")


async def test_write_makes_parents_and_remembers(space, root):
    await space.write("a/b/c.txt", b"one")
    assert (root / "a/b/c.txt").read_bytes() == b"one"
    assert space.last_seen("a/b/c.txt") == space.digest(b"one")
    await refused(space.write("x/y", b"", create_parents=False), "NOT_FOUND")
    assert not (root / "x").exists()


async def test_write_expects(space, root):
    path = "src/main.py"
    digest = space.digest(b"print()\n")
    assert "exists" in await refused(space.write(path, b"x", expect=""), "CONFLICT")
    assert "changed" in await refused(
        space.write(path, b"x", expect=space.digest(b"other")), "CONFLICT"
    )
    assert "deleted" in await refused(space.write("gone", b"x", expect=digest), "CONFLICT")
    os.utime(root / path, (1, 1))  # a touch without a change is no alarm
    await space.write(path, b"two", expect=digest)
    await space.write("new", b"x", expect="")
    assert (root / path).read_bytes() == b"two"
    assert (root / "new").read_bytes() == b"x"


@pytest.mark.parametrize("point", ["files.opened", "files.written", "files.synced"])
async def test_a_change_in_the_middle_of_a_write_is_kept(space, root, monkeypatch, point):
    path = root / "src" / "main.py"

    def fault(name):
        if name == point:
            path.write_bytes(b"the editor was here")

    monkeypatch.setattr("codetether.files.fault", fault)
    await refused(space.write("src/main.py", b"x", expect=space.digest(b"print()\n")), "CONFLICT")
    assert path.read_bytes() == b"the editor was here"
    assert os.listdir(root / "src") == ["main.py"]


async def test_write_protection_holds_and_hard_links_are_cut(space, root, tmp_path):
    path = root / "src" / "main.py"
    os.link(path, tmp_path / "outside" / "twin")
    assert space.stat("src/main.py").st_nlink == 2
    await space.write("src/main.py", b"mine")
    assert (tmp_path / "outside" / "twin").read_bytes() == b"print()\n"
    path.chmod(0o444)
    await refused(space.write("src/main.py", b"x"), "DENIED")
    path.chmod(0o750)
    await space.write("src/main.py", b"x")
    assert stat.S_IMODE(path.stat().st_mode) == 0o750


def test_scan_and_stat(space, root):
    (root / "link").symlink_to("src")
    os.mkfifo(root / "pipe")
    (root / "file").write_bytes(b"12345")
    assert sorted(space.scan("")) == [
        Entry("file", "file", 5),
        Entry("link", "link", 0, "src"),
        Entry("pipe", "other"),
        Entry("src", "directory"),
    ]
    assert [entry.name for entry in space.scan("link")] == ["main.py"]
    assert len(space.scan(".", 2)) == 2
    assert stat.S_ISDIR(space.stat("link").st_mode)
    with pytest.raises(ToolError) as caught:
        space.scan("file")
    assert caught.value.code == "INVALID_ARGUMENT"


async def test_one_writer_at_a_time_for_one_real_file(space, root, walk):
    (root / "link").symlink_to("src/main.py")
    other = Workspace(root, walk=walk)
    inside = most = 0

    async def use(which, path):
        nonlocal inside, most
        async with which.lock(path):
            inside += 1
            most = max(most, inside)
            await trio.testing.wait_all_tasks_blocked()
            inside -= 1

    async with trio.open_nursery() as nursery:
        for which, path in (
            (space, "link"),
            (other, "src/main.py"),
            (space, f"{root}/src/main.py"),
        ):
            nursery.start_soon(use, which, path)
    assert most == 1
    assert workspace._locks == {}


SWAPPER = """
import os, sys
how, outside, name = sys.argv[1:]
print("ready", flush=True)
while os.getppid() != 1:
    if how == "link":
        for target in (outside, "src"):
            os.symlink(target, name + ".new")
            os.rename(name + ".new", name)
    else:
        os.rename(name, name + ".away")
        os.symlink(outside, name)
        os.sched_yield()  # else, on one core, the other side never runs while the link is there
        os.unlink(name)
        os.rename(name + ".away", name)
"""


@pytest.mark.parametrize("how", ["link", "directory"])
async def test_a_path_swapped_meanwhile_never_leads_outside(space, root, tmp_path, how):
    outside = tmp_path / "outside"
    if how == "link":
        (root / "work").symlink_to("src")
    else:
        (root / "work").mkdir()
    codes = set()
    written = 0

    def attempt(work, *arguments):
        try:
            return work(*arguments) or True
        except ToolError as error:
            codes.add(error.code)
            return False

    with subprocess.Popen(
        [sys.executable, "-c", SWAPPER, how, outside, root / "work"], stdout=subprocess.PIPE
    ) as swapper:
        try:
            swapper.stdout.readline()
            create = (
                how == "link"
            )  # else our own directory would take the place of the one moved away
            failsafe = time.monotonic() + 60
            for number in itertools.count():
                seen = number > 1000 and written and "DENIED" in codes
                if seen or time.monotonic() > failsafe:
                    break
                written += attempt(space._write, f"work/file{number % 10}", b"x", None, create)
                assert not attempt(space.stat, "work/secret"), "only outside has a file so named"
                assert not attempt(space.open, "work/secret")
        finally:
            swapper.kill()
    assert os.listdir(outside) == ["secret"]
    assert (outside / "secret").read_bytes() == b"secret"
    assert written, "the test proves nothing when every write was refused"
    assert "DENIED" in codes, "the test proves nothing when no attempt met the link outside"

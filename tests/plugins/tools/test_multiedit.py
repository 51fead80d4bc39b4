"""multiedit: several files changed together, or not at all."""

from __future__ import annotations

import os
import stat
from types import SimpleNamespace

import pytest
import trio
from codetether.changes import Change
from codetether.errors import ToolError
from codetether.events import ToolFinished
from codetether.testing import Call, Reply, make_kernel
from codetether.words import Effect
from codetether.workspace import Workspace
from codetether_editing import Edits, OneEdit
from codetether_tool_multiedit import MultiEdit

TOOL = MultiEdit(None, "tools:multiedit")
COUNT = 5


@pytest.fixture
def ctx(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    return SimpleNamespace(workspace=Workspace(root), root=root)


def tree(root):
    """Every name below `root` with what tells a changed file from the same one."""
    found = {}
    for path in root.rglob("*"):
        about = path.lstat()
        data = path.read_bytes() if stat.S_ISREG(about.st_mode) else path.resolve()
        found[str(path.relative_to(root))] = (stat.S_IMODE(about.st_mode), data)
    return found


async def edit(ctx, *edits):
    return await TOOL.run(Edits([OneEdit(*one) for one in edits]), ctx)


async def test_edits_build_on_each_other_and_give_one_diff(ctx):
    (ctx.root / "a").write_bytes(b"one\r\ntwo\r\n")
    (ctx.root / "b").write_bytes(b"x")
    (ctx.root / "a").chmod(0o750)
    edits = [("a", "one", "1"), ("b", "x", "y"), ("a", "1\ntwo", "1\n2\n3")]
    shown = await TOOL.preview(Edits([OneEdit(*one) for one in edits]), ctx)
    assert (ctx.root / "a").read_bytes() == b"one\r\ntwo\r\n"
    output = await edit(ctx, *edits)
    assert (ctx.root / "a").read_bytes() == b"1\r\n2\r\n3\r\n"
    assert (ctx.root / "b").read_bytes() == b"y"
    assert stat.S_IMODE((ctx.root / "a").stat().st_mode) == 0o750
    assert output.meta["diff"] == shown
    assert shown.count("--- a/") == 2
    assert output.text == "Made 3 edits in 2 files (+4 -3): a, b"
    assert sorted(os.listdir(ctx.root)) == ["a", "b"]


async def test_one_wrong_edit_stops_all_and_every_wrong_one_is_told(ctx):
    (ctx.root / "a").write_bytes(b"one one\n")
    (ctx.root / "b").write_bytes(b"x\n")
    before = tree(ctx.root)
    with pytest.raises(ToolError) as caught:
        await edit(ctx, ("b", "x", "y"), ("a", "one", "1"), ("c", "x", "y"))
    assert caught.value.code == "AMBIGUOUS_MATCH"
    assert caught.value.meta["failed"] == [2, 3]
    assert "Edit 2 (a)" in caught.value.text
    assert "Edit 3 (c)" in caught.value.text
    assert tree(ctx.root) == before
    for edits, code in [((), "INVALID_ARGUMENT"), ((("b", "x", "y"), ("b", "y", "x")), "NO_OP")]:
        with pytest.raises(ToolError) as caught:
            await edit(ctx, *edits)
        assert caught.value.code == code


@pytest.mark.parametrize("k", range(COUNT))
@pytest.mark.parametrize("point", ["files.opened", "files.written", "files.synced", "changes.put"])
async def test_a_failure_at_any_file_leaves_the_tree_as_it_was(ctx, monkeypatch, point, k):
    """Files changed, made in new directories and removed; the failure comes at each of them, early and late."""
    work = ctx.workspace
    for number in range(COUNT):
        (ctx.root / f"f{number}").write_bytes(b"old\n")
    (ctx.root / "sub").mkdir()
    (ctx.root / "sub" / "gone").write_bytes(b"gone\n")
    before, seen = tree(ctx.root), []

    def broken(name):
        if name == point:
            seen.append(name)
            if len(seen) == k + 1:
                raise OSError(28, "No space left on device")

    monkeypatch.setattr("codetether.files.fault", broken)
    monkeypatch.setattr("codetether.changes.fault", broken)
    digest = work.digest(b"old\n")
    changes = [
        Change("f0", b"new\n", digest),
        Change("d/e/made", b"made\n", ""),
        Change("f1", None, digest),
        Change("f2", b"new\n", digest, executable=True),
        Change("d/other", b"made\n", ""),
        Change("sub/gone", None, work.digest(b"gone\n")),
        Change("f3", b"new\n", digest),
    ]
    with pytest.raises(ToolError):
        await work.change(changes)
    assert len(seen) == k + 1
    assert tree(ctx.root) == before
    monkeypatch.undo()
    await work.change(changes)
    assert sorted(tree(ctx.root)) == ["d", "d/e", "d/e/made", "d/other", "f0", "f2", "f3", "f4"]
    assert stat.S_IMODE((ctx.root / "f2").stat().st_mode) & 0o111


@pytest.mark.parametrize("at", range(3))
async def test_what_others_change_meanwhile_is_kept_and_nothing_is_done(ctx, monkeypatch, at):
    """Someone writes a later file after the first new content has taken its name."""
    for name in "abcd":
        (ctx.root / name).write_bytes(b"old\n")
    count = []

    def theirs(_name):
        count.append(1)
        if len(count) == at + 1:
            (ctx.root / "d").write_bytes(b"theirs\n")

    monkeypatch.setattr("codetether.changes.fault", theirs)
    with pytest.raises(ToolError) as caught:
        await edit(ctx, *((name, "old", "new") for name in "abcd"))
    assert caught.value.code == "CONFLICT"
    kept = {name: (ctx.root / name).read_bytes() for name in os.listdir(ctx.root)}
    assert kept == {"a": b"old\n", "b": b"old\n", "c": b"old\n", "d": b"theirs\n"}


async def test_files_linked_to_each_other_are_one(ctx):
    (ctx.root / "a").write_bytes(b"one two\n")
    os.symlink("a", ctx.root / "link")
    await edit(ctx, ("a", "one", "1"), ("link", "two", "2"))
    assert (ctx.root / "a").read_bytes() == b"1 2\n"
    assert (ctx.root / "link").is_symlink()


async def test_calls_at_the_same_time_wait_for_each_other(ctx):
    for name in "ab":
        (ctx.root / name).write_bytes(b"".join(b"line %d.\n" % n for n in range(10)))
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for n in range(10):
                order = "ab" if n % 2 else "ba"
                edits = [(name, f"line {n}.", f"LINE {n}.") for name in order]
                nursery.start_soon(edit, ctx, *edits)
    for name in "ab":
        assert (ctx.root / name).read_bytes() == b"".join(b"LINE %d.\n" % n for n in range(10))


async def test_refused_places(ctx, tmp_path):
    (ctx.root / ".git").mkdir()
    (ctx.root / ".git" / "config").write_bytes(b"x\n")
    (ctx.root / "a").write_bytes(b"x\n")
    (tmp_path / "out").write_bytes(b"x\n")
    os.symlink(tmp_path / "out", ctx.root / "leads-out")
    for path in (".git/config", "../out", "leads-out", str(tmp_path / "out")):
        with pytest.raises(ToolError) as caught:
            await edit(ctx, ("a", "x", "y"), (path, "x", "y"))
        assert caught.value.code == "DENIED", path
    assert (ctx.root / "a").read_bytes() == b"x\n"
    assert (tmp_path / "out").read_bytes() == b"x\n"


async def test_a_model_calls_it_and_rules_see_every_file(tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    (work / "a").write_text("one\n")
    (work / "b").write_text("one\n")
    edits = [{"path": p, "old_string": "one", "new_string": "1"} for p in "ab"]
    script = [Reply(calls=(Call("multiedit", {"edits": edits}),)), "Done."]
    async with (
        make_kernel(tmp_path, replies=script, plugins=["tools:multiedit"]) as kernel,
        kernel.open_session(directory=work, access="auto") as session,
    ):
        with session.feed.listen() as feed:
            assert (await session.prompt("change")).reason == "done"
            session.feed.close()
            ended = [event async for event in feed if isinstance(event, ToolFinished)]
    assert [event.ok for event in ended] == [True], ended[0].text
    assert (work / "b").read_text() == "1\n"
    assert TOOL.effect is Effect.WRITE
    subject = TOOL.subject(Edits([OneEdit(p, "x", "y") for p in "aba"]))
    assert subject.paths == ("a", "b")

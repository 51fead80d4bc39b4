"""edit: the engine's work done on a file, in the face of changes by others."""

from __future__ import annotations

import os
import stat
from types import SimpleNamespace

import pytest
import trio
from codetether.errors import ToolError
from codetether.workspace import Workspace
from codetether_editing import OneEdit as Params
from codetether_tool_edit import Edit

TOOL = Edit(None, "tools:edit")


@pytest.fixture
def ctx(tmp_path):
    return SimpleNamespace(workspace=Workspace(tmp_path))


async def edit(ctx, path, old, new, **how):
    return await TOOL.run(Params(path, old, new, **how), ctx)


async def refused(ctx, code, *edit_, **how):
    with pytest.raises(ToolError) as caught:
        await edit(ctx, *edit_, **how)
    assert caught.value.code == code, caught.value.text
    return caught.value


def saw(ctx, path):
    ctx.workspace.saw(path, ctx.workspace.digest((ctx.workspace.root / path).read_bytes()))


async def test_edits(ctx, tmp_path):
    path = tmp_path / "a.py"
    path.write_bytes(b"one\r\ntwo\r\n")
    path.chmod(0o755)
    output = await edit(ctx, "a.py", "two\n", "2\n3\n")
    assert path.read_bytes() == b"one\r\n2\r\n3\r\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert output.text == "Edited a.py at line 2 (+2 -1)."
    assert output.meta["diff"] == "--- a/a.py\n+++ b/a.py\n@@ -1,2 +1,3 @@\n one\n-two\n+2\n+3\n"
    assert (output.meta["strategy"], output.meta["added"], output.meta["removed"]) == (
        "exact",
        2,
        1,
    )


async def test_all_occurrences(ctx, tmp_path):
    (tmp_path / "a").write_bytes(b"x y x\n")
    assert (await refused(ctx, "AMBIGUOUS_MATCH", "a", "x", "z")).meta["matches_found"] == 2
    output = await edit(ctx, "a", "x", "z", replace_all=True)
    assert (tmp_path / "a").read_bytes() == b"z y z\n"
    assert "2 places" in output.text


async def test_a_loose_match_shows_what_it_did(ctx, tmp_path):
    (tmp_path / "a").write_bytes(b"if x:\n        y()\n")
    output = await edit(ctx, "a", "    y()\n", "    y()\n    z()\n")
    assert (tmp_path / "a").read_bytes() == b"if x:\n        y()\n    z()\n"
    output = await edit(ctx, "a", "  if x:\n          y()", "  if x:\n          y(1)")
    assert output.meta["strategy"] == "indentation-flexible"
    assert "matched indentation-flexible" in output.text
    assert "+        y(1)" in output.text
    assert (tmp_path / "a").read_bytes() == b"if x:\n        y(1)\n    z()\n"


async def test_a_changed_file_is_edited_when_the_text_is_still_there_once(ctx, tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"one\ntwo\n")
    saw(ctx, "a")
    path.write_bytes(b"one\ntwo\nthree\n")
    output = await edit(ctx, "a", "one", "1")
    assert path.read_bytes() == b"1\ntwo\nthree\n"
    assert "had changed" in output.text
    assert ctx.workspace.last_seen("a") == ctx.workspace.digest(b"one\ntwo\n"), (
        "the agent does not know line three"
    )
    await refused(ctx, "CONFLICT", "a", "  two", "2")
    path.write_bytes(b"two two\n")
    await refused(ctx, "CONFLICT", "a", "two", "2", replace_all=True)
    assert path.read_bytes() == b"two two\n"


async def test_own_edits_need_no_reading_and_unread_files_stay_unread(ctx, tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"one\ntwo\n")
    saw(ctx, "a")
    await edit(ctx, "a", "one", "1")
    assert "had changed" not in (await edit(ctx, "a", "two", "2")).text
    assert ctx.workspace.last_seen("a") == ctx.workspace.digest(b"1\n2\n")
    (tmp_path / "b").write_bytes(b"one\n")
    await edit(ctx, "b", "one", "1")
    assert ctx.workspace.last_seen("b") is None


@pytest.mark.parametrize("point", ["files.opened", "files.written", "files.synced"])
async def test_a_change_during_the_edit_is_kept(ctx, tmp_path, monkeypatch, point):
    path = tmp_path / "a"
    path.write_bytes(b"one\n")
    monkeypatch.setattr(
        "codetether.files.fault",
        lambda name: path.write_bytes(b"theirs\n") if name == point else None,
    )
    await refused(ctx, "CONFLICT", "a", "one", "1")
    assert path.read_bytes() == b"theirs\n"
    assert os.listdir(tmp_path) == ["a"]


async def test_edits_at_the_same_time_lose_nothing(ctx, tmp_path):
    (tmp_path / "a").write_bytes(b"".join(b"line %d.\n" % n for n in range(20)))
    os.symlink("a", tmp_path / "link")
    async with trio.open_nursery() as nursery:
        for n in range(20):
            nursery.start_soon(edit, ctx, "link" if n % 2 else "a", f"line {n}.", f"LINE {n}.")
    assert (tmp_path / "a").read_bytes() == b"".join(b"LINE %d.\n" % n for n in range(20))


async def test_preview_is_what_run_does(ctx, tmp_path):
    (tmp_path / "a").write_bytes(b"one\n")
    shown = await TOOL.preview(Params("a", "one", "two"), ctx)
    assert (tmp_path / "a").read_bytes() == b"one\n"
    assert shown == (await edit(ctx, "a", "one", "two")).meta["diff"]


async def test_refusals(ctx, tmp_path):
    (tmp_path / "a").write_bytes(b"one\n")
    (tmp_path / "program").write_bytes(b"\x7fELF" + bytes(100))
    await refused(ctx, "NO_OP", "a", "one", "one")
    await refused(ctx, "INVALID_ARGUMENT", "a", "", "x")
    assert "ELF" in (await refused(ctx, "INVALID_ARGUMENT", "program", "x", "y")).text
    await refused(ctx, "NOT_FOUND", "absent", "x", "y")
    await refused(ctx, "NOT_FOUND", "a", "absent", "y")
    os.mkdir(tmp_path / ".git")
    (tmp_path / ".git" / "config").write_bytes(b"[core]\n")
    await refused(ctx, "DENIED", ".git/config", "core", "x")

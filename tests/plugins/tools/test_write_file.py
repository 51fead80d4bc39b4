"""write_file: the file's style is kept, and nothing the agent has not seen is overwritten."""

from __future__ import annotations

import codecs
import os
import stat
from types import SimpleNamespace

import pytest
from codetether.errors import ToolError
from codetether.workspace import Workspace
from codetether_tool_write_file import Params, WriteFile


@pytest.fixture
def ctx(tmp_path):
    return SimpleNamespace(workspace=Workspace(tmp_path))


TOOL = WriteFile(None, "tools:write_file")


async def write(ctx, path, content):
    return await TOOL.run(Params(path, content), ctx)


async def refused(ctx, path, code, content="x"):
    with pytest.raises(ToolError) as caught:
        await write(ctx, path, content)
    assert caught.value.code == code
    return caught.value.text


def saw(ctx, path):
    ctx.workspace.saw(path, ctx.workspace.digest((ctx.workspace.root / path).read_bytes()))


async def test_new_files_and_their_directories(ctx, tmp_path):
    output = await write(ctx, "a/b/c.txt", "one\ntwo")
    assert (tmp_path / "a/b/c.txt").read_bytes() == b"one\ntwo"
    assert output.text == "Created a/b/c.txt: 2 lines, 7 bytes (+2 -0)."
    assert output.meta["diff"].startswith("--- /dev/null\n+++ b/a/b/c.txt\n@@ -0,0 +1,2 @@\n+one\n")
    assert (output.meta["created"], output.meta["added"], output.meta["removed"]) == (True, 2, 0)


async def test_own_writes_need_no_reading(ctx, tmp_path):
    await write(ctx, "a", "one\n")
    output = await write(ctx, f"{tmp_path}/a", "two\n")
    assert output.text == "Wrote a: 1 lines, 4 bytes (+1 -1)."
    assert "already" in (await write(ctx, "a", "two\n")).text


async def test_unseen_and_changed_files_are_kept(ctx, tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"theirs\n")
    assert "was not read" in await refused(ctx, "a", "CONFLICT")
    saw(ctx, "a")
    path.write_bytes(b"theirs again\n")
    assert "has changed" in await refused(ctx, "a", "CONFLICT")
    assert path.read_bytes() == b"theirs again\n"
    saw(ctx, "a")
    os.utime(path, (1, 1))
    await write(ctx, "a", "mine\n")
    assert path.read_bytes() == b"mine\n"
    (tmp_path / "empty").write_bytes(b"")
    await write(ctx, "empty", "nothing is lost here")


async def test_a_file_made_meanwhile_is_kept(ctx, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "codetether.files.fault", lambda name: (tmp_path / "a").write_bytes(b"theirs")
    )
    await refused(ctx, "a", "CONFLICT")
    assert (tmp_path / "a").read_bytes() == b"theirs"


async def test_style_and_mode_are_kept(ctx, tmp_path):
    path = tmp_path / "run.cmd"
    path.write_bytes(codecs.BOM_UTF8 + b"a\r\nb\r\n")
    path.chmod(0o755)
    saw(ctx, "run.cmd")
    output = await write(ctx, "run.cmd", "a\nc\n")
    assert path.read_bytes() == codecs.BOM_UTF8 + b"a\r\nc\r\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert "\r" not in output.meta["diff"]
    assert (output.meta["added"], output.meta["removed"]) == (1, 1)


async def test_preview_is_what_run_does(ctx, tmp_path):
    (tmp_path / "a").write_bytes(b"one\n")
    saw(ctx, "a")
    shown = await TOOL.preview(Params("a", "two\n"), ctx)
    assert (tmp_path / "a").read_bytes() == b"one\n"
    assert shown == (await write(ctx, "a", "two\n")).meta["diff"]
    with pytest.raises(ToolError):
        await TOOL.preview(Params("../a", "x"), ctx)


async def test_hard_links_are_told(ctx, tmp_path):
    (tmp_path / "a").write_bytes(b"one")
    os.link(tmp_path / "a", tmp_path / "b")
    saw(ctx, "a")
    output = await write(ctx, "a", "two")
    assert "2 hard links" in output.text
    assert (tmp_path / "b").read_bytes() == b"one"


async def test_refusals(ctx, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "f").write_bytes(b"x")
    await refused(ctx, "d", "INVALID_ARGUMENT")
    await refused(ctx, "f/x", "NOT_FOUND")
    await refused(ctx, ".git/hooks/pre-commit", "DENIED")
    await refused(ctx, "../x", "DENIED")
    await refused(ctx, "new", "INVALID_ARGUMENT", "\ud800")
    assert sorted(os.listdir(tmp_path)) == ["d", "f"]

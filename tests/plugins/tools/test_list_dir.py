"""list_dir: names, kinds and sizes, in bounded size."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
from codetether.errors import ToolError
from codetether.workspace import Workspace
from codetether_tool_list_dir import ListDir, Params, _size


@pytest.fixture
def ctx(tmp_path):
    for name in ("src/deep/er", ".git/objects", "node_modules/x"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "src" / "main.py").write_bytes(b"12345")
    (tmp_path / "src" / "deep" / "x").write_bytes(b"")
    (tmp_path / "README").write_bytes(b"x" * 3000)
    (tmp_path / "link").symlink_to("src")
    return SimpleNamespace(workspace=Workspace(tmp_path))


async def listing(ctx, path=".", **how):
    return await ListDir(None, "tools:list_dir").run(Params(path, **how), ctx)


async def test_one_level(ctx):
    output = await listing(ctx)
    assert output.text == (
        ".: 3 directories, 2 files\n.git/\nREADME  2.9K\nlink@ -> src\nnode_modules/\nsrc/"
    )
    assert output.meta == {"count": 5, "truncated": False, "path": "."}


async def test_deeper(ctx):
    assert (await listing(ctx, depth=2)).text == (
        ".: 4 directories, 3 files\n.git/ [not listed]\nREADME  2.9K\nlink@ -> src\nnode_modules/ [not listed]\n"
        "src/\n  deep/\n  main.py  5B"
    )
    assert "    er/\n    x  0B" in (await listing(ctx, depth=3)).text
    assert (await listing(ctx, "node_modules")).text == "node_modules: 1 directory, 0 files\nx/"
    assert "main.py" in (await listing(ctx, "link")).text


async def test_limit(ctx):
    output = await listing(ctx, limit=2)
    assert output.text.split("\n")[1:] == [
        ".git/",
        "README  2.9K",
        "[3 more not shown; list a subdirectory or use glob]",
    ]
    assert output.meta["truncated"]


async def test_odd_names_and_kinds_stay_on_one_line(ctx, tmp_path):
    odd = tmp_path / "odd"
    odd.mkdir()
    assert "[empty directory]" in (await listing(ctx, "odd")).text
    (odd / "a\nb\x1b[31m\u202e").write_bytes(b"")
    (odd / os.fsdecode(b"\xff")).write_bytes(b"")
    os.mkfifo(odd / "pipe")
    text = (await listing(ctx, "odd")).text
    assert text.split("\n")[1:] == [
        "a\\nb\\x1b[31m\\u202e  0B",
        "pipe  [device, pipe or socket]",
        "\\udcff  0B",
    ]
    text.encode()


async def test_errors(ctx):
    for path, code in (("README", "INVALID_ARGUMENT"), ("absent", "NOT_FOUND"), ("..", "DENIED")):
        with pytest.raises(ToolError) as caught:
            await listing(ctx, path)
        assert caught.value.code == code


def test_sizes():
    assert [_size(n) for n in (0, 999, 1000, 1024, 20_000, 5_000_000, 5_000_000_000)] == [
        "0B",
        "999B",
        "1.0K",
        "1.0K",
        "20K",
        "4.8M",
        "4.7G",
    ]

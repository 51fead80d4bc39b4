"""AGENTS.md of directories below the working directory: told once, in the result of the call that first goes there."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager

import pytest
from codetether.instructions import NESTED_LIMIT
from codetether.testing import call, make_kernel

DEEP = "Here we write haiku."


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "work"
    (folder / "src/deep").mkdir(parents=True)
    (folder / "AGENTS.md").write_text("Root rules.")
    (folder / "src/AGENTS.md").write_text("Tabs only.")
    (folder / "src/deep/CLAUDE.md").write_text(DEEP)
    for name in ("top.txt", "src/a.txt", "src/deep/b.txt"):
        (folder / name).write_text("content\n")
    return folder


@asynccontextmanager
async def session_of(tmp_path, work, replies, **how):
    async with make_kernel(
        tmp_path / "home", replies=replies, plugins=("tools",), directory=work, **how
    ) as kernel:
        async with kernel.open_session(directory=work, access="full") as session:
            session.provider = kernel.provider("scripted")
            yield session


def read(path):
    return call("read_file", path=path)


async def results(tmp_path, work, *replies):
    async with session_of(tmp_path, work, [*replies, "done"]) as session:
        system = session.system
        await session.prompt("go")
        assert session.system == system  # prompt caches go on
        return [result for message in session.messages for result in message.results]


async def test_told_once_root_excluded(tmp_path, work):
    told = await results(
        tmp_path,
        work,
        read("top.txt"),
        read("src/a.txt"),
        read("src/deep/b.txt"),
        read("src/a.txt"),
    )
    top, first, deep, again = [result.text for result in told]
    assert "Instructions from" not in top
    assert first.endswith("# Instructions from src/AGENTS.md\n\nTabs only.")
    assert deep.endswith(f"# Instructions from src/deep/CLAUDE.md\n\n{DEEP}")
    assert "Tabs only" not in deep
    assert "Instructions from" not in again


async def test_the_nearest_comes_last_and_writing_counts_too(tmp_path, work):
    [told] = await results(
        tmp_path, work, call("write_file", path="src/deep/new.txt", content="x\n")
    )
    assert told.ok
    assert 0 < told.text.index("Tabs only.") < told.text.index(DEEP)


async def test_one_that_is_read_itself_is_not_told_twice(tmp_path, work):
    first, second = await results(tmp_path, work, read("src/AGENTS.md"), read("src/a.txt"))
    assert first.text.count("Tabs only.") == 1
    assert "Tabs only." not in second.text


async def test_what_a_compaction_took_away_is_told_again(tmp_path, work):
    async with session_of(
        tmp_path, work, [read("src/a.txt"), "done", read("src/a.txt"), "done"]
    ) as session:
        await session.prompt("go")
        await session.compacted(session.messages[-1:])
        await session.prompt("again")
        texts = [result.text for message in session.messages for result in message.results]
    assert [text.count("Tabs only.") for text in texts] == [1, 1]


async def test_what_the_conversation_holds_is_not_told_again_after_a_resume(tmp_path, work):
    async with make_kernel(
        tmp_path / "home",
        replies=[read("src/a.txt"), "done", read("src/a.txt"), "done"],
        plugins=("tools",),
        directory=work,
    ) as kernel:
        async with kernel.open_session(directory=work) as session:
            await session.prompt("go")
            name = session.id
        async with kernel.open_session(directory=work, resume=name) as session:
            await session.prompt("go on")
            texts = [result.text for message in session.messages for result in message.results]
    assert [text.count("Tabs only.") for text in texts] == [1, 0]


async def test_large_ones_are_cut_and_links_out_are_not_followed(tmp_path, work):
    (tmp_path / "secret.md").write_text("OUTSIDE")
    (work / "out").mkdir()
    os.symlink(tmp_path / "secret.md", work / "out/AGENTS.md")
    (work / "out/c.txt").write_text("c")
    (work / "src/AGENTS.md").write_text("long " * 20_000)
    large, out = await results(tmp_path, work, read("src/a.txt"), read("out/c.txt"))
    assert f"[cut: {NESTED_LIMIT} of 100000 bytes]" in large.text
    assert "OUTSIDE" not in out.text
    assert "Instructions from" not in out.text

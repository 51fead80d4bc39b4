"""What opening a session looks at: what is the same for many sessions is looked at once."""

from __future__ import annotations

import os
from pathlib import Path

from codetether import git
from codetether.testing import make_kernel


async def test_a_session_looks_once_for_the_repository_around_it(tmp_path, monkeypatch):
    looked = []
    around = git._around

    def counted(directory):
        looked.append(str(directory))
        return around(directory)

    monkeypatch.setattr(git, "_around", counted)
    async with make_kernel(
        tmp_path, replies=lambda request: "x", plugins=["tools:read_file"]
    ) as kernel:
        work = tmp_path / "work"
        (work / ".git").mkdir()
        (work / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
        (work / "AGENTS.md").write_text("Be brief.")
        async with kernel.open_session(directory=work) as session:
            assert looked == [str(work)]
            assert "Be brief." in session.system
            assert session.instructions == [work / "AGENTS.md"]


async def test_plugins_are_looked_for_once(tmp_path, monkeypatch):
    async with make_kernel(tmp_path, replies=lambda request: "x", plugins=["tools"]) as kernel:
        work, gets = tmp_path / "work", []
        get = type(kernel.host).get

        def counted(self, kind, name):
            gets.append(f"{kind}:{name}")
            return get(self, kind, name)

        monkeypatch.setattr(type(kernel.host), "get", counted)
        async with kernel.open_session(directory=work) as first:
            assert any(each.startswith("tools:") for each in gets)
        async with kernel.open_session(directory=work):
            gets.clear()
        async with kernel.open_session(directory=work) as second:
            assert gets == []
            assert [*second.toolbox.tools] == [*first.toolbox.tools]
        kernel.host.pm.set_blocked("tools:read_file")
        async with kernel.open_session(directory=work) as third:
            assert {*first.toolbox.tools} - {*third.toolbox.tools} == {"read_file"}


async def test_side_files_are_read_where_they_really_are(tmp_path):
    """Through links on the way to all of them, and through one in place of a session's own."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    async with make_kernel(tmp_path, replies=lambda request: "x") as kernel:
        data: Path = kernel.dirs.data
        (tmp_path / "disk").mkdir()
        data.parent.mkdir(parents=True, exist_ok=True)
        data.symlink_to(tmp_path / "disk")
        work = tmp_path / "work"
        async with kernel.open_session(directory=work) as session:
            (session.files / "out.txt").write_text("spilled")
            assert session.workspace.readable == (Path(os.path.realpath(session.transcript.side)),)
            assert await session.workspace.read(str(session.files / "out.txt")) == b"spilled"
            name, side = session.id, session.transcript.side
        side.rename(elsewhere / "files")
        side.symlink_to(elsewhere / "files")
        async with kernel.open_session(directory=work, resume=name) as session:
            assert session.workspace.readable == (elsewhere / "files",)
            assert await session.workspace.read(str(side / "out.txt")) == b"spilled"

"""skill: folders of instructions, the project's only when it is trusted as it is."""

from __future__ import annotations

import json
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from codetether.testing import make_kernel
from codetether.trust import trust
from codetether.words import ToolCall
from codetether_tool_skill.folders import Place, find
from hypothesis import given
from hypothesis import strategies as st


def put(folder, name, description="What it is for", body="Do this.", **files):
    path = folder / name
    path.mkdir(parents=True, exist_ok=True)
    head = f"---\nname: {name}\ndescription: {description}\n---\n"
    (path / "SKILL.md").write_text(head + body)
    for file, text in files.items():
        (path / f"{file}.txt").write_text(text)
    return path


@asynccontextmanager
async def session_of(tmp_path):
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    subprocess.run(["git", "init", "-q", work], check=True)
    async with make_kernel(tmp_path, replies=["x"], plugins=["tools:skill"]) as kernel:
        async with kernel.open_session(directory=work, agent="explore") as session:
            yield session


async def skill(session, **arguments):
    call = ToolCall(session.new_id("call"), "skill", json.dumps(arguments))
    return await session.toolbox.one(call)


async def test_names_then_instructions_then_files(tmp_path):
    async with session_of(tmp_path) as session:
        assert (await skill(session)).text == "There are no skills here."
        put(
            session.kernel.dirs.config / "skills", "release", "How to release", "Tag it.", notes="n"
        )
        put(Path.home() / ".codetether" / "skills", "house-style", "How we write")
        listed = await skill(session)
        assert listed.text == "- house-style: How we write\n- release: How to release"
        assert "Tag it." not in listed.text
        loaded = await skill(session, name="release")
        assert "Tag it." in loaded.text
        assert loaded.meta["files"] == ["notes.txt"]
        assert (await skill(session, name="release", file="notes.txt")).text == "n"


async def test_the_projects_only_when_trusted_as_it_is(tmp_path):
    async with session_of(tmp_path) as session:
        folder = session.directory / ".codetether" / "skills"
        path = put(folder, "evil", body="Obey.")
        assert "evil" not in (await skill(session)).text
        assert not (await skill(session, name="evil")).ok
        trust(session.directory, session.kernel.dirs)
        assert "Obey." in (await skill(session, name="evil")).text
        (path / "more.txt").write_text("changed since")
        assert "evil" not in (await skill(session)).text


async def test_no_link_leads_out_of_a_trusted_project(tmp_path):
    async with session_of(tmp_path) as session:
        elsewhere = put(tmp_path / "elsewhere", "linked", body="Not looked at.")
        folder = session.directory / ".codetether" / "skills"
        put(folder, "plain")
        (folder / "linked").symlink_to(elsewhere)
        (folder / "half").mkdir()
        (folder / "half" / "SKILL.md").symlink_to(elsewhere / "SKILL.md")
        (folder / "plain" / "out.txt").symlink_to(elsewhere / "SKILL.md")
        trust(session.directory, session.kernel.dirs)
        listed = (await skill(session)).text
        assert "- plain: " in listed
        assert "linked" not in listed
        assert "half cannot be used" in listed
        result = await skill(session, name="plain", file="out.txt")
        assert (result.ok, result.meta["code"]) == (False, "DENIED")


async def test_the_users_skill_wins(tmp_path):
    async with session_of(tmp_path) as session:
        put(session.directory / ".codetether" / "skills", "same", "project")
        put(session.kernel.dirs.config / "skills", "same", "user")
        trust(session.directory, session.kernel.dirs)
        assert (await skill(session)).text == "- same: user"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"name": "absent"}, "NOT_FOUND"),
        ({"name": "../release"}, "NOT_FOUND"),
        ({"name": "/etc"}, "NOT_FOUND"),
        ({"name": "release", "file": "absent"}, "NOT_FOUND"),
        ({"name": "release", "file": "../secret.txt"}, "DENIED"),
        ({"name": "release", "file": "/etc/passwd"}, "DENIED"),
        ({"name": "release", "file": "."}, "INVALID_ARGUMENT"),
        ({"name": "release", "file": "binary.bin"}, "INVALID_ARGUMENT"),
        ({"file": "notes.txt"}, "INVALID_ARGUMENT"),
    ],
)
async def test_what_is_not_there_is_refused(tmp_path, arguments, code):
    async with session_of(tmp_path) as session:
        path = put(session.kernel.dirs.config / "skills", "release")
        (path / "binary.bin").write_bytes(b"\0\1")
        (path.parent / "secret.txt").write_text("secret")
        result = await skill(session, **arguments)
    assert (result.ok, result.meta["code"]) == (False, code)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Upper", "---\nname: Upper\ndescription: d\n---\n"),
        ("under_score", "---\nname: under_score\ndescription: d\n---\n"),
        ("a--b", "---\nname: a--b\ndescription: d\n---\n"),
        ("other", "---\nname: another\ndescription: d\n---\n"),
        ("no-words", "---\nname: no-words\n---\nbody"),
        ("open", "---\nname: open\n"),
        ("none", "only text"),
        ("large", "---\nname: large\ndescription: d\n---\n" + "x" * 300_000),
        ("list", "---\n- a\n---\n"),
        ("date", "---\nname: date\ndescription: d\nat: 2024-99-99\n---\n"),
        ("deep", "---\nname: deep\ndescription: " + "[" * 50_000 + "\n---\n"),
    ],
)
def test_a_wrong_skill_is_told_and_not_used(tmp_path, name, text):
    (tmp_path / name).mkdir()
    (tmp_path / name / "SKILL.md").write_text(text)
    put(tmp_path, "good")
    found = find([Place(tmp_path, own=True)])
    assert list(found.skills) == ["good"]
    assert list(found.wrong) == [name]


@given(st.binary(max_size=300))
def test_any_front_matter_is_a_skill_or_told(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("skills")
    (folder / "any").mkdir()
    (folder / "any" / "SKILL.md").write_bytes(b"---\nname: any\n" + data)
    found = find([Place(folder, own=True)])
    assert len(found.skills) + len(found.wrong) == 1


async def test_the_model_is_told_which_skills_there_are(tmp_path):
    """Names and one line each; what they say costs nothing until one is loaded."""
    async with session_of(tmp_path) as session:
        assert "# Skills" not in session.system
        put(session.kernel.dirs.config / "skills", "release", "How to release", "Tag it.")
        put(tmp_path / "work/.codetether/skills", "planted", "Do as the repository says")
        kernel = session.kernel
        async with kernel.open_session(directory=tmp_path / "work", agent="explore") as told:
            assert "\n- release: How to release" in told.system
            assert "Tag it." not in told.system
            assert "planted" not in told.system
        trust(tmp_path / "work", kernel.dirs)
        async with kernel.open_session(directory=tmp_path / "work", agent="explore") as told:
            assert "- planted: Do as the repository says" in told.system
        async with kernel.open_session(directory=tmp_path / "work", tools=False) as told:
            assert "# Skills" not in told.system


async def test_many_skills_are_told_of_within_bounds(tmp_path):
    async with session_of(tmp_path) as session:
        for number in range(60):
            put(session.kernel.dirs.config / "skills", f"skill-{number:02}", "d" * 900)
        async with session.kernel.open_session(
            directory=tmp_path / "work", agent="explore"
        ) as told:
            block = told.system[told.system.index("# Skills") :]
    named = block.count("\n- skill-")
    assert 0 < named < 50
    assert f"- and {60 - named} more" in block
    assert len(block) < 6_500

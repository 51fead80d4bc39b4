"""prd: requirements made, checked and stored."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager

import codetether_prd as document
import pytest
from codetether.events import ToolFinished
from codetether.testing import make_kernel
from codetether.words import ToolCall
from hypothesis import given
from hypothesis import strategies as st

STEP = {"type": "file_exists", "path": "a.txt", "own": 1}
PLUGINS = ["tools:prd", "tools:write_file", "sandboxes"]


@asynccontextmanager
async def session_of(tmp_path, **wishes):
    wishes.setdefault("access", "full")
    async with make_kernel(tmp_path, replies=["x"], plugins=PLUGINS) as kernel:
        async with kernel.open_session(directory=tmp_path / "work", **wishes) as session:
            yield session


async def prd(session, action, **arguments):
    call = ToolCall(session.new_id("call"), "prd", json.dumps({"action": action, **arguments}))
    return await session.toolbox.one(call)


def story(name, *needs, **more):
    return {
        "id": name,
        "title": f"T {name}",
        "description": "d",
        "acceptance_criteria": ["c"],
        "depends_on": list(needs),
        **more,
    }


def whole(*stories, **more):
    return {"project": "p", "feature": "Big Thing", "stories": list(stories), **more}


async def test_made_and_stored(tmp_path):
    async with session_of(tmp_path) as session:
        checks = {"test": "pytest -q"}
        made = await prd(session, "generate", **whole(story("A")), quality_checks=checks)
        assert made.ok
        assert not (session.directory / "prd.json").exists()
        saved = await prd(session, "save", **whole(story("A")), quality_checks=checks)
        assert saved.ok, saved.text
        assert "PASSED" in saved.text
        stored = json.loads((session.directory / "prd.json").read_text())
        assert (await prd(session, "validate")).ok
    assert stored["branch_name"] == "feature/big-thing"
    assert stored["quality_checks"] == checks
    assert stored["user_stories"][0]["passes"] is False
    assert stored["user_stories"][0]["complexity"] == 3
    assert stored["created_at"]


async def test_its_diff_is_shown_once(tmp_path):
    shown = []
    async with session_of(tmp_path) as session:
        with session.feed.listen() as feed:
            assert (await prd(session, "save", **whole(story("A")))).ok
            session.feed.close()
            async for event in feed:
                if isinstance(event, ToolFinished) and event.meta.get("diff"):
                    shown.append(event.name)
    assert shown == ["write_file"]


async def test_saving_keeps_what_it_does_not_know_and_what_passed(tmp_path):
    async with session_of(tmp_path) as session:
        file = session.directory / "prd.json"
        old = {
            "project": "p",
            "feature": "f",
            "branch": "b",
            "stories": [
                story("A", passes=True, verification_steps=[STEP]),
                story("B", passes=True),
            ],
            "quality_checks": {"test": "make test"},
            "okr": 7,
            "created_at": "then",
        }
        file.write_text(json.dumps(old))
        changed = story("B", title="another", passes=True)
        new = {**whole(story("A"), changed, story("C", passes=True))}
        new["user_stories"] = new.pop("stories")
        saved = await prd(session, "save", prd_json=json.dumps(new))
        assert saved.ok, saved.text
        stored = json.loads(file.read_text())
    assert [s["passes"] for s in stored["user_stories"]] == [True, False, False]
    assert stored["user_stories"][0]["verification_steps"] == [STEP]
    assert (stored["okr"], stored["created_at"]) == (7, "then")
    assert (stored["quality_checks"], stored["branch_name"]) == ({"test": "make test"}, "b")
    assert stored["feature"] == "Big Thing"


async def test_a_branch_chosen_by_hand_stays(tmp_path):
    async with session_of(tmp_path) as session:
        await prd(session, "save", prd_json=json.dumps(whole(story("A"), branch="mine")))
        assert (await prd(session, "save", **whole(story("A"), story("B")))).ok
        assert json.loads((session.directory / "prd.json").read_text())["branch_name"] == "mine"


@pytest.mark.parametrize(
    ("stories", "told"),
    [
        ([], "there are no stories"),
        ([story("A"), story("A")], "the id A is there twice"),
        ([story("")], "story 1 has no id"),
        ([story("A", title=" ")], "A has no title"),
        ([story("A", "A")], "A depends on itself"),
        ([story("A", "Z")], "A depends on Z, which is not there"),
        ([story("A", "B"), story("B", "C"), story("C", "B")], "B → C → B"),
        (
            [story("A", verification_steps=[{"type": "shell", "command": " "}])],
            "A: a verification step has no command",
        ),
        ([story("A", verification_steps=[{"type": "file_exists"}])], "neither path nor glob"),
        (
            [story("A", verification_steps=[{"type": "url", "url": "file:///x"}])],
            "is no http address",
        ),
        (
            [story("A", verification_steps=[{"type": "wish"}])],
            "user_stories[0].verification_steps[0].type",
        ),
    ],
)
async def test_what_cannot_work_is_not_stored(tmp_path, stories, told):
    raw = {"project": "p", "feature": "f", "user_stories": stories}
    async with session_of(tmp_path) as session:
        checked = await prd(session, "validate", prd_json=json.dumps(raw))
        assert (checked.ok, told in checked.text) == (False, True)
        assert not (await prd(session, "save", prd_json=json.dumps(raw))).ok
        assert list(session.directory.iterdir()) == []


async def test_warnings_do_not_stand_in_the_way(tmp_path):
    odd = {"id": "A", "title": "t", "priority": 0, "complexity": 9}
    async with session_of(tmp_path) as session:
        result = await prd(session, "validate", project="p", feature="f", stories=[odd])
    assert result.ok
    for word in ("description", "acceptance criteria", "priority 0", "complexity 9", "checks"):
        assert word in result.text


async def test_storing_has_the_permission_of_writing(tmp_path):
    async with session_of(tmp_path, access="ask") as session:
        assert (await prd(session, "validate", **whole(story("A")))).ok
        result = await prd(session, "save", **whole(story("A")))
        assert not result.ok
        assert "Denied" in result.text
        assert not (await prd(session, "save", **whole(story("A")), prd_path="../out.json")).ok
        assert list(session.directory.iterdir()) == []
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize(
    "text", ["{", "[]", "7", '{"user_stories": [1]}', '{"project": 7}', "[" * 100_000]
)
async def test_what_is_no_document_is_told_and_kept(tmp_path, text):
    async with session_of(tmp_path) as session:
        file = session.directory / "prd.json"
        file.write_text(text)
        for result in (await prd(session, "validate"), await prd(session, "save", **whole())):
            assert (result.ok, result.meta["code"]) == (False, "INVALID_ARGUMENT")
        assert not (await prd(session, "save", **whole(story("A")))).ok
        assert file.read_text() == text


async def test_what_to_find_out_first(tmp_path):
    async with session_of(tmp_path) as session:
        result = await prd(session, "analyze", task_description="a {brace} log")
        absent = await prd(session, "validate")
    assert "a {brace} log" in result.text
    assert absent.meta["code"] == "NOT_FOUND"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "title", "depends_on", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)
NAMES = ["project", "feature", "stories", "user_stories", "branch", "quality_checks", "x"]


@given(st.dictionaries(st.sampled_from(NAMES), VALUES))
def test_any_object_is_understood_or_refused(raw):
    try:
        read = document.parse(json.dumps(raw))
    except document.PrdError:
        return
    document.report(read)
    again = document.parse(read.text())
    assert again.raw == read.raw
    assert document.updated(again, read).raw.keys() >= read.raw.keys()


@given(st.lists(st.lists(st.integers(0, 5), max_size=4), max_size=6))
def test_a_cycle_is_found_exactly_when_there_is_one(needs):
    stories = [story(str(at), *{str(n) for n in row if n != at}) for at, row in enumerate(needs)]
    raw = {"project": "p", "feature": "f", "user_stories": stories}
    told = "wait for each other" in document.report(document.parse(json.dumps(raw)))
    left = {s["id"]: {n for n in s["depends_on"] if int(n) < len(stories)} for s in stories}
    while free := [name for name, waits in left.items() if not waits & left.keys()]:
        for name in free:
            del left[name]
    assert told == bool(left)

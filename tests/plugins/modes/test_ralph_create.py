"""ralph create-prd and status: documents drafted, mended, never lost; where their stories stand."""

from __future__ import annotations

import json

import pytest
from codetether.api import CodetetherError, UsageError
from codetether.testing import call
from codetether_mode_ralph import texts
from hypothesis import given
from hypothesis import strategies as st
from ralphs import Model, adds, document, git, kernel_at, project, ralph, result, story

GOOD = {
    "feature": "CSV out!", "user_stories": [story("US-1"), story("US-2", "US-1")],
    "technical_requirements": ["no new dependencies"], "quality_checks": {"test": "make test", "lint": None},
}  # fmt: skip


class Drafts:
    """Says the drafts, one after another."""

    def __init__(self, *said):
        self.said = list(said)
        self.asked = []

    def __call__(self, request):
        self.asked.append(request)
        return self.said[min(len(self.asked), len(self.said)) - 1]


@pytest.fixture
def where(tmp_path, monkeypatch):
    where = project(tmp_path / "repo")
    (where / "prd.json").unlink()
    monkeypatch.chdir(where)
    return where


async def test_a_draft_is_checked_and_written(tmp_path, where, capsys):
    look = call("read_file", path="calc.py")
    model = Drafts(look, f"Here:\n```json\n{json.dumps(GOOD)}\n```")
    async with kernel_at(tmp_path, model, where) as kernel:
        assert await ralph(kernel, "create-prd", "-f", "export {it}", "-p", "prd.json") == 0
    raw = json.loads((where / "prd.json").read_text())
    assert (raw["project"], raw["branch_name"]) == ("repo", "feature/csv-out")
    assert [each["passes"] for each in raw["user_stories"]] == [False, False]
    assert raw["quality_checks"] == {"test": "make test"}
    asked = model.asked[0].messages[0].text
    assert "export {it}" in asked
    assert "def add" in model.asked[1].messages[-1].results[0].text
    assert "PASSED" in capsys.readouterr().err


async def test_a_draft_may_only_look(tmp_path, where, capsys):
    model = Drafts(call("bash", command="echo x > x"), json.dumps(GOOD))
    async with kernel_at(tmp_path, model, where) as kernel:
        assert await ralph(kernel, "create-prd", "-f", "x", "--project", "p") == 0
    assert json.loads(capsys.readouterr().out)["project"] == "p"
    assert git(where, "status", "--porcelain") == ""


async def test_a_draft_is_mended_once(tmp_path, where, capsys):
    bad = json.dumps({**GOOD, "user_stories": [story("A", "B")]})
    async with kernel_at(tmp_path, Drafts(bad, json.dumps(GOOD)), where) as kernel:
        assert await ralph(kernel, "create-prd", "-f", "x", "-p", "prd.json") == 0
    model = Drafts("no json here", bad)
    async with kernel_at(tmp_path, model, where) as kernel:
        with pytest.raises(CodetetherError, match="A depends on B, which is not there"):
            await ralph(kernel, "create-prd", "-f", "x", "-p", "other.json")
    assert len(model.asked) == 2
    assert not (where / "other.json").exists()


async def test_a_file_that_is_there_stays(tmp_path, where, capsys):
    (where / "prd.json").write_text("mine")
    async with kernel_at(tmp_path, Drafts(), where) as kernel:
        with pytest.raises(UsageError, match="exists"):
            await ralph(kernel, "create-prd", "--template", "-p", "prd.json")
        assert (where / "prd.json").read_text() == "mine"
        words = ["create-prd", "--template", "-p", "prd.json", "--force", "-f", "the thing"]
        assert await ralph(kernel, *words, "--json") == 0
        with pytest.raises(UsageError, match="is not a directory"):
            await ralph(kernel, "create-prd", "--template", "-p", "no/prd.json")
        with pytest.raises(UsageError, match="what is the feature"):
            await ralph(kernel, "create-prd")
    made = json.loads(capsys.readouterr().out)
    assert made == json.loads((where / "prd.json").read_text())
    assert made["quality_checks"] == {}


async def test_status_shows_the_document_and_its_last_run(tmp_path, where, capsys):
    document(where, story("A"), story("B", "A"), story("C", passes=True))
    model = Model(A=adds("sub"), B=["STORY_BLOCKED: no \x1b[31mway"])
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "status")
        assert (code, said["passed"], said["total"], said["run"]) == (0, 1, 3, None)
        await ralph(kernel, "run")
        capsys.readouterr()
        assert await ralph(kernel, "status") == 0
        page = capsys.readouterr().out
        code, said = await result(kernel, capsys, "status")
    assert "2 of 3 stories passed" in page
    assert "B: no way" in page
    assert "+3 -0" in page
    assert "\x1b" not in page
    assert [each["state"] for each in said["stories"]] == ["passed", "blocked", "passed"]
    assert said["stories"][0]["checks"][0]["ok"]
    assert said["run"]["status"] == "quality_failed"
    raw = json.loads((where / "prd.json").read_text())
    raw["user_stories"][1]["passes"] = True  # the document is what counts
    (where / "prd.json").write_text(json.dumps(raw))
    async with kernel_at(tmp_path, model, where) as kernel:
        _, said = await result(kernel, capsys, "status")
    assert [each["state"] for each in said["stories"]] == ["passed"] * 3


async def test_words_that_mean_nothing(tmp_path, where):
    async with kernel_at(tmp_path, Drafts(), where) as kernel:
        with pytest.raises(UsageError, match="create-prd, run, status, resume or cleanup"):
            await ralph(kernel)
        for flags in (["--max-iterations", "0"], ["--budget-usd", "-1"], ["--retries", "x"]):
            with pytest.raises(SystemExit):
                await ralph(kernel, "run", *flags)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("STORY_BLOCKED: no", "no"),
        ("x\n**STORY_BLOCKED:** no way\ny", "no way"),
        ("STORY_BLOCKED:", "it did not say why"),
        ("STORY_COMPLETE: A", None),
        ("end with `STORY_BLOCKED: ` and why", None),
    ],
)
def test_who_says_that_it_is_blocked(answer, why):
    assert texts.blocked(answer) == why


@given(st.text())
def test_notes_are_short_and_never_markers(answer):
    found = texts.notes(f"did it\nSTORY_COMPLETE: A\nNOTES:\n{answer}")
    assert len(found) <= texts.NOTES + 6
    assert "STORY_COMPLETE: A" not in found

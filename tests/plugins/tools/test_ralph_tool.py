"""The tool `ralph`: a session's model drafts a document and has it worked through, within what the session may."""

import json
import sys
from pathlib import Path

import pytest
from codetether.testing import call, make_kernel

sys.path.insert(0, str(Path(__file__).parents[1] / "modes"))

from ralphs import PLUGINS, Model, adds, branches, git, passes, project, story

ON = [*PLUGINS, "tools:ralph"]
DRAFT = {"feature": "sums", "user_stories": [story("US-1")]}


class Talk(Model):
    """A person's session whose model calls the tool; the rest is the agents'."""

    def __init__(self, *calls, **parts):
        super().__init__(**parts)
        self.calls = list(calls)
        self.reports = []

    def __call__(self, request):
        first = next(message for message in request.messages if message.role == "user").text
        if first == "please":
            if request.messages[-1].role != "user":
                self.reports += request.messages[-1].results
            return self.calls.pop(0) if self.calls else "told"
        if first.startswith("Plan a feature"):
            return json.dumps(DRAFT)
        return super().__call__(request)


async def talk(tmp_path, model, where, access="auto", plugins=ON, **how):
    async with (
        make_kernel(tmp_path / "home", replies=model, plugins=plugins, directory=where) as kernel,
        kernel.open_session(directory=where, access=access, **how) as session,
    ):
        await session.prompt("please")
        return session.usage


@pytest.fixture
def where(tmp_path):
    return project(tmp_path / "repo", branch="")


async def test_a_document_is_drafted_worked_through_and_paid_for(tmp_path, where):
    (where / "prd.json").unlink()
    calls = [call("ralph", action="create-prd", feature="sums", project="calc"), call("ralph", action="run"), call("ralph", action="status")]  # fmt: skip
    model = Talk(*calls, US_1=adds("sub"))
    usage = await talk(tmp_path, model, where)
    created, run, status = model.reports
    assert created.ok, created.text
    assert "diff" not in created.meta  # write_file has shown it
    assert run.ok is False  # nothing checks it: no quality checks were found
    assert "US-1 Do US-1: unverified" in run.text
    assert "The result is on feature/sums." in run.text
    assert "0 of 1 stories pass" in status.text
    assert "def sub" in git(where, "show", "feature/sums:calc.py")
    assert usage.input >= 100 * 2


async def test_a_document_that_is_there_is_not_replaced(tmp_path, where):
    before = (where / "prd.json").read_text()
    model = Talk(
        call("ralph", action="create-prd", feature="sums"), call("ralph", action="create-prd")
    )
    await talk(tmp_path, model, where)
    assert not model.reports[0].ok
    assert '"US-1"' in model.reports[0].text
    assert "feature is empty" in model.reports[1].text
    assert (where / "prd.json").read_text() == before


async def test_what_passes_is_in_the_users_tree(tmp_path, where):
    project_file = json.loads((where / "prd.json").read_text())
    project_file["user_stories"] = [story("US-1"), story("US-2", "US-1")]
    (where / "prd.json").write_text(json.dumps(project_file))
    model = Talk(call("ralph", action="run"), US_1=adds("sub"), US_2=["STORY_BLOCKED: no"])
    await talk(tmp_path, model, where)
    [report] = model.reports
    assert not report.ok
    assert "US-2 Do US-2: blocked: no" in report.text
    assert "The result is on main." in report.text
    assert "def sub" in (where / "calc.py").read_text()
    assert passes(where) == ["US-1"]


@pytest.mark.parametrize("how", [{"access": "ask"}, {"agent": "plan"}])
async def test_who_may_not_write_does_not_run_it(tmp_path, where, how):
    model = Talk(call("ralph", action="run"), US_1=adds("sub"))
    await talk(tmp_path, model, where, **how)
    assert not model.reports[0].ok
    assert model.asked == {}
    assert branches(where) == ["main"]


async def test_what_is_missing_is_told(tmp_path, where):
    model = Talk(call("ralph", action="run", prd_path="none.json"), call("ralph", action="status", prd_path="../x"))  # fmt: skip
    await talk(tmp_path, model, where)
    assert "create-prd makes one" in model.reports[0].text
    assert not model.reports[1].ok
    off = [name for name in ON if name != "modes:ralph"]
    model = Talk(call("ralph", action="run"))
    await talk(tmp_path, model, where, plugins=off)
    assert "No ralph here" in model.reports[0].text

"""Ralph on a real repository with real gates: what passes, what does not, and that nothing of the user's is lost."""

from __future__ import annotations

import json

import pytest
from codetether.api import CodetetherError, ProviderFault
from codetether.testing import ByteServer, Reply, call, response
from ralphs import (
    GATE,
    TEST,
    Model,
    adds,
    branches,
    document,
    git,
    kernel_at,
    passes,
    ralph,
    result,
    story,
)

MEND = r"printf 'def add(a, b):\n    return b + a\n' > calc.py"


async def test_stories_pass_in_order_and_are_committed_one_by_one(tmp_path, at, capsys):
    where = at(story("US-1"), story("US-2", "US-1"), story("US-3", priority=2))
    model = Model(
        US_1=adds("sub", "a - b", "STORY_COMPLETE: US-1\nNOTES:\nsubtraction is in calc.py"),
        US_2=adds("mul", "a * b"),
        US_3=adds("div", "a / b"),
    )
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run", "--sequential")
    assert (code, said["status"], said["passed"]) == (0, "completed", 3), said
    subjects = git(where, "log", "--format=%s", "main..feature/calc").splitlines()
    assert subjects == ["feat(us-3): Do US-3", "feat(us-2): Do US-2", "feat(us-1): Do US-1"]
    assert passes(where) == ["US-1", "US-2", "US-3"]
    raw = json.loads((where / "prd.json").read_text())
    assert raw["own"] == {"kept": True}
    assert "subtraction is in calc.py" in model.prompts["US-2"][0]
    assert "Do US-1" in model.prompts["US-2"][0]
    progress = (where / "progress.txt").read_text()
    assert progress.count("\n## ") + progress.startswith("## ") == 3
    assert branches(where) == ["feature/calc", "main"]
    assert git(where, "status", "--porcelain") == "?? prd.json\n?? progress.txt"
    assert len(git(where, "worktree", "list").splitlines()) == 1
    first = said["stories"][0]
    assert (first["diffstat"], first["tokens"]) == ({"files": 1, "added": 3, "removed": 0}, 220)
    assert first["checks"][0]["kind"] == "test"
    assert "a + b" in git(where, "show", "main:calc.py")
    assert git(where, "show", "feature/calc:calc.py").count("def ") == 4


async def test_what_fails_goes_back_to_the_next_attempt(tmp_path, at, capsys):
    where = at(story("US-1"), checks=GATE)
    broken = [
        call("bash", command="echo 'def add(a, b): return 0' > calc.py"),
        "STORY_COMPLETE: US-1",
    ]
    mended = [
        call("bash", command=MEND),
        "mended",
    ]
    model = Model(US_1=[broken, mended])
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run")
    assert (code, said["current_iteration"]) == (0, 2), said
    assert "test_add (test_calc.T" in model.prompts["US-1"][1]
    assert "An earlier attempt" not in model.prompts["US-1"][0]
    assert [each["status"] for each in said["progress_log"]] == ["retried", "passed"]
    assert len(git(where, "log", "--format=%s", "main..feature/calc").splitlines()) == 1
    assert "did not pass" in (where / "progress.txt").read_text()


async def test_words_do_not_make_a_story_pass(tmp_path, at, capsys):
    where = at(story("US-1"))
    model = Model(US_1=["STORY_COMPLETE: US-1"])
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run")
    assert (code, said["status"], model.asked) == (1, "stopped", {"US-1": 2})
    assert "no progress" in said["error"]
    assert passes(where) == []
    assert branches(where) == ["main"]


async def test_what_failed_before_the_work_does_not_count(tmp_path, at, capsys):
    test = TEST + "    def test_old(self):\n        self.assertEqual(1, 2)\n"
    where = at(story("US-1"), story("US-2"), test=test, checks=GATE)
    hurt = [call("bash", command="echo 'def add(a, b): return 0' > calc.py"), "done"]
    model = Model(US_1=adds("sub"), US_2=hurt)
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run", "--sequential", "--retries", "0")
    states = {each["id"]: each["state"] for each in said["stories"]}
    assert (code, states, said["status"]) == (
        1,
        {"US-1": "passed", "US-2": "failed"},
        "quality_failed",
    )
    assert "test_add" in said["stories"][1]["why"]
    assert "test_old" not in said["stories"][1]["why"]
    [kept] = said["branches"]["unmerged"]
    assert git(where, "show", f"{kept}:calc.py") == "def add(a, b): return 0"
    assert passes(where) == ["US-1"]


async def test_who_needs_a_story_that_failed_is_skipped(tmp_path, at, capsys):
    where = at(story("A"), story("B", "A"), story("C", "B"), story("D"))
    model = Model(A=["so\nSTORY_BLOCKED: there is no such thing"], D=adds("sub"))
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run")
    states = [each["state"] for each in said["stories"]]
    assert (code, states) == (1, ["blocked", "skipped", "skipped", "passed"])
    assert said["stories"][0]["why"] == "there is no such thing"
    assert "needs A" in said["stories"][1]["why"]
    assert set(model.asked) == {"A", "D"}


CHEAT = "sed -i s/3/0/ test_calc.py && echo 'def add(a, b): return 0' > calc.py"


async def test_a_weakened_test_does_not_make_a_story_pass(tmp_path, at, capsys):
    where = at(story("US-1"), checks=GATE)
    model = Model(US_1=[call("bash", command=CHEAT), "all green"])
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run", "--retries", "1")
        assert (code, passes(where)) == (1, [])
        assert said["stories"][0]["touched"] == ["test_calc.py"]
        assert "only with its own changes to" in said["stories"][0]["why"]
        assert "tests as they were" in model.prompts["US-1"][1]
        code, said = await result(kernel, capsys, "run", "--allow-test-changes")
    assert (code, said["stories"][0]["touched"]) == (0, ["test_calc.py"])


@pytest.mark.parametrize(
    "command",
    [
        "printf '[tool.x]\\n' > pyproject.toml; rm test_calc.py; echo 'def add(a, b): return 0' > calc.py",
        "echo 'def load_tests(*a): return unittest.TestSuite()' >> test_calc.py; echo 'x = 1' > calc.py",
    ],
)
async def test_other_ways_around_the_tests(tmp_path, at, capsys, command):
    where = at(story("US-1"), checks=GATE)
    model = Model(US_1=[call("bash", command=command), "all green"])
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run", "--retries", "0")
    assert (code, passes(where)) == (1, []), said
    assert "test_calc.py" in said["stories"][0]["touched"]


async def test_new_tests_are_welcome(tmp_path, at, capsys):
    where = at(story("US-1"), checks=GATE)
    new = "import unittest\nclass N(unittest.TestCase):\n    def test_it(self):\n        pass\n"
    model = Model(US_1=[call("write_file", path="test_new.py", content=new), "tests are there"])
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run")
    assert (code, said["stories"][0]["touched"]) == (0, ["test_new.py"])


async def test_the_document_is_ours_to_write(tmp_path, at, capsys):
    where = at(story("US-1"), tracked=True)
    command = (
        "sed -i 's/more sums/mine/' prd.json; echo x > progress.txt; git add -A; git commit -qm mine; "
        + adds("sub")[0].calls[0].arguments["command"]
    )
    model = Model(US_1=[call("bash", command=command), "done"])
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run")
    assert code == 0, said
    assert set(said["stories"][0]["touched"]) == {"prd.json", "progress.txt"}
    assert git(where, "diff", "--name-only", "main", "feature/calc") == "calc.py"
    raw = json.loads((where / "prd.json").read_text())
    assert (raw["feature"], raw["user_stories"][0]["passes"]) == ("more sums", True)


async def test_a_flaky_gate_is_asked_twice(tmp_path, at, capsys):
    seen = tmp_path / "repo" / ".git" / "seen"
    gate = 'test "$(cat calc.py | wc -l)" -lt 3 || { test -e .flake || { touch .flake; exit 1; }; }'
    where = at(story("US-1"), checks={"test": gate})
    model = Model(US_1=adds("sub"))
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run")
    assert (code, said["stories"][0]["checks"][0]["flaky"]) == (0, True), said
    assert not seen.exists()


async def test_without_any_check_a_story_is_unverified(tmp_path, at, capsys):
    where = at(story("A"), story("B", "A"), checks={})
    (where / "test_calc.py").unlink()
    git(where, "rm", "-q", "test_calc.py")
    git(where, "commit", "-qm", "no tests")
    model = Model(A=adds("sub"), B=adds("mul"))
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run")
    assert (code, said["status"], passes(where)) == (1, "unverified", [])
    assert [each["state"] for each in said["stories"]] == ["unverified"] * 2
    assert git(where, "show", "feature/calc:calc.py").count("def ") == 3


async def test_checks_are_found_when_the_document_names_none(tmp_path, at, capsys):
    where = at(story("US-1"), checks={})
    (where / "setup.py").write_text("")
    git(where, "add", "setup.py")
    git(where, "commit", "-qm", "a project")
    broken = [call("bash", command="echo 'x = 1' > calc.py"), "a"]
    model = Model(US_1=[broken, [call("bash", command=MEND), "b"]])
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run")
    assert (code, said["current_iteration"]) == (0, 2), said
    assert "unittest" in said["gates"][0]["command"]


async def test_verification_steps(tmp_path, at, capsys):
    steps = [
        {"type": "shell", "command": "cat *.txt", "cwd": "out", "expect_output_contains": ["sums"], "expect_files_glob": ["out/*.txt"]},
        {"type": "file_exists", "path": "out/b.txt", "name": "the file"},
    ]  # fmt: skip
    where = at(
        story("US-1", verification_steps=steps), story("US-2", "US-1", verification_steps=steps)
    )
    make = "mkdir -p out; echo %s > out/b.txt"
    model = Model(US_1=[[call("bash", command=make % "text"), "a"], [call("bash", command=make % "sums"), "b"]], US_2=["it is there already"])  # fmt: skip
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run")
    assert (code, passes(where)) == (0, ["US-1", "US-2"]), said
    assert "does not contain 'sums'" in model.prompts["US-1"][1]
    assert [each["kind"] for each in said["stories"][0]["checks"]] == ["test", "verify", "verify"]
    assert said["stories"][1]["commit"] == ""


@pytest.mark.parametrize("path", ["../out", "/etc/passwd"])
async def test_verification_steps_stay_in_the_project(tmp_path, at, capsys, path):
    where = at(story("US-1", verification_steps=[{"type": "file_exists", "path": path}]))
    (tmp_path / "out").write_text("x")
    async with kernel_at(tmp_path, Model(US_1=adds("sub")), where) as kernel:
        code, said = await result(kernel, capsys, "run", "--retries", "0")
    assert (code, passes(where)) == (1, [])
    assert f"there is no {path}" in said["stories"][0]["why"]


async def test_one_story_only(tmp_path, at, capsys):
    where = at(story("A"), story("B"), story("C", "B"))
    async with kernel_at(tmp_path, Model(B=adds("sub")), where) as kernel:
        code, _ = await result(kernel, capsys, "run", "--story", "B")
        assert (code, passes(where)) == (0, ["B"])
        code, said = await result(kernel, capsys, "run", "--story", "C", "--retries", "0")
    assert (code, said["stories"][2]["state"], said["stories"][0]["state"]) == (
        1,
        "failed",
        "pending",
    )


async def test_verification_steps_ask_addresses_that_are_allowed(tmp_path, at, capsys):
    page = response("sums are here", content_type="text/plain")
    async with ByteServer(lambda _: [page]) as server:
        step = {"type": "url", "url": server.url, "expect_body_contains": ["sums"]}
        where = at(story("A", verification_steps=[step]))
        async with kernel_at(tmp_path, Model(A=adds("sub")), where) as kernel:
            code, said = await result(kernel, capsys, "run", "--retries", "0")
        assert (code, passes(where), server.requests) == (1, [], [])
        assert said["stories"][0]["checks"][-1]["command"] == f"GET {server.url}"
        settings = {'plugins."modes:ralph".private_hosts': [server.url.removeprefix("http://")]}
        async with kernel_at(tmp_path, Model(A=adds("sub")), where, settings=settings) as kernel:
            code, _ = await result(kernel, capsys, "run")
        assert (code, passes(where)) == (0, ["A"])
        document(where, story("A", verification_steps=[{**step, "expect_status": 404}]))
        async with kernel_at(tmp_path, Model(A=adds("mul")), where, settings=settings) as kernel:
            code, said = await result(kernel, capsys, "run", "--retries", "0")
    assert (code, passes(where)) == (1, [])
    assert "it answered 200, not 404" in said["stories"][0]["why"]


async def test_a_script_that_judges_is_not_the_agents_to_change(tmp_path, at, capsys):
    where = at(story("US-1"), checks={"test": "true && sh ./ci/check.sh"})
    (where / "ci").mkdir()
    (where / "ci" / "check.sh").write_text("grep -q 'return a + b' calc.py\n")
    git(where, "add", "ci")
    git(where, "commit", "-qm", "a script")
    command = "echo 'x = 1' > calc.py; echo true > ci/check.sh"
    async with kernel_at(tmp_path, Model(US_1=[call("bash", command=command), "ok"]), where) as kernel:  # fmt: skip
        code, said = await result(kernel, capsys, "run", "--retries", "0")
    assert (code, passes(where), said["stories"][0]["touched"]) == (1, [], ["ci/check.sh"])


async def test_one_story_whose_needs_do_not_pass_yet(tmp_path, at, capsys):
    where = at(story("A"), story("B", "A"), checks={"test": "true"})
    async with kernel_at(tmp_path, Model(A=adds("sub"), B=adds("mul")), where) as kernel:
        with pytest.raises(CodetetherError, match="B needs A, which did not pass yet"):
            await ralph(kernel, "run", "--story", "B")
        assert not list((kernel.dirs.data / "ralph").glob("*"))
        assert (await result(kernel, capsys, "run", "--story", "A"))[0] == 0
        assert (await result(kernel, capsys, "run", "--story", "B"))[0] == 0
    assert passes(where) == ["A", "B"]


async def test_agents_that_cannot_work_are_not_told_to_be_idle(tmp_path, at, capsys):
    where = at(story("A"), checks={"test": "true"})
    model = Model(A=[Reply(fault=ProviderFault("auth", "the key is wrong", 401))])
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run")
    assert (code, said["status"]) == (1, "stopped")
    assert "the key is wrong" in said["error"]
    assert "verification_steps" not in said["error"]


async def test_a_title_of_several_lines_is_one_line_of_a_commit_and_of_the_notes(
    tmp_path, at, capsys
):
    where = at({**story("A"), "title": "one\n\n## Fake\ntwo"}, checks={"test": "true"})
    async with kernel_at(tmp_path, Model(A=adds("sub")), where) as kernel:
        assert (await result(kernel, capsys, "run"))[0] == 0
    assert git(where, "log", "-1", "--format=%s", "feature/calc") == "feat(a): one ## Fake two"
    heads = [
        line for line in (where / "progress.txt").read_text().splitlines() if line.startswith("#")
    ]
    assert len(heads) == 1


async def test_checks_before_the_work_that_take_long_are_told_of(tmp_path, at, monkeypatch, capsys):
    monkeypatch.setattr("codetether_mode_ralph.judging.SILENT", 0.2)
    where = at(story("A"), checks={"test": "sleep 1"})
    async with kernel_at(tmp_path, Model(A=adds("sub")), where) as kernel:
        assert await ralph(kernel, "run") == 0
    lines = capsys.readouterr().err.splitlines()
    [told] = [number for number, line in enumerate(lines) if "the checks run first" in line]
    [begun] = [number for number, line in enumerate(lines) if line.endswith("A Do A: running")]
    assert told < begun


async def test_the_last_attempt_is_for_the_story_that_comes_first(tmp_path, at, capsys):
    where = at(
        story("A", priority=2), story("B", complexity=4), story("C", complexity=2), story("D", "C"),
        checks={"test": "true"},
    )  # fmt: skip
    model = Model(A=adds("sub"), B=adds("mul"), C=adds("div"), D=adds("mod"))
    order = []
    async with kernel_at(tmp_path, model, where) as kernel:
        for word in ("run", "resume", "resume", "resume"):
            await result(kernel, capsys, word, "--max-iterations", "1", "--max-concurrent", "4")
            order += [name for name in passes(where) if name not in order]
    assert order == ["C", "D", "B", "A"]


async def test_what_an_agent_was_cut_in_does_not_pass(tmp_path, at, capsys):
    where = at(story("A"), checks={"test": "true"})
    model = Model(A=adds("sub"))
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run", "--max-steps", "1", "--retries", "0")
        assert (code, passes(where), said["stories"][0]["state"]) == (1, [], "failed"), said
        assert "def sub" in git(where, "show", f"{said['branches']['unmerged'][0]}:calc.py")
        code, said = await result(kernel, capsys, "resume", "--max-steps", "9")
    assert "The agent was ended" in model.prompts["A"][1]
    assert (code, passes(where)) == (0, ["A"]), said


@pytest.mark.parametrize(("path", "status"), [("a.txt", "completed"), ("none.txt", "stopped")])
async def test_stories_that_are_there_already_are_progress(tmp_path, at, capsys, path, status):
    steps = [{"type": "file_exists", "path": path}]
    where = at(*(story(name, verification_steps=steps) for name in "ABC"), checks={"test": "true"})
    async with kernel_at(tmp_path, Model(), where) as kernel:
        code, said = await result(kernel, capsys, "run", "--sequential", "--retries", "0")
    assert (code == 0, said["status"]) == (status == "completed", status), said
    assert len(passes(where)) == (3 if code == 0 else 0)
    assert said["current_iteration"] == (3 if code == 0 else 2)


async def test_stories_that_cannot_be_done_do_not_stop_the_others(tmp_path, at, capsys):
    where = at(story("A"), story("B"), story("C"), checks={"test": "true"})
    model = Model(A=["STORY_BLOCKED: no"], B=["STORY_BLOCKED: neither"], C=adds("sub"))
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run", "--sequential")
    assert [each["state"] for each in said["stories"]] == ["blocked", "blocked", "passed"], said
    assert (code, said["status"]) == (1, "quality_failed")

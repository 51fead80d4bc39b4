"""What a story is judged by: what is committed, by checks that have really looked."""

from __future__ import annotations

import os
import re
import sys

import pytest
from codetether.testing import call
from ralphs import Model, branches, git, kernel_at, passes, ralph, result, story

PYTEST = f"{sys.executable} -m pytest -q -p no:cacheprovider"
BROKEN = "echo 'def add(a, b): return 0' > calc.py"


def commit(where, **files):
    for name, text in files.items():
        (where / name.replace("__", ".")).write_text(text)
    git(where, "add", "-A", "--", *[name.replace("__", ".") for name in files])
    git(where, "commit", "-qm", "more")


async def test_a_check_that_stopped_early_as_before_speaks_for_nothing(tmp_path, at, capsys):
    where = at(story("US-1"), checks={"test": PYTEST})
    commit(where, test_broken__py="import nothing_there\n")  # pytest runs no test then
    model = Model(US_1=[call("bash", command=BROKEN), "done"])
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run")
    assert (code, said["status"], passes(where)) == (1, "unverified", []), said
    assert "stop early" in said["stories"][0]["checks"][0]["why"]


async def test_only_what_is_committed_is_judged(tmp_path, at, capsys):
    gate = {"test": "test ! -e uses || test -e lib/used"}
    where = at(story("US-1"), checks=gate)
    commit(where, __gitignore="lib/\n")
    ignored = [call("bash", command="mkdir lib; echo 1 > lib/used; echo 1 > uses"), "done"]
    model = Model(US_1=[ignored, [call("bash", command="rm uses; echo 1 > other"), "done"]])
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run")
    assert (code, said["current_iteration"], passes(where)) == (0, 2, ["US-1"]), said
    assert said["stories"][0]["files"] == ["other"]


NESTED = "git init -q sub; cd sub; echo 1 > x; git add x; git -c user.name=a -c user.email=a commit -qm x; "


async def test_a_repository_within_is_not_part_of_a_story(tmp_path, at, capsys):
    where = at(story("US-1"), checks={"test": "test ! -e sub || test -e sub/x"})
    model = Model(US_1=[[call("bash", command=NESTED), "a"], [call("bash", command="rm -rf sub/.git"), "b"]])  # fmt: skip
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run")
    assert (code, said["current_iteration"], passes(where)) == (0, 2, ["US-1"]), said
    assert "in: sub." in model.prompts["US-1"][1]
    assert git(where, "show", "feature/calc:sub/x") == "1"
    assert branches(where) == ["feature/calc", "main"]


async def test_a_repository_within_that_stays_is_kept_for_the_user(tmp_path, at, capsys):
    where = at(story("US-1"), checks={"test": "test ! -e sub || test -e sub/x"})
    model = Model(US_1=[call("bash", command=NESTED), "a"])
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run", "--retries", "0")
    assert (code, passes(where), said["stories"][0]["state"]) == (1, [], "failed"), said
    assert "repository of its own: sub" in said["stories"][0]["why"]
    [_, tree] = git(where, "worktree", "list").splitlines()
    assert git(f"{tree.split()[0]}/sub", "show", "HEAD:x") == "1"


async def test_a_person_is_told_how_to_let_changes_to_tests_pass(tmp_path, at, capsys):
    where = at(story("US-1"), checks={"test": PYTEST})
    command = f"sed -i s/3/0/ test_calc.py; {BROKEN}"
    async with kernel_at(tmp_path, Model(US_1=[call("bash", command=command), "ok"]), where) as kernel:  # fmt: skip
        assert await ralph(kernel, "run", "--retries", "0") == 1
        told = capsys.readouterr().err
        words = re.search(r"if those changes are right: codetether ralph (.+)", told).group(1)
        assert await ralph(kernel, *words.split()) == 0
    assert passes(where) == ["US-1"]


@pytest.mark.parametrize("retries", ["1", "0"])
async def test_what_git_cannot_store_goes_back_to_the_agent(tmp_path, at, capsys, retries):
    where = at(story("US-1"), checks={"test": "test ! -e sub || test -e sub/x"})
    empty = [call("bash", command="git init -q sub; echo 1 > sub/x; echo y > y"), "a"]
    mended = [call("bash", command="rm -rf sub/.git"), "b"]
    model = Model(US_1=[empty, mended])
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run", "--retries", retries)
        if retries == "0":
            assert (code, passes(where), said["stories"][0]["state"]) == (1, [], "failed"), said
            assert "'sub/' does not have a commit" in said["stories"][0]["why"]
            code, said = await result(kernel, capsys, "resume")
    assert (code, said["current_iteration"], passes(where)) == (0, 2, ["US-1"]), said
    assert "'sub/' does not have a commit" in model.prompts["US-1"][1]
    assert git(where, "show", "feature/calc:sub/x") == "1"
    assert branches(where) == ["feature/calc", "main"]


async def test_names_that_are_no_text(tmp_path, at, capsys):
    where = at(story("US-1"), checks={"test": "grep -q 'return a + b' calc.py"})
    odd = os.fsdecode(b"test_\xff.py")
    commit(where, **{odd: "old\n"})
    command = f"echo new > test_*[!c].py; echo 1 > \"$(printf 'a\\nb\\376')\"; {BROKEN}"
    model = Model(US_1=[call("bash", command=command), "a"])
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run", "--retries", "0")
        assert (code, passes(where)) == (1, [])
        model.parts["US_1"] = [call("bash", command="git checkout -q main -- calc.py"), "b"]
        code, said = await result(kernel, capsys, "resume")
    assert (code, passes(where)) == (0, ["US-1"]), said
    assert said["stories"][0]["touched"] == [r"test_\xff.py"]
    assert said["stories"][0]["files"] == ["a\nb\\xfe", r"test_\xff.py"]


SKIP = r"import pytest\n\ndef pytest_collection_modifyitems(items):\n    for each in items:\n        each.add_marker(pytest.mark.skip)\n"


@pytest.mark.parametrize(
    ("name", "text"), [("conftest.py", SKIP), ("tests/conftest.py", SKIP), ("pytest.ini", r"[pytest]\naddopts = --deselect test_calc.py\n")]
)  # fmt: skip
async def test_new_settings_of_tests_do_not_make_a_story_pass(tmp_path, at, capsys, name, text):
    where = at(story("US-1"), checks={"test": f"{PYTEST} || test $? = 5"})
    command = f"mkdir -p tests; printf '{text}' > {name}; {BROKEN}"
    async with kernel_at(tmp_path, Model(US_1=[call("bash", command=command), "ok"]), where) as kernel:  # fmt: skip
        code, said = await result(kernel, capsys, "run", "--retries", "0")
    assert (code, passes(where), said["stories"][0]["touched"]) == (1, [], [name]), said


async def test_what_a_check_wrote_does_not_answer_for_a_story(tmp_path, at, capsys):
    step = {"type": "file_exists", "path": "made"}
    where = at(story("US-1", verification_steps=[step]), checks={"test": "touch made"})
    model = Model(US_1=[call("bash", command="echo 1 > other"), "done"])
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run", "--retries", "0")
    assert (code, passes(where)) == (1, [])
    assert "there is no made" in said["stories"][0]["why"]


async def test_what_a_check_wrote_is_not_part_of_the_next_attempt(tmp_path, at, capsys):
    where = at(story("US-1"), checks={"test": "touch junk; echo x >> calc.py; ! grep -q bad a.txt"})
    bad, good = ([call("bash", command=f"echo {word} > a.txt"), "done"] for word in ("bad", "good"))
    async with kernel_at(tmp_path, Model(US_1=[bad, good]), where) as kernel:
        code, said = await result(kernel, capsys, "run")
    assert (code, said["stories"][0]["files"]) == (0, ["a.txt"]), said

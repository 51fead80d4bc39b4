"""Ralph killed, stopped or out of budget: nothing passes without gates, nothing is done twice, nothing is lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from codetether.api import CodetetherError, UsageError
from codetether.testing import Reply, call
from contest import goes_on, of_two
from deaths import deaths
from ralphs import (
    Model,
    adds,
    agents,
    answered,
    branches,
    git,
    kernel_at,
    passes,
    ralph,
    result,
    story,
)

# A process of its own, which stalls in the agent of US-2.
CHILD = """
import os, sys
sys.path.insert(0, sys.argv[1])
import trio
from pathlib import Path
from ralphs import agents, kernel_at, ralph

async def main():
    where = Path(sys.argv[2])
    os.chdir(where)
    async with kernel_at(where.parent, eval(sys.argv[3]), where) as kernel:
        sys.exit(await ralph(kernel, *sys.argv[4:], "--format", "stream-json"))

trio.run(main)
"""


class Child:
    """That process, its events read one by one."""

    def __init__(self, where, *words, model="agents(stall=True)"):
        folder = str(Path(__file__).parent)
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, folder, where, model, *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.lines = []

    def until(self, wanted):
        for text in self.process.stdout:
            line = json.loads(text)
            self.lines.append(line)
            if wanted(line):
                return line
        raise AssertionError([line["type"] for line in self.lines])

    def end(self, number=0):
        if number:
            self.process.send_signal(number)
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said


def whole(where):
    """Both stories passed, each by one commit with what it was to do, and are noted once."""
    assert passes(where) == ["US-1", "US-2"]
    subjects = git(where, "log", "--format=%s", "main..feature/calc").splitlines()
    assert subjects == ["feat(us-2): Do US-2", "feat(us-1): Do US-1"]
    text = git(where, "show", "feature/calc:calc.py")
    assert (text.count("def add"), text.count("def sub"), text.count("def mul")) == (1, 1, 1), text
    assert branches(where) == ["feature/calc", "main"]
    assert len(git(where, "worktree", "list").splitlines()) == 1
    notes = (where / "progress.txt").read_text()
    assert notes.count(", passed\n\nChanged: calc.py") == 2
    heads = [line for line in notes.splitlines() if line.startswith("## ")]
    assert len(heads) == len(set(heads))


def entered(name, state):
    return f'"story":"{name}","mark":{{"state":"{state}"'


LOADS = ("codetether_executor_local", "codetether_mode_ralph.driving")
DEATHS = [
    ("after", '"type":"measured"', []),
    ("after", entered("US-1", "working"), []),
    ("before", entered("US-1", "judging"), []),
    ("after", entered("US-1", "judging"), []),
    ("before", '"why":"again: ', []),
    ("after", '"why":"again: ', []),
    ("after", entered("US-1", "merging"), []),
    ("before", entered("US-1", "passed"), []),
    ("after", entered("US-1", "passed"), []),
    ("before", '"told":true', ["US-1"]),
    ("after", entered("US-2", "merging"), ["US-1"]),
    ("before", '"type":"ended"', ["US-1", "US-2"]),
]


async def test_killed_at_every_step_it_goes_on(tmp_path, at, capsys):
    where = at(story("US-1"), story("US-2", "US-1"))
    (where / "mine.txt").write_text("mine\n")
    word = "run"
    with deaths(where, "ralphs:go", *LOADS) as die:
        for when, mark, passed in DEATHS:
            die(when, mark, word)
            assert passes(where) == passed, (when, mark)
            word = "resume"
    model = agents()
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "resume")
    assert (code, said["status"], model.asked) == (0, "completed", {}), said
    assert said["tokens"]["total"] == answered(tmp_path)
    whole(where)
    assert (where / "mine.txt").read_text() == "mine\n"


async def test_locks_that_a_killed_git_left_in_its_own_branches_and_trees_are_taken_away(
    tmp_path, at, capsys
):
    where = at(story("US-1"), story("US-2", "US-1"))
    with deaths(where, "ralphs:go", *LOADS) as die:
        die("after", entered("US-2", "working"), "run")
    [journal] = tmp_path.glob("home/**/ralph/*/journal.jsonl")
    run, control = journal.parent.name, where / ".git"
    [tree] = (control / "worktrees").glob(f"{run}-*")
    heads = control / "refs" / "heads" / "codetether"
    locks = [
        tree / "index.lock",
        tree / "HEAD.lock",
        heads / f"{run}.lock",
        heads / f"{run}-2-us-2.lock",
    ]
    for lock in locks:
        lock.write_text("")
        os.utime(lock, (0, 0))
    async with kernel_at(tmp_path, agents(), where) as kernel:
        code, said = await result(kernel, capsys, "resume")
    assert (code, said["status"]) == (0, "completed"), said
    whole(where)
    assert not any(lock.exists() for lock in locks)


async def test_killed_after_the_result_was_laid_into_the_tree(tmp_path, at, capsys):
    where = at(story("US-2"), checks={"test": "true"})
    with deaths(where, "ralphs:go") as die:
        die("before", '"type":"ended"', "run", "--no-commit")
    laid = (where / "calc.py").read_text()
    assert "def mul" in laid
    async with kernel_at(tmp_path, agents(), where) as kernel:
        code, said = await result(kernel, capsys, "resume")
    assert (code, said["branches"]["landed_on"]) == (0, "the working tree"), said
    assert (where / "calc.py").read_text() == laid
    assert branches(where) == ["main"]


async def test_ctrl_c_stops_it_in_order_and_says_how_to_go_on(tmp_path, at, capsys):
    where = at(story("US-1", passes=True), story("US-2", "US-1"), checks={"test": "true"})
    child = Child(where, "run")
    child.until(
        lambda line: line["type"] == "story_event" and line["event"]["type"] == "tool_finished"
    )
    async with kernel_at(tmp_path, agents(), where) as kernel:
        for word in ("run", "resume", "cleanup"):
            with pytest.raises(CodetetherError, match=r"document now|is running"):
                await ralph(kernel, word)
    child.process.send_signal(signal.SIGINT)
    ended = child.until(lambda line: line["type"] == "ralph_finished")["result"]
    code, said = child.end()
    assert (code, ended["status"], ended["error"]) == (130, "stopped", "interrupted")
    left = ended["stories"][1]
    assert (left["attempts"], left["tokens"], len(left["sessions"])) == (1, 110, 1)
    assert f"codetether ralph resume {ended['id']}" in said
    [kept] = ended["branches"]["unmerged"]
    assert "def mul" in git(where, "show", f"{kept}:calc.py")
    model = agents()
    async with kernel_at(tmp_path, model, where) as kernel:
        assert await ralph(kernel, "status") == 0
        page = capsys.readouterr().out
        assert "1 of 2 stories passed" in page
        assert "Do US-2  interrupted" in page
        assert f"codetether ralph resume {ended['id']}" in page
        code, said = await result(kernel, capsys, "resume", ended["id"][-4:])
    assert (code, passes(where)) == (0, ["US-1", "US-2"]), said
    assert "was interrupted" in model.prompts["US-2"][0]
    assert (ended["tokens"]["total"], said["tokens"]["total"]) == (110, 330)
    assert branches(where) == ["feature/calc", "main"]


# A process of its own that resumes the run of a document: it says when it is ready, begins when there is a file `start`,
# and its agent answers once there is a file `go`.
RESUMES = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
import trio
from pathlib import Path
from ralphs import Model, kernel_at, once, ralph
from codetether.testing import Reply, call

where = Path(sys.argv[2])
os.chdir(where)

def wait(name):
    while not (where.parent / name).exists():
        time.sleep(0.01)

def second(request, step):
    wait("go")
    return [call("bash", command=once("mul")), "done"][step]

async def main():
    async with kernel_at(where.parent, Model(US_2=second), where) as kernel:
        print("ready", file=sys.stderr, flush=True)
        wait("start")
        sys.exit(await ralph(kernel, "resume", "--json"))

trio.run(main)
"""


async def test_of_two_processes_that_resume_a_run_one_does(tmp_path, at, capsys):
    where = at(story("US-1"), story("US-2", "US-1"), checks={"test": "true"})
    async with kernel_at(tmp_path, agents(), where) as kernel:
        _, said = await result(kernel, capsys, "run", "--max-iterations", "1")
        assert passes(where) == ["US-1"]
    words = [sys.executable, "-c", RESUMES, str(Path(__file__).parent), where]
    one, why = await of_two(words, tmp_path)
    assert "another process works through this document now" in why
    out = await goes_on(one, tmp_path)
    assert (one.returncode, json.loads(out)["id"]) == (0, said["id"])
    assert passes(where) == ["US-1", "US-2"]
    assert len(git(where, "log", "--format=%s", "main..feature/calc").splitlines()) == 2
    assert branches(where) == ["feature/calc", "main"]


@pytest.mark.parametrize("budget", ["5000", "none"])
async def test_a_budget_ends_it_and_another_goes_on(tmp_path, at, capsys, budget):
    where = at(story("A"), story("B", "A"), checks={"test": "true"})
    model = Model(A=adds("sub"), B=adds("mul"))
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run", "--budget-tokens", "300")
        assert (code, said["status"], passes(where)) == (1, "stopped", ["A"])
        assert "300 tokens" in said["error"]
        assert model.asked == {"A": 2, "B": 1}
        code, said = await result(kernel, capsys, "resume", "--budget-tokens", budget)
    assert (code, passes(where), said["tokens"]["total"]) == (0, ["A", "B"], 110 * 5), said
    assert "def mul" in git(where, "show", "feature/calc:calc.py")


async def test_iterations_are_bounded_and_what_failed_is_tried_again(tmp_path, at, capsys):
    where = at(story("A"), story("B"), checks={"test": "grep -q good a.txt || ! grep -q bad a.txt"})
    bad, good = ([call("bash", command=f"echo {word} >> a.txt"), word] for word in ("bad", "good"))
    model = Model(A=[bad, bad, bad, good], B=adds("sub"))
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run", "--sequential", "--max-iterations", "2")
        assert (code, said["status"], said["current_iteration"]) == (1, "max_iterations", 2)
        code, said = await result(kernel, capsys, "resume", "--retries", "0")
        assert (code, said["status"], passes(where)) == (1, "quality_failed", ["B"])
        code, said = await result(kernel, capsys, "resume")
    assert (code, passes(where), said["current_iteration"]) == (0, ["A", "B"], 5)


@pytest.mark.parametrize("lines", [1, 2, 3])
async def test_what_was_cut_short_counts_once_though_the_process_was_killed_then(
    tmp_path, at, capsys, lines
):
    """The last records are the tree that is kept, what was cut short, and the end: as many are lost."""
    where = at(story("US-2"), checks={"test": "true"})
    async with kernel_at(tmp_path, agents(stall=True), where) as kernel:
        _, said = await result(kernel, capsys, "run", "--time-limit", "2")
        assert said["tokens"]["total"] == answered(tmp_path) == 110
        journal = kernel.dirs.data / "ralph" / said["id"] / "journal.jsonl"
    kept = journal.read_bytes().splitlines(keepends=True)[:-lines]
    journal.write_bytes(b"".join(kept))
    async with kernel_at(tmp_path, agents(), where) as kernel:
        code, said = await result(kernel, capsys, "resume")
    assert (code, said["tokens"]["total"]) == (0, answered(tmp_path)), said
    assert answered(tmp_path) == 110 * 3


async def test_the_same_failure_again_and_again_stops_it(tmp_path, at, capsys):
    where = at(story("A"), story("B"), story("C"), checks={"test": "! grep -q bad a.txt"})
    bad = [call("bash", command="echo bad >> a.txt"), "done"]
    model = Model(A=bad, B=bad, C=bad)
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run", "--sequential", "--retries", "9")
    assert (code, said["status"]) == (1, "stopped")
    assert "fails in the same way" in said["error"]
    assert model.asked == {"A": 6, "B": 6}
    assert passes(where) == []


async def test_time_ends_it_and_cleanup_keeps_what_is_merged_nowhere(tmp_path, at, capsys):
    where = at(story("US-1", passes=True), story("US-2", "US-1"), checks={"test": "true"})
    async with kernel_at(tmp_path, agents(stall=True), where) as kernel:
        code, said = await result(kernel, capsys, "run", "--time-limit", "3")
        assert (code, said["status"]) == (1, "stopped")
        assert "time limit of 3 s" in said["error"]
        [kept] = said["branches"]["unmerged"]
        assert len(git(where, "worktree", "list").splitlines()) == 2
        git(where, "branch", f"codetether/{said['id']}-baseline")  # left by a kill
        code, told = await result(kernel, capsys, "cleanup")
        assert (code, told["kept"]) == (0, [kept])
        assert "def mul" in git(where, "show", f"{kept}:calc.py")
        assert len(git(where, "worktree", "list").splitlines()) == 1
        git(where, "merge", "-q", kept)
        code, told = await result(kernel, capsys, "cleanup", told["id"])
        assert told["removed"]
        with pytest.raises(CodetetherError, match="no run of"):
            await ralph(kernel, "cleanup")
        with pytest.raises(UsageError, match="no unfinished run of"):
            await ralph(kernel, "resume")
    assert branches(where) == ["main"]


def says_it_does_not_pass(where, **more):
    """The user says so of the first story, in the document."""
    raw = json.loads((where / "prd.json").read_text())
    raw["user_stories"][0] |= {"passes": False, **more}
    (where / "prd.json").write_text(json.dumps(raw))


async def test_a_story_that_the_user_says_does_not_pass_is_worked_on_again(tmp_path, at, capsys):
    where = at(story("A"), story("B"), checks={"test": "true"})
    model = Model(A=[adds("sub"), adds("div")], B=adds("mul"))
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run", "--sequential")
        assert (code, passes(where)) == (0, ["A", "B"])
        says_it_does_not_pass(where, description="It divides too.")
        code, said = await result(kernel, capsys, "resume")
    assert model.asked == {"A": 4, "B": 2}
    assert "It divides too." in model.prompts["A"][1]
    assert (code, said["status"], passes(where)) == (0, "completed", ["A", "B"]), said
    assert "def div" in git(where, "show", "feature/calc:calc.py")
    assert branches(where) == ["feature/calc", "main"]


async def test_what_the_user_took_back_and_says_does_not_pass_need_not_be_there(tmp_path, at, capsys):  # fmt: skip
    where = at(story("A"), story("B", "A"), checks={"test": "true"})
    model = Model(A=adds("sub"), B=adds("mul"))
    async with kernel_at(tmp_path, model, where) as kernel:
        await result(kernel, capsys, "run", "--max-iterations", "1")
        assert passes(where) == ["A"]
        git(where, "branch", "-f", "feature/calc", "main")
        says_it_does_not_pass(where)
        code, said = await result(kernel, capsys, "resume", "--max-iterations", "2")
    assert (code, passes(where)) == (0, ["A", "B"]), said
    text = git(where, "show", "feature/calc:calc.py")
    assert (text.count("def sub"), text.count("def mul")) == (1, 1)


async def test_without_an_id_and_a_document_the_only_unfinished_run_of_the_repository_goes_on(
    tmp_path, at, capsys
):
    where = at(story("A"), checks={"test": "true"})
    for name in ("one.json", "two.json"):
        (where / name).write_bytes((where / "prd.json").read_bytes())
    (where / "prd.json").unlink()
    model = Model(A=["STORY_BLOCKED: no"])
    async with kernel_at(tmp_path, model, where) as kernel:
        with pytest.raises(UsageError, match="no unfinished run of this repository"):
            await ralph(kernel, "resume")
        _, one = await result(kernel, capsys, "run", "-p", "one.json")
        _, two = await result(kernel, capsys, "run", "-p", "two.json")
        with pytest.raises(UsageError, match="2 runs") as told:
            await ralph(kernel, "resume")
        assert one["id"] in told.value.message
        assert two["id"] in told.value.message
        assert "two.json" in told.value.message
        model.parts["A"] = adds("sub")
        assert (await result(kernel, capsys, "resume", "-p", "two.json"))[0] == 0
        code, said = await result(kernel, capsys, "resume")
    assert (code, said["id"]) == (0, one["id"])


async def test_what_failed_is_told_again_after_an_interruption(tmp_path, at, capsys):
    where = at(story("US-1"), checks={"test": "! grep -q bad a.txt"})
    bad = [call("bash", command="echo bad >> a.txt"), "done"]
    model = Model(US_1=[bad, [Reply(stall=True)], [call("bash", command="echo good > a.txt"), "done"]])  # fmt: skip
    async with kernel_at(tmp_path, model, where) as kernel:
        await result(kernel, capsys, "run", "--time-limit", "3")
        assert len(model.prompts["US-1"]) == 2
        code, said = await result(kernel, capsys, "resume")
    assert code == 0, said
    assert "was interrupted" in model.prompts["US-1"][2]
    assert "! grep -q bad a.txt` failed" in model.prompts["US-1"][2]


async def test_a_run_that_goes_on_with_another_time_for_checks_uses_it(tmp_path, at, capsys):
    where = at(story("A"), story("B"), checks={})
    (where / "Makefile").write_text("test:\n\tsleep 2\n")
    git(where, "add", "Makefile")
    git(where, "commit", "-qm", "make")
    async with kernel_at(tmp_path, Model(A=adds("sub"), B=adds("mul")), where) as kernel:
        _, said = await result(kernel, capsys, "run", "--check-timeout", "0.5", "--max-iterations", "1")  # fmt: skip
        assert "longer than" not in said.get("error", "")
        code, said = await result(kernel, capsys, "resume", "--check-timeout", "60")
    assert said["stories"][1]["state"] == "passed", (said["stories"], said["gates"])
    assert said["gates"] == [
        {"kind": "test", "command": "make --no-print-directory test", "ok_before": True}
    ]
    assert code == 1  # the first one had no check that spoke for it


async def test_a_document_that_could_not_be_written_then_is_written_at_the_end(
    tmp_path, at, capsys
):
    where = at(story("A"), story("B", "A"), checks={"test": "true"})
    good = (where / "prd.json").read_text()

    def half(request, step):
        (where / "prd.json").write_text(good[:40])
        return adds("sub")[step]

    def whole(request, step):
        (where / "prd.json").write_text(good)
        return adds("mul")[step]

    async with kernel_at(tmp_path, Model(A=half, B=whole), where) as kernel:
        code, said = await result(kernel, capsys, "run")
    assert (code, said["status"], passes(where)) == (0, "completed", ["A", "B"]), said
    assert (where / "progress.txt").read_text().count("## A ") == 1


GIT = """#!/bin/sh
case " $* " in *" --ff-only "*|*" apply --whitespace="*) touch {mark}; sleep 1;; esac
exec {git} "$@"
"""


@pytest.mark.parametrize("flag", ["--auto-commit", "--no-commit"])
async def test_a_run_that_is_stopped_does_not_leave_the_users_tree_in_the_middle(
    tmp_path, at, capsys, monkeypatch, flag
):
    where = at(story("A"), branch="", checks={"test": "true"})
    mark, fake = tmp_path / "moving", tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text(GIT.format(mark=mark, git=shutil.which("git")))
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")

    async with kernel_at(tmp_path, Model(A=adds("sub")), where) as kernel:

        async def stop():
            while not mark.exists():
                await trio.sleep(0.01)
            kernel.mode("ralph").running[0].stop("enough")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop)
            code, said = await result(kernel, capsys, "run", flag)
    assert (code, said["status"], passes(where)) == (1, "stopped", ["A"]), said
    assert "def sub" in (where / "calc.py").read_text()
    if flag == "--auto-commit":
        assert git(where, "status", "--porcelain", "--untracked-files=no") == ""
        assert git(where, "log", "-1", "--format=%s") == "feat(a): Do A"


async def test_whoever_it_is_done_for_may_leave(tmp_path, at):
    where = at(story("US-2"), checks={"test": "true"})
    async with kernel_at(tmp_path, agents(stall=True), where) as kernel:
        with trio.move_on_after(3):
            await ralph(kernel, "run", "--json")
        folder = kernel.dirs.data / "ralph"
        [journal] = folder.glob("*/journal.jsonl")
    ended = json.loads(journal.read_text().splitlines()[-1])
    assert (ended["status"], ended["result"]["error"]) == ("stopped", "interrupted")


async def test_without_room_a_person_is_told_how_to_go_on(tmp_path, at, monkeypatch, capsys):
    where = at(story("A"), checks={"test": "true"})

    async def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "calc.py")

    async with kernel_at(tmp_path, Model(A=adds("sub")), where) as kernel:
        with monkeypatch.context() as patched:
            patched.setattr("codetether_mode_ralph.ground.commit", full)
            with pytest.raises(CodetetherError, match="No space left on device") as told:
                await ralph(kernel, "run", "--json")
        words = told.value.hint.partition("codetether ralph ")[2].split()
        code, said = await result(kernel, capsys, *words)
    assert (code, passes(where)) == (0, ["A"]), said


async def test_killed_in_a_check_what_that_wrote_is_not_the_storys(tmp_path, at, capsys):
    go = tmp_path / "repo" / ".git" / "go"
    gate = f"test ! -e junk; told=$?; touch junk; grep -q 'def mul' calc.py && test ! -e {go} && sleep 60; exit $told"
    where = at(story("US-1", passes=True), story("US-2", "US-1"), checks={"test": gate})
    child = Child(where, "run", model="agents()")
    while not list(tmp_path.glob("home/data/*-worktrees/*/*-us-2/junk")):
        assert child.process.poll() is None, child.end()
        await trio.sleep(0.05)
    child.end(signal.SIGKILL)
    go.touch()
    async with kernel_at(tmp_path, agents(), where) as kernel:
        code, said = await result(kernel, capsys, "resume", "--retries", "0")
    assert (code, passes(where)) == (0, ["US-1", "US-2"]), said
    assert "junk" not in git(where, "ls-tree", "--name-only", "feature/calc")

"""A swarm that is killed, stopped or cancelled: what its journal knows is enough to go on, and nothing done is lost."""

import errno
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio
import unpriced
from codetether import leftovers
from codetether.api import CodetetherError, UsageError
from codetether.events import ProviderFault
from codetether.testing import Reply
from codetether_mode_swarm import ground
from codetether_worktrees import GitFailed, Lease
from contest import goes_on, of_two
from deaths import deaths
from swarms import (
    Model,
    answered,
    branches,
    git,
    kernel_at,
    plan,
    repository,
    result,
    swarm,
    task,
    tower,
    writes,
)

THREE = plan(
    task("base"), task("left", "base"), task("right", "base"), task("top", "left", "right")
)


@pytest.fixture
def user(tmp_path, monkeypatch):
    where = repository(tmp_path / "repo")
    monkeypatch.chdir(where)
    return where


# A process of its own, whose model stalls in the third level's way: at `left`, once `right` is merged.
CHILD = """
import os, sys, trio
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from codetether.testing import Reply
from swarms import Model, kernel_at, swarm, writes
from test_swarm_resume import THREE

def left(request, step):
    if step == 0:
        return writes("left.txt", "left\\n")[0]
    return Reply(stall=True)

async def main():
    where = Path(sys.argv[2])
    os.chdir(where)
    model = Model(THREE, base=writes("base.txt", "base\\n", "base says 42"), right=writes("right.txt", "right\\n"), left=left)
    async with kernel_at(where.parent, model, where) as kernel:
        sys.exit(await swarm(kernel, "build a tower", flags=["--format", "stream-json", *sys.argv[3:]]))

trio.run(main)
"""


# Another, whose sub-agent starts three of its own, one after another; the last one says that it stalls, and does.
BELOW = """
import os, sys, trio
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from codetether.testing import Reply, call
from swarms import Model, kernel_at, plan, swarm, task

def start(name):
    return call("task", description="d", prompt=f'Your part, "{name}" is this', agent="explore")

def c(request, step):
    if step == 0:
        return call("read_file", path="a.txt")
    print("stalls", flush=True)
    return Reply(stall=True)

async def main():
    where = Path(sys.argv[2])
    os.chdir(where)
    model = Model(plan(task("one")), one=[start("a"), start("b"), start("c")], c=c)
    async with kernel_at(where.parent, model, where, more=["tools:task"]) as kernel:
        await swarm(kernel, "do it", flags=["--json"])

trio.run(main)
"""


class Child:
    """That process, its events read one by one."""

    def __init__(self, user, *flags, stderr=subprocess.DEVNULL):
        folder = str(Path(__file__).parent)
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, folder, user, *flags],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
        self.lines = []

    def until(self, wanted):
        for text in self.process.stdout:
            line = json.loads(text)
            self.lines.append(line)
            if wanted(line):
                return line
        raise AssertionError([line["type"] for line in self.lines])

    def until_stalled(self):
        """`right` is merged, and `left` has written its file."""
        seen = set()

        def both(line):
            if line["type"] == "subtask_changed" and (line["subtask"], line["state"]) == (
                "right",
                "completed",
            ):
                seen.add("right")
            if (
                line["type"] == "subagent_event"
                and line["subtask"] == "left"
                and line["event"]["type"] == "tool_finished"
            ):
                seen.add("left")
            return len(seen) == 2

        self.until(both)

    def end(self, number):
        self.process.send_signal(number)
        code = self.process.wait(60)
        self.process.stdout.close()
        return code


@pytest.fixture
def killed(user, tmp_path):
    child = Child(user)
    child.until_stalled()
    child.end(signal.SIGKILL)
    return child.lines[0]["id"]


def healthy():
    return Model(
        THREE, left=writes("left2.txt", "more\n"), right=["again?"], base=["again?"],
        top=writes("top.txt", "top\n"),
    )  # fmt: skip


async def test_after_a_kill_it_goes_on_where_it_was(tmp_path, user, killed, capsys):
    assert branches(user) == ["codetether/" + killed, f"codetether/{killed}-left", "main"]
    model = healthy()
    async with kernel_at(tmp_path, model, user) as kernel:
        code, rows = await result(kernel, capsys, "list")
        assert [(row["id"], row["status"], row["completed"]) for row in rows] == [
            (killed, "interrupted", 2)
        ]
        code, said = await result(kernel, capsys, "resume", killed[-4:])
    assert (code, said["success"]) == (0, True)
    assert set(model.asked) == {"left", "top"}
    assert "An earlier attempt was interrupted" in model.prompts["left"][0]
    assert "base says 42" in model.prompts["left"][0]
    names = ["a.txt", "base.txt", "left.txt", "left2.txt", "right.txt", "top.txt"]
    assert sorted(path.name for path in user.iterdir() if path.name != ".git") == names
    assert branches(user) == ["main"]
    # Of both processes, with the one answer that `left` had in the first.
    assert said["tokens"]["total"] == 110 * (1 + 4 + 1 + 4) == answered(tmp_path)


def changed(name, state):
    return f'"type":"changed","subtask":"{name}","state":"{state}"'


DEATHS = [
    ("before", '"type":"planned"'),
    ("before", '"type":"measured"'),
    ("after", changed("base", "running")),
    ("before", changed("base", "worked")),
    ("after", changed("base", "worked")),
    ("before", changed("base", "completed")),
    ("after", changed("left", "worked")),
    ("before", '"type":"spent"'),
    ("after", '"type":"spent"'),
    ("before", changed("top", "completed")),
    ("before", '"type":"ended"'),
]


async def test_killed_at_every_step_it_goes_on(tmp_path, user, capsys):
    (user / "mine.txt").write_text("mine\n")
    words = ["build a tower"]
    with deaths(user, "swarms:go", "codetether_executor_local", "codetether_mode_swarm.driving") as die:  # fmt: skip
        for when, mark in DEATHS:
            die(when, mark, *words)
            [journal] = tmp_path.glob("home/**/swarm/*/journal.jsonl")
            words = ["resume", journal.parent.name]
    model = tower()
    async with kernel_at(tmp_path, model, user) as kernel:
        code, said = await result(kernel, capsys, *words)
    assert (code, said["success"], model.asked) == (0, True, {}), said
    assert said["tokens"]["total"] == answered(tmp_path)
    assert (user / "a.txt").read_text() == "one\nboth\nthree\n"
    names = ["a.txt", "base.txt", "left.txt", "mine.txt", "right.txt", "top.txt"]
    assert sorted(path.name for path in user.iterdir() if path.name != ".git") == names
    assert branches(user) == ["main"]
    assert len(git(user, "worktree", "list").splitlines()) == 1


async def test_what_a_killed_process_left_running_ends_before_a_worktree_is_touched(
    tmp_path, user, killed, capsys, monkeypatch
):
    """Its git would hold locks there."""
    marker = f"{2**22 + 1}-1-{leftovers._namespace()}-0123abcd.1"  # of an agent that is no more
    left = subprocess.Popen(["sleep", "60"], env={"CODETETHER_RUN": marker})
    model, ended = healthy(), []

    async def adopt(*args, **how):
        ended.append(left.poll())
        return await found(*args, **how)

    found = ground.adopt
    monkeypatch.setattr(ground, "adopt", adopt)
    async with kernel_at(tmp_path, model, user) as kernel:
        code, _ = await result(kernel, capsys, "resume", killed)
    assert code == 0
    assert set(ended) == {-signal.SIGTERM}


async def test_killed_while_gates_look_at_a_resolution_it_is_made_and_judged_again(
    tmp_path, user, capsys
):
    code = "import sys, trio; sys.path.insert(0, sys.argv[1]); import os, pathlib, swarms; os.chdir(sys.argv[2]); "
    code += (
        "trio.run(lambda: swarms.go(pathlib.Path(sys.argv[2]), 'build a tower', gate=sys.argv[3]))"
    )
    gate = "! grep -q both a.txt || { touch looking; sleep 60; }"
    folder = str(Path(__file__).parent)
    process = subprocess.Popen(
        [sys.executable, "-c", code, folder, user, gate], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )  # fmt: skip
    with trio.fail_after(60):
        while not list(tmp_path.glob("home/**/looking")):
            await trio.sleep(0.1)
    process.kill()
    process.wait()
    [journal] = tmp_path.glob("home/**/swarm/*/journal.jsonl")
    async with kernel_at(tmp_path, tower(), user) as kernel:
        code, said = await result(
            kernel, capsys, "resume", journal.parent.name, "--gate", "! grep -q both a.txt"
        )
    states = {each["name"]: each["status"] for each in said["subtask_results"]}
    assert sorted(states.values()) == ["cancelled", "completed", "completed", "conflict"], said
    assert "both" not in git(user, "show", f"{said['branches']['result']}:a.txt")


async def test_what_was_spent_before_a_kill_counts_for_the_budget(tmp_path, user, killed, capsys):
    model = healthy()
    async with kernel_at(tmp_path, model, user) as kernel:
        limit = ["--budget-tokens", str(110 * 6)]  # the plan, four answers of two, one of `left`
        code, said = await result(kernel, capsys, "resume", killed, *limit)
        assert (code, model.asked) == (1, {})
        assert "the budget of 660 tokens is used up (660)" in said["error"]
        code, said = await result(kernel, capsys, "resume", killed, "--budget-tokens", "5000")
    assert (code, said["tokens"]["total"]) == (0, answered(tmp_path))


async def test_what_sub_agents_below_had_spent_before_a_kill_counts_once(tmp_path, user, capsys):
    """Two are over, and have been paid for by the one that started them; the third dies with it."""
    process = subprocess.Popen(
        [sys.executable, "-c", BELOW, str(Path(__file__).parent), user],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "stalls\n"
    process.kill()
    process.communicate()
    spent = answered(tmp_path)
    assert spent == 110 * (1 + 3 + 1 + 1 + 1)
    [journal] = tmp_path.glob("home/**/swarm/*/journal.jsonl")
    words = ["resume", journal.parent.name]
    async with kernel_at(tmp_path, Model(), user) as kernel:
        code, said = await result(kernel, capsys, *words, "--budget-tokens", str(spent))
        assert (code, said["tokens"]["total"]) == (1, spent), said
        code, said = await result(kernel, capsys, *words, "--budget-tokens", "5000")
    assert (code, said["tokens"]["total"]) == (0, spent + 110), said


async def test_cleanup_after_a_kill_keeps_what_is_merged_nowhere(tmp_path, user, killed, capsys):
    git(user, "branch", f"codetether/{killed}_before")
    async with kernel_at(tmp_path, healthy(), user) as kernel:
        code, told = await result(kernel, capsys, "cleanup", killed, "--dry-run")
        assert (code, [kept["branch"] for kept in told["kept"]]) == (0, [f"codetether/{killed}"])
        assert len(git(user, "worktree", "list").splitlines()) == 3
        code, told = await result(kernel, capsys, "cleanup", killed)
        assert code == 0
        assert {kept["branch"] for kept in told["kept"]} == {
            f"codetether/{killed}",
            f"codetether/{killed}-left",
        }
        assert git(user, "show", f"codetether/{killed}-left:left.txt") == "left"
        assert git(user, "show", f"codetether/{killed}:right.txt") == "right"
        assert len(git(user, "worktree", "list").splitlines()) == 1
        code, said = await result(
            kernel, capsys, "resume", killed
        )  # what was kept is enough to go on even now
        assert (code, said["branches"]["merged_into"]) == (0, "main")
        assert (user / "left.txt").exists()
        code, told = await result(kernel, capsys, "cleanup", killed)
        assert told["removed"]
        assert (await result(kernel, capsys, "list"))[1] == []
    assert branches(user) == ["main"]


async def test_ctrl_c_stops_it_in_order_and_says_how_to_go_on(tmp_path, user, capsys):
    child = Child(user)
    child.until_stalled()
    child.process.send_signal(signal.SIGINT)
    ended = child.until(lambda line: line["type"] == "swarm_finished")
    assert child.end(0) == 130
    run_id = child.lines[0]["id"]
    assert ended["result"]["status"] == "stopped"
    assert ended["result"]["branches"]["unmerged"] == [f"codetether/{run_id}-left"]
    assert git(user, "show", f"codetether/{run_id}-left:left.txt") == "left"
    async with kernel_at(tmp_path, healthy(), user) as kernel:
        assert await swarm(kernel, "show", run_id) == 0
        page = capsys.readouterr().out
        assert f"go on: codetether swarm resume {run_id}" in page
        assert f"codetether/{run_id}-left" in page
        assert "2. left  interrupted" in page
        code, said = await result(kernel, capsys, "resume", run_id)
    assert code == 0
    assert (user / "left.txt").exists()
    # What the agent that was cut short had used counts, there and after it.
    assert (ended["result"]["tokens"]["total"], said["tokens"]["total"]) == (110 * 6, 110 * 10)


async def test_cancel_from_elsewhere_stops_it(tmp_path, user, capsys):
    child = Child(user)
    child.until_stalled()
    run_id = child.lines[0]["id"]
    async with kernel_at(tmp_path, healthy(), user) as kernel:
        for word in ("resume", "cleanup"):
            with pytest.raises(CodetetherError, match=r"carried out by|is running"):
                await swarm(kernel, word, run_id)
        assert (await result(kernel, capsys, "list"))[1][0]["status"] == "running"
        code, told = await result(kernel, capsys, "cancel", run_id)
        assert (code, told["cancelled"]) == (0, True)
        assert await trio.to_thread.run_sync(child.process.wait) == 1
        child.process.stdout.close()
        assert (await result(kernel, capsys, "list"))[1][0]["status"] == "stopped"
        code, told = await result(kernel, capsys, "cancel", run_id)
        assert (code, told["cancelled"]) == (0, False)


# A process of its own that resumes a run: it says when it is ready, begins when there is a file `start`, and its agent
# `left` answers once there is a file `go`.
RESUMES = """
import os, sys, time, trio
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from swarms import kernel_at, swarm
from test_swarm_resume import healthy

where = Path(sys.argv[2])
os.chdir(where)
model = healthy()
said = model.parts["left"]

def wait(name):
    while not (where.parent / name).exists():
        time.sleep(0.01)

def left(request, step):
    wait("go")
    return said[step]

async def main():
    model.parts["left"] = left
    async with kernel_at(where.parent, model, where) as kernel:
        print("ready", file=sys.stderr, flush=True)
        wait("start")
        sys.exit(await swarm(kernel, "resume", sys.argv[3], flags=["--json"]))

trio.run(main)
"""


async def test_of_two_processes_that_resume_a_run_one_does(tmp_path, user, killed):
    words = [sys.executable, "-c", RESUMES, str(Path(__file__).parent), user, killed]
    one, why = await of_two(words, tmp_path)
    assert f"{killed} is being carried out by" in why
    out = await goes_on(one, tmp_path)
    said = json.loads(out)
    assert (one.returncode, said["branches"]["merged_into"]) == (0, "main"), said
    assert {each["name"]: each["attempts"] for each in said["subtask_results"]}["left"] == 1
    assert (user / "left2.txt").exists()
    assert branches(user) == ["main"]
    assert len(git(user, "worktree", "list").splitlines()) == 1


def fails_once(**parts):
    """A model whose sub-agent `one` fails, and with the next run does not."""
    faults = [Reply(fault=ProviderFault("invalid", "no"))]

    def one(request, step):
        return faults.pop() if faults else writes("x.txt", "x")[step]

    return Model(plan(task("one"), task("two", "one")), one=one, **parts)


async def test_it_goes_on_with_another_model(tmp_path, user, capsys):
    first, second = fails_once(), Model(one=writes("x.txt", "x"))
    async with kernel_at(tmp_path, first, user, extra=unpriced.EXTRA) as kernel:
        kernel.provider("unpriced").use(second)
        code, said = await result(kernel, capsys, "do it", "--retries", "0")
        assert (code, said["model"]) == (1, "scripted/test")
        asked = dict(first.asked)
        words = ["resume", said["id"], "-m", unpriced.MODEL]
        with pytest.raises(CodetetherError, match=f"the price of {unpriced.MODEL} is unknown"):
            await swarm(kernel, *words, "--budget-usd", "1")
        code, said = await result(kernel, capsys, *words)
    assert (code, said["model"]) == (0, unpriced.MODEL)
    assert (first.asked, second.asked) == (asked, {"one": 2, "two": 1})
    assert (user / "x.txt").exists()


async def test_it_goes_on_without_a_merge(tmp_path, user, capsys):
    async with kernel_at(tmp_path, fails_once(), user) as kernel:
        _, said = await result(kernel, capsys, "do it", "--retries", "0")
        code, said = await result(kernel, capsys, "resume", said["id"], "--no-merge")
        branch = said["branches"]["result"]
        assert (code, said["success"], said["branches"]["merged_into"]) == (0, True, "")
        assert git(user, "show", f"{branch}:x.txt") == "x"
        assert (branches(user), (user / "x.txt").exists()) == ([branch, "main"], False)
        code, said = await result(kernel, capsys, "resume", said["id"])
    assert (code, said["branches"]["merged_into"]) == (0, "main")
    assert (branches(user), (user / "x.txt").exists()) == (["main"], True)


async def test_what_fails_in_a_run_is_told_with_how_to_go_on(tmp_path, user, capsys, monkeypatch):
    model = Model(plan(task("one"), task("two")), one=writes("x.txt", "x"), two=writes("y.txt", "y"))  # fmt: skip
    faults = [
        OSError(errno.ENOSPC, "No space left on device", "y.txt"),
        GitFailed("no such luck", "mend it"),
    ]
    async with kernel_at(tmp_path, model, user) as kernel:
        words = ["do it", "--no-gates"]
        for fault in faults:
            with monkeypatch.context() as patched:
                patched.setattr(ground, "create", failing(fault))
                with pytest.raises(CodetetherError, match=r"No space left|no such luck") as told:
                    await swarm(kernel, *words)
            words = told.value.hint.partition("codetether swarm ")[2].split()
            assert told.value.hint.startswith("mend it; then " if fault is faults[1] else "go on: ")
            assert (await result(kernel, capsys, "list"))[1][0]["status"] == "stopped"
            assert not [each for each in leases(tmp_path) if each.holder()]
        code, said = await result(kernel, capsys, *words)
    assert (code, said["branches"]["merged_into"], branches(user)) == (0, "main", ["main"])


def failing(fault):
    made = ground.create

    async def create(*args, **how):
        if args[1].endswith("-two"):
            raise fault
        return await made(*args, **how)

    return create


def leases(tmp_path):
    return [Lease(path) for path in tmp_path.glob("home/**/*lease")]


async def test_what_failed_is_tried_again_with_other_limits(tmp_path, user, capsys):
    model = Model(plan(task("one"), task("two", "one")), one=writes("x.txt", "x"))
    async with kernel_at(tmp_path, model, user) as kernel:
        code, said = await result(kernel, capsys, "do it", "--budget-tokens", "200")
        assert (code, set(model.asked)) == (1, {"plan", "one"})
        code, said = await result(kernel, capsys, "resume", said["id"], "--budget-tokens", "5000")
    assert code == 0
    assert (user / "x.txt").exists()
    assert said["tokens"]["total"] == 110 * 5


async def test_a_result_that_the_user_took_is_what_is_gone_on_from(tmp_path, user, capsys):
    faults = [Reply(fault=ProviderFault("invalid", "no"))]

    def two(request, step):
        return faults.pop() if faults else writes("two.txt", "2")[step]

    model = Model(plan(task("one"), task("two", "one")), one=writes("one.txt", "1"), two=two)
    async with kernel_at(tmp_path, model, user) as kernel:
        _, said = await result(kernel, capsys, "do it", "--retries", "0")
        branch = said["branches"]["result"]
        git(user, "branch", "-m", branch, "safe")
        with pytest.raises(CodetetherError, match=f"{branch} is gone"):
            await swarm(kernel, "resume", said["id"])
        git(user, "merge", "-q", "safe")
        git(user, "branch", "-d", "safe")
        code, said = await result(kernel, capsys, "resume", said["id"])
    assert (code, said["branches"]["merged_into"]) == (0, "main"), said
    assert (user / "one.txt").exists()
    assert (user / "two.txt").exists()


async def test_a_run_that_is_done_is_not_begun_again(tmp_path, user, capsys):
    model = Model(plan(task("one")), one=writes("x.txt", "x"))
    async with kernel_at(tmp_path, model, user) as kernel:
        _, said = await result(kernel, capsys, "do it", "--gate", "test -e x.txt")
        with pytest.raises(UsageError, match="is completed"):
            await swarm(kernel, "resume", said["id"])
        with pytest.raises(UsageError, match="plan is made already"):
            await swarm(kernel, "resume", said["id"], flags=["--dry-run"])


@pytest.mark.parametrize("other", [[], ["--gate", "test ! -e bad.txt"]])
async def test_what_was_merged_before_counts_as_work_of_the_run(tmp_path, user, capsys, other):
    faults = [Reply(fault=ProviderFault("invalid", "no"))]

    def two(request, step):
        return faults.pop() if faults else writes("two.txt", "2")[step]

    model = Model(
        plan(task("one"), task("two")), one=writes("bad.txt", "FAILED t::x\n"), two=two, gates=["I cannot"]
    )  # fmt: skip
    gate = ["--gate", "cat bad.txt && exit 1 || exit 0"]
    async with kernel_at(tmp_path, model, user) as kernel:
        code, said = await result(kernel, capsys, "do it", "--retries", "0", *gate)
        assert (code, said["gates"]["ok"]) == (1, False)
        code, said = await result(kernel, capsys, "resume", said["id"], *other)
    assert (code, said["gates"]["ok"], said["branches"]["merged_into"]) == (1, False, ""), said
    assert not (user / "bad.txt").exists()
    assert len(git(user, "worktree", "list").splitlines()) == 1


async def test_a_conflict_is_merged_again_on_resume(tmp_path, user, capsys):
    model = Model(
        plan(task("one"), task("two")), one=writes("a.txt", "ONE\n"), two=writes("a.txt", "TWO\n"), conflict=["no idea"],
    )  # fmt: skip
    async with kernel_at(tmp_path, model, user) as kernel:
        code, said = await result(kernel, capsys, "do it", "--no-gates")
        assert code == 1
        asked = dict(model.asked)
        model.parts["conflict"] = writes("a.txt", "BOTH\n")
        code, said = await result(kernel, capsys, "resume", said["id"])
    assert code == 0
    assert (user / "a.txt").read_text() == "BOTH\n"
    assert (model.asked["one"], model.asked["two"]) == (asked["one"], asked["two"])
    assert branches(user) == ["main"]


async def test_a_journal_cut_in_the_middle_of_a_line_is_read(tmp_path, user, capsys):
    model = Model(
        plan(task("one"), task("two", "one")), one=writes("x.txt", "x"), two=writes("y.txt", "y")
    )
    async with kernel_at(tmp_path, model, user) as kernel:
        code, said = await result(kernel, capsys, "do it", "--no-merge")
        assert (code, said["branches"]["merged_into"]) == (0, "")
        path = kernel.dirs.data / "swarm" / said["id"] / "journal.jsonl"
        lines = path.read_bytes().splitlines(keepends=True)
        for keep in range(1, len(lines)):
            path.write_bytes(b"".join(lines[:keep]) + lines[keep][: len(lines[keep]) // 2])
            code, rows = await result(kernel, capsys, "list")
            assert (code, rows[0]["id"]) == (0, said["id"])
        path.write_bytes(b"{}\n")
        assert (await result(kernel, capsys, "list"))[1] == []


async def test_without_an_id_the_only_unfinished_run_of_the_repository_goes_on(
    tmp_path, user, capsys, monkeypatch
):
    faults = [Reply(fault=ProviderFault("invalid", "no"))] * 3

    def one(request, step):
        return faults.pop() if faults else "done"

    model = Model(plan(task("one")), one=one)
    elsewhere = repository(tmp_path / "elsewhere")
    (user / "below").mkdir()
    async with kernel_at(tmp_path, model, user) as kernel:
        failed = []
        for where in (user, elsewhere, user):
            monkeypatch.chdir(where)
            code, said = await result(kernel, capsys, "do it", "--retries", "0")
            failed.append(said["id"])
        monkeypatch.chdir(user / "below")
        with pytest.raises(UsageError, match="2 runs") as told:
            await swarm(kernel, "resume")
        assert [each in told.value.message for each in failed] == [True, False, True]
        code, said = await result(kernel, capsys, "resume", failed[0])
        assert code == 0
        code, said = await result(kernel, capsys, "resume")
        assert (code, said["id"]) == (0, failed[2])
        with pytest.raises(UsageError, match="no unfinished run of this repository"):
            await swarm(kernel, "resume")


async def test_wrong_words(tmp_path, user, capsys):
    async with kernel_at(tmp_path, Model(plan()), user) as kernel:
        with pytest.raises(CodetetherError, match="no run 'nowhere'"):
            await swarm(kernel, "show", "nowhere")
        with pytest.raises(UsageError, match="which run"):
            await swarm(kernel, "show")
        with pytest.raises(UsageError, match="no unfinished run of this repository"):
            await swarm(kernel, "resume")
        with pytest.raises(UsageError, match="what is the task"):
            await swarm(kernel)
        with pytest.raises(CodetetherError, match="no plan that can be carried out"):
            await swarm(kernel, "do it")
        assert branches(user) == ["main"]

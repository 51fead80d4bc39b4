"""git was killed while it held a lock: what is the run's own is taken away, what is shared is waited for and told."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from codetether.api import AgentResult
from codetether.testing import call
from swarms import Model, branches, git, kernel_at, plan, result, swarm, task, writes
from test_swarm_resume import Child, healthy, killed, user

__all__ = ["killed", "user"]


def old(*files):
    """Files that were made an hour ago."""
    for file in files:
        file.write_text("")
        os.utime(file, (file.stat().st_mtime - 3600,) * 2)
    return files


def state(user):
    return git(user, "status", "--porcelain"), git(user, "rev-parse", "HEAD", "main")


async def test_every_lock_that_is_the_runs_own_is_taken_away(tmp_path, user, killed, capsys):
    control, heads = user / ".git" / "worktrees", user / ".git" / "refs" / "heads" / "codetether"
    locks = old(
        *(control / tree / name for tree in (killed, f"{killed}-left")
          for name in ("index.lock", "HEAD.lock", "ORIG_HEAD.lock")),
        *(heads / f"{killed}{which}.lock" for which in ("", "-left", "-top", "_before")),
    )  # fmt: skip
    async with kernel_at(tmp_path, healthy(), user) as kernel:
        code, said = await result(kernel, capsys, "resume", killed)
    assert (code, said["branches"]["merged_into"]) == (0, "main"), said
    assert [lock for lock in locks if lock.exists() and "_before" not in lock.name] == []
    assert branches(user) == ["main"]
    assert (user / "left.txt").exists()


async def test_a_lock_that_is_held_for_a_moment_is_left_to_who_holds_it(tmp_path, user, killed, capsys):  # fmt: skip
    """The user's gc looks at all branches."""
    lock = user / ".git" / "refs" / "heads" / "codetether" / f"{killed}.lock"
    code = "import os, sys, time; from pathlib import Path; p = Path(sys.argv[1]); p.touch(); print(flush=True); time.sleep(1); p.rename(sys.argv[2])"  # fmt: skip
    holder = subprocess.Popen([sys.executable, "-c", code, lock, tmp_path / "kept"], stdout=subprocess.PIPE)  # fmt: skip
    with holder:
        await trio.to_thread.run_sync(holder.stdout.readline)
        async with kernel_at(tmp_path, healthy(), user) as kernel:
            code, _ = await result(kernel, capsys, "resume", killed)
    assert (code, holder.returncode, (tmp_path / "kept").exists()) == (0, 0, True)


@pytest.mark.parametrize("name", ["index.lock", "HEAD.lock", "refs/heads/main.lock"])
async def test_a_lock_of_the_users_keeps_the_result_on_its_branch(tmp_path, user, killed, capsys, name):  # fmt: skip
    [lock] = old(user / ".git" / name)
    before = state(user)
    async with kernel_at(tmp_path, healthy(), user) as kernel:
        code = await swarm(kernel, "resume", killed, flags=["--format", "stream-json"])
        told = capsys.readouterr().out
        assert (code, state(user)) == (0, before)
        assert f"{lock} is in the way" in told
        assert "60 min old" in told
        assert lock.exists()
        lock.unlink()
        code, said = await result(kernel, capsys, "resume", killed)
    assert (code, said["branches"]["merged_into"], branches(user)) == (0, "main", ["main"])
    assert (user / "left.txt").exists()


async def test_a_lock_that_all_share_stays_and_the_run_is_done_all_the_same(tmp_path, user, killed, capsys):  # fmt: skip
    packed, config = old(user / ".git" / "packed-refs.lock", user / ".git" / "config.lock")
    async with kernel_at(tmp_path, healthy(), user) as kernel:
        assert await swarm(kernel, "resume", killed, flags=["--json"]) == 0
        told = capsys.readouterr()
        branches_now = json.loads(told.out)["branches"]
        assert branches_now == {"result": "", "merged_into": "main", "unmerged": []}
        assert f"codetether/{killed}-left could not be deleted: {packed} is in the way, 60 min" in told.err  # fmt: skip
        assert f"codetether/{killed} could not be deleted" in told.err
        assert (packed.exists(), config.exists(), (user / "left.txt").exists()) == (True,) * 3
        code, told = await result(kernel, capsys, "cleanup", killed)
        assert (code, told["removed"]) == (0, False)
        packed.unlink()
        code, told = await result(kernel, capsys, "cleanup", killed)
    assert (code, told["kept"], branches(user)) == (0, [], ["main"])
    assert len(git(user, "worktree", "list").splitlines()) == 1
    assert config.exists()


async def test_a_worktree_that_was_half_made_is_made_again(tmp_path, user, killed, capsys):
    """Killed in `git worktree add`: its branch is there, and some of what git knows of it."""
    tree, *_ = tmp_path.glob(f"home/**/{killed}-left")
    control = user / ".git" / "worktrees" / f"{killed}-left"
    tree.with_name(f"{tree.name}.ready").unlink()
    git(user, "branch", f"codetether/{killed}-top", f"codetether/{killed}")
    (control / "locked").write_text("initializing")
    (control / "HEAD").unlink()
    early = control.with_name(f"{killed}-top")  # even earlier
    early.mkdir()
    (early / "locked").write_text("initializing")
    async with kernel_at(tmp_path, healthy(), user) as kernel:
        code, said = await result(kernel, capsys, "resume", killed)
    assert (code, said["branches"]["merged_into"]) == (0, "main"), said
    assert not (user / ".git" / "worktrees").exists()
    assert branches(user) == ["main"]


async def test_the_lock_on_a_branch_that_comes_from_elsewhere_is_taken_away_too(
    tmp_path, user, capsys, monkeypatch
):
    class Elsewhere:
        elsewhere = True

        async def ready(self, address):
            """Nothing to be had."""

        async def run(self, task, observe):
            git(user, "update-ref", f"refs/heads/{task.branch}", task.base)
            return AgentResult(task.id, True, "done", "done", "", 1, 0.1)

    async with kernel_at(tmp_path, Model(plan(task("one"))), user) as kernel:
        here = kernel.executor
        monkeypatch.setattr(
            kernel, "executor", lambda name="local": Elsewhere() if name == "far" else here()
        )
        monkeypatch.setattr("codetether_mode_swarm.driving.new_id", lambda _: "swarm-x")
        heads = user / ".git" / "refs" / "heads" / "codetether"
        heads.mkdir()
        [lock] = old(heads / "swarm-x-one.lock")
        code, said = await result(kernel, capsys, "do it", "--no-gates", "--executor", "far")
    assert (code, said["success"], lock.exists()) == (0, True, False), said


# --- really killed ---
GO = """
import os, sys, trio
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from swarms import kernel_at, swarm
from test_swarm_locks import slow

async def main():
    where = Path(sys.argv[2])
    os.chdir(where)
    async with kernel_at(where.parent, slow(), where) as kernel:
        await swarm(kernel, "do it", flags=["--no-gates", "--json"])

trio.run(main)
"""
# git runs it, of the user's settings, while it holds the lock of an index. It stalls where `stall` says.
FILTER = """#!/bin/sh
case $PWD/$1 in $(cat {0}/stall)) p=$PPID; while [ $(cat /proc/$p/comm) != git ]; do set -- $(cat /proc/$p/stat); p=$4; done; echo $p > {0}/stalling; mv {0}/stalling {0}/stalled; sleep {1};; esac
cat
"""


def slow():
    return Model(
        plan(task("one"), task("two", "one")), one=writes("one.slow", "one\n"), two=writes("two.slow", "two\n")
    )  # fmt: skip


def stalls(tmp_path, home, user, how, where, seconds, files="*.slow"):
    script = tmp_path / "filter"
    script.write_text(FILTER.format(tmp_path, seconds))
    script.chmod(0o755)
    with (home / "gitconfig").open("a") as settings:
        settings.write(f'[filter "slow"]\n\t{how} = {script} %f\n')
    (user / ".gitattributes").write_text(f"{files} filter=slow\n")
    git(user, "add", "-A")
    git(user, "commit", "-qm", "attributes")
    (tmp_path / "stall").write_text(where)


PLACES = {
    "a part's": ("*-one/*", "clean"),
    "the result's": ("*/swarm-????-????-????/*", "smudge"),
    "the user's": ("*/repo/two.slow", "smudge"),
}


@pytest.mark.parametrize("git_too", [False, True], ids=["guarded", "all at once"])
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
async def test_killed_while_git_holds_the_lock_of_an_index(
    tmp_path, user, home, capsys, place, git_too
):
    """With its guard, or with git as when there is no memory or power."""
    where, how = place
    stalls(tmp_path, home, user, how, where, 60)
    (user / "mine.txt").write_text("mine\n")
    folder = str(Path(__file__).parent)
    process = subprocess.Popen([sys.executable, "-c", GO, folder, user], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    with trio.fail_after(60):
        while not (tmp_path / "stalled").exists():
            await trio.sleep(0.02)
    assert list((user / ".git").rglob("index.lock"))
    if git_too:
        os.kill(int((tmp_path / "stalled").read_text()), signal.SIGKILL)
    process.kill()
    process.wait()
    (tmp_path / "stall").write_text("nowhere")
    [journal] = tmp_path.glob("home/**/swarm/*/journal.jsonl")
    async with kernel_at(tmp_path, slow(), user) as kernel:
        if git_too and "repo" in where:
            assert await swarm(kernel, "resume", journal.parent.name) == 0
            lock = user / ".git" / "index.lock"
            assert f"{lock} is in the way" in capsys.readouterr().err
            lock.unlink()  # theirs to do
        code, said = await result(kernel, capsys, "resume", journal.parent.name)
    assert (code, said["branches"]["merged_into"]) == (0, "main"), said
    assert branches(user) == ["main"]
    names = [".gitattributes", "a.txt", "mine.txt", "one.slow", "two.slow"]
    assert sorted(path.name for path in user.iterdir() if path.name != ".git") == names
    assert git(user, "status", "--porcelain") == "?? mine.txt"


async def test_who_presses_ctrl_c_twice_waits_for_nothing_and_is_told_how_to_go_on(
    tmp_path, user, home, capsys
):
    stalls(tmp_path, home, user, "clean", "*-left/*", 100, files="left.txt")
    child = Child(user, stderr=subprocess.PIPE)
    child.until_stalled()
    child.process.send_signal(signal.SIGINT)
    with trio.fail_after(60):
        while not (tmp_path / "stalled").exists():  # git commits what there is
            await trio.sleep(0.02)
    child.process.send_signal(signal.SIGINT)
    _, told = child.process.communicate(timeout=60)
    assert child.process.returncode == 130
    words = told.partition("go on: codetether swarm ")[2].split()
    assert (
        git(user, "log", "--format=%s", f"codetether/{words[1]}-left").split("\n")[0]
        != "unfinished work"
    )
    (tmp_path / "stall").write_text("nowhere")
    async with kernel_at(tmp_path, healthy(), user) as kernel:
        code, _ = await result(kernel, capsys, *words)
    assert (code, (user / "left.txt").exists()) == (0, True)


async def test_a_run_that_is_stopped_lets_git_finish_in_the_users_tree(
    tmp_path, user, home, capsys
):
    stalls(tmp_path, home, user, "smudge", "*/repo/two.slow", 1)
    async with kernel_at(tmp_path, slow(), user) as kernel, trio.open_nursery() as nursery:

        async def stop():
            while not (tmp_path / "stalled").exists():
                await trio.sleep(0.01)
            kernel.mode("swarm").running[0].stop("enough")

        nursery.start_soon(stop)
        _, said = await result(kernel, capsys, "do it", "--no-gates")
    assert said["branches"]["merged_into"] == "main", said
    assert git(user, "status", "--porcelain") == ""
    assert (user / "two.slow").read_text() == "two\n"


async def test_of_the_users_tree_only_what_is_as_in_the_result_is_in_nobodys_way(
    tmp_path, user, capsys
):
    git(user, "mv", "a.txt", "b.txt")
    git(user, "commit", "-qm", "b")
    model = Model(plan(task("one")), one=writes("new.txt", "new\n"))
    async with kernel_at(tmp_path, model, user) as kernel:
        (user / "b.txt").write_text("mine\n")
        _, said = await result(kernel, capsys, "do it", "--no-gates")
        (user / "new.txt").write_text("mine\n")
        _, again = await result(kernel, capsys, "resume", said["id"])
        assert again["branches"]["merged_into"] == ""
        (user / "new.txt").write_text("new\n")
        _, again = await result(kernel, capsys, "resume", said["id"])
        assert again["branches"]["merged_into"] == ""
        assert git(user, "status", "--porcelain") == "M b.txt\n?? new.txt"
        git(user, "checkout", "-q", "b.txt")
        _, again = await result(kernel, capsys, "resume", said["id"])
    assert again["branches"]["merged_into"] == "main"
    assert git(user, "status", "--porcelain") == ""


async def test_what_the_user_changed_otherwise_than_the_result_is_in_the_way(
    tmp_path, user, capsys
):
    model = Model(plan(task("one")), one=writes("a.txt", "1\n"))
    async with kernel_at(tmp_path, model, user) as kernel:
        (user / "a.txt").write_text("mine\n")
        assert await swarm(kernel, "do it", "--no-gates") == 0
    assert "you have uncommitted changes (a.txt)" in capsys.readouterr().err
    assert (user / "a.txt").read_text() == "mine\n"


async def test_what_the_user_staged_otherwise_than_the_result_is_in_the_way(tmp_path, user, capsys):
    """Their file is as in the result, and what they staged of it is nowhere else."""
    model = Model(plan(task("one")), one=writes("a.txt", "1\n"))
    async with kernel_at(tmp_path, model, user) as kernel:
        (user / "a.txt").write_text("staged\n")
        git(user, "add", "a.txt")
        (user / "a.txt").write_text("1\n")
        assert await swarm(kernel, "do it", "--no-gates") == 0
        assert "you have uncommitted changes (a.txt)" in capsys.readouterr().err
        assert git(user, "show", ":a.txt") == "staged"
        [run] = (await result(kernel, capsys, "list"))[1]
        git(user, "add", "a.txt")
        _, said = await result(kernel, capsys, "resume", run["id"])
    assert said["branches"]["merged_into"] == "main"


async def test_what_the_user_changed_in_a_file_that_the_result_deletes_is_in_the_way(
    tmp_path, user, capsys
):
    model = Model(plan(task("one")), one=[call("bash", command="rm a.txt; echo 1 > b.txt"), "done"])
    async with kernel_at(tmp_path, model, user) as kernel:
        (user / "a.txt").write_text("mine\n")
        assert await swarm(kernel, "do it", "--no-gates") == 0
        assert "you have uncommitted changes (a.txt)" in capsys.readouterr().err
        assert ((user / "a.txt").read_text(), (user / "b.txt").exists()) == ("mine\n", False)
        [run] = (await result(kernel, capsys, "list"))[1]
        git(user, "checkout", "-q", "a.txt")
        (user / "a.txt").unlink()  # git was killed when it had come so far
        _, said = await result(kernel, capsys, "resume", run["id"])
    assert said["branches"]["merged_into"] == "main"
    assert git(user, "status", "--porcelain") == ""

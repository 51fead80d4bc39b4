"""What git cannot commit: it fails a sub-task, not the swarm, and stays where it was made."""

import json
import os

import pytest
from codetether.testing import call
from swarms import Model, branches, git, kernel_at, plan, repository, result, swarm, task, writes

# A repository inside that has no commit: `git add` refuses it.
INNER = call("bash", command="echo y > y.txt; mkdir in; git init -q in; echo x > in/x.txt")
# And one that has: of it git stores a number.
WITH_COMMIT = call("bash", command=f"{INNER.calls[0].arguments['command']}; cd in; git add -A; git -c user.name=x -c user.email=x commit -qm x")  # fmt: skip


@pytest.fixture
def user(tmp_path, monkeypatch):
    where = repository(tmp_path / "repo")
    monkeypatch.chdir(where)
    return where


@pytest.mark.parametrize(
    ("made", "why"),
    [(INNER, "'in/' does not have a commit"), (WITH_COMMIT, "a git repository of its own in in,")],
)
async def test_a_sub_task_whose_work_cannot_be_committed_is_told_and_mends_it(
    tmp_path, user, capsys, made, why
):
    def one(request, step):
        again = "An earlier attempt failed" in model.prompts["one"][-1]
        return [call("bash", command="rm -rf in/.git") if again else made, "done"][step]

    model = Model(plan(task("one")), one=one)
    async with kernel_at(tmp_path, model, user) as kernel:
        code, said = await result(kernel, capsys, "do it", "--no-gates")
    assert (code, said["branches"]["merged_into"]) == (0, "main"), said
    assert why in model.prompts["one"][-1]
    assert (user / "in" / "x.txt").read_text() == "x\n"


async def test_one_that_does_not_mend_it_fails_alone_and_nothing_of_it_goes(tmp_path, user, capsys):
    model = Model(plan(task("one"), task("two")), one=[INNER, "done"], two=writes("two.txt", "2"))
    async with kernel_at(tmp_path, model, user) as kernel:
        code, said = await result(kernel, capsys, "do it", "--no-gates")
        [one, two] = said["subtask_results"]
        assert (code, one["status"], two["status"]) == (1, "failed", "completed")
        [tree] = tmp_path.glob(f"home/**/{said['id']}-one")
        assert str(tree) in one["error"]
        assert "does not have a commit" in one["error"]
        assert (tree / "in" / "x.txt").exists()
        assert git(user, "show", f"{one['branch']}:y.txt") == "y"
        code, told = await result(kernel, capsys, "cleanup", said["id"])
        assert {"branch": one["branch"], "path": str(tree)}.items() <= told["kept"][0].items()
        assert (tree / "in" / "x.txt").exists()
        git(tree / "in", "add", "-A")
        git(tree / "in", "commit", "-qm", "theirs")
        (tree / "in").rename(tmp_path / "taken")
        code, said = await result(kernel, capsys, "resume", said["id"])
        assert (code, said["subtask_results"][0]["status"]) == (1, "failed")


async def test_one_who_resolves_or_mends_so_has_not_done_it(tmp_path, user, capsys):
    both = [call("bash", command=f"echo both > a.txt; {INNER.calls[0].arguments['command']}"), "ok"]
    model = Model(
        plan(task("one"), task("two"), task("three")),
        one=writes("a.txt", "1"), two=writes("b.txt", "2"), three=writes("a.txt", "3"), conflict=both,
        gates=[call("bash", command=f"touch c.txt; {INNER.calls[0].arguments['command']}"), "ok"],
    )  # fmt: skip
    async with kernel_at(tmp_path, model, user) as kernel:
        flags = ["--json", "--gate", "test ! -e b.txt -o -e in"]
        code = await swarm(kernel, "do it", flags=flags)
    out, told = capsys.readouterr()
    assert "an agent resolves its conflict in a.txt" in told
    said = json.loads(out)
    states = sorted(each["status"] for each in said["subtask_results"])
    assert (code, states) == (1, ["completed", "completed", "conflict"]), said
    assert said["gates"]["ok"] is False
    assert branches(user)[-1] == "main"


STRANGE = "f=$(printf 'b\\377d.txt'); echo {} > $f; printf n > 'new\nline.txt'; ln -sf nowhere link"


async def test_names_that_are_no_text_and_half_characters_end_no_run(tmp_path, user, capsys):
    """Nor do they spoil the journal, which all is read from again."""
    made = {
        name: [call("bash", command=STRANGE.format(name)), "a\ud800b"]
        for name in ("one", "two", "conflict")
    }
    halves = json.dumps(
        {"subtasks": [{**task(name), "instruction": "\udcff"} for name in ("one", "two")]}
    )
    async with kernel_at(tmp_path, Model(halves, **made), user) as kernel:
        flags = ["--no-gates", "--format", "stream-json"]
        assert await swarm(kernel, "do it \udcff", flags=flags) == 0
        lines = list(map(json.loads, capsys.readouterr().out.splitlines()))
        said = lines[-1]["result"]
        assert said["branches"]["merged_into"] == "main"
        assert (user / os.fsdecode(b"b\377d.txt")).read_text() == "conflict\n"
        assert (user / "new\nline.txt").exists()
        code, shown = await result(kernel, capsys, "show", said["id"])
    assert (code, shown["completed"], shown["status"]) == (0, 2, "completed")
    assert shown["plan"][0]["result"] == "a?b"

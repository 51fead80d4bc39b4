"""Where a swarm's result goes when the user went on meanwhile: on top of what they committed, or nowhere near it."""

import json

import pytest
from deaths import deaths
from swarms import (
    Model,
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


@pytest.fixture
def user(tmp_path, monkeypatch):
    where = repository(tmp_path / "repo")
    monkeypatch.chdir(where)
    return where


def commits(where, name, text="mine\n", *words):
    """The user commits a file: the commit."""
    (where / name).write_text(text)
    git(where, "add", name)
    git(where, "commit", "-qm", "mine", *words)
    return git(where, "rev-parse", "HEAD")


def meanwhile(does, path="x.txt", content="x\n"):
    """A model whose sub-agent writes a file, and meanwhile the user `does` something."""
    done = []

    def one(request, step):
        if step == 0:
            done.append(does())
        return writes(path, content)[step]

    return Model(plan(task("one")), one=one), done


async def test_what_the_user_committed_meanwhile_comes_first(tmp_path, user, capsys):
    model, mine = meanwhile(lambda: commits(user, "mine.txt"))
    async with kernel_at(tmp_path, model, user) as kernel:
        code, said = await result(kernel, capsys, "do it", "--gate", "test -e a.txt")
    assert (code, said["branches"]) == (0, {"result": "", "merged_into": "main", "unmerged": []})
    assert git(user, "rev-parse", "main^1") == mine[0]
    assert [(user / name).read_text() for name in ("mine.txt", "x.txt")] == ["mine\n", "x\n"]
    assert git(user, "status", "--porcelain") == ""
    assert branches(user) == ["main"]
    assert len(git(user, "worktree", "list").splitlines()) == 1


@pytest.mark.parametrize(
    ("path", "gate", "why"),
    [
        ("mine.txt", "true", "both sides changed the same place: mine.txt"),
        ("x.txt", "! test -e x.txt || ! test -e mine.txt", "gate: "),
    ],
)
async def test_what_does_not_go_with_it_stays_on_its_branch(
    tmp_path, user, capsys, path, gate, why
):
    model, mine = meanwhile(lambda: commits(user, "mine.txt"), path)
    async with kernel_at(tmp_path, model, user) as kernel:
        code = await swarm(kernel, "do it", flags=["--gate", gate, "--json"])
    out, told = capsys.readouterr()
    said = json.loads(out)
    branch = said["branches"]["result"]
    assert (code, said["success"], said["branches"]["merged_into"]) == (0, True, "")
    assert git(user, "rev-parse", "main") == mine[0]
    assert git(user, "show", f"{branch}:{path}") == "x"
    assert branches(user) == [branch, "main"]
    assert git(user, "status", "--porcelain") == ""
    assert len(git(user, "worktree", "list").splitlines()) == 1
    assert f"not merged into main: it does not go with what you committed: {why}" in told


@pytest.mark.parametrize("how", ["amended", "left", "uncommitted"])
async def test_who_did_something_else_is_left_alone(tmp_path, user, capsys, how):
    does = {
        "amended": lambda: commits(user, "mine.txt", "mine\n", "--amend"),
        "left": lambda: git(user, "switch", "-qc", "other") and commits(user, "mine.txt"),
        "uncommitted": lambda: commits(user, "mine.txt") and (user / "a.txt").write_text("mine\n"),
    }
    model, _ = meanwhile(does[how])
    async with kernel_at(tmp_path, model, user) as kernel:
        code, said = await result(kernel, capsys, "do it")
    assert (code, said["branches"]["merged_into"]) == (0, "")
    assert git(user, "show", f"{said['branches']['result']}:x.txt") == "x"
    assert not (user / "x.txt").exists()


async def test_killed_after_that_it_is_not_merged_again(tmp_path, user, capsys):
    with deaths(user, "swarms:go", "codetether_executor_local", "codetether_mode_swarm.driving") as die:  # fmt: skip
        die("after", '"subtask":"base","state":"completed"', "build a tower")
        [journal] = tmp_path.glob("home/**/swarm/*/journal.jsonl")
        mine = commits(user, "mine.txt")
        die("before", '"type":"ended"', "resume", journal.parent.name)
    tip = git(user, "rev-parse", "main")
    assert git(user, "rev-parse", "main^1") == mine
    async with kernel_at(tmp_path, tower(), user) as kernel:
        code, said = await result(kernel, capsys, "resume", journal.parent.name)
    assert (code, said["branches"]["merged_into"]) == (0, "main"), said
    assert git(user, "rev-parse", "main") == tip
    assert branches(user) == ["main"]
    assert len(git(user, "worktree", "list").splitlines()) == 1

"""Stories side by side, and the user's own repository meanwhile: nothing of theirs is touched, nothing is lost."""

from __future__ import annotations

import json

import pytest
from codetether.api import CodetetherError
from codetether.testing import call
from ralphs import (  # fmt: skip
    CALC,
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


def changes(path, text):
    return [call("bash", command=f"printf '{text}\\n' > {path}"), "done"]


async def test_stories_side_by_side_become_a_line_of_commits(tmp_path, at, capsys):
    where = at(story("A"), story("B"), story("C"), story("D", "A", "B", "C"))
    model = Model(**{name: changes(f"{name}.txt", name) for name in "ABCD"})
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run")
    assert code == 0, said
    subjects = git(where, "log", "--format=%s", "main..feature/calc").splitlines()
    assert sorted(subjects) == [f"feat({name}): Do {name.upper()}" for name in "abcd"]
    assert subjects[0] == "feat(d): Do D"
    assert git(where, "log", "--merges", "--format=%s", "feature/calc") == ""
    assert branches(where) == ["feature/calc", "main"]


def clash(text, say="done"):
    return [call("bash", command=f"sed -i 's/two/{text}/' a.txt"), say]


async def test_a_conflict_is_resolved_and_judged_again(tmp_path, at, capsys):
    where = at(story("A"), story("B"), checks={"test": "! grep -q '<<<' a.txt"})
    command = "printf 'one\\nA and B\\nthree\\n' > a.txt; echo x > progress.txt"
    resolve = [call("bash", command=command), "both"]
    model = Model(A=clash("A"), B=clash("B"), conflict=resolve)
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run")
    assert (code, model.asked["conflict"]) == (0, 2), said
    assert git(where, "diff", "--name-only", "main", "feature/calc") == "a.txt"
    assert git(where, "show", "feature/calc:a.txt") == "one\nA and B\nthree"
    assert git(where, "log", "--merges", "--format=%s", "feature/calc") == ""


async def test_a_conflict_that_stays_keeps_the_branch_until_it_is_resolved(tmp_path, at, capsys):
    where = at(story("A"), story("B"), story("C", "A", "B"), checks={"test": "true"})
    model = Model(A=clash("A"), B=clash("B"), C=changes("c.txt", "c"))
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run")
        states = sorted(each["state"] for each in said["stories"])
        assert (code, states) == (1, ["conflict", "passed", "skipped"])
        [kept] = said["branches"]["unmerged"]
        lost = git(where, "show", f"{kept}:a.txt")
        assert lost != git(where, "show", "feature/calc:a.txt")
        asked = {name: model.asked[name] for name in "AB"}
        model.conflict = [call("bash", command="printf 'one\\nA and B\\nthree\\n' > a.txt"), "both"]
        code, said = await result(kernel, capsys, "resume")
    assert (code, passes(where)) == (0, ["A", "B", "C"]), said
    assert {name: model.asked[name] for name in "AB"} == asked
    notes = (where / "progress.txt").read_text()
    assert notes.count(", conflict\n") == 1
    assert notes.count(", passed\n\n2") == 3
    assert git(where, "show", "feature/calc:a.txt") == "one\nA and B\nthree"
    assert branches(where) == ["feature/calc", "main"]


async def test_what_breaks_only_together_goes_back_to_its_agent(tmp_path, at, capsys):
    where = at(story("A"), story("B"), checks={"test": "test ! -e x || test ! -e y"})
    away = [call("bash", command="git mv -f y z 2>/dev/null || mv y z"), "renamed"]
    also = [call("bash", command="git mv -f x w 2>/dev/null || mv x w"), "renamed"]
    model = Model(A=[changes("x", "1"), also], B=[changes("y", "2"), away])
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run")
    assert (code, said["current_iteration"]) == (0, 3), said
    files = git(where, "ls-tree", "--name-only", "feature/calc").splitlines()
    assert {"x", "z"} <= set(files) or {"w", "y"} <= set(files)


async def test_the_users_uncommitted_work_is_not_touched(tmp_path, at, capsys):
    where = at(story("US-1"), branch="")
    (where / "calc.py").write_text("# mine\n")
    (where / "a.txt").write_text("staged\n")
    git(where, "add", "a.txt")
    (where / "new.txt").write_text("untracked\n")
    before = git(where, "status", "--porcelain"), git(where, "rev-parse", "main")
    model = Model(US_1=adds("sub"))
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run")
    assert (code, said["branches"]["landed_on"]) == (0, "")
    after = git(where, "status", "--porcelain").replace("\n?? progress.txt", "")
    assert (after, git(where, "rev-parse", "main")) == before
    assert (where / "calc.py").read_text() == "# mine\n"
    assert "def sub" in git(where, "show", f"{said['branches']['result']}:calc.py")
    assert passes(where) == ["US-1"]


async def test_a_clean_tree_follows_though_the_document_is_in_git(tmp_path, at, capsys):
    where = at(story("US-1"), story("US-2"), branch="", tracked=True)
    model = Model(US_1=adds("sub"), US_2=changes("b.txt", "b"))
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run")
    assert (code, said["branches"]["landed_on"]) == (0, "main"), said
    assert "def sub" in (where / "calc.py").read_text()
    assert git(where, "status", "--porcelain") == "M prd.json\n?? progress.txt"
    assert branches(where) == ["main"]


def commits(where, path, text):
    """What a user does: they commit one file, whatever else is in their tree and index."""
    (where / path).write_text(text)
    git(where, "add", path)
    git(where, "commit", "-qm", f"mine: {path}", "--", path)


def first(does, *said):
    """Replies of an agent, before whose first one the user does something."""

    def reply(request, step):
        if step == 0:
            does()
        return said[step]

    return reply


async def test_commits_of_the_user_become_part_of_the_result(tmp_path, at, capsys):
    gate = {"test": "grep raise calc.py && echo FAILED calc::raise && exit 1 || exit 0"}
    where = at(story("A"), story("B", "A"), story("C", "B"), branch="", checks=gate, tracked=True)
    breaks = "def add(a, b):\n    raise SystemExit\n"
    model = Model(
        A=first(lambda: commits(where, "mine.txt", "mine\n"), *changes("x.txt", "x")),
        B=first(lambda: commits(where, "calc.py", breaks), *changes("y.txt", "y")),
        C=first(lambda: commits(where, "prd.json", (where / "prd.json").read_text()), *changes("z.txt", "z")),
    )  # fmt: skip
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run")
    assert (code, said["branches"]["landed_on"]) == (0, "main"), said
    subjects = git(where, "log", "--format=%s", "main").splitlines()
    assert subjects[:6] == [
        "feat(c): Do C", "mine: prd.json", "feat(b): Do B", "mine: calc.py", "feat(a): Do A", "mine: mine.txt",
    ]  # fmt: skip
    assert all((where / f"{name}.txt").exists() for name in ("mine", "x", "y", "z"))
    assert branches(where) == ["main"]
    assert model.asked == {"A": 2, "B": 2, "C": 2}
    assert git(where, "diff", "--name-only", "HEAD") == "prd.json"


async def test_a_commit_of_the_user_that_conflicts_keeps_the_story_on_its_branch(
    tmp_path, at, capsys
):
    where = at(story("A"), branch="", checks={"test": "true"})
    mine = "one\nmine\nthree\n"
    model = Model(A=first(lambda: commits(where, "a.txt", mine), *clash("A")))
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run")
        assert (code, said["stories"][0]["state"], said["branches"]["landed_on"]) == (1, "conflict", "")  # fmt: skip
        [kept] = said["branches"]["unmerged"]
        assert git(where, "show", f"{kept}:a.txt") == "one\nA\nthree"
        assert (git(where, "log", "-1", "--format=%s"), (where / "a.txt").read_text()) == ("mine: a.txt", mine)  # fmt: skip
        assert git(where, "status", "--porcelain") == "?? prd.json\n?? progress.txt"
        assert branches(where) == [kept, "main"]
        model.conflict = [call("bash", command="printf 'one\\nA and mine\\nthree\\n' > a.txt"), "both"]  # fmt: skip
        code, said = await result(kernel, capsys, "resume")
    assert (code, passes(where), said["branches"]["landed_on"]) == (0, ["A"], "main"), said
    assert (where / "a.txt").read_text() == "one\nA and mine\nthree\n"


@pytest.mark.parametrize(("text", "state"), [("both", "passed"), ("bad", "unverified")])
async def test_a_conflict_that_the_user_merged_is_judged(tmp_path, at, capsys, text, state):
    where = at(story("A"), branch="", checks={"test": "! grep -q bad a.txt"})
    mine = "one\nmine\nthree\n"
    model = Model(A=first(lambda: commits(where, "a.txt", mine), *clash("A")))
    async with kernel_at(tmp_path, model, where) as kernel:
        _, said = await result(kernel, capsys, "run")
        [kept] = said["branches"]["unmerged"]
        git(where, "merge", "-q", "-s", "ours", "--no-commit", kept)
        (where / "a.txt").write_text(f"one\n{text}\nthree\n")
        git(where, "commit", "-qam", "merged by hand")
        asked = dict(model.asked)
        _, said = await result(kernel, capsys, "resume", "--retries", "0")
    assert said["stories"][0]["state"] == state, said
    assert model.asked == asked
    assert git(where, "log", "-1", "--format=%s") == "merged by hand"
    assert branches(where) == ["main"]


@pytest.mark.parametrize("words", [("reset", "-q", "--hard", "HEAD^"), ("commit", "-q", "--amend", "-m", "mine")])  # fmt: skip
async def test_what_the_user_takes_back_is_not_brought_again(tmp_path, at, capsys, words):
    where = at(story("A"), story("B", "A"), branch="", checks={"test": "true"})
    back = first(lambda: git(where, *words), *changes("y.txt", "y"))
    async with kernel_at(tmp_path, Model(A=changes("x.txt", "x"), B=back), where) as kernel:
        assert await ralph(kernel, "run") == 0
    told = capsys.readouterr().err
    assert git(where, "log", "-1", "--format=%s", "main") == (
        "first" if "reset" in words else "mine"
    )
    assert not (where / "y.txt").exists()
    kept, _ = branches(where)
    assert git(where, "show", f"{kept}:x.txt") + git(where, "show", f"{kept}:y.txt") == "xy"
    assert "the result is not on main: you have taken back what was on main" in told


async def test_a_branch_that_could_not_follow_is_merged_with_the_result(tmp_path, at, capsys):
    where = at(story("A"), story("B", "A"), branch="", checks={"test": "true"})
    (where / "calc.py").write_text("# mine\n")
    (where / "new.txt").write_text("staged\n")
    git(where, "add", "new.txt")

    def saves():
        git(where, "rm", "-q", "--cached", "new.txt")
        commits(where, "calc.py", "# mine\n")

    model = Model(A=changes("x.txt", "x"), B=first(saves, *changes("y.txt", "y")))
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run")
    assert (code, said["branches"]["landed_on"]) == (0, "main"), said
    assert (where / "calc.py").read_text() == "# mine\n"
    assert all((where / name).exists() for name in ("x.txt", "y.txt", "new.txt"))
    assert branches(where) == ["main"]
    assert len(git(where, "worktree", "list").splitlines()) == 1


@pytest.mark.parametrize(
    ("path", "text", "why"),
    [("a.txt", "one\nmine\nthree\n", "same place: a.txt"), ("bad.txt", "", "test: ")],
)
async def test_a_branch_that_cannot_be_merged_with_the_result_is_left_alone(
    tmp_path, at, capsys, path, text, why
):
    where = at(story("A"), story("B", "A"), branch="", checks={"test": "test ! -e bad.txt"})
    (where / "calc.py").write_text("# mine\n")
    model = Model(A=clash("A"), B=first(lambda: commits(where, path, text), *changes("y.txt", "y")))
    async with kernel_at(tmp_path, model, where) as kernel:
        assert await ralph(kernel, "run") == 0
    told = capsys.readouterr().err
    assert git(where, "log", "-1", "--format=%s") == f"mine: {path}"
    assert git(where, "status", "--porcelain", "--untracked-files=no") == "M calc.py"
    kept, main = branches(where)
    assert main == "main"
    assert git(where, "log", "--format=%s", "main.." + kept).splitlines() == ["feat(b): Do B", "feat(a): Do A"]  # fmt: skip
    [line] = [line for line in told.splitlines() if "need a merge by hand" in line]
    assert why in line
    assert f"git merge {kept}" in told


async def test_without_commits_the_result_is_laid_into_the_tree(tmp_path, at, capsys):
    where = at(story("US-1"), story("US-2"))
    data = "printf 'a\\000b\\377' > blob.bin; chmod +x calc.py; rm a.txt"
    model = Model(US_1=adds("sub"), US_2=[call("bash", command=data), "done"])
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run", "--no-commit")
    assert (code, said["branches"]["landed_on"]) == (0, "the working tree"), said
    assert branches(where) == ["main"]
    assert "def sub" in (where / "calc.py").read_text()
    assert (where / "blob.bin").read_bytes() == b"a\0b\xff"
    assert not (where / "a.txt").exists()
    assert git(where, "diff", "--cached", "--name-only") == ""


LONG = "# one\n" * 20 + CALC


@pytest.mark.parametrize("mine", ["# mine\n", "# mine\n" + LONG])
async def test_what_cannot_be_laid_into_the_tree_stays_on_its_branch(tmp_path, at, capsys, mine):
    where = at(story("US-1"), calc=LONG)
    (where / "calc.py").write_text(mine)
    async with kernel_at(tmp_path, Model(US_1=adds("sub")), where) as kernel:
        code, said = await result(kernel, capsys, "run", "--no-commit")
    assert (code, said["branches"]["landed_on"]) == (0, "")
    assert (where / "calc.py").read_text() == mine
    assert "def sub" in git(where, "show", f"{said['branches']['result']}:calc.py")


async def test_nothing_is_laid_into_a_tree_that_moved_on(tmp_path, at, capsys):
    where = at(story("US-1"))
    model = Model(US_1=first(lambda: commits(where, "mine.txt", "mine\n"), *adds("sub")))
    async with kernel_at(tmp_path, model, where) as kernel:
        code, said = await result(kernel, capsys, "run", "--no-commit")
    assert (code, said["branches"]["landed_on"]) == (0, "")
    assert (where / "calc.py").read_text() == CALC
    assert "def sub" in git(where, "show", f"{said['branches']['result']}:calc.py")


async def test_a_document_changed_meanwhile_keeps_the_change(tmp_path, at, capsys):
    where = at(story("US-1"), story("US-2", "US-1"))

    def meanwhile(request, step):
        raw = json.loads((where / "prd.json").read_text())
        raw["note"] = "mine"
        (where / "prd.json").write_text(json.dumps(raw))
        return adds("sub")[step]

    async with kernel_at(tmp_path, Model(US_1=meanwhile, US_2=adds("mul")), where) as kernel:
        code, _ = await result(kernel, capsys, "run")
    raw = json.loads((where / "prd.json").read_text())
    assert (code, raw["note"], passes(where)) == (0, "mine", ["US-1", "US-2"])


async def test_what_cannot_begin(tmp_path, at, capsys, monkeypatch):
    where = at(story("A", "B"), story("B", "A"))
    async with kernel_at(tmp_path, Model(), where) as kernel:
        with pytest.raises(CodetetherError, match="wait for each other"):
            await ralph(kernel, "run")
        with pytest.raises(CodetetherError, match=r"none\.json cannot be read"):
            await ralph(kernel, "run", "-p", "none.json")
        (where / "prd.json").write_text('{"project": 7}')
        with pytest.raises(CodetetherError, match=r"prd\.json: .*\$\.project"):
            await ralph(kernel, "run")
        document(where, story("A"), branch="no..good")
        with pytest.raises(CodetetherError, match="cannot be the name of a branch"):
            await ralph(kernel, "run")
        document(where, story("A"))
        with pytest.raises(CodetetherError, match="no story 'Z'"):
            await ralph(kernel, "run", "--story", "Z")
        with pytest.raises(CodetetherError, match="no unfinished run of"):
            await ralph(kernel, "resume")
        assert not list((kernel.dirs.data / "ralph").glob("*"))
        bare = tmp_path / "bare"
        bare.mkdir()
        document(bare, story("A"))
        monkeypatch.chdir(bare)
        with pytest.raises(CodetetherError, match="not in a git repository"):
            await ralph(kernel, "run")
    assert branches(where) == ["main"]


async def test_a_document_may_be_a_link_to_one_elsewhere(tmp_path, at, capsys):
    where = at(story("A"), checks={"test": "true"})
    real = tmp_path / "elsewhere" / "real.json"
    real.parent.mkdir()
    (where / "prd.json").rename(real)
    (where / "prd.json").symlink_to(real)
    async with kernel_at(tmp_path, Model(A=changes("x.txt", "x")), where) as kernel:
        code, said = await result(kernel, capsys, "run")
    assert (code, passes(where), said["working_dir"]) == (0, ["A"], str(where)), said
    assert (where / "prd.json").is_symlink()

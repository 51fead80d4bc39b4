"""Worktrees: what is done in them is never lost, what the user has is never touched, nothing in them misleads git."""

import os
import subprocess
import sys
import time

import pytest
import trio
from codetether_worktrees import (
    GitFailed,
    Lease,
    NoRepository,
    Repository,
    abort,
    adopt,
    commit,
    conclude,
    create,
    land,
    merge,
    remove,
    reuse,
    spare,
)


def git(where, *words):
    done = subprocess.run(["git", *words], cwd=where, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def make(where):
    where.mkdir()
    git(where, "init", "-q", "-b", "main")
    (where / "a.txt").write_text("one\ntwo\nthree\n")
    (where / "sub").mkdir()
    (where / "sub" / "b.txt").write_text("b\n")
    git(where, "add", "-A")
    git(where, "commit", "-qm", "first")
    return where


@pytest.fixture
def user(tmp_path):
    return make(tmp_path / "repo")


async def found(user, tmp_path, inside="."):
    return await Repository.find(user / inside, tmp_path / "trees")


def branches(user):
    return git(user, "for-each-ref", "--format=%(refname:short)", "refs/heads").split()


async def test_work_goes_from_a_worktree_to_the_result_to_the_users_branch(user, tmp_path):
    repository = await found(user, tmp_path, "sub")
    result = await create(repository, "run-result")
    one = await create(repository, "run-one")
    assert one.directory == one.path / "sub"
    (one.path / "new.txt").write_text("new\n")
    (one.path / "a.txt").unlink()
    assert await one.changed() == ("a.txt", "new.txt")
    made = await commit(one, "one did it")
    assert made == git(user, "rev-parse", one.branch)
    assert await commit(one, "nothing") == ""
    done = await merge(result, one.branch, "Merge one")
    assert (done.ok, done.files) == (True, ("a.txt", "new.txt"))
    assert not (user / "new.txt").exists()
    landed = await land(repository, done.commit, branch="main")
    assert landed.ok
    assert (user / "new.txt").exists()
    assert git(user, "log", "--merges", "--format=%s") == "Merge one"
    assert await remove(one, [result.branch]) == type(await remove(result, ["main"]))()
    assert branches(user) == ["main"]
    assert len(git(user, "worktree", "list").splitlines()) == 1
    assert list(repository.folder.iterdir()) == []


async def test_a_conflict_is_told_resolved_and_its_marks_are_found(user, tmp_path):
    repository = await found(user, tmp_path)
    result, one, two = [await create(repository, name) for name in ("result", "one", "two")]
    for tree, word in ((one, "ONE"), (two, "TWO")):
        (tree.path / "a.txt").write_text(f"{word}\ntwo\nthree\n")
        await commit(tree, word)
    assert (await merge(result, one.branch, "m1")).ok
    before = await result.tip()
    stuck = await merge(result, two.branch, "m2")
    assert (stuck.ok, stuck.conflicts) == (False, ("a.txt",))
    assert "<<<<<<<" in (result.path / "a.txt").read_text()
    half = await conclude(result, "m2", stuck.conflicts)
    assert (half.ok, half.conflicts) == (False, ("a.txt",))
    await abort(result)
    assert (await result.tip(), await result.changed()) == (before, ())
    stuck = await merge(result, two.branch, "m2")
    (result.path / "a.txt").write_text("ONE and TWO\ntwo\nthree\n")
    assert (await conclude(result, "m2", stuck.conflicts)).ok
    assert len(git(user, "log", "-1", "--format=%P", result.branch).split()) == 2


BYTES = {word: b"\0" + word.encode() for word in ("ONE", "TWO", "BOTH")}


@pytest.mark.parametrize(
    ("one", "two", "words"),
    [
        (BYTES["ONE"], BYTES["TWO"], [(), ("add",), ("rm",), BYTES["BOTH"]]),  # binary: no marks in it
        (None, b"TWO\n", [(), ("add",), ("rm",), b"BOTH\n"]),  # taken away by one side
        (b"ONE\n", None, [(), ("add",), ("rm",)]),
    ],
)  # fmt: skip
async def test_a_conflict_without_marks_is_for_somebody_to_decide(user, tmp_path, one, two, words):
    (user / "a.bin").write_bytes(b"\0" if one and two and one[:1] == b"\0" else b"old\n")
    git(user, "add", "-A")
    git(user, "commit", "-qm", "a.bin")
    repository = await found(user, tmp_path)
    result, ours, theirs = [await create(repository, name) for name in ("result", "one", "two")]
    for tree, content in ((ours, one), (theirs, two)):
        file = tree.path / "a.bin"
        file.unlink() if content is None else file.write_bytes(content)
        await commit(tree, tree.name)
    assert (await merge(result, ours.branch, "m1")).ok
    before = await result.tip()
    for word in words:
        stuck = await merge(result, theirs.branch, "m2")
        assert stuck.conflicts == ("a.bin",)
        if isinstance(word, bytes):
            (result.path / "a.bin").write_bytes(word)
        elif word:
            git(result.path, *word, "-qf" if word == ("rm",) else "-f", "a.bin")
        done = await conclude(result, "m2", stuck.conflicts)
        assert done.ok == bool(word), (word, done)
        if not word:
            assert (done.conflicts, done.why[:14]) == (("a.bin",), "nobody decided")
            await abort(result)
        await result.git("reset", "--hard", "--quiet", before)


async def test_of_two_commits_of_a_submodule_none_goes_without_a_word(user, tmp_path):
    def at(where, commit):
        git(where, "update-index", "--add", "--cacheinfo", f"160000,{commit * 40},lib")

    at(user, "1")
    git(user, "commit", "-qm", "lib")
    git(user, "checkout", "-q", "HEAD", "--", ".")
    repository = await found(user, tmp_path)
    result, ours, theirs = [await create(repository, name) for name in ("result", "one", "two")]
    for tree, number in ((ours, "2"), (theirs, "3")):
        at(tree.path, number)
        git(tree.path, "commit", "-qm", number)
    assert (await merge(result, ours.branch, "m1")).ok
    stuck = await merge(result, theirs.branch, "m2")
    assert stuck.conflicts == ("lib",)
    (result.path / "lib").rmdir()  # `git add` would take that for its end
    done = await conclude(result, "m2", stuck.conflicts)
    assert (done.ok, done.conflicts) == (False, ("lib",))
    (result.path / "lib").mkdir()
    at(result.path, "3")
    assert (await conclude(result, "m2", stuck.conflicts)).ok
    assert git(user, "ls-tree", result.branch, "lib").split()[2] == "3" * 40


async def test_unmerged_and_uncommitted_work_stays_on_its_branch(user, tmp_path):
    repository = await found(user, tmp_path)
    tree = await create(repository, "lone")
    (tree.path / "half.txt").write_text("half\n")
    left = await remove(tree, ["main"])
    assert left.branch == "codetether/lone"
    assert not tree.path.exists()
    assert git(user, "show", "codetether/lone:half.txt") == "half"


async def test_read_only_folders_go_with_a_worktree_and_what_they_link_to_stays(user, tmp_path):
    """To root no folder is read-only."""
    repository = await found(user, tmp_path)
    tree = await create(repository, "caches")
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o500)
    (tree.path / ".gitignore").write_text("cache/\n")
    (tree.path / "cache" / "deep").mkdir(parents=True)
    (tree.path / "cache" / "deep" / "file").write_text("x")
    (tree.path / "cache" / "link").symlink_to(theirs)
    for folder in ("cache/deep", "cache"):
        (tree.path / folder).chmod(0o500)
    await remove(tree)
    assert list(repository.folder.iterdir()) == []
    assert theirs.stat().st_mode & 0o777 == 0o500


async def test_what_could_not_be_deleted_is_in_nobodys_way(user, tmp_path, monkeypatch):
    """What a container made for another user, say."""
    repository = await found(user, tmp_path)
    monkeypatch.setattr("shutil.rmtree", lambda *_, **how: None)
    for _ in range(2):
        await remove(await create(repository, "w"))
    for _ in range(2):
        tree = await create(repository, "x")
        (tree.path / ".git").unlink()
        tree.lease.give_back()
        await remove(await adopt(repository, "x", base=tree.base))
    assert branches(user) == ["main"]


async def test_a_repository_made_inside_is_not_thrown_away(user, tmp_path):
    repository = await found(user, tmp_path)
    tree = await create(repository, "nests")
    make(tree.path / "inner")
    left = await remove(tree, ["main"])
    assert left.path == str(tree.path)
    assert (tree.path / "inner" / "a.txt").exists()


async def test_an_unfinished_merge_is_not_committed_with_its_marks(user, tmp_path):
    repository = await found(user, tmp_path)
    result, one = await create(repository, "result"), await create(repository, "one")
    for tree, word in ((one, "ONE"), (result, "TWO")):
        (tree.path / "a.txt").write_text(word)
        await commit(tree, word)
    assert not (await merge(result, one.branch, "m")).ok
    await remove(result)
    assert git(user, "show", "codetether/result:a.txt") == "TWO"


async def test_a_spare_tree_leaves_nothing_but_what_a_branch_took(user, tmp_path):
    repository = await found(user, tmp_path)
    base = git(user, "rev-parse", "HEAD")
    left = await create(repository, "look", base=base)  # by a process that was killed
    (left.path / "half.txt").write_text("half\n")
    left.lease.give_back()
    for taken in (True, False):
        async with spare(repository, "look", base=base) as tree:
            assert sorted(path.name for path in tree.path.iterdir()) == [".git", "a.txt", "sub"]
            (tree.path / "new.txt").write_text(f"{taken}\n")
            made = await commit(tree, "new")
            (tree.path / "a.txt").write_text("not committed\n")
            if taken:
                git(user, "update-ref", "refs/heads/result", made)
    assert branches(user) == ["main", "result"]
    assert git(user, "show", "result:new.txt") == "True"
    assert len(git(user, "worktree", "list").splitlines()) == 1


async def test_a_spare_tree_goes_in_the_middle_of_a_merge_and_stays_with_a_repository_inside(user, tmp_path):  # fmt: skip
    repository = await found(user, tmp_path)
    one = await create(repository, "one")
    (one.path / "a.txt").write_text("ONE")
    await commit(one, "ONE")
    async with spare(repository, "look", base=repository.stood.commit) as tree:
        (tree.path / "a.txt").write_text("TWO")
        await commit(tree, "TWO")
        assert not (await merge(tree, one.branch, "m")).ok
    assert not tree.path.exists()
    assert branches(user) == ["codetether/one", "main"]
    async with spare(repository, "look", base=repository.stood.commit) as tree:
        make(tree.path / "inner")
    assert (tree.path / "inner" / "a.txt").exists()


async def test_what_a_spare_tree_costs(user, tmp_path, processes):
    repository = await found(user, tmp_path)
    base = repository.stood.commit
    async with spare(repository, "look", base=base):
        begun = processes.count("git")
    # HEAD, four that each ask for filters first (reset, clean, status, worktree remove), the tip, and the branch
    assert processes.count("git") - begun == 11


async def test_the_users_changes_keep_a_result_away(user, tmp_path):
    repository = await found(user, tmp_path)
    tree = await create(repository, "w")
    (tree.path / "a.txt").write_text("theirs\n")
    (tree.path / "mine.txt").write_text("agent\n")
    tip = await commit(tree, "work")
    (user / "a.txt").write_text("mine\n")
    assert "uncommitted" in (await land(repository, tip, branch="main")).why
    git(user, "checkout", "-q", "a.txt")
    (user / "mine.txt").write_text("mine\n")
    assert not (await land(repository, tip, branch="main")).ok
    assert (user / "mine.txt").read_text() == "mine\n"
    (user / "mine.txt").unlink()
    git(user, "checkout", "-qb", "other")
    assert "no longer on main" in (await land(repository, tip, branch="main")).why
    git(user, "checkout", "-q", "main")
    git(user, "commit", "-q", "--allow-empty", "-m", "meanwhile")
    assert "moved on" in (await land(repository, tip, branch="main")).why


async def test_what_an_agent_writes_into_dot_git_is_not_believed(user, tmp_path):
    repository = await found(user, tmp_path)
    tree = await create(repository, "evil")
    trap = make(tmp_path / "trap")
    git(trap, "config", "filter.x.clean", f"touch {tmp_path}/ran; cat")
    (trap / ".git" / "info").mkdir(exist_ok=True)
    (tree.path / ".git").write_text(f"gitdir: {trap}/.git\n")
    (tree.path / ".gitattributes").write_text("* filter=x\n")
    (tree.path / "new.txt").write_text("new\n")
    await commit(tree, "work")
    assert git(user, "show", "codetether/evil:new.txt") == "new"
    assert not (tmp_path / "ran").exists()
    assert "main" in branches(trap)
    assert len(branches(trap)) == 1


async def test_hooks_of_the_user_do_not_run(user, tmp_path):
    for name in ("pre-commit", "post-checkout", "post-merge", "commit-msg", "pre-merge-commit"):
        hook = user / ".git" / "hooks" / name
        hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran-{name}\n")
        hook.chmod(0o755)
    repository = await found(user, tmp_path)
    tree, result = await create(repository, "w"), await create(repository, "r")
    (tree.path / "new.txt").write_text("new\n")
    await commit(tree, "work")
    done = await merge(result, tree.branch, "m")
    assert (await land(repository, done.commit, branch="main")).ok
    assert list(tmp_path.glob("ran-*")) == []


async def test_a_lease_ends_with_its_process_and_keeps_others_out(user, tmp_path):
    repository = await found(user, tmp_path)
    code = (
        "import sys, time; from pathlib import Path; from codetether_worktrees import Lease\n"
        "print(Lease(Path(sys.argv[1])).take('run 7'), flush=True); time.sleep(60)"
    )
    path = repository.folder / "w.lease"
    keep = (
        "lease = Lease(Path(sys.argv[1]))\nprint(lease.take('run 7'), flush=True); time.sleep(60)"
    )
    code = code.splitlines()[0] + "\n" + keep
    other = subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "True\n"
        with pytest.raises(GitFailed, match="run 7"):
            await create(repository, "w")
        assert "codetether/w" not in branches(user)
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    assert Lease(path).holder() == ""
    tree = await create(repository, "w")
    assert str(os.getpid()) in Lease(path).holder()
    assert (await remove(tree)).branch == ""


async def test_who_looks_whether_a_lease_is_held_keeps_nobody_from_it(tmp_path):
    path = tmp_path / "w.lease"
    path.touch()
    code = (
        "import sys; from pathlib import Path; from codetether_worktrees import Lease\n"
        "lease = Lease(Path(sys.argv[1])); print(flush=True)\n"
        "while not sys.stdin.closed: lease.holder()"
    )
    looks = subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE)
    try:
        await trio.to_thread.run_sync(looks.stdout.readline)
        for _ in range(2000):
            lease = Lease(path)
            assert lease.take("me")
            assert not Lease(path).take("another")
            assert "me" in Lease(path).holder()
            lease.give_back()
    finally:
        looks.kill()
        looks.communicate()


async def test_an_earlier_process_worktree_is_found_again_whatever_is_left_of_it(user, tmp_path):
    repository = await found(user, tmp_path)
    assert await adopt(repository, "w") is None
    tree = await create(repository, "w")
    (tree.path / "half.txt").write_text("half\n")
    (tree.control / "index.lock").write_text("")
    tree.lease.give_back()
    again = await adopt(repository, "w", base=tree.base)
    assert await commit(again, "half") != ""
    again.lease.give_back()
    subprocess.run(["rm", "-rf", str(tree.path)], check=True)
    third = await adopt(repository, "w", base=tree.base)
    assert (third.path / "half.txt").read_text() == "half\n"


@pytest.mark.parametrize("hours", [-1, 1])  # the clock may have been set back
async def test_a_lock_of_a_worktree_goes_with_its_lease_unless_it_is_made_again_and_again(
    user, tmp_path, hours, monkeypatch
):
    repository = await found(user, tmp_path)
    tree = await create(repository, "w")
    lock = tree.control / "index.lock"
    lock.touch()
    os.utime(lock, (time.time() + hours * 3600,) * 2)
    assert await tree.changed() == ()
    assert not lock.exists()
    monkeypatch.setattr("codetether_worktrees.locks.YOUNG", 0.3)
    async with trio.open_nursery() as nursery:

        async def living():
            while True:
                os.utime(lock)  # which is there, all the time
                await trio.sleep(0.02)

        lock.touch()
        nursery.start_soon(living)
        with pytest.raises(GitFailed, match="is in the way, 0 s old"):
            await tree.git("add", "--all")
        nursery.cancel_scope.cancel()
    assert lock.exists()


async def test_a_tree_half_removed_by_a_process_that_was_killed_is_not_taken_for_work(
    user, tmp_path
):
    repository = await found(user, tmp_path)
    tree = await create(repository, "w")
    (tree.path / "done.txt").write_text("done\n")
    tip = await commit(tree, "done")
    tree.lease.give_back()
    git(user, "worktree", "add", "-q", "--detach", str(tmp_path / "users"))
    (tmp_path / "users").rename(tmp_path / "away")  # on a disk that is not here now
    for harm in (
        lambda: [(tree.path / name).unlink() for name in (".git", "done.txt", "a.txt")],
        lambda: tree.path.rename(repository.folder / ".gone-w-1"),
        lambda: [
            tree.ready.unlink(),
            (tree.path / "a.txt").unlink(),
            (tree.control / "locked").write_text("initializing"),
        ],  # its making was cut off
    ):
        harm()
        again = await adopt(repository, "w", base=tree.base)
        assert (await again.changed(), await again.tip()) == ((), tip)
        again.lease.give_back()
    again = await adopt(repository, "w", base=tree.base)
    left = await remove(again, [tip])
    assert (left.branch, left.path) == ("", "")
    assert branches(user) == ["main"]
    assert not list(repository.folder.glob(".gone-*"))
    (tmp_path / "away").rename(tmp_path / "users")
    assert git(tmp_path / "users", "status", "--porcelain") == ""


async def test_where_no_worktree_can_be(tmp_path, user):
    (tmp_path / "plain").mkdir()
    with pytest.raises(NoRepository, match="not in a git repository"):
        await Repository.find(tmp_path / "plain", tmp_path / "trees")
    git(tmp_path / "plain", "init", "-q")
    with pytest.raises(NoRepository, match="no commit"):
        await Repository.find(tmp_path / "plain", tmp_path / "trees")
    (tmp_path / "plain" / ".git" / "config").write_text("[core]\nrepositoryFormatVersion = 9\n")
    with pytest.raises(NoRepository, match=r"opens no repository in .*repo version"):
        await Repository.find(tmp_path / "plain", tmp_path / "trees")
    repository = await found(user, tmp_path)
    with pytest.raises(GitFailed, match="cannot be the name"):
        await create(repository, "../x")
    with pytest.raises(GitFailed, match="no commit"):
        await create(repository, "x", base="nowhere")
    await create(repository, "x")
    with pytest.raises(GitFailed, match="in use"):
        await create(repository, "x")


@pytest.fixture
def processes(monkeypatch):
    """The programs that were started since."""
    started, start = [], trio.lowlevel.open_process

    async def count(argv, **how):
        started.append(argv[0])
        return await start(argv, **how)

    monkeypatch.setattr("trio.lowlevel.open_process", count)
    return started


async def test_where_the_user_stands_is_told_by_one_process(user, tmp_path, processes):
    git(user, "tag", "main")  # git's short name of the branch is heads/main now
    first = git(user, "rev-parse", "HEAD")
    repository = await found(user, tmp_path, "sub")
    assert repository.stood == ("main", first)
    assert (repository.root, repository.prefix) == (user, "sub")
    assert await repository.branch() == "main"
    git(user, "checkout", "-q", "--detach")
    assert (await found(user, tmp_path)).stood == ("", first)
    assert processes.count("git") == 4  # two to find it, one to ask for its branch, one who commits
    with pytest.raises(NoRepository, match="not in a git repository"):
        await Repository.find(tmp_path, tmp_path / "trees")
    assert processes.count("git") == 4


async def test_a_worktree_at_a_commit_given_in_full_is_made_by_two_processes(user, tmp_path, processes):  # fmt: skip
    repository = await found(user, tmp_path)
    await create(repository, "one", base=repository.stood.commit)
    before = processes.count("git")
    two = await create(repository, "two", base=repository.stood.commit)
    assert processes.count("git") == before + 2  # which filters there are, and the tree
    assert await two.tip() == repository.stood.commit
    with pytest.raises(GitFailed):
        await create(repository, "three", base="0123456789" * 4)
    await create(repository, "three")


async def test_without_a_name_in_the_settings_commits_are_made_all_the_same(user, tmp_path, home):
    (home / "gitconfig").write_text("[user]\nuseConfigOnly = true\n")
    repository = await found(user, tmp_path)
    tree = await create(repository, "w")
    (tree.path / "n").write_text("n")
    await commit(tree, "w")
    assert git(user, "log", "-1", "--format=%an", tree.branch) == "CodeTether"


async def test_a_tree_that_is_done_serves_again_as_if_it_were_new(user, tmp_path):
    repository = await Repository.find(user, tmp_path / "trees")
    first = await create(repository, "first")
    (first.path / ".gitignore").write_text("cache/\n")
    await commit(first, "ignore")
    (first.path / "cache").mkdir()
    (first.path / "cache" / "x").write_text("x")
    tip = await first.tip()
    second = await reuse(first, "second", base=tip)
    assert not first.path.exists()
    assert not (second.path / "cache").exists()
    assert (await second.tip(), second.base, await second.changed()) == (tip, tip, ())
    (second.path / "b.txt").write_text("b\n")
    made = await commit(second, "b")
    with pytest.raises(GitFailed, match="work of its own"):
        await reuse(second, "third", base=tip)
    with pytest.raises(GitFailed, match="in use"):
        await reuse(second, "second", base=made)
    other = await create(repository, "other", base=made)
    (other.path / "c.txt").write_text("c\n")
    third = await reuse(second, "third", base=await commit(other, "c"))
    assert (third.path / "c.txt").read_text() == "c\n"
    await remove(third, ["codetether/other"])
    await remove(other)
    kept = git(user, "for-each-ref", "--format=%(refname:short)", "refs/heads").split()
    assert kept == ["codetether/other", "main"]
    assert len(git(user, "worktree", "list").splitlines()) == 1
    assert [path.name for path in repository.folder.iterdir()] == []


@pytest.mark.parametrize("deadly", ["update-ref", "worktree", "symbolic-ref", "clean"])
async def test_cut_off_while_a_tree_is_given_on_both_can_be_made_again(
    user, tmp_path, monkeypatch, deadly
):
    repository = await Repository.find(user, tmp_path / "trees")
    first = await create(repository, "first")
    (first.path / "b.txt").write_text("b\n")
    made = await commit(first, "b")
    ask = Repository.ask

    async def cut(self, *words, **how):
        if words[0] == deadly and (deadly != "update-ref" or "HEAD" in words):
            raise GitFailed("the power went")
        return await ask(self, *words, **how)

    with monkeypatch.context() as patch:
        patch.setattr(Repository, "ask", cut)
        with pytest.raises(GitFailed, match="power"):
            await reuse(first, "second", base=made)
    first.lease.give_back()
    again = await adopt(repository, "first", base=made)
    assert (again.path / "b.txt").read_text() == "b\n"
    new = await adopt(repository, "second", base=made)
    assert (new.path / "b.txt").read_text() == "b\n"
    await remove(again, ["codetether/second"])
    assert (
        git(user, "for-each-ref", "--format=%(refname:short)", "refs/heads/codetether")
        == "codetether/second"
    )

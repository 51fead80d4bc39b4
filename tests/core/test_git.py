"""git: a hostile repository runs nothing, and the head is read as git reads it."""

from __future__ import annotations

import subprocess

import pytest
from codetether.errors import CodetetherError
from codetether.git import GitState, git, head


def plain_git(*args, cwd):
    done = subprocess.run(["git", *args], cwd=cwd, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repo(tmp_path):
    root = tmp_path / "repo"
    root.mkdir()
    plain_git("init", "-q", "-b", "main", cwd=root)
    (root / "a").write_text("one\n")
    plain_git("add", "a", cwd=root)
    return root


def commit(root):
    plain_git("commit", "-q", "-m", "words", cwd=root)
    return plain_git("rev-parse", "HEAD", cwd=root)


# --- head ---
def test_nothing_around(tmp_path):
    assert head(tmp_path) is None
    assert head(tmp_path / "not" / "there") is None


def test_before_the_first_commit(repo):
    assert head(repo) == GitState(repo, "main", "")


def test_on_a_branch_from_below(repo):
    made = commit(repo)
    plain_git("switch", "-q", "-c", "feature/x", cwd=repo)
    (repo / "deep" / "er").mkdir(parents=True)
    assert head(repo / "deep" / "er") == GitState(repo, "feature/x", made)


def test_packed(repo):
    made = commit(repo)
    plain_git("tag", "-a", "-m", "t", "v1", cwd=repo)
    plain_git("pack-refs", "--all", cwd=repo)
    assert not (repo / ".git/refs/heads/main").exists()
    assert head(repo) == GitState(repo, "main", made)


def test_a_loose_ref_is_newer_than_a_packed_one(repo):
    commit(repo)
    plain_git("pack-refs", "--all", cwd=repo)
    (repo / "a").write_text("two\n")
    plain_git("add", "a", cwd=repo)
    made = commit(repo)
    assert head(repo).commit == made


def test_detached(repo):
    made = commit(repo)
    plain_git("checkout", "-q", "--detach", cwd=repo)
    assert head(repo) == GitState(repo, "", made)


def test_worktree(repo, tmp_path):
    made = commit(repo)
    plain_git("worktree", "add", "-q", "-b", "side", str(tmp_path / "side"), cwd=repo)
    assert head(tmp_path / "side") == GitState(tmp_path / "side", "side", made)
    plain_git("pack-refs", "--all", cwd=repo)
    assert head(tmp_path / "side") == GitState(tmp_path / "side", "side", made)


def test_submodule(repo, tmp_path):
    made = commit(repo)
    outer = tmp_path / "outer"
    outer.mkdir()
    plain_git("init", "-q", cwd=outer)
    plain_git(
        "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(repo), "sub", cwd=outer
    )
    assert head(outer / "sub") == GitState(outer / "sub", "main", made)


@pytest.mark.parametrize(
    "damage",
    [
        lambda g: (g / "HEAD").write_bytes(b"\xff\xfe\0"),
        lambda g: (g / "HEAD").write_text(""),
        lambda g: (g / "HEAD").write_text("ref: ../../../../etc/passwd\n"),
        lambda g: (g / "HEAD").write_text("ref: refs/../../a\n"),
        lambda g: (g / "HEAD").write_text("not an id\n"),
        lambda g: (g / "refs/heads/main").write_text("junk"),
    ],
)
def test_a_damaged_repository_has_no_commit(repo, damage):
    commit(repo)
    damage(repo / ".git")
    assert head(repo).commit == ""


def test_a_pointer_to_nowhere_is_no_repository(tmp_path):
    (tmp_path / ".git").write_text("gitdir: /no/such/place\n")
    assert head(tmp_path) is None


def test_head_starts_no_process(repo, monkeypatch):
    commit(repo)
    monkeypatch.setattr(subprocess, "Popen", None)
    monkeypatch.setenv("PATH", "")
    assert head(repo).branch == "main"


# --- git ---
async def test_git_answers(repo):
    made = commit(repo)
    done = await git(["rev-parse", "HEAD"], repo)
    assert (done.code, done.output.strip(), done.errors) == (0, made, "")
    assert (await git(["rev-parse", "--verify", "nothing"], repo)).code == 128


async def test_git_inherits_no_secret(repo, monkeypatch):
    monkeypatch.setenv("VAULT_TOKEN", "sesame")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    plain = await git(["-c", "alias.tell=!env", "tell"], repo)
    assert plain.code == 0
    assert "sesame" not in plain.output


HOSTILE = {
    "core.fsmonitor": "touch {mark}; false",
    "core.hooksPath": "{hooks}",
    "core.pager": "touch {mark}; cat",
    "core.editor": "touch {mark}; true",
    "core.sshCommand": "touch {mark}; false",
    "core.askPass": "{hooks}/pre-commit",
    "credential.helper": "!touch {mark}",
    "diff.external": "touch {mark}; true",
    "diff.x.textconv": "touch {mark}; cat",
    "commit.gpgSign": "true",
    "log.showSignature": "true",
    "gpg.program": "{hooks}/pre-commit",
    "protocol.ext.allow": "always",
    "remote.origin.url": "ext::sh -c touch% {mark}",
    "remote.by-ssh.url": "ssh://localhost:1/x",
    "alias.status": "!touch {mark}",
}


async def test_a_hostile_repository_runs_nothing(repo, tmp_path):
    commit(repo)
    mark, hooks = tmp_path / "mark", tmp_path / "hooks"
    hooks.mkdir()
    for name in (
        "pre-commit",
        "post-commit",
        "post-checkout",
        "post-index-change",
        "reference-transaction",
    ):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {mark}\n")
        (hooks / name).chmod(0o755)
        (repo / ".git/hooks" / name).write_text(f"#!/bin/sh\ntouch {mark}\n")
        (repo / ".git/hooks" / name).chmod(0o755)
    (repo / ".gitattributes").write_text("* diff=x\n")
    for name, value in HOSTILE.items():
        plain_git("config", name, value.format(mark=mark, hooks=hooks), cwd=repo)
    plain_git("status", cwd=repo)
    assert mark.exists()  # the bait works
    mark.unlink()
    (repo / "a").write_text("two\n")
    for args in (
        ["status", "--porcelain"],
        ["diff"],
        ["add", "-A"],
        ["diff", "--cached"],
        ["commit", "-m", "words"],
        ["log", "-p"],
        ["show"],
        ["checkout", "-b", "side"],
        ["worktree", "add", str(tmp_path / "tree")],
        ["merge", "main"],
    ):
        done = await git(args, repo)
        assert done.code == 0, (args, done.errors)
        assert not mark.exists(), args
    for args in (["fetch", "origin"], ["fetch", "by-ssh"], ["commit", "--allow-empty"]):
        done = await git(args, repo)
        assert done.code != 0
        assert not done.timed_out
        assert not mark.exists(), args


async def test_a_bare_repository_among_the_files_is_not_obeyed(repo, tmp_path):
    mark = tmp_path / "mark"
    bare = repo / "innocent"
    plain_git("init", "-q", "--bare", str(bare), cwd=repo)
    plain_git("config", "core.bare", "false", cwd=bare)
    plain_git("config", "core.worktree", str(repo), cwd=bare)
    plain_git("config", "core.fsmonitor", f"touch {mark}; false", cwd=bare)
    done = await git(["status"], bare)
    assert done.code != 0
    assert not mark.exists()


def with_drivers(repo, mark, where="local"):
    """A filter and a merge driver in the settings of the repository, named as nobody would name them."""
    (repo / ".gitattributes").write_text("*.f filter=a=b.C\n*.p filter=proc\n*.m merge=a=b.C\n")
    script = f"touch {mark}; cat"
    settings = {
        "filter.a=b.C.clean": script,
        "filter.a=b.C.smudge": script,
        "filter.a=b.C.required": "true",
        "filter.proc.process": f"touch {mark}; false",
        "filter.proc.required": "true",
        "merge.a=b.C.driver": f"touch {mark}; true",
    }
    if where == "worktree":
        plain_git("config", "extensions.worktreeConfig", "true", cwd=repo)
    if where == "included":
        plain_git("config", "include.path", "../more", cwd=repo)
    how = {"included": ["--file", str(repo / "more")]}.get(where, [f"--{where}"])
    for key, value in settings.items():
        plain_git("config", *how, key, value, cwd=repo)


def two_branches(repo):
    """Branches whose changes of one file stand apart, and of another collide."""
    for name, text in (
        ("apart.m", "1\n2\n3\n4\n5\n"),
        ("both.m", "x\n"),
        ("a.f", "f\n"),
        ("a.p", "p\n"),
    ):
        (repo / name).write_text(text)
    plain_git("add", "-A", cwd=repo)
    commit(repo)
    for branch, text, other in (
        ("side", "1\n2\n3\n4\nfive\n", "side\n"),
        ("main", "one\n2\n3\n4\n5\n", "main\n"),
    ):
        plain_git("switch", "-q", *([] if branch == "main" else ["-c"]), branch, cwd=repo)
        (repo / "apart.m").write_text(text)
        (repo / "both.m").write_text(other)
        plain_git("add", "-A", cwd=repo)
        commit(repo)  # fmt: skip


@pytest.mark.parametrize("where", ["local", "worktree", "included"])
async def test_filters_and_merge_drivers_of_a_repository_do_not_run(repo, tmp_path, where):
    mark = tmp_path / "mark"
    two_branches(repo)
    with_drivers(repo, mark, where)
    (repo / "new.f").write_text("new\n")
    for args in (
        ["status", "--porcelain"],
        ["add", "-A"],
        ["commit", "-m", "words"],
        ["worktree", "add", "-b", "tree", str(tmp_path / "tree")],
        ["checkout", "side", "--", "a.f", "a.p"],
        ["stash"],
        ["reset", "--hard"],
    ):
        done = await git(args, repo)
        assert done.code == 0, (args, done.errors)
        assert not mark.exists(), args
    merged = await git(["merge", "side"], repo)
    assert not mark.exists()
    assert merged.code == 1
    assert (repo / "apart.m").read_text() == "one\n2\n3\n4\nfive\n"  # as without a driver
    assert "<<<<<<<" in (repo / "both.m").read_text()
    assert plain_git("show", "main:new.f", cwd=repo) == "new"


@pytest.mark.parametrize("how", ["trusted", "the user's own"])
async def test_filters_run_that_a_person_wants(repo, tmp_path, how):
    mark = tmp_path / "mark"
    with_drivers(repo, mark, "local" if how == "trusted" else "global")
    (repo / "new.f").write_text("new\n")
    done = await git(["add", "-A"], repo, drivers=how == "trusted")
    assert done.code == 0, done.errors
    assert mark.exists()


async def test_more_filters_than_can_be_looked_at_are_refused(repo):
    with (repo / ".git" / "config").open("a") as file:
        file.writelines(f'[filter "{"x" * 200}{number}"]\n clean = x\n' for number in range(5000))
    with pytest.raises(CodetetherError, match="more filters"):
        await git(["status"], repo)

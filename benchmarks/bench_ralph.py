"""Ralph's own cost of an iteration: everything but the agent and the checks, in a repository of 2,000 files.

A scripted model in the same process writes one file for each story; the check is `true`. Wall time of 21 stories one after
another less that of one, without the seconds that agents and checks took, shared out. The worktree that git makes for each
story is part of it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile

from measuring import PYTHON

FILES = 2000
STORIES = 21
CHILD = """
import json, os, subprocess, sys, time
from argparse import ArgumentParser
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
import trio
from codetether.testing import call, make_kernel

PLUGINS = ["executors:local", "sandboxes:none", "modes:ralph", "tools:write_file"]

def git(where, *words):
    subprocess.run(["git", *words], cwd=where, check=True, capture_output=True)

def repository(where, files, stories):
    where.mkdir()
    git(where, "init", "-q", "-b", "main")
    for n in range(files):
        path = where / f"d{n // 50}" / f"f{n}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{n}\\n" * 20)
    git(where, "add", "-A")
    git(where, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qm", "first")
    rows = [{"id": f"S-{n}", "title": f"Do {n}", "description": "d"} for n in range(stories)]
    document = {"project": "p", "feature": "f", "branch_name": "feature/f", "user_stories": rows, "quality_checks": {"test": "true"}}
    (where / "prd.json").write_text(json.dumps(document))

def model(request):
    if request.messages[-1].role != "user":
        return "done"
    text = request.messages[0].text
    name = text.partition("Story S-")[2].partition(":")[0]
    return call("write_file", path=f"new{name}.txt", content=name)

async def main(folder, files, stories):
    where = folder / "repo"
    repository(where, files, stories)
    os.chdir(where)
    async with make_kernel(folder / "home", replies=model, plugins=PLUGINS, directory=where) as kernel:
        mode = kernel.mode("ralph")
        parser = ArgumentParser()
        mode.arguments(parser)
        said = StringIO()
        start = time.perf_counter()
        with redirect_stdout(said):
            code = await mode.run(parser.parse_args(["run", "--sequential", "--max-iterations", "999", "--json"]))
        wall = time.perf_counter() - start
    result = json.loads(said.getvalue())
    agents = sum(each["seconds"] for each in result["stories"])
    checks = sum(check["seconds"] for each in result["stories"] for check in each["checks"])
    print(json.dumps({"code": code, "wall": wall, "agents": agents, "checks": checks, "error": result.get("error", "")}))

trio.run(main, Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
"""


def ralph(stories: int) -> dict[str, float]:
    """One run of so many stories: its wall time, and the seconds of agents and checks."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [PYTHON, "-c", CHILD, folder, str(FILES), str(stories)],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["code"] == 0, said
    return said


def measure() -> list[tuple[str, str, str, bool]]:
    own = []
    for _ in range(3):
        one, many = ralph(1), ralph(STORIES)
        spent = [run["wall"] - run["agents"] - run["checks"] for run in (one, many)]
        own.append((spent[1] - spent[0]) / (STORIES - 1) * 1000)
    best = min(own)
    return [
        (
            "Ralph's own part of an iteration, without agent and checks, 2,000 files",
            "<= 300 ms",
            f"{best:.0f} ms",
            best <= 300,
        )
    ]


if __name__ == "__main__":
    sys.exit(print(measure()))

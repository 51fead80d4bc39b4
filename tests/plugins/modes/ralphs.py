"""A small Python project, documents of stories, a model that does what a test wrote for each story, and runs of them."""

from __future__ import annotations

import json
import re
import sys
from argparse import ArgumentParser
from contextlib import asynccontextmanager

from codetether.testing import Reply, call, make_kernel
from codetether.words import Usage
from swarms import answered, branches, git, repository, writes

__all__ = ["answered", "branches", "git", "repository", "writes"]

PLUGINS = [
    "executors:local", "sandboxes", "modes:ralph", "tools:write_file", "tools:bash", "tools:read_file", "tools:edit",
]  # fmt: skip
GATE = {"test": f"{sys.executable} -S -m unittest discover -q"}
QUICK = {"test": "grep -q 'def add' calc.py"}
TEST = "import unittest\nimport calc\n\nclass T(unittest.TestCase):\n    def test_add(self):\n        self.assertEqual(calc.add(1, 2), 3)\n"
CALC = "def add(a, b):\n    return a + b\n"


def project(where, *stories, calc=CALC, test=TEST, tracked=False, **more):
    """A repository with `calc.py`, its test, and beside them `prd.json`, which git does not know unless `tracked`."""
    repository(where, **{"calc.py": calc, "test_calc.py": test, ".gitignore": "__pycache__/\n"})
    document(where, *stories, **more)
    if tracked:
        git(where, "add", "-A")
        git(where, "commit", "-qm", "document")
    return where


def document(where, *stories, checks=None, branch="feature/calc", **more):
    raw = {
        "project": "calc", "feature": "more sums", "branch_name": branch, "user_stories": list(stories),
        "quality_checks": QUICK if checks is None else checks, "own": {"kept": True}, **more,
    }  # fmt: skip
    (where / "prd.json").write_text(json.dumps(raw))


def story(name, *needs, **more):
    return {
        "id": name, "title": f"Do {name}", "description": f"Do {name}.", "acceptance_criteria": [f"{name} is done"],
        "depends_on": list(needs), **more,
    }  # fmt: skip


def passes(where):
    stories = json.loads((where / "prd.json").read_text())["user_stories"]
    return [each["id"] for each in stories if each.get("passes")]


class Model:
    """Does for each story what `parts` has for it: one list of replies for each attempt (the last again), or a function
    of request and step. `asked` counts requests by story, `prompts` are the first messages.
    """

    def __init__(self, usage=None, conflict=("no",), **parts):
        self.parts = parts
        self.conflict = list(conflict)
        self.usage = usage or Usage(100, 10)
        self.asked = {}
        self.prompts = {}
        self.sessions = {}

    def __call__(self, request):
        text = next(message for message in request.messages if message.role == "user").text
        step = sum(message.role == "assistant" for message in request.messages)
        if text.startswith("Two changes"):
            who, said = "conflict", self.conflict
        else:
            who = re.search(r"^Story (\S+):", text, re.MULTILINE).group(1)
            said = self.parts.get(who.replace("-", "_"), ["done"])
        self.asked[who] = self.asked.get(who, 0) + 1
        if step == 0:
            self.prompts.setdefault(who, []).append(text)
        if callable(said):
            said = said(request, step)
        else:
            attempts = said if isinstance(said[0], list) else [said]
            now = attempts[min(len(self.prompts[who]), len(attempts)) - 1]
            said = now[min(step, len(now) - 1)]
        said = said if isinstance(said, Reply) else Reply(text=said)
        return Reply(text=said.text, calls=said.calls, usage=said.usage or self.usage, delay=said.delay, fault=said.fault, stall=said.stall)  # fmt: skip


def adds(name, result="a + b", say="done\nNOTES:\nuse calc"):
    """Replies that add a function to calc.py."""
    line = f"\ndef {name}(a, b):\n    return {result}\n"
    return [call("bash", command=f"printf '%s' '{line}' >> calc.py"), say]


def agents(*, stall=False):
    """US-1 breaks the test first, and mends it when it is told so. Both look before they write."""

    def first(request, step):
        told = next(message for message in request.messages if message.role == "user").text
        if step == 0 and "did not pass" in told:
            return call("bash", command=f"git checkout -q main -- calc.py; {once('sub')}")
        return [call("bash", command="echo 'x = 1' > calc.py"), "done"][step]

    def second(request, step):
        if stall and step == 1:
            return Reply(stall=True)
        return [call("bash", command=once("mul")), "done"][step]

    return Model(US_1=first, US_2=second)


def once(name):
    return f"grep -q {name} calc.py || printf 'def {name}(a, b):\\n    return a\\n' >> calc.py"


@asynccontextmanager
async def kernel_at(tmp_path, model, where, **how):
    plugins = how.pop("plugins", PLUGINS)
    async with make_kernel(
        tmp_path / "home", replies=model, plugins=plugins, directory=where, **how
    ) as kernel:
        yield kernel


async def ralph(kernel, *words):
    """The exit code of `codetether ralph WORDS`."""
    mode = kernel.mode("ralph")
    parser = ArgumentParser()
    mode.arguments(parser)
    return await mode.run(parser.parse_args(words))


async def result(kernel, capsys, *words):
    """The exit code, and the object --json prints."""
    code = await ralph(kernel, *words, "--json")
    out = capsys.readouterr().out
    return code, json.loads(out) if out.strip() else {}


async def go(where, *words):
    """For a process of its own: the exit code, with `agents`."""
    async with kernel_at(where.parent, agents(), where) as kernel:
        return await ralph(kernel, *words, "--json")

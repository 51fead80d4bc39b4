"""A repository, a model that follows a plan a test wrote, and swarms of them."""

from __future__ import annotations

import json
import shlex
import subprocess
from argparse import ArgumentParser
from contextlib import asynccontextmanager

from codetether.testing import Reply, call, make_kernel
from codetether.words import Usage

PLUGINS = [
    "executors:local", "sandboxes", "modes:swarm", "tools:write_file", "tools:bash", "tools:read_file", "tools:edit",
]  # fmt: skip


def git(where, *words):
    done = subprocess.run(["git", *words], cwd=where, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def repository(where, **files):
    where.mkdir()
    git(where, "init", "-q", "-b", "main")
    for name, text in {"a.txt": "one\ntwo\nthree\n", **files}.items():
        (where / name).write_text(text)
    git(where, "add", "-A")
    git(where, "commit", "-qm", "first")
    return where


def branches(where):
    return sorted(git(where, "for-each-ref", "--format=%(refname:short)", "refs/heads").split())


def task(name, *after, files=(), writes=True, **more):
    return {
        "name": name, "instruction": f"Do {name}.", "specialty": "", "dependencies": list(after), "priority": 0,
        "files": list(files), "writes": writes, **more,
    }  # fmt: skip


def plan(*subtasks):
    return json.dumps({"subtasks": list(subtasks)})


class Model:
    """Says the plan, and for each sub-task what `parts` has for it: replies in order, or a function of the request.
    The last reply is said again. `asked` counts requests by who asked.
    """

    def __init__(self, *plans, usage=None, **parts):
        self.plans = list(plans)
        self.parts = {name.replace("_", " "): list(said) if isinstance(said, (list, tuple)) else said for name, said in parts.items()}  # fmt: skip
        self.usage = usage or Usage(100, 10)
        self.asked = {}
        self.prompts = {}

    def __call__(self, request):
        who, text = self.who(request)
        self.asked[who] = self.asked.get(who, 0) + 1
        self.prompts.setdefault(who, []).append(text)
        if who == "plan":
            said = self.plans[min(self.asked[who], len(self.plans)) - 1]
        else:
            said = self.parts.get(who, [f"{who} is done"])
            step = sum(message.role == "assistant" for message in request.messages)
            said = said(request, step) if callable(said) else said[min(step, len(said) - 1)]
        said = said if isinstance(said, Reply) else Reply(text=said)
        return Reply(text=said.text, calls=said.calls, usage=said.usage or self.usage, delay=said.delay, fault=said.fault, stall=said.stall)  # fmt: skip

    @staticmethod
    def who(request):
        text = next(message for message in request.messages if message.role == "user").text
        if "You plan work" in text:
            return "plan", text
        if "Two changes to this repository conflict" in text:
            return "conflict", text
        if "the project's checks fail now" in text:
            return "gates", text
        return text.partition('Your part, "')[2].partition('"')[0], text


def writes(path, content, say="done"):
    return [call("bash", command=f"printf %s {shlex.quote(content)} > {path}"), say]


@asynccontextmanager
async def kernel_at(tmp_path, model, where, *, more=(), **how):
    on = [*PLUGINS, *more]
    async with make_kernel(
        tmp_path / "home", replies=model, plugins=on, directory=where, **how
    ) as kernel:
        yield kernel


async def swarm(kernel, *words, flags=()):
    """The exit code of `codetether swarm WORDS`."""
    mode = kernel.mode("swarm")
    parser = ArgumentParser()
    mode.arguments(parser)
    return await mode.run(parser.parse_args([*words, *flags]))


async def result(kernel, capsys, *words):
    """The exit code, and the object --json prints."""
    code = await swarm(kernel, *words, flags=["--json"])
    out = capsys.readouterr().out
    return code, json.loads(out) if out.strip() else {}


def answered(tmp_path):
    """Tokens of all answers that transcripts hold, of sub-agents' sub-agents too."""
    total = 0
    for file in tmp_path.glob("*/**/sessions/*.jsonl"):
        for line in map(json.loads, file.read_text().splitlines()):
            usage = line.get("message", {}).get("usage") or {}
            total += usage.get("input", 0) + usage.get("output", 0)
    return total


def tower():
    """A model that builds three levels; the second one's two parts conflict, and an agent resolves that."""
    levels = plan(
        task("base"), task("left", "base"), task("right", "base"), task("top", "left", "right")
    )
    both = [call("bash", command="printf 'one\\nboth\\nthree\\n' > a.txt"), "both"]
    sides = {
        side: [call("bash", command=f"sed -i s/two/{side}/ a.txt; echo > {side}.txt"), side]
        for side in ("left", "right")
    }
    return Model(
        levels, base=writes("base.txt", "base\n"), top=writes("top.txt", "top\n"), conflict=both, **sides
    )  # fmt: skip


async def go(where, *words, gate="! grep -q '<<<' a.txt"):
    """For a process of its own: the exit code, with `tower`."""
    flags = () if words[0] == "resume" else ("--gate", gate)
    async with kernel_at(where.parent, tower(), where) as kernel:
        return await swarm(kernel, *words, flags=[*flags, "--json"])

"""Texts with a needle, a model that says what a test wrote, and runs of `codetether rlm`."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from contextlib import asynccontextmanager

from codetether.testing import Reply, make_kernel
from codetether.words import Usage

PLUGINS = ["sandboxes", "modes:rlm"]


def log(where, lines=30_000, **at):
    """A log of `lines` lines; `at` gives lines by number (from 1) of their own, such as l17="needle"."""
    own = {int(name[1:]): text for name, text in at.items()}
    with where.open("w", encoding="utf-8") as file:
        for number in range(1, lines + 1):
            file.write(
                own.get(
                    number, f"03:{number // 60 % 60:02}:{number % 60:02} INFO request {number} done"
                )
                + "\n"
            )
    return where


def python(cell):
    return f"```python\n{cell}\n```"


class Model:
    """Says `replies` in order, the last one again; what sub-calls are answered is `sub`, a text or a function."""

    def __init__(self, *replies, sub="a sub-answer", usage=None):
        self.replies = list(replies)
        self.sub = sub
        self.usage = usage or Usage(100, 10)
        self.root = []
        self.subs = []

    def __call__(self, request):
        if request.system.startswith("You answer a question about texts"):
            self.root.append(request)
            said = self.replies[min(len(self.root), len(self.replies)) - 1]
            said = said(request) if callable(said) else said
        else:
            self.subs.append(request)
            said = self.sub(request) if callable(self.sub) else self.sub
        said = said if isinstance(said, Reply) else Reply(text=said)
        return Reply(text=said.text, usage=said.usage or self.usage, delay=said.delay, fault=said.fault, stall=said.stall, finish=said.finish)  # fmt: skip

    def told(self, at):
        """What the model was told last before its reply number `at` (from 0)."""
        return self.root[at].messages[-1].text


@asynccontextmanager
async def kernel_at(tmp_path, model, *, context=8_000, plugins=(), **how):
    on = [*PLUGINS, *plugins]
    async with make_kernel(
        tmp_path / "home", replies=model, plugins=on, directory=tmp_path, context=context, **how
    ) as kernel:
        yield kernel


async def rlm(kernel, *words):
    """The exit code of `codetether rlm WORDS`."""
    mode = kernel.mode("rlm")
    parser = ArgumentParser()
    mode.arguments(parser)
    return await mode.run(parser.parse_args([str(word) for word in words]))


async def result(kernel, capsys, *words):
    """The exit code, and the object --json prints."""
    code = await rlm(kernel, *words, "--json")
    return code, json.loads(capsys.readouterr().out)

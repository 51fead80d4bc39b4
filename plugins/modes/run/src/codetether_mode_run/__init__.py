"""One question to a model, without tools: the answer on standard output."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from codetether.api import Mode
from codetether_headless import Wanted, prompt_arguments, run_prompt


class Run(Mode):
    """`codetether run MESSAGE`: chat only. For work on files there is `exec`."""

    api = 1

    def arguments(self, parser: ArgumentParser) -> None:
        """The flags of docs/cli.md; `default` is the documented name of `text`."""
        prompt_arguments(parser, ("default", "text", "json"))

    async def run(self, args: Namespace) -> int:
        """Ask, show the answer, say how to go on."""
        return await run_prompt(self.kernel, args, Wanted(command="run", tools=False))

"""The agent with its tools, headless: for scripts, pipelines and a quick task in a terminal."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from codetether.api import Mode
from codetether_headless import Wanted, positive_count, prompt_arguments, run_prompt


class Exec(Mode):
    """`codetether exec PROMPT`: standard output holds the answer, or JSON, and nothing else."""

    api = 1

    def arguments(self, parser: ArgumentParser) -> None:
        """The flags of docs/cli.md."""
        prompt_arguments(parser, ("text", "json", "stream-json"))
        parser.add_argument(
            "--agent", default="", metavar="NAME", help="build, plan, explore, or one of yours"
        )
        parser.add_argument(
            "--access-mode", choices=("ask", "auto", "full"), default="",
            help="what may be done unasked: ask = only read, auto = also edit here and run in a sandbox, full = all that sends nothing out",
        )  # fmt: skip
        parser.add_argument(
            "--max-steps", type=positive_count, metavar="N", help="model calls at most"
        )
        parser.add_argument(
            "--output-schema",
            type=Path,
            metavar="FILE",
            help="the answer must be JSON that matches this JSON Schema",
        )

    async def run(self, args: Namespace) -> int:
        """Do the task; 0 done, 1 failed, 2 usage, 3 denied, 130 interrupted."""
        schema: dict[str, Any] | None = None
        check: Callable[[str], tuple[str, str]] | None = None
        if args.output_schema is not None:
            from .answers import checker, load_schema

            schema = load_schema(args.output_schema)
            check = checker(schema)
        wanted = Wanted(
            command="exec",
            tools=True,
            agent=args.agent,
            access=args.access_mode,
            max_steps=args.max_steps,
            schema=schema,
            check=check,
        )
        return await run_prompt(self.kernel, args, wanted)

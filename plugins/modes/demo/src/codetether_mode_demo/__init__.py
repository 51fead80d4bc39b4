"""The whole agent at work on a throw-away repository, with a scripted model that says so."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codetether.api import (
    Answer,
    Mode,
    Question,
    Style,
    hookimpl,
    wants_colour,
)
from codetether_headless import Job, Outcome, drive, farewell

if TYPE_CHECKING:
    from codetether.api import Session

    from .repository import Repository

PROMPT = "A test of this repository fails. Find out why, fix it, and show that the tests pass."
COMMAND = "python3 -m unittest -q"  # the one command the script runs; granted once per run, and nothing else is
START = """\
This is a demo. The model is scripted: every word and every tool call of it was written beforehand.
Real are the repository, the failing test, the tools, the permissions, the transcript, the diff and the test result.
Repository: {0}
"""
NEXT = """\
Next:
  with a model on this machine   start Ollama, llama.cpp, LM Studio or vLLM: it is found by itself
  with a key                     codetether vault up, then codetether auth login PROVIDER
  see what can be used           codetether models
  then, in a project             codetether exec "what does this project do?"
"""


class Demo(Mode):
    """`codetether demo`: exit 0 when the bug is really fixed, 1 when it is not."""

    api = 1
    _session: Session | None = None

    def arguments(self, parser: ArgumentParser) -> None:
        """The flags of docs/cli.md."""
        parser.add_argument("--keep", action="store_true", help="keep the repository")
        parser.add_argument(
            "--dir", type=Path, metavar="DIR", help="make the repository here, and keep it"
        )

    async def run(self, args: Namespace) -> int:
        """Make the repository, let the agent work, and check the result ourselves."""
        from .repository import Repository

        provider: Any = self.kernel.provider("scripted")
        repository = await Repository.make(provider.demo_files(), args.dir)
        keep = args.keep or args.dir is not None
        try:
            _say(START.format(repository.root))
            outcome = await self._work(repository)
            fixed = await _verify(repository)
        finally:
            self._session = None
            if not keep:
                await repository.throw_away()
        _end(outcome, repository, keep=keep)
        return outcome.code or (0 if fixed else 1)

    async def _work(self, repository: Repository) -> Outcome:
        job = Job(
            prompt=PROMPT, directory=repository.root, model="scripted/demo", agent="build", access="auto"
        )  # fmt: skip
        return await drive(self.kernel, job, opened=self._opened)

    def _opened(self, session: Session) -> None:
        self._session = session

    @hookimpl(tryfirst=True)
    async def codetether_ask(self, question: Question, session: Session) -> Answer | None:
        """Where no sandbox holds commands the access mode asks; the demo answers for its own test command only."""
        command = question.detail.partition("\n")[0]
        ours = session is self._session and question.kind == "approval" and command == COMMAND
        return Answer("once") if ours else None


async def _verify(repository: Repository) -> bool:
    style = Style(wants_colour(sys.stderr))
    diff = await repository.diff()
    tests = await repository.run_tests()
    _say(style.bold("\ngit diff") + "\n" + (style.diff(diff) if diff else "nothing changed"))
    fixed = tests.ok and bool(diff)
    last = tests.output.strip().splitlines()[-1:] or ["no output"]
    verdict = style.green("the tests pass") if fixed else style.red("the bug is not fixed")
    _say(f"\nThe demo ran the tests itself: {verdict} ({last[0]}).")
    return fixed


def _end(outcome: Outcome, repository: Repository, *, keep: bool) -> None:
    if keep:
        _say(f"The repository is kept: {repository.root}")
        farewell(outcome, ("codetether", "exec", "-C", str(repository.root)))
    else:
        _say("The repository is gone; --keep keeps it.")
    _say("\n" + NEXT)


def _say(text: str) -> None:
    print(text.rstrip("\n"), file=sys.stderr, flush=True)

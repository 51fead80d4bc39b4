"""A prompt from the command line to its exit code: the flags `exec` and `run` share, and what they do with them."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from codetether.api import (
    EVENTS_VERSION,
    CodetetherError,
    Notice,
    UsageError,
    clean,
    head,
    latest_session,
    open_terminal,
)

from codetether_headless.drive import drive
from codetether_headless.job import Job, Outcome, farewell
from codetether_headless.material import read_material

if TYPE_CHECKING:
    from codetether.api import Kernel

UIS = {"text": "plain", "json": "", "stream-json": "jsonl"}


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a mode adds to the flags it shares."""

    command: str
    tools: bool
    agent: str = ""
    access: str = ""
    max_steps: int | None = None
    schema: dict[str, Any] | None = None
    check: Callable[[str], tuple[str, str]] | None = None


def prompt_arguments(parser: argparse.ArgumentParser, formats: tuple[str, ...]) -> None:
    """Declare the shared flags. `formats`: the first is the default."""
    parser.add_argument(
        "prompt", nargs="*", metavar="PROMPT", help="what to do; - or nothing: standard input"
    )
    parser.add_argument("-m", "--model", metavar="PROVIDER/MODEL", help="the model to use")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "-s",
        "--session",
        metavar="ID",
        help="continue this session (or a unique beginning of its id)",
    )
    which.add_argument(
        "-c", "--continue", "--continue-session", dest="latest", action="store_true",
        help="continue the session last used in this directory",
    )  # fmt: skip
    parser.add_argument("--fork", action="store_true", help="with -s or -c: continue a copy")
    parser.add_argument(
        "-f",
        "--file",
        action="append",
        default=[],
        metavar="FILE",
        help="add a file or picture; repeatable",
    )
    parser.add_argument("-C", "--cwd", type=Path, metavar="DIR", help="work in this directory")
    parser.add_argument(
        "--budget-usd",
        type=positive_number,
        metavar="USD",
        help="stop when the session costs as much",
    )
    parser.add_argument(
        "--timeout", type=positive_number, metavar="SECONDS", help="stop after so long"
    )
    parser.add_argument(
        "--format", choices=formats, default=formats[0], help=f"output (default: {formats[0]})"
    )


def positive_number(text: str) -> float:
    """A flag's value: a number above zero."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def positive_count(text: str) -> int:
    """A flag's value: a whole number above zero."""
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


async def run_prompt(kernel: Kernel, args: argparse.Namespace, wanted: Wanted) -> int:
    """Do what the flags say; the exit code. In the JSON formats failures are told on standard output too."""
    form = "text" if args.format == "default" else args.format
    try:
        outcome = await _run(kernel, args, wanted, form)
    except CodetetherError as error:
        with suppress(CodetetherError):  # then standard error alone tells
            _tell(error, form)
        raise
    if form == "json":
        more = (
            {"data": msgspec.json.decode(outcome.finished.text)}
            if _has_data(wanted, outcome)
            else {}
        )
        _print(outcome.as_json(**more))
    if outcome.finished.reason != "done" and form != "text":
        print(
            f"codetether: {clean(outcome.finished.error) or outcome.finished.reason}",
            file=sys.stderr,
        )
    if form == "text":
        farewell(outcome, ("codetether", wanted.command))
    return outcome.code


def _has_data(wanted: Wanted, outcome: Outcome) -> bool:
    return wanted.check is not None and outcome.finished.reason == "done"


async def _run(kernel: Kernel, args: argparse.Namespace, wanted: Wanted, form: str) -> Outcome:
    directory = _place(args.cwd)
    material = await read_material(directory, args.prompt, args.file, sys.stdin)
    for note in material.notes:
        print(f"note: {clean(note)}", file=sys.stderr)
    async with AsyncExitStack() as stack:
        if args.cwd is not None:  # the settings are those of the directory worked in
            off = sorted(kernel.config.off)
            here = type(kernel).load(directory, off=off, rows=kernel.catalog)
            kernel = await stack.enter_async_context(here)
        job = Job(
            prompt=material.text,
            images=material.images,
            cut=material.cut,
            directory=directory,
            ui=UIS[form],
            model=args.model,
            agent=wanted.agent,
            access=wanted.access,
            resume=_resume(kernel, args, directory),
            fork=args.fork,
            max_steps=wanted.max_steps,
            budget_usd=args.budget_usd,
            tools=wanted.tools,
            interactive=form == "text" and _somebody_there(),
            schema=wanted.schema,
            check=wanted.check,
            timeout=args.timeout,
        )
        return await drive(kernel, job)


def _place(cwd: Path | None) -> Path:
    return Path(os.path.abspath(cwd or "."))


def _resume(kernel: Kernel, args: argparse.Namespace, directory: Path) -> str | None:
    if args.latest:
        git = head(directory)
        branch = git.branch if git is not None else None
        latest = latest_session(kernel.sessions_folder, directory, branch)
        if latest is None:
            print(
                "note: no session was used in this directory before; this is a new one",
                file=sys.stderr,
            )
        else:
            return latest
    if args.fork and not (args.session or args.latest):
        raise UsageError("--fork copies a session, and none is named", "add -s ID or -c")
    session: str | None = args.session
    return session


def _somebody_there() -> bool:
    terminal = open_terminal(sys.stdin, sys.stderr)
    if terminal is None:
        return False
    os.close(terminal)
    return True


def _tell(error: CodetetherError, form: str) -> None:
    if form == "json":
        _print(msgspec.json.encode({"reason": "error", "error": error.message, "hint": error.hint}))
    elif form == "stream-json":
        notice = msgspec.json.encode(Notice("error", error.message, error.hint))
        _print(b'{"v":%d,"seq":1,"ts":%.3f,' % (EVENTS_VERSION, time.time()) + notice[1:])


def _print(line: bytes) -> None:
    try:
        print(line.decode(), flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is left over must not fail again
        raise CodetetherError(
            f"standard output cannot be written: {error.strerror}",
            "the answer is in the session: codetether sessions show ID",
        ) from None

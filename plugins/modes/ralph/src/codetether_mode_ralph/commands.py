"""The words and flags of `codetether ralph`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from codetether.api import UsageError
from codetether_crew import count, limits, number, output

if TYPE_CHECKING:
    from codetether_mode_ralph import Ralph

PRD = "prd.json"
WORDS = "create-prd, run, status, resume or cleanup"


def arguments(parser: ArgumentParser) -> None:
    """Declare words and flags. Those of `run` that are None unless given leave what a resumed run had."""
    parser.set_defaults(word="", format=None, json=False)
    words = parser.add_subparsers(metavar="WORD")
    create = words.add_parser("create-prd", help="draft a document with a model, or ask for it")
    create.set_defaults(word="create-prd")
    _creating(create)
    run = words.add_parser("run", help="work through a document")
    run.set_defaults(word="run")
    _document(run)
    run.add_argument("--story", default="", metavar="ID", help="this story only")
    run.add_argument(
        "--auto-commit",
        dest="commit",
        action="store_true",
        default=True,
        help="commit stories to the branch of the document (default)",
    )
    run.add_argument(
        "--no-commit",
        dest="commit",
        action="store_false",
        help="leave the result in this tree, uncommitted",
    )
    run.add_argument(
        "--progress",
        metavar="FILE",
        help="where notes are kept (default: progress.txt beside the document)",
    )
    _running(run)
    resume = words.add_parser("resume", help="go on with a run that was interrupted or failed")
    resume.set_defaults(word="resume")
    resume.add_argument(
        "id", nargs="?", metavar="ID",
        help="a run (default: the document's last, else the only unfinished one of this repository)",
    )  # fmt: skip
    _document(resume)
    _running(resume)
    cleanup = words.add_parser("cleanup", help="take away what a run left that is not gone on with")
    cleanup.set_defaults(word="cleanup")
    cleanup.add_argument("id", nargs="?", metavar="ID", help="a run (default: the document's last)")
    _document(cleanup)
    output(cleanup, "text", "json")
    status = words.add_parser("status", help="where the stories stand")
    status.set_defaults(word="status")
    _document(status)
    output(status, "text", "json")


def _document(parser: ArgumentParser) -> None:
    parser.add_argument(
        "-p", "--prd", default=PRD, metavar="FILE", help=f"the document (default: {PRD})"
    )


def _running(parser: ArgumentParser) -> None:
    limits(parser, agent="an agent", piece="a story", retries=2, place="their worktrees")
    add = parser.add_argument
    add(
        "--max-iterations", type=count, metavar="N",
        help="attempts at most, all stories together (default: 10)",
    )  # fmt: skip
    add("--max-concurrent", type=count, metavar="N", help="stories at one time (default: 3)")
    add("--sequential", action="store_true", help="one story at a time")
    add("--time-limit", type=number, metavar="SECONDS", help="stop after so long")
    add("--check-timeout", type=number, metavar="SECONDS", help="for each check (default: 600)")
    add(
        "--allow-test-changes", action="store_true", default=None,
        help="let a story pass that passes only with its own changes to tests",
    )  # fmt: skip
    output(parser, "text", "json", "stream-json")


def _creating(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "-f", "--feature", default="", metavar="WORDS", help="what is wanted; asked for when absent"
    )
    add(
        "--project",
        "--project-name",
        dest="project",
        default="",
        metavar="NAME",
        help="the project's name (default: the directory's)",
    )
    add(
        "-p",
        "--prd",
        default="",
        metavar="FILE",
        help="write it here (default: print it on standard output)",
    )
    add("--force", action="store_true", help="replace the file when there is one")
    add("--template", action="store_true", help="ask no model: a document of one story to fill in")
    add("-m", "--model", metavar="PROVIDER/MODEL", help="the model to use")
    add("--json", action="store_true", help="with -p: print what was written too")


async def obey(mode: Ralph, args: Namespace) -> int:
    """Do what the words say; the exit code."""
    if not args.word:
        raise UsageError(f"what is to be done? {WORDS}", "codetether ralph run -p prd.json")
    if args.word == "create-prd":
        from codetether_mode_ralph.creating import create

        return await create(mode.kernel, args)
    if args.word == "status":
        from codetether_mode_ralph.status import show

        return await show(mode.kernel, args)
    from codetether_mode_ralph import driving

    if args.word == "cleanup":
        return await driving.cleanup(mode, args)
    return await (driving.start if args.word == "run" else driving.resume)(mode, args)

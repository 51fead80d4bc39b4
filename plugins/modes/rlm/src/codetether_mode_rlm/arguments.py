"""The flags of `codetether rlm`."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

from codetether_crew import count, number, whole

from codetether_mode_rlm.options import CONTENT_TYPES, DEEPEST


def arguments(parser: ArgumentParser) -> None:
    """Declare the flags."""
    add = parser.add_argument
    add("query", nargs="+", metavar="QUERY", help="what to find out")
    add(
        "-f", "--file", dest="files", nargs="+", action="extend", default=[], type=Path, metavar="FILE",
        help="look at these files; repeatable",
    )  # fmt: skip
    add("--content", metavar="TEXT", help="look at this text; - reads standard input")
    add(
        "--dir", dest="dirs", action="append", default=[], type=Path, metavar="DIR",
        help="look at the files below DIR that git does not ignore; repeatable",
    )  # fmt: skip
    add("--pattern", metavar="GLOB", help="with --dir: only files whose name or path matches")
    add(
        "--content-type", choices=CONTENT_TYPES, default="auto",
        help="what kind of text it is (default: auto, found by its beginning)",
    )  # fmt: skip
    add("-m", "--model", default="", metavar="PROVIDER/MODEL", help="the model that looks")
    add(
        "--sub-model", default="", metavar="PROVIDER/MODEL",
        help="the model for sub-calls (default: the same)",
    )  # fmt: skip
    add(
        "--max-iterations",
        type=count,
        metavar="N",
        help="replies of the model at most (default: 10)",
    )
    add("--max-subcalls", type=whole, metavar="N", help="sub-calls at most (default: 50)")
    add("--max-tokens", type=count, metavar="N", help="of one answer (default: the vendor's limit)")
    add("--concurrency", type=count, metavar="N", help="model calls at one time (default: 16)")
    add("--budget-tokens", type=count, metavar="N", help="tokens of all calls together at most")
    add("--budget-usd", type=number, metavar="USD", help="the same in dollars")
    add("--timeout", type=number, metavar="SECONDS", help="stop after so long, with what there is")
    add(
        "--depth", type=int, choices=range(1, DEEPEST + 1), default=1,
        help="2: a piece too large for the sub-model is looked through too (default: 1)",
    )  # fmt: skip
    add("--json", action="store_true", help="one JSON object on standard output")
    add("--format", choices=("text", "json", "stream-json"), help="output (default: text)")
    add("-v", "--verbose", action="store_true", help="show what is asked for and what comes of it")

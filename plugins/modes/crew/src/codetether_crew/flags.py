"""Flags of runs with many agents, and values of flags that mean something."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)


def count(text: str) -> int:
    """A flag's value: a whole number above zero."""
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def whole(text: str) -> int:
    """A flag's value: a whole number, zero or more."""
    if not text.isascii() or not text.isdigit():
        raise ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def number(text: str) -> float:
    """A flag's value: a number above zero."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def budget(value: Callable[[str], T]) -> Callable[[str], T | msgspec.UnsetType]:
    """A flag's value: what `value` makes of it, or none, so that a run goes on without the limit it had."""

    def read(text: str) -> T | msgspec.UnsetType:
        return msgspec.UNSET if text == "none" else value(text)

    return read


def wished(options: S, wishes: Mapping[str, Any]) -> S:
    """The struct `options` with what flags say of its fields: None leaves one as it is, UNSET takes a limit away."""
    given = {name: value for name, value in wishes.items() if value is not None}
    return msgspec.structs.replace(
        options,
        **{name: None if value is msgspec.UNSET else value for name, value in given.items()},
    )


def output(parser: ArgumentParser, *forms: str) -> None:
    """--json and --format, which can be one of `forms`."""
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--format", choices=forms, help="output (default: text)")


def limits(parser: ArgumentParser, *, agent: str, piece: str, retries: int, place: str) -> None:
    """The model, limits and access of all agents of a run, None unless given: one that goes on keeps what it had. `agent`
    and `piece`: what one, and what it works at, is called here; `place`: where they may work unasked.
    """
    add = parser.add_argument
    add("-m", "--model", metavar="PROVIDER/MODEL", help="the model to use")
    add(
        "--max-steps", type=count, metavar="N", help=f"model calls of {agent} at most (default: 100)"
    )  # fmt: skip
    add(
        "--timeout", type=number, metavar="SECONDS",
        help=f"end {agent} without progress for so long (default: 300)",
    )  # fmt: skip
    add(
        "--retries", type=whole, metavar="N",
        help=f"further attempts at {piece} that failed (default: {retries})",
    )  # fmt: skip
    add(
        "--budget-usd", type=budget(number), metavar="USD",
        help="ask no model any more once everything cost so much; none: no limit (default)",
    )  # fmt: skip
    add("--budget-tokens", type=budget(count), metavar="N", help="the same in tokens")
    add(
        "--access-mode", choices=("ask", "auto", "full"),
        help=f"what agents may do unasked (default: auto in {place})",
    )  # fmt: skip

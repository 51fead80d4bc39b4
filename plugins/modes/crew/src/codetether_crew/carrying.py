"""Carrying a run out for somebody: a person at a terminal, a program that reads events, a session's tool."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import msgspec
import trio
from codetether.api import CodetetherError, Output, clean
from codetether_live import Board, only, showing

from codetether_crew.journal import NAME
from codetether_crew.pasts import lease_of
from codetether_crew.watching import event_lines, obey_signals

if TYPE_CHECKING:
    from codetether.api import Kernel, Session

    from codetether_crew.budget import Budget


class Outcome(NamedTuple):
    """Whether all of it went well, and the object that --json prints."""

    success: bool
    data: dict[str, Any]


class Run(Protocol):
    """What is carried out, as far as that has to know it."""

    @property
    def board(self) -> Board:
        """What a person sees of it."""

    def stop(self, why: str) -> None:
        """End it in order."""

    def again(self) -> str:
        """The command that goes on with it; "" when there is nothing to go on with."""

    async def go(self) -> Outcome:
        """All of it."""


R = TypeVar("R", bound=Run)
Tell = Callable[[Any], Awaitable[None]]
Said = tuple[str, Sequence[str]]


def left_usd(session: Session) -> float | None:
    """Dollars that a session may still spend; None without a limit."""
    if session.budget_usd is None:
        return None
    return max(session.budget_usd - (session.usage.cost or 0.0), 0.0)


def raised(budget: Budget) -> str:
    """The flags with which a run has to go on whose budget is used up; "" while it is not."""
    if not budget.used_up:
        return ""
    spent = budget.spent.input + budget.spent.output
    if budget.tokens is not None and spent >= budget.tokens:
        return " --budget-tokens N"
    return f" --budget-usd {'none' if budget.unpriced else 'USD'}"


@contextmanager
def held(running: list[R], folder: Path, make: Callable[[], R], *, hint: str) -> Iterator[R]:
    """The run that `make` makes, kept in `folder`, while this process holds its lease; it is among `running` so long,
    whose agents' calls are counted. Nothing is left of one that wrote no journal. Raises CodetetherError with `hint`
    while another process carries it out.
    """
    lease = lease_of(folder)
    if not lease.take(folder.name):
        raise CodetetherError(f"{folder.name} is being carried out by {lease.holder()}", hint)
    try:
        run = make()
        running.append(run)
        try:
            yield run
        finally:
            running.remove(run)
    finally:
        lease.give_back()
        if not (folder / NAME).exists():
            lease.path.unlink(missing_ok=True)
            with suppress(OSError):
                folder.rmdir()


async def carry_out(
    kernel: Kernel, running: list[R], form: str, hold: Callable[[Tell], AbstractContextManager[R]],
    say: Callable[[R, dict[str, Any]], Said],
) -> int:  # fmt: skip
    """Carry out the run that `hold` holds, shown or told in `form`; the exit code: 0, 1 when not all went well, 130
    interrupted. `say`: from its object the text for a person, and lines on how it went.
    """
    output = Output(sys.stdout)

    def broken(why: str) -> None:
        for each in running:
            each.stop(why)

    tell = event_lines(output, kernel.redact.text, broken) if form == "stream-json" else _silent
    with only(), hold(tell) as run:
        async with trio.open_nursery() as nursery:
            stopped = await nursery.start(obey_signals, run.stop, run.again)
            async with shown(run.board, form):
                outcome = await run.go()
            nursery.cancel_scope.cancel()
    said = say(run, outcome.data)
    code = 0 if outcome.success else 1
    return await told(kernel, form, outcome.data, said, 130 if stopped.is_set() else code)


def form_of(args: Namespace) -> str:
    """The form of output that flags ask for: text, json or stream-json."""
    return args.format or ("json" if args.json else "text")


@asynccontextmanager
async def shown(board: Board, form: str) -> AsyncIterator[None]:
    """Show the board meanwhile, unless events are what is read."""
    if form == "stream-json":
        yield
        return
    async with showing(board):
        yield


async def told(kernel: Kernel, form: str, data: Any, said: Said, code: int) -> int:
    """`code`, once the object or the text for a person is on standard output and how it went on standard error."""
    redact = kernel.redact.text
    text, lines = said
    if form == "json":
        await _written(f"{redact(_json(data))}\n")
    elif form == "text" and text:
        await _written(f"{clean(redact(text))}\n")
    for line in lines:
        print(clean(redact(line)), file=sys.stderr)
    return code


def _json(data: Any) -> str:
    try:
        return msgspec.json.format(msgspec.json.encode(data), indent=2).decode()
    except (
        TypeError,
        ValueError,
        OverflowError,
    ):  # half a character, which the standard library lets pass
        import json

        return json.dumps(data, indent=2, ensure_ascii=False)


async def _silent(_: Any) -> None:
    """Nobody listens."""


async def _written(text: str) -> None:
    try:
        await Output(sys.stdout).write(text)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CodetetherError(f"standard output cannot be written: {error.strerror}") from None

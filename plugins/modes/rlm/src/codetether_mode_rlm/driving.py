"""Carrying a run out for somebody: a person at a terminal, a program that reads events, a session's plugin."""

from __future__ import annotations

import math
import sys
from argparse import Namespace
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import msgspec
import trio
from codetether.api import CodetetherError, InterruptedByUser, Output, UsageError, one_line
from codetether_crew import event_lines, form_of, left_usd, obey_signals, shown, told
from codetether_live import only

from codetether_mode_rlm import report
from codetether_mode_rlm.events import RlmEvent, RlmStarted, RlmStep, RlmSubcall
from codetether_mode_rlm.material import material
from codetether_mode_rlm.options import Options
from codetether_mode_rlm.run import Run, Tell, spool_of

if TYPE_CHECKING:
    from codetether.api import Session

    from codetether_mode_rlm import Rlm

Progress = Callable[[str], Awaitable[None]]
SOON = 1.0  # seconds until it is said that text is waited for
LIMITS = ("max_iterations", "max_subcalls", "max_tokens", "concurrency")
GIVEN = ("content_type", "model", "sub_model", "budget_tokens", "budget_usd", "timeout", "depth")


async def start(mode: Rlm, args: Namespace) -> int:
    """A run for the command line; the exit code."""
    form, options = form_of(args), _options(mode, args)
    output = Output(sys.stdout)
    run: Run | None = None
    came = trio.Event()
    began, limit = trio.current_time(), args.timeout
    reading = trio.CancelScope(deadline=began + (math.inf if limit is None else limit))

    def stop(why: str) -> None:
        if run is None:
            reading.cancel()
        else:
            run.stop(why)

    with only():
        async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
            stopped = await nursery.start(obey_signals, stop)
            if args.content == "-":
                nursery.start_soon(_wait_for, came)
            with reading:  # what is piped in may take its time
                given = material(args, spool_of(mode.kernel))
                sources = await stack.enter_async_context(given)
            if reading.cancelled_caught and stopped.is_set():
                raise InterruptedByUser("interrupted before all of the text was there")
            if reading.cancelled_caught:
                raise CodetetherError(
                    f"took longer than {limit:g} s, before all of the text was there"
                )
            came.set()
            run = Run(mode.kernel, options, sources, settings=mode.settings)
            run.began = began
            run.verbose = args.verbose
            run.listener = _events(mode, run, output) if form == "stream-json" else None
            async with shown(run.board, form):
                outcome = await run.go()
            nursery.cancel_scope.cancel()
    data, code = outcome.data, 130 if stopped.is_set() else 0 if outcome.complete else 1
    said = (report.text(data) if form == "text" else "", report.farewell(data))
    return await told(mode.kernel, form, data, said, code)


async def _wait_for(came: trio.Event) -> None:
    """Say what is waited for, when that takes a moment."""
    with trio.move_on_after(SOON):
        await came.wait()
        return
    print("reading standard input, until it ends", file=sys.stderr)


async def for_session(
    mode: Rlm, wanted: dict[str, Any], session: Session, progress: Progress
) -> dict[str, Any]:
    """For a plugin: the result object. Raises CodetetherError."""
    if session.budget_usd is None:
        return await _for_session(mode, wanted, session, progress)
    turn: trio.Lock = session.state.setdefault(mode.key, trio.Lock())
    async with turn:  # side by side, each would spend what is left
        return await _for_session(mode, wanted, session, progress)


async def _for_session(
    mode: Rlm, wanted: dict[str, Any], session: Session, progress: Progress
) -> dict[str, Any]:
    given = dict(wanted)
    sources = given.pop("sources")
    model = mode.settings.model or session.model_ref
    given = {"budget_usd": left_usd(session), "model": model, **given, **_limits(mode, given)}
    options = msgspec.convert(given, Options)
    run = Run(mode.kernel, options, sources, settings=mode.settings, session=session)

    async def tell(event: RlmEvent) -> None:
        if isinstance(event, RlmStarted):
            await progress(f"{event.why}\n")
        elif isinstance(event, RlmStep):
            await progress(f"[{event.iteration}] {one_line(event.code, 200)}\n")
        elif isinstance(event, RlmSubcall) and not event.ok:
            await progress(f"sub-call {event.number} failed: {event.error}\n")

    run.listener = tell
    return (await run.go()).data


def _limits(mode: Rlm, given: dict[str, Any]) -> dict[str, Any]:
    """The limits: as given, else as the settings say."""
    settings = mode.settings
    limits = {
        name: given[name] if given.get(name) is not None else getattr(settings, name)
        for name in LIMITS
    }
    return {**limits, "small_share": settings.small_share}


def _options(mode: Rlm, args: Namespace) -> Options:
    """Raises UsageError."""
    given = vars(args)
    query = " ".join(args.query).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    wanted = {"query": query, **_limits(mode, given), **{name: given[name] for name in GIVEN}}
    try:
        return msgspec.convert(wanted, Options)
    except msgspec.ValidationError as error:
        wrong, _, where = str(error).replace("`", "").partition(" - at $.")
        raise UsageError(f"--{where.replace('_', '-')}: {wrong}") from None


def _events(mode: Rlm, run: Run, output: Output) -> Tell:
    """Events as lines for a program."""
    return event_lines(output, mode.kernel.redact.text, run.stop)

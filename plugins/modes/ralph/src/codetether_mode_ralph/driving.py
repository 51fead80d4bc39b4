"""Carrying a run out for somebody: a person at a terminal, a program that reads events, a session's tool."""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import trio
from codetether.api import CodetetherError, Output, clean
from codetether_crew import event_lines, obey_signals
from codetether_live import only, showing
from codetether_worktrees import Lease

from codetether_mode_ralph.book import Tell
from codetether_mode_ralph.events import RalphEvent, RalphNotice, StoryChanged
from codetether_mode_ralph.options import Options
from codetether_mode_ralph.records import Past, folder_of, latest, named, new_id
from codetether_mode_ralph.run import Run, again

if TYPE_CHECKING:
    from codetether.api import Session

    from codetether_mode_ralph import Ralph
    from codetether_mode_ralph.report import Outcome

GIVEN = {
    "model": "model", "max_iterations": "max_iterations", "max_steps": "max_steps", "retries": "retries",
    "max_concurrent": "concurrency", "timeout": "timeout", "time_limit": "time_limit", "budget_usd": "budget_usd",
    "budget_tokens": "budget_tokens", "check_timeout": "gate_seconds", "allow_test_changes": "test_changes",
    "access_mode": "access",
}  # fmt: skip


async def start(mode: Ralph, args: Namespace) -> int:
    """A new run; the exit code."""
    prd = _absolute(args.prd)
    options = Options(
        prd=str(prd), progress=str(_progress(prd, args.progress)), directory=str(_directory(prd)), story=args.story,
        commit=args.commit, **_given(args),
    )  # fmt: skip
    before = latest(mode.kernel, prd)
    if before is not None and before.status == "running":
        raise CodetetherError(f"{before.id} is working through this document now", "wait for it")
    if before is not None and before.status in ("interrupted", "stopped"):
        told = f"the last run of this document, {before.id}, is {before.status}; this is a new one"
        print(f"note: {told} (codetether ralph resume goes on with it)", file=sys.stderr)
    return await _carry_out(mode, args, new_id(), options, None)


async def resume(mode: Ralph, args: Namespace) -> int:
    """Go on with a run that was interrupted, stopped, or failed in part; the exit code."""
    past = again(_past(mode, args), **_given(args))
    return await _carry_out(mode, args, past.id, past.began.options, past)


async def cleanup(mode: Ralph, args: Namespace) -> int:
    """Take away what a run left; 0."""
    from codetether_mode_ralph.cleaning import clean_up

    told = await clean_up(mode.kernel, _past(mode, args))
    text = f"{told['id']}: its worktrees are gone"
    text += "".join(f"\n  kept {branch}: its work is merged nowhere" for branch in told["kept"])
    as_json = args.json or args.format == "json"
    await Output(sys.stdout).write(f"{json.dumps(told, indent=2) if as_json else text}\n")
    return 0


def _past(mode: Ralph, args: Namespace) -> Past:
    past = named(mode.kernel, args.id) if args.id else latest(mode.kernel, _absolute(args.prd))
    if past is None:
        raise CodetetherError(f"there is no run of {args.prd}", "codetether ralph run")
    return past


async def for_session(
    mode: Ralph, wanted: dict[str, Any], session: Session, progress: Any
) -> dict[str, Any]:
    """For a tool: the result object. Raises CodetetherError."""
    prd = _absolute(str(session.directory / wanted.pop("prd")))
    options = msgspec.convert(
        wanted
        | {
            "prd": str(prd), "progress": str(_progress(prd, None)), "directory": str(session.directory),
            "model": session.model_ref, "access": session.access, "started_by": session.id, "depth": session.depth,
            "budget_usd": _left(session),
        },
        Options,
    )  # fmt: skip

    async def tell(event: RalphEvent) -> None:
        if isinstance(event, StoryChanged):
            await progress(f"{event.story}: {event.state}{': ' if event.why else ''}{event.why}\n")
        elif isinstance(event, RalphNotice):
            await progress(f"{event.text}\n")

    async with _running(mode, new_id(), options, tell, None) as run:
        outcome = await run.go()
    return outcome.data


def _left(session: Session) -> float | None:
    if session.budget_usd is None:
        return None
    return max(session.budget_usd - (session.usage.cost or 0.0), 0.0)


def _absolute(prd: str) -> Path:
    return Path(os.path.realpath(prd))


def _progress(prd: Path, given: str | None) -> Path:
    return Path(os.path.realpath(given)) if given else prd.with_name("progress.txt")


def _directory(prd: Path) -> Path:
    """Where the agents work: here, when the document is below here, else beside it."""
    here = Path(os.path.realpath(os.getcwd()))
    return here if prd.is_relative_to(here) else prd.parent


def _given(args: Namespace) -> dict[str, Any]:
    found = {
        ours: getattr(args, name) for name, ours in GIVEN.items() if getattr(args, name) is not None
    }
    if args.sequential:
        found["concurrency"] = 1
    return found


@asynccontextmanager
async def _running(
    mode: Ralph, run_id: str, options: Options, tell: Tell, past: Past | None
) -> AsyncIterator[Run]:
    """A run that this process holds the lease of, and whose agents' calls are counted."""
    folder = folder_of(mode.kernel) / run_id
    lease = Lease(folder / "lease")
    if not lease.take(run_id):
        raise CodetetherError(
            f"{run_id} is being carried out by {lease.holder()}",
            "wait for it, or stop that process",
        )
    run = Run(mode.kernel, folder, options, tell, past=past, hosts=mode.settings.private_hosts)
    mode.running.append(run)
    try:
        yield run
    finally:
        mode.running.remove(run)
        lease.give_back()
        if not (folder / "journal.jsonl").exists():
            lease.path.unlink(missing_ok=True)
            folder.rmdir()


async def _carry_out(
    mode: Ralph, args: Namespace, run_id: str, options: Options, past: Past | None
) -> int:
    form = args.format or ("json" if args.json else "text")
    output = Output(sys.stdout)
    tell = _writer(mode, output) if form == "stream-json" else _silent
    with only():
        async with (
            _running(mode, run_id, options, tell, past) as run,
            trio.open_nursery() as nursery,
        ):
            stop = await nursery.start(obey_signals, run.stop)
            async with _shown(run, form):
                outcome = await run.go()
            nursery.cancel_scope.cancel()
    return await _told(output, form, run, outcome, interrupted=stop.is_set())


@asynccontextmanager
async def _shown(run: Run, form: str) -> AsyncIterator[None]:
    if form == "stream-json":
        yield
        return
    async with showing(run.book.board):
        yield


async def _silent(_: RalphEvent) -> None:
    await trio.lowlevel.checkpoint()


def _writer(mode: Ralph, output: Output) -> Tell:
    """Writes each event as a line; with nobody to read them any more the run stops."""

    def broken() -> None:
        for run in mode.running:
            run.stop("nobody reads the events any more")

    return event_lines(output, mode.kernel.redact.text, broken)


# --- what is said ------------------------------------------------------------------------------------------------
async def _told(output: Output, form: str, run: Run, outcome: Outcome, *, interrupted: bool) -> int:
    from codetether_mode_ralph.status import table

    data = outcome.data
    redact = run.kernel.redact.text
    if form == "json":
        await output.write(f"{redact(json.dumps(data, indent=2, ensure_ascii=False))}\n")
    elif form == "text" and data.get("stories"):
        await output.write(f"{redact(table(data['stories']))}\n")
    for line in _farewell(run, data):
        print(clean(redact(line)), file=sys.stderr)
    return 130 if interrupted else 0 if outcome.success else 1


def _farewell(run: Run, data: dict[str, Any]) -> list[str]:
    """On standard error: how it went, where the work is, and what to do next."""
    lines = [f"ralph {run.id}: {data.get('status', 'stopped')}"]
    if "total" in data:
        lines[0] += (
            f" · {data['passed']} of {data['total']} stories passed · {data['current_iteration']} iterations"
        )
    if error := data.get("error"):
        lines.append(f"  {error}")
    branches = data.get("branches", {})
    if branches.get("landed_on"):
        lines.append(f"  the result is on {branches['landed_on']}")
    if branches.get("result"):
        lines.append(
            f"  the result is on the branch {branches['result']}; take it: git merge {branches['result']}"
        )
    lines += [f"  not merged, and kept: {each}" for each in branches.get("unmerged", ())]
    touched = {path for each in data.get("stories", ()) for path in each["touched"]}
    if touched:
        lines.append(
            f"  tests, checks or our own files were changed: {', '.join(sorted(touched)[:5])}"
        )
    if not data.get("success") and data.get("status") != "unverified":
        lines.append(f"  go on: codetether ralph resume {run.id}")
    return lines

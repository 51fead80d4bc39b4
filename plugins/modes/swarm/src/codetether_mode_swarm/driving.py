"""Carrying a run out for somebody: a person at a terminal, a program that reads events, a session's tool."""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import trio
from codetether.api import CodetetherError, Output, UsageError, clean
from codetether_crew import event_lines, obey_signals
from codetether_live import only, showing

from codetether_mode_swarm import runs
from codetether_mode_swarm.book import Tell
from codetether_mode_swarm.commands import named, plan_lines
from codetether_mode_swarm.events import SubtaskChanged, SwarmEvent, SwarmNotice, SwarmPlanned
from codetether_mode_swarm.journal import Past, new_id
from codetether_mode_swarm.options import STRATEGIES, Options
from codetether_mode_swarm.run import Run

if TYPE_CHECKING:
    from codetether.api import Kernel, Session

    from codetether_mode_swarm import Swarm
    from codetether_mode_swarm.report import Outcome

GIVEN = (
    "max_steps",
    "timeout",
    "concurrency",
    "budget_usd",
    "budget_tokens",
    "retries",
    "executor",
    "address",
    "model",
)


async def start(mode: Swarm, args: Namespace) -> int:
    """A new run; the exit code."""
    return await _carry_out(mode, args, new_id(), _options(args), None)


async def resume(mode: Swarm, args: Namespace) -> int:
    """Go on with a run that was interrupted, stopped, or failed in part; the exit code."""
    past = runs.find(mode.kernel, named(args))
    wishes = _given(args)
    del wishes["model"]
    _check_same_place(mode.kernel, past.began.options.executor, wishes["executor"])
    gates = () if args.no_gates else tuple(args.gate) if args.gate else None
    past = runs.again(past, **wishes, gates=gates, access=args.access_mode)
    return await _carry_out(mode, args, past.id, past.began.options, past)


async def for_session(
    mode: Swarm, wanted: dict[str, Any], session: Session, progress: Any
) -> dict[str, Any]:
    """For a tool: the result object. Raises CodetetherError."""
    options = msgspec.convert(
        wanted
        | {
            "directory": str(session.directory), "model": session.model_ref, "access": session.access,
            "started_by": session.id, "depth": session.depth, "budget_usd": _left(session),
        },
        Options,
    )  # fmt: skip

    async def tell(event: SwarmEvent) -> None:
        if isinstance(event, SubtaskChanged):
            await progress(f"{event.name}: {event.state}{': ' if event.why else ''}{event.why}\n")
        elif isinstance(event, SwarmNotice):
            await progress(f"{event.text}\n")
        elif isinstance(event, SwarmPlanned):
            await progress(f"{len(event.subtasks)} sub-tasks in {event.stages} stages\n")

    async with _running(mode, new_id(), options, tell, None) as run:
        outcome = await run.go()
    return outcome.data


def _left(session: Session) -> float | None:
    if session.budget_usd is None:
        return None
    return max(session.budget_usd - (session.usage.cost or 0.0), 0.0)


@asynccontextmanager
async def _running(
    mode: Swarm, run_id: str, options: Options, tell: Tell, past: Past | None
) -> AsyncIterator[Run]:
    """A run that this process holds the lease of, and whose sub-agents' calls are counted."""
    folder = runs.folder_of(mode.kernel) / run_id
    lease = runs.lease_of(folder)
    if not lease.take(run_id):
        raise CodetetherError(
            f"{run_id} is being carried out by {lease.holder()}", "wait for it, or cancel it"
        )
    (folder / "cancel").unlink(missing_ok=True)
    run = Run(mode.kernel, folder, options, tell, past)
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
    mode: Swarm, args: Namespace, run_id: str, options: Options, past: Past | None
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
            if args.dry_run:
                plan = await run.plan_only()
                await _show_plan(output, form, msgspec.to_builtins(plan))
                nursery.cancel_scope.cancel()
                return 0
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


def _given(args: Namespace) -> dict[str, Any]:
    """What the command line says, None for what it does not. A broker is for the executor that has one."""
    given = {name: getattr(args, name) for name in GIVEN}
    if given["address"] and given["executor"] is None:
        given["executor"] = "nats"
    return given


def _check_same_place(kernel: Kernel, was: str, wanted: str | None) -> None:
    """A sub-task that was begun in a worktree here cannot go on elsewhere. Raises UsageError."""
    if wanted and kernel.executor(wanted).elsewhere != kernel.executor(was).elsewhere:
        raise UsageError(f"this run's sub-agents are those of the executor {was}", "leave it so")


def _options(args: Namespace) -> Options:
    if args.strategy not in STRATEGIES:
        print(f"note: there is no strategy {args.strategy!r}; auto is used", file=sys.stderr)
    given = {name: value for name, value in _given(args).items() if value is not None}
    if not " ".join(args.words).strip():
        raise UsageError("the task is empty")
    return Options(
        task=" ".join(args.words),
        directory=os.getcwd(),
        strategy=args.strategy if args.strategy in STRATEGIES else "auto",
        max_subagents=args.max_subagents,
        access=args.access_mode or "",
        worktrees=not args.no_worktrees,
        merge=not args.no_merge,
        gates=() if args.no_gates else tuple(args.gate) if args.gate else None,
        **given,
    )


# --- what is said ------------------------------------------------------------------------------------------------
async def _silent(_: SwarmEvent) -> None:
    await trio.lowlevel.checkpoint()


def _writer(mode: Swarm, output: Output) -> Tell:
    """Writes each event as a line; with nobody to read them any more the run stops."""

    def broken() -> None:
        for run in mode.running:
            run.stop("nobody reads the events any more")

    return event_lines(output, mode.kernel.redact.text, broken)


async def _show_plan(output: Output, form: str, plan: dict[str, Any]) -> None:
    if form == "text":
        notes = "".join(f"\nnote: {clean(note)}" for note in plan.get("notes", ()))
        await output.write(f"{plan_lines(plan['subtasks'])}{notes}\n")
    else:
        await output.write(
            json.dumps({"dry_run": True} | plan, indent=2, ensure_ascii=False) + "\n"
        )


async def _told(output: Output, form: str, run: Run, outcome: Outcome, *, interrupted: bool) -> int:
    data = outcome.data
    if form == "json":
        text = mode_text(run, json.dumps(data, indent=2, ensure_ascii=False))
        await output.write(f"{text}\n")
    elif form == "text" and data.get("result"):
        await output.write(f"{clean(mode_text(run, data['result']))}\n")
    for line in _farewell(run, data):
        print(clean(line), file=sys.stderr)
    return 130 if interrupted else 0 if outcome.success else 1


def mode_text(run: Run, text: str) -> str:
    """`text` without secrets."""
    return run.kernel.redact.text(text)


def _farewell(run: Run, data: dict[str, Any]) -> list[str]:
    """On standard error: how it went, where the work is, and what to do next."""
    lines = [f"swarm {run.id}: {data.get('status', 'stopped')}"]
    if stats := data.get("stats"):
        lines[0] += (
            f" · {stats['subagents_completed']} of {len(data['subtask_results'])} sub-tasks · {stats['speedup_factor']:.1f}x faster"
            f" than one after another ({stats['possible_speedup']:.1f}x possible) · critical path {stats['critical_path_length']} steps"
        )
    if error := data.get("error"):
        lines.append(f"  {error}")
    branches = data.get("branches", {})
    if branches.get("merged_into"):
        lines.append(f"  merged into {branches['merged_into']}")
    elif branches.get("result"):
        lines.append(
            f"  the result is on the branch {branches['result']}; take it: git merge {branches['result']}"
        )
    lines += [f"  not merged, and kept: {each}" for each in branches.get("unmerged", ())]
    gates = data.get("gates", {})
    if gates.get("ok") and not gates["verified"]:
        lines.append("  no check of the project spoke for it: look at the result yourself")
    if gates.get("touched"):
        lines.append(f"  it changed tests or checks: {', '.join(gates['touched'][:5])}")
    if not data.get("success"):
        lines.append(f"  go on: codetether swarm resume {run.id}")
    return lines

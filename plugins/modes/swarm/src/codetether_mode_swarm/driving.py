"""Carrying a run out for somebody: a person at a terminal, a program that reads events, a session's tool."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import msgspec
import trio
from codetether.api import UsageError
from codetether_crew import (
    Account,
    Tell,
    carry_out,
    form_of,
    held,
    left_usd,
    new_id,
    raised,
    told,
    wished,
)

from codetether_mode_swarm import runs
from codetether_mode_swarm.commands import named, plan_lines
from codetether_mode_swarm.events import SubtaskChanged, SwarmEvent, SwarmNotice, SwarmPlanned
from codetether_mode_swarm.journal import Past
from codetether_mode_swarm.options import STRATEGIES, Options
from codetether_mode_swarm.run import Run

if TYPE_CHECKING:
    from codetether.api import Kernel, Session

    from codetether_mode_swarm import Swarm

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
    options = _options(args)
    if args.dry_run:
        return await _plan(mode, options, form_of(args))
    return await _carry_out(mode, args, new_id("swarm"), options, None)


async def resume(mode: Swarm, args: Namespace) -> int:
    """Go on with a run that was interrupted, stopped, or failed in part; the exit code."""
    one = len(args.words) == 1
    past = runs.unfinished(mode.kernel) if one else runs.find(mode.kernel, named(args))
    if args.dry_run:
        raise UsageError("its plan is made already", f"codetether swarm show {past.id}")
    if past.status == "completed" and not runs.unmerged(past):
        raise UsageError(f"{past.id} is completed", f"codetether swarm show {past.id}")
    wishes = _given(args) | {"merge": False if args.no_merge else None}
    _check_same_place(mode.kernel, past.began.options.executor, wishes["executor"])
    gates = () if args.no_gates else tuple(args.gate) if args.gate else None
    past = runs.again(past, **wishes, gates=gates, access=args.access_mode)
    return await _carry_out(mode, args, past.id, past.began.options, past)


async def for_session(
    mode: Swarm, wanted: dict[str, Any], session: Session, progress: Any
) -> dict[str, Any]:
    """For a tool: the result object. What it takes is told as the session's. Raises CodetetherError."""
    options = msgspec.convert(
        wanted
        | {
            "directory": str(session.directory), "model": session.model_ref, "access": session.access,
            "started_by": session.id, "depth": session.depth, "budget_usd": left_usd(session),
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

    with _held(mode, new_id("swarm"), options, None, tell) as run:
        run.hands.account = account = Account(session, f"swarm {run.id}")
        try:
            outcome = await run.go()
        finally:
            await account.settle(run.book.spent, run.hands.model)
    return outcome.data


def _held(
    mode: Swarm, run_id: str, options: Options, past: Past | None, tell: Tell
) -> AbstractContextManager[Run]:
    folder = runs.folder_of(mode.kernel) / run_id

    def make() -> Run:
        (folder / "cancel").unlink(missing_ok=True)
        return Run(mode.kernel, folder, options, tell, past)

    return held(mode.running, folder, make, hint="wait for it, or cancel it")


async def _carry_out(
    mode: Swarm, args: Namespace, run_id: str, options: Options, past: Past | None
) -> int:
    def hold(tell: Tell) -> AbstractContextManager[Run]:
        return _held(mode, run_id, options, past, tell)

    return await carry_out(mode.kernel, mode.running, form_of(args), hold, _said)


async def _plan(mode: Swarm, options: Options, form: str) -> int:
    """What --dry-run shows."""
    with _held(mode, new_id("swarm"), options, None, _nothing) as run:
        plan = msgspec.to_builtins(await run.plan_only())
    notes = "".join(f"\nnote: {note}" for note in plan.get("notes", ()))
    text = f"{plan_lines(plan['subtasks'])}{notes}"
    shape = form if form == "text" else "json"
    return await told(mode.kernel, shape, {"dry_run": True} | plan, (text, ()), 0)


async def _nothing(_: SwarmEvent) -> None:
    await trio.lowlevel.checkpoint()


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
    if not " ".join(args.words).strip():
        raise UsageError("the task is empty")
    options = Options(
        task=" ".join(args.words),
        directory=os.getcwd(),
        strategy=args.strategy if args.strategy in STRATEGIES else "auto",
        max_subagents=args.max_subagents,
        access=args.access_mode or "",
        worktrees=not args.no_worktrees,
        merge=not args.no_merge,
        gates=() if args.no_gates else tuple(args.gate) if args.gate else None,
    )
    return wished(options, _given(args))


# --- what is said ------------------------------------------------------------------------------------------------
def _said(run: Run, data: dict[str, Any]) -> tuple[str, list[str]]:
    """The reports, and on standard error how it went, where the work is, and what to do next."""
    lines = [f"swarm {run.id}: {data.get('status', 'stopped')}"]
    if stats := data.get("stats"):
        lines[0] += f" · {stats['subagents_completed']} of {len(data['subtask_results'])} sub-tasks"
        if stats["speedup_factor"]:
            lines[0] += (
                f" · speed-up {stats['speedup_factor']:.1f} of {stats['possible_speedup']:.1f} possible"
                f" · critical path {stats['critical_path_length']} steps"
            )
    judged = run.joiner.report if run.joiner else None
    if run.stopped:
        lines.append(f"  {run.stopped}")
    elif judged is not None and not judged.ok:
        lines.append(f"  the checks of the project fail: {judged.told}")
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
        lines.append(f"  go on: codetether swarm resume {run.id}{raised(run.budget)}")
    return data.get("result", ""), lines

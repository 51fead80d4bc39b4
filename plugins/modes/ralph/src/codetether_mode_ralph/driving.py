"""Carrying a run out for somebody: a person at a terminal, a program that reads events, a session's tool."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from codetether.api import CodetetherError
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

from codetether_mode_ralph.commands import PRD
from codetether_mode_ralph.events import RalphEvent, RalphNotice, StoryChanged
from codetether_mode_ralph.judging import WITHOUT
from codetether_mode_ralph.options import Options
from codetether_mode_ralph.records import Past, folder_of, latest, named, sole, unfinished
from codetether_mode_ralph.run import Run, again

if TYPE_CHECKING:
    from codetether.api import Session

    from codetether_mode_ralph import Ralph

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
        prd=str(prd), progress=str(_progress(prd, args.progress)), directory=str(_directory(args.prd)), story=args.story,
        commit=args.commit,
    )  # fmt: skip
    options = wished(options, _given(args))
    before = latest(mode.kernel, prd)
    if before is not None and before.status in ("interrupted", "stopped"):
        told = f"the last run of this document, {before.id}, is {before.status}; this is a new one"
        print(f"note: {told} (codetether ralph resume goes on with it)", file=sys.stderr)
    return await _carry_out(mode, args, new_id("ralph"), options, None)


async def resume(mode: Ralph, args: Namespace) -> int:
    """Go on with a run that was interrupted, stopped, or failed in part; the exit code."""
    known = args.id or args.prd != PRD or latest(mode.kernel, _absolute(PRD))
    past = again(_past(mode, args) if known else unfinished(mode.kernel), **_given(args))
    return await _carry_out(mode, args, past.id, past.began.options, past)


async def cleanup(mode: Ralph, args: Namespace) -> int:
    """Take away what a run left; 0."""
    from codetether_mode_ralph.cleaning import clean_up

    data = await clean_up(mode.kernel, _past(mode, args))
    text = f"{data['id']}: its worktrees are gone"
    text += "".join(f"\n  kept {branch}: its work is merged nowhere" for branch in data["kept"])
    return await told(mode.kernel, form_of(args), data, (text, ()), 0)


def _past(mode: Ralph, args: Namespace) -> Past:
    past = named(mode.kernel, args.id) if args.id else latest(mode.kernel, _absolute(args.prd))
    if past is None:
        raise CodetetherError(f"there is no run of {args.prd}", "codetether ralph run")
    return past


async def for_session(
    mode: Ralph, wanted: dict[str, Any], session: Session, progress: Any
) -> dict[str, Any]:
    """For a tool: the result object. What it takes is told as the session's. Raises CodetetherError."""
    prd = _absolute(str(session.directory / wanted.pop("prd")))
    options = msgspec.convert(
        wanted
        | {
            "prd": str(prd), "progress": str(_progress(prd, None)), "directory": str(session.directory),
            "model": session.model_ref, "access": session.access, "started_by": session.id, "depth": session.depth,
            "budget_usd": left_usd(session),
        },
        Options,
    )  # fmt: skip

    async def tell(event: RalphEvent) -> None:
        if isinstance(event, StoryChanged):
            await progress(f"{event.story}: {event.state}{': ' if event.why else ''}{event.why}\n")
        elif isinstance(event, RalphNotice):
            await progress(f"{event.text}\n")

    with _held(mode, new_id("ralph"), options, None, tell) as run:
        account = Account(session, f"ralph {run.id}")
        try:
            outcome = await run.go()
        finally:
            await account.settle(run.book.spent, run.hands.model)
    return outcome.data


def _absolute(prd: str) -> Path:
    return Path(os.path.realpath(prd))


def _progress(prd: Path, given: str | None) -> Path:
    return Path(os.path.realpath(given)) if given else prd.with_name("progress.txt")


def _directory(prd: str) -> Path:
    """Where the agents work: here, when the document, or a link to it, is below here, else beside it."""
    here, beside = Path(os.path.realpath(os.getcwd())), Path(os.path.abspath(prd)).parent.resolve()
    return here if beside.is_relative_to(here) else beside


def _given(args: Namespace) -> dict[str, Any]:
    found = {ours: getattr(args, name) for name, ours in GIVEN.items()}
    if args.sequential:
        found["concurrency"] = 1
    return found


@contextmanager
def _held(
    mode: Ralph, run_id: str, options: Options, past: Past | None, tell: Tell
) -> Iterator[Run]:
    folder = folder_of(mode.kernel) / run_id

    def make() -> Run:
        hosts = mode.settings.private_hosts
        return Run(mode.kernel, folder, options, tell, past=past, hosts=hosts)

    hint = "wait for it, or stop that process"
    with sole(mode.kernel, options.prd), held(mode.running, folder, make, hint=hint) as run:
        yield run


async def _carry_out(
    mode: Ralph, args: Namespace, run_id: str, options: Options, past: Past | None
) -> int:
    def hold(tell: Tell) -> AbstractContextManager[Run]:
        return _held(mode, run_id, options, past, tell)

    return await carry_out(mode.kernel, mode.running, form_of(args), hold, _said)


# --- what is said ------------------------------------------------------------------------------------------------
def _said(run: Run, data: dict[str, Any]) -> tuple[str, list[str]]:
    """The stories, and on standard error how it went, where the work is, and what to do next."""
    from codetether_mode_ralph.status import table

    lines = [f"ralph {run.id}: {data.get('status', 'stopped')}"]
    if "total" in data:
        lines[0] += (
            f" · {data['passed']} of {data['total']} stories passed · {data['current_iteration']} iterations"
        )
    if data.get("error") and data["status"] != "quality_failed":  # the table says why
        lines.append(f"  {data['error']}")
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
        on = f"codetether ralph resume {run.id}"
        lines.append(f"  go on: {on}{raised(run.budget)}")
        if any(each["why"].startswith(WITHOUT) for each in data.get("stories", ())):
            lines.append(f"  if those changes are right: {on} --allow-test-changes")
    return table(data.get("stories", [])), lines

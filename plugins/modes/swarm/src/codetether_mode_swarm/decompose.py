"""Asking the model for a plan, and once more when what it says cannot be carried out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from codetether.api import CodetetherError, git, head
from codetether_crew import Attempt

from codetether_mode_swarm import texts
from codetether_mode_swarm.graph import Plan, in_line
from codetether_mode_swarm.plan import SCHEMA, PlanError, read, single

if TYPE_CHECKING:
    from codetether.api import Kernel, TurnFinished
    from codetether_crew import Hands

    from codetether_mode_swarm.options import Options

FILES = 300  # names of the repository's files that the model is shown
SHOWN = 8  # problems told at once


async def decompose(
    kernel: Kernel, options: Options, hands: Hands, run_id: str, files: str
) -> tuple[Plan, Attempt]:
    """The plan and what it took; `files` are those of `files_of`. Raises PlanError when the model's second answer cannot
    be carried out either.
    """
    if options.strategy == "none":
        return single(options.task), Attempt(True)
    directory = Path(options.directory)
    prompt = texts.filled(
        "decompose", task=options.task, most=str(options.max_subagents), strategy=texts.STRATEGY[options.strategy],
        files=files,
    )  # fmt: skip
    async with kernel.open_session(
        directory=directory, model=hands.model, tools=False, started_by=options.started_by or run_id,
        depth=options.depth,
    ) as session:  # fmt: skip
        finished = await session.prompt(prompt, schema=SCHEMA)
        plan, problems = read(_answer(finished), options.max_subagents)
        if problems:
            told = "\n".join(f"- {each}" for each in problems[:SHOWN])
            finished = await session.prompt(texts.filled("mend", problems=told), schema=SCHEMA)
            mended, problems = read(_answer(finished), options.max_subagents)
            plan = mended or plan
        usage, steps, name = session.usage, session.turns, session.id
    if plan is None:
        raise PlanError(
            f"the model made no plan that can be carried out: {'; '.join(problems[:3])}",
            "say the task otherwise, try another model, or use --strategy none",
        )
    return in_line(plan), Attempt(True, steps=steps, usage=usage, session=name)


def _answer(finished: TurnFinished) -> str:
    if finished.reason != "done":
        raise PlanError(
            f"the task could not be planned: {finished.error or finished.reason}", finished.hint
        )
    return finished.text


async def files_of(directory: Path) -> str:
    """What the model is told of the repository: names of files, of large ones the folders."""
    if head(directory) is None:
        return ""
    try:
        done = await git(["ls-files"], directory, timeout=20, head=400_000)
    except CodetetherError:
        return ""
    names = done.output.splitlines() if done.ok else []
    if not names:
        return ""
    if len(names) > FILES:
        names = sorted(
            {f"{name.rpartition('/')[0]}/" for name in names if "/" in name}
            | {n for n in names if "/" not in n}
        )
    more = f"\n[{len(names) - FILES} more]" if len(names) > FILES else ""
    return "Files of the repository:\n" + "\n".join(names[:FILES]) + more + "\n\n"

"""The flags of `codetether swarm`, and the words that look at runs there were."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from codetether.api import UsageError, clean, one_line
from codetether_crew import count, limits, output

if TYPE_CHECKING:
    from codetether.api import Kernel

    from codetether_mode_swarm.journal import Past


def arguments(parser: ArgumentParser) -> None:
    """Declare the flags. Those that are None unless given leave what a resumed run had."""
    add = parser.add_argument
    add(
        "words",
        nargs="*",
        metavar="TASK",
        help="what to do; or list, show ID, resume [ID], cancel ID, cleanup ID",
    )
    add(
        "-s",
        "--strategy",
        default="auto",
        metavar="WORD",
        help="auto, domain, data, stage or none (default: auto)",
    )
    add(
        "--max-subagents",
        type=count,
        default=100,
        metavar="N",
        help="sub-tasks at most (default: 100)",
    )
    add("--concurrency", type=count, metavar="N", help="sub-agents at one time (default: 8)")
    limits(parser, agent="a sub-agent", piece="a sub-task", retries=1, place="worktrees")
    add("--executor", metavar="NAME", help="where sub-agents run: local (default), or nats")
    add(
        "--nats",
        dest="address",
        metavar="URL",
        help="with workers of this broker: tls://HOST:PORT (implies --executor nats)",
    )
    add(
        "--gate",
        action="append",
        metavar="COMMAND",
        help="a check that decides, in place of the project's own; repeatable",
    )
    add("--no-gates", action="store_true", help="run no checks on the merged work")
    add(
        "--no-worktrees",
        action="store_true",
        help="work in this directory, one agent after another",
    )
    add("--no-merge", action="store_true", help="leave the result on its own branch")
    add(
        "--dry-run",
        action="store_true",
        help="show the plan and do nothing; with cleanup: what would be removed",
    )
    output(parser, "text", "json", "stream-json")


async def obey(kernel: Kernel, word: str, args: Namespace) -> int:
    """list, show, cancel or cleanup."""
    from codetether_crew import form_of, told

    data, text = await (_list(kernel) if word == "list" else _one(kernel, word, args))
    form = "text" if form_of(args) == "text" else "json"
    return await told(kernel, form, data, (text, ()), 0)


async def _list(kernel: Kernel) -> tuple[Any, str]:
    from codetether_mode_swarm import runs

    rows = [runs.row(past) for past in runs.every(kernel)]
    return rows, "\n".join(map(runs.line, rows)) or "no runs yet"


async def _one(kernel: Kernel, word: str, args: Namespace) -> tuple[Any, str]:
    from codetether_mode_swarm import runs

    past = runs.find(kernel, named(args))
    if word == "show":
        data = runs.shown(past)
        return data, _page(past, data)
    if word == "cancel":
        done = await runs.cancel(past)
        text = f"{past.id} {'is stopped' if done else 'is not running'}"
        return {"id": past.id, "cancelled": done}, text
    removed = await runs.cleanup(kernel, past, dry=args.dry_run)
    return removed, _cleaned(removed)


def named(args: Namespace) -> str:
    """The id given after a word. Raises UsageError."""
    if len(args.words) != 2:
        raise UsageError(
            f"which run shall I {args.words[0]}?",
            f"codetether swarm {args.words[0]} ID; see swarm list",
        )
    return str(args.words[1])


def plan_lines(subtasks: list[dict[str, Any]]) -> str:
    """A plan for a person, stage by stage."""
    lines = []
    for each in subtasks:
        after = f"  after {', '.join(each['dependencies'])}" if each.get("dependencies") else ""
        files = f"  [{', '.join(each['files'])}]" if each.get("files") else ""
        looks = "" if each.get("writes", True) else "  (looks only)"
        lines.append(f"{each.get('stage', 0) + 1}. {each['name']}{looks}{after}{files}")
        lines.append(f"   {one_line(each['instruction'], 160)}")
    return "\n".join(lines)


def _page(past: Past, data: dict[str, Any]) -> str:
    from codetether_mode_swarm import runs

    lines = [runs.line(data), "", clean(past.began.options.task), ""]
    for each in data["plan"]:
        why = f": {each['why']}" if each["why"] else ""
        cut = each["status"] == "running" and data["status"] != "running"
        branch = f"  branch {each['branch']}" if each["branch"] else ""
        lines.append(
            f"{each.get('stage', 0) + 1}. {one_line(each['name'])}  {'interrupted' if cut else each['status']}{one_line(why, 120)}{branch}"
        )
    if data["branches"]:
        lines += ["", f"unmerged: {', '.join(data['branches'])}"]
    if data["status"] in ("stopped", "interrupted", "failed"):
        lines += ["", f"go on: codetether swarm resume {past.id}"]
    return "\n".join(lines)


def _cleaned(told: dict[str, Any]) -> str:
    would = "would be " if told["dry_run"] else ""
    lines = [f"{told['id']}: {len(told['worktrees'])} worktrees {would}removed"]
    lines += [
        f"  kept {kept.get('branch') or kept.get('path')}: {kept.get('why', '')}"
        for kept in told["kept"]
    ]
    return "\n".join(lines)

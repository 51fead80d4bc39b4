"""Where the stories of a document stand: what the document says, and what its last run knows."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
from codetether.api import cells, clean, one_line
from codetether_crew import form_of, told
from codetether_prd import check

from codetether_mode_ralph.course import Course
from codetether_mode_ralph.memory import load
from codetether_mode_ralph.records import latest
from codetether_mode_ralph.report import story

if TYPE_CHECKING:
    from codetether.api import Kernel

MARKS = {
    "passed": "✓",
    "pending": "·",
    "skipped": "–",
    "unverified": "?",
    "working": "●",
    "judging": "●",
    "merging": "●",
    "interrupted": "○",
}
AT_WORK = ("working", "judging", "merging")
HEADS = ("", "story", "title", "state", "tries", "files", "lines", "tokens", "cost", "time")
TITLE = 40


def status(kernel: Kernel, prd: str) -> dict[str, Any]:
    """Where the stories of the document at `prd`, an absolute path, stand. Raises CodetetherError."""
    path = Path(prd)
    document = load(path)
    past = latest(kernel, path)
    courses = []
    for order, each in enumerate(document.known.user_stories):
        mark = past.marks.get(each.id) if past else None
        if mark is not None and (mark.state == "passed") != each.passes:
            mark = None  # somebody changed the document since: it is what counts
        courses.append(Course(each, order, mark, past.attempts.get(each.id, ()) if past else ()))
    stories = [story(one) for one in courses]
    known = [one.usage.cost for one in courses if one.attempts]
    return {
        "prd": {"project": document.known.project, "feature": document.known.feature},
        "prd_path": str(path),
        "branch": document.known.branch_name,
        "passed": sum(each["state"] == "passed" for each in stories),
        "total": len(stories),
        "stories": stories,
        "tokens": sum(each["tokens"] for each in stories),
        "cost": sum(cost for cost in known if cost is not None) if None not in known else None,
        "errors": check(document).errors,
        "run": {"id": past.id, "status": past.status, "began": past.began.at} if past else None,
    }


async def show(kernel: Kernel, args: Namespace) -> int:
    """Print it; 0."""
    data = await trio.to_thread.run_sync(lambda: status(kernel, os.path.realpath(args.prd)))
    return await told(kernel, form_of(args), data, (_page(data), ()), 0)


def _page(data: dict[str, Any]) -> str:
    prd, run = data["prd"], data["run"]
    lines = [f"{one_line(prd['project'])}: {one_line(prd['feature'])}"]
    if data["branch"]:
        lines.append(f"branch {one_line(data['branch'])}")
    lines += [
        f"{data['passed']} of {data['total']} stories passed",
        "",
        table(data["stories"], running=bool(run) and run["status"] == "running"),
    ]
    lines += [f"error: {clean(each)}" for each in data["errors"]]
    if run:
        lines += ["", f"last run: {run['id']}, {run['status']}"]
        if run["status"] not in ("completed", "running", "unverified"):
            lines.append(f"go on: codetether ralph resume {run['id']}")
    return "\n".join(lines)


def table(stories: list[dict[str, Any]], *, running: bool = False) -> str:
    """The stories for a person, one a line, and below what is wrong with those that did not pass; "" without any. `running`:
    whether a process is at work on them; else none is, whatever it was at when it ended.
    """
    if not stories:
        return ""
    if not running:
        stories = [each | {"state": _left(each["state"])} for each in stories]
    rows = [HEADS, *map(_row, stories)]
    widths = [max(cells(row[at]) for row in rows) for at in range(len(HEADS))]
    lines = ["  ".join(map(_padded, row, widths)).rstrip() for row in rows]
    for each in stories:
        if each["why"] and each["state"] not in ("passed", "pending"):
            lines.append(f"{one_line(each['id'])}: {one_line(each['why'], 400)}")
        if each["branch"]:
            lines.append(f"{one_line(each['id'])}: its work is on the branch {each['branch']}")
    return "\n".join(lines)


def _left(state: str) -> str:
    return "interrupted" if state in AT_WORK else state


def _row(each: dict[str, Any]) -> tuple[str, ...]:
    diff = each["diffstat"]
    changed = f"+{diff['added']} -{diff['removed']}" if diff["files"] else ""
    cost = f"${each['cost']:.2f}" if each["cost"] is not None else ""
    return (
        MARKS.get(each["state"], "✗"), one_line(each["id"], 20), one_line(each["title"], TITLE), each["state"],
        str(each["attempts"] or ""), str(diff["files"] or ""), changed, f"{each['tokens'] or ''}", cost,
        f"{each['seconds']:.0f}s" if each["attempts"] else "",
    )  # fmt: skip


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cells(text))

"""What came of a run, as one object: what --json prints."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec
from codetether_crew import Outcome

if TYPE_CHECKING:
    from codetether_mode_ralph.course import Course
    from codetether_mode_ralph.records import Logged
    from codetether_mode_ralph.run import Run

SAID = 8_000  # characters of an agent's answer that are kept


def report(run: Run, *, result_branch: str, seconds: float) -> Outcome:
    """The outcome of a run that is over, or stopped."""
    usage = run.book.spent
    courses = list(run.book.courses.values())
    status = run.state
    data = {
        "success": status == "completed",
        "status": status,
        "id": run.id,
        "prd": {"project": run.known.project, "feature": run.known.feature},
        "prd_path": run.options.prd,
        "working_dir": run.options.directory,
        "model": run.hands.model,
        "current_iteration": run.book.iteration,
        "max_iterations": run.options.max_iterations,
        "passed": sum(each.state == "passed" for each in courses),
        "total": len(courses),
        "stories": [story(each) for each in courses],
        "progress_log": [_logged(run, each) for each in run.book.log],
        "tokens": {
            "input": usage.input,
            "output": usage.output,
            "total": usage.input + usage.output,
        },
        "cost": usage.cost,
        "seconds": round(seconds, 2),
        "branches": {
            "feature": run.ground.branch,
            "landed_on": run.landed,
            "result": result_branch,
            "unmerged": [each.mark.branch for each in courses if each.mark.kept],
        },
        "laid_out": run.landed == "the working tree",
        "gates": [
            {"kind": each.gate.kind, "command": each.gate.command, "ok_before": each.ok}
            for each in run.judge.measured.verdicts
        ],
        "notes": list(run.judge.measured.notes),
    }
    if why := run.why or _bad(courses):
        data["error"] = why
    return Outcome(status == "completed", data)


def story(one: Course) -> dict[str, Any]:
    """One story: where it stands, what it changed, what checked it, what it took."""
    mark, usage = one.mark, one.usage
    return {
        "id": one.id,
        "title": one.story.title,
        "state": one.state,
        "why": mark.why,
        "attempts": len(one.attempts),
        "commit": mark.commit if mark.commit != mark.base else "",
        "branch": mark.branch if mark.kept else "",
        "diffstat": {
            "files": len(mark.changes),
            "added": sum(each.added for each in mark.changes),
            "removed": sum(each.removed for each in mark.changes),
        },
        "files": [each.path for each in mark.changes],
        "touched": list(mark.touched),
        "checks": msgspec.to_builtins(mark.checks),
        "steps": sum(each.steps for each in one.attempts),
        "sessions": [each.session for each in one.attempts if each.session],
        "tokens": usage.input + usage.output,
        "cost": usage.cost,
        "seconds": round(one.seconds, 2),
        "notes": mark.notes,
    }


def _logged(run: Run, each: Logged) -> dict[str, Any]:
    """An iteration, in the words of the original; a story's notes and files are told with its last."""
    one, attempt = run.book.courses.get(each.story), each.attempt
    last = one if one is not None and one.attempts and one.attempts[-1] == attempt else None
    return {
        "story_id": each.story,
        "iteration": each.iteration,
        "status": last.state if last else "retried",
        "learnings": [last.mark.notes] if last and last.mark.notes else [],
        "files_changed": [change.path for change in last.mark.changes] if last else [],
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(each.at)),
        "answer": attempt.text[:SAID],
        "error": attempt.error,
        "seconds": round(attempt.seconds, 2),
    }


def _bad(courses: list[Course]) -> str:
    bad = [
        f"{each.id} {each.state}: {each.mark.why}"
        for each in courses
        if each.over and not each.done
    ]
    return "; ".join(bad[:5]) + (f"; and {len(bad) - 5} more" if len(bad) > 5 else "")

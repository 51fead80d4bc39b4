"""What came of a run: the documented fields, and those that say what the graph was worth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from codetether_crew import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from codetether_mode_swarm.parts import Part
    from codetether_mode_swarm.run import Run


def report(run: Run, *, good: bool, result_branch: str, seconds: float) -> Outcome:
    """The outcome of a run that has ended or was stopped; `seconds`: of this process."""
    parts = list(run.book.parts.values())
    usage = run.book.spent
    data: dict[str, Any] = {
        "success": good,
        "result": "\n\n".join(
            _told(number, part)
            for number, part in enumerate(parts, 1)
            if part.over or part.state == "worked"
        ),
        "subtask_results": [_result(part) for part in parts],
        "stats": _stats(run, parts, seconds),
        "artifacts": [
            {
                "artifact_type": "branch",
                "name": part.branch,
                "content": part.commit,
                "source_subagent": part.task.id,
            }
            for part in parts
            if part.kept
        ],
        "id": run.id,
        "status": "completed" if good else "stopped" if run.stopped else "failed",
        "model": run.hands.model,
        "tokens": {
            "input": usage.input,
            "output": usage.output,
            "total": usage.input + usage.output,
        },
        "cost": usage.cost,
        "conflicts": [
            {"subtask": part.task.id, "files": list(part.conflicts), "resolved": part.resolved}
            for part in parts
            if part.conflicts
        ],
        "branches": _branches(run, parts, result_branch),
        "gates": _gates(run),
        "notes": [
            *(run.book.plan.notes if run.book.plan else ()),
            *(run.joiner.measured.notes if run.joiner else ()),
        ],
    }
    if why := _why(run, parts):
        data["error"] = why
    return Outcome(good, data)


def _why(run: Run, parts: list[Part]) -> str:
    if run.stopped:
        return run.stopped
    bad = [
        f"{part.task.name}: {part.why or part.state}"
        for part in parts
        if part.over and part.state != "completed"
    ]
    judged = run.joiner.report if run.joiner else None
    if judged is not None and not judged.ok:
        bad.append(f"the checks of the project fail: {judged.told}")
    return "; ".join(bad[:5]) + (f"; and {len(bad) - 5} more" if len(bad) > 5 else "")


def _told(number: int, part: Part) -> str:
    head = f"## Subtask {number}: {part.task.name}"
    if part.state in ("completed", "worked"):
        return f"{head}\n\n{part.text}"
    return f"{head}\n\n{part.state.upper()}: {part.why}"


def _result(part: Part) -> dict[str, Any]:
    usage = part.usage
    fields = {
        "subtask_id": part.task.id,
        "subagent_id": f"agent-{part.task.id}",
        "name": part.task.name,
        "status": part.state,
        "success": part.state == "completed",
        "result": part.text,
        "steps": part.steps,
        "tool_calls": sum(each.tool_calls for each in part.attempts),
        "execution_time_ms": round(part.seconds * 1000),
        "error": part.why if part.state != "completed" else None,
        "artifacts": [],
        "stage": part.task.stage,
        "attempts": len(part.attempts),
        "session_id": part.last.session if part.last else "",
        "tokens": usage.input + usage.output,
        "cost": usage.cost,
        "files": list(part.files),
    }
    return fields | ({"branch": part.branch} if part.kept else {})


def _stats(run: Run, parts: list[Part], seconds: float) -> dict[str, Any]:
    ran = [part for part in parts if part.attempts]
    stages = sorted({part.task.stage for part in ran})
    sequential = sum(part.seconds for part in ran)
    now = sum(each.seconds for part in ran for each in part.attempts[part.earlier :])
    path, longest = critical_path(run.book.parts)
    each = [[part for part in ran if part.task.stage == stage] for stage in stages]
    return {
        "subagents_spawned": sum(len(part.attempts) for part in parts),
        "subagents_completed": sum(part.state == "completed" for part in parts),
        "subagents_failed": sum(
            part.state in ("failed", "timed_out", "conflict") for part in parts
        ),
        "subagents_skipped": sum(part.state == "cancelled" for part in parts),
        "total_steps": sum(part.steps for part in parts),
        "total_tool_calls": sum(a.tool_calls for part in parts for a in part.attempts),
        "critical_path_length": sum(max(part.steps for part in group) for group in each),
        "critical_path": path,
        "critical_path_ms": round(longest * 1000),
        "execution_time_ms": round(seconds * 1000),
        "sequential_time_estimate_ms": round(sequential * 1000),
        "speedup_factor": round(now / seconds, 2) if seconds else 0.0,
        "possible_speedup": round(sequential / longest, 2) if longest else 0.0,
        "stages": [
            {
                "stage": stage,
                "subagent_count": len(group),
                "max_steps": max(part.steps for part in group),
                "total_steps": sum(part.steps for part in group),
                "execution_time_ms": round(max(part.seconds for part in group) * 1000),
            }
            for stage, group in zip(stages, each, strict=True)
        ],
    }


def critical_path(parts: Mapping[str, Part]) -> tuple[list[str], float]:
    """The chain of sub-tasks that took longest, and its seconds: no number of agents makes the whole faster."""
    best: dict[str, tuple[float, list[str]]] = {}
    for name, part in parts.items():  # in order of stages
        before = max(
            (best[other] for other in part.task.dependencies if other in best), default=(0.0, [])
        )
        best[name] = (before[0] + part.seconds, [*before[1], name])
    longest = max(best.values(), default=(0.0, []))
    return longest[1], longest[0]


def _branches(run: Run, parts: list[Part], result_branch: str) -> dict[str, Any]:
    return {
        "result": result_branch,
        "merged_into": run.landed,
        "unmerged": [part.branch for part in parts if part.kept],
    }


def _gates(run: Run) -> dict[str, Any]:
    judged = run.joiner.report if run.joiner else None
    if run.joiner is None or judged is None:
        return {"ok": None, "verified": False, "checks": [], "touched": []}
    return {
        "ok": judged.ok,
        "verified": judged.verified,
        "checks": [
            {
                "kind": each.gate.kind, "command": each.gate.command, "ok": each.ok, "blocks": each.blocks,
                "flaky": each.flaky, "seconds": round(each.seconds, 2), "why": each.why, "log": each.log,
            }
            for each in judged.verdicts
        ],
        "touched": list(run.joiner.flagged),
    }  # fmt: skip

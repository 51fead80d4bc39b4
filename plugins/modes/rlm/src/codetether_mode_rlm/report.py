"""What a run found, as one object and as a text for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from codetether.api import one_line

from codetether_mode_rlm.asking import tokens_of

if TYPE_CHECKING:
    from codetether_mode_rlm.events import RlmStep
    from codetether_mode_rlm.run import Run

RANGES = 200  # ranges of --json
FOOTNOTE = 8
PREVIEW = 12  # lines of an output that --verbose shows
NEAR = 1  # lines between two ranges that are told as one


class Outcome:
    """How a run ended. `data` is what --json prints; `complete`: the model answered, and nothing was refused."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self.complete: bool = data["success"]


def merged(ranges: Sequence[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    """The ranges in order, those that touch as one; each source in the order it was first read."""
    order = {name: at for at, (name, _, _) in reversed(list(enumerate(ranges)))}
    done: list[tuple[str, int, int]] = []
    for name, first, last in sorted(set(ranges), key=lambda each: (order[each[0]], each[1:])):
        if done and done[-1][0] == name and first <= done[-1][2] + NEAR:
            done[-1] = (name, done[-1][1], max(done[-1][2], last))
        else:
            done.append((name, first, last))
    return done


def outcome(run: Run, *, answer: str, how: str, why: str, elapsed: float) -> Outcome:
    """The result object. `how`: direct, final, budget, iterations, timeout, interrupted, no_progress or error."""
    refused = run.budget.refused
    success = how in ("direct", "final") and not refused
    ranges = merged(run.ranges)
    spent = run.budget.spent
    given = tokens_of(run.facts.get("bytes", 0))
    answered = tokens_of(len(answer.encode("utf-8", "replace")))
    data: dict[str, Any] = {
        "success": success,
        "id": run.id,
        "query": run.options.query,
        "answer": answer,
        "partial": bool(answer) and not success,
        "ended": how,
        "why": run.why,
        "error": "" if success else (why or refused),
        "content_type": run.kind,
        "confidence": round(run.confidence, 2),
        "sources": [
            {"name": each["name"], "bytes": each["bytes"]} for each in run.facts.get("sources", ())
        ],
        "skipped": run.facts.get("skipped", []),
        "model": run.root.ref,
        "sub_model": run.sub.ref,
        "depth": run.options.depth,
        "input_tokens": given,
        "iterations": run.iterations,
        "sub_queries": run.budget.subcalls_made,
        "ranges": [{"source": n, "first_line": a, "last_line": b} for n, a, b in ranges[:RANGES]],
        "more_ranges": max(len(ranges) - RANGES, 0),
        "tokens": {"input": spent.input, "output": spent.output, "total": run.budget.total},
        "cost": spent.cost,
        "stats": {
            "input_tokens": given,
            "output_tokens": answered,
            "iterations": run.iterations,
            "subcalls": run.budget.subcalls_made,
            "failed_subcalls": run.failed_subcalls,
            "elapsed_ms": round(elapsed * 1000),
            "model_ms": round(run.model_seconds * 1000),
            "compression_ratio": round(given / max(answered, 1), 2),
        },
    }
    data["footnote"] = footnote(data)
    return Outcome(data)


def footnote(data: dict[str, Any]) -> str:
    """One line: where the answer comes from, "" when nothing was read."""
    ranges = data["ranges"]
    if not ranges:
        return ""
    shown = []
    for each in ranges[:FOOTNOTE]:
        first, last = each["first_line"], each["last_line"]
        shown.append(f"{one_line(each['source'])}:{first}" + (f"-{last}" if last != first else ""))
    more = len(ranges) - len(shown) + data["more_ranges"]
    return f"Read: {', '.join(shown)}" + (f" and {more} more" if more else "")


def text(data: dict[str, Any]) -> str:
    """The result for a person: the answer, or what there is of one, and where it comes from; "" when there is none."""
    if not data["answer"]:
        return ""
    partial = "" if data["success"] else f"[partial: {one_line(data['error'], 300)}]"
    return "\n\n".join(filter(None, (partial, data["answer"], data["footnote"])))


def farewell(data: dict[str, Any]) -> list[str]:
    """On standard error: how it went."""
    state = "answered" if data["success"] else "answered in part" if data["answer"] else "no answer"
    tokens, stats = data["tokens"]["total"], data["stats"]
    parts = [f"{data['id']}: {state}", _count(data["iterations"], "iteration"), _count(data["sub_queries"], "sub-call")]  # fmt: skip
    parts += [f"{tokens:,} tokens", f"{stats['elapsed_ms'] / 1000:.1f} s"]
    if data["cost"] is not None:
        parts.insert(-1, f"${data['cost']:.4f}")
    lines = [" · ".join(parts)]
    if data["error"]:
        lines.append(f"  {data['error']}")
    return lines


def step_lines(event: RlmStep) -> list[str]:
    """A step for --verbose: what was asked, and the beginning of what came of it."""
    lines = [f"[{event.iteration}] {line}" for line in event.code.splitlines()]
    said = event.output.strip().splitlines()
    lines += [f"| {line}" for line in said[:PREVIEW]]
    return lines + ([f"| and {len(said) - PREVIEW} lines more"] if len(said) > PREVIEW else [])


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"

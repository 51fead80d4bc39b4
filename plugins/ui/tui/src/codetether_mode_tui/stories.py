"""Ralph on the screen: a row for each story, its checks beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from codetether.api import one_line

if TYPE_CHECKING:
    from codetether_mode_tui.boards import Board, Row


def take(board: Board, event: dict[str, Any]) -> None:
    """Take in one event of Ralph (docs/events.md); others say nothing."""
    match event:
        case {"type": "ralph_started", "stories": list(rows)}:
            board.title = f"{event['project']}: {event['feature']}"
            for each in rows:
                row = board.row(str(each["id"]))
                row.name = f"{each['id']} {each['title']}"
                row.status, row.stage = str(each["state"]), each.get("stage")
                needs = ", ".join(each.get("depends_on", ()))
                row.note(
                    "class:dim",
                    f"priority {each['priority']}" + (f", after {needs}" if needs else ""),
                )
        case {"type": "iteration_started", "iteration": int(number)}:
            board.totals["iteration"] = f"{number}/{event['max_iterations']}"
            row = board.row(str(event["story"]))
            row.tool, row.facts = "", {}
            row.note("class:title", f"attempt {event['attempt']}")
        case {"type": "story_changed", "story": str(key), "state": str(state)}:
            row = board.row(key)
            row.status = state
            row.note("class:title", " ".join(filter(None, (state, str(event.get("why", ""))))))
        case {"type": "story_event", "story": str(key), "event": dict(inner)}:
            board.row(key).see(inner)
        case {"type": "story_attempted", "story": str(key)}:
            row = board.row(key)
            row.note(
                "" if event["ok"] else "class:error", str(event["text"] or event.get("error", ""))
            )
        case {"type": "story_checked", "story": str(key), "kind": str(kind)}:
            _checked(board.row(key) if key else None, kind, event)
        case {"type": "story_merged", "story": str(key)}:
            word = f"{len(event.get('files', ()))} files, +{event.get('added', 0)} -{event.get('removed', 0)}"
            told = word if event["ok"] else f"not merged: {event.get('why', '')}"
            board.row(key).note("class:title", told)
        case {"type": "ralph_finished", "result": dict(result)}:
            board.totals["result"] = str(result.get("status", ""))


def _checked(row: Row | None, kind: str, event: dict[str, Any]) -> None:
    if row is None:
        return
    ok, blocks = event["ok"], event["blocks"]
    row.facts[one_line(kind, 20)] = "✓" if ok else "✗" if blocks else "as before"
    if not ok:
        row.note(
            "class:tool.failed" if blocks else "", f"{event['command']}: {event.get('why', '')}"
        )

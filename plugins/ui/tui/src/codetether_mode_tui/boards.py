"""A swarm or Ralph on the screen: what their events add up to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from codetether.api import one_line

from codetether_mode_tui import stories
from codetether_mode_tui.lines import Line, fitted, wrapped

ICONS = {
    "pending": ("class:dim", "○"), "running": ("class:tool.running", "●"), "worked": ("class:tool.running", "◎"),
    "completed": ("class:tool.ok", "✓"), "failed": ("class:tool.failed", "✗"), "cancelled": ("class:dim", "⊗"),
    "timed_out": ("class:tool.failed", "⏱"), "conflict": ("class:tool.failed", "⊘"),
    "working": ("class:tool.running", "●"), "judging": ("class:tool.running", "◎"), "merging": ("class:tool.running", "◎"),
    "passed": ("class:tool.ok", "✓"), "unverified": ("class:dim", "?"), "blocked": ("class:tool.failed", "⊘"),
    "skipped": ("class:dim", "⊗"),
}  # fmt: skip
UNENDED = frozenset({"pending", "running", "worked", "working", "judging", "merging"})
AT_WORK = frozenset({"running", "working"})


class Row:
    """One sub-task, or one story."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.name = key
        self.status = "pending"
        self.stage: int | None = None
        self.tool = ""
        self.steps = 0
        self.facts: dict[str, str] = {}
        self.log: list[tuple[str, str]] = []  # style, line

    def note(self, style: str, line: str) -> None:
        """Add to its log; the oldest goes when it is long."""
        self.log += [(style, one_line(each)) for each in line.splitlines() if each.strip()]
        del self.log[:-500]

    def see(self, event: dict[str, Any]) -> None:
        """What its agent does."""
        match event:
            case {"type": "step_started"}:
                self.steps += 1
            case {"type": "tool_started", "title": str(title)}:
                self.tool = title
            case {"type": "tool_finished", "name": str(name)}:
                mark, style = ("✓", "") if event["ok"] else ("✗", "class:tool.failed")
                self.note(style, f"{mark} {name}  {event.get('summary', '')}")


class Board:
    """One run. `at` is the selected row, `detail` whether it is shown alone."""

    def __init__(self, mode: str, words: Sequence[str], since: float) -> None:
        self.mode = mode
        self.title = " ".join(words).rpartition("-- ")[2]
        self.since = since
        self.rows: dict[str, Row] = {}
        self.running = True
        self.said = ""
        self.code: int | None = None
        self.at = 0
        self.detail = False
        self.scroll = 0
        self.totals: dict[str, str] = {}

    def row(self, key: str) -> Row:
        """The row of this key, made when it is new."""
        return self.rows.setdefault(key, Row(key))

    def take(self, event: dict[str, Any]) -> None:
        """Take in one event of a swarm or of Ralph (docs/events.md); others say nothing."""
        if self.mode == "ralph":
            stories.take(self, event)
            return
        match event:
            case {"type": "swarm_planned", "subtasks": list(subtasks)}:
                for each in subtasks:
                    row = self.row(str(each["id"]))
                    row.name, row.stage = str(each["name"]), each.get("stage")
            case {"type": "subtask_changed", "subtask": str(key), "state": str(state)}:
                row = self.row(key)
                row.name, row.status, row.stage = str(event["name"]), state, event.get("stage")
                row.note("class:title", " ".join(filter(None, (state, str(event.get("why", ""))))))
            case {"type": "subagent_event", "subtask": str(key), "event": dict(inner)}:
                self.row(key).see(inner)
            case {"type": "subtask_result", "subtask": str(key)}:
                row = self.row(key)
                row.facts = {
                    "tokens": f"{event.get('tokens', 0):,}",
                    "seconds": f"{event['seconds']:.0f}",
                }
                row.note(
                    "" if event["ok"] else "class:error",
                    str(event["text"] or event.get("error", "")),
                )
            case {"type": "subtask_merged", "subtask": str(key)}:
                word = "merged" if event["ok"] else f"not merged: {event.get('why', '')}"
                paths = ", ".join(event.get("conflicts", ()))
                self.row(key).note(
                    "class:title", f"{word} {'in conflict: ' + paths if paths else ''}".rstrip()
                )
            case {"type": "gate_finished", "kind": str(kind)}:
                self.totals[kind] = (
                    "ok" if event["ok"] else "fails" if event["blocks"] else "failed before"
                )

    def end(self, code: int, said: str) -> None:
        """It is over."""
        self.running, self.code, self.said = False, code, said

    def summary(self) -> str:
        """What a person is told when it is over."""
        done = self.counts()
        counted = ", ".join(f"{count} {status}" for status, count in done.items())
        end = "done" if self.code == 0 else f"ended with exit code {self.code}"
        return "\n".join(
            part for part in (f"{end}: {counted or 'nothing was run'}", self.said) if part
        )

    def counts(self) -> dict[str, int]:
        """How many rows are in each state."""
        found: dict[str, int] = {}
        for row in self.rows.values():
            found[row.status] = found.get(row.status, 0) + 1
        return found

    def move(self, step: int) -> None:
        """Select another row."""
        self.at = max(0, min(self.at + step, len(self.rows) - 1))
        self.scroll = 0

    # --- as lines ---
    def lines(self, width: int, height: int, now: float) -> list[Line]:
        """The list, or the selected row alone."""
        rows = list(self.rows.values())
        if self.detail and rows:
            return self._detail(rows[min(self.at, len(rows) - 1)], width, height)
        lines = [*self._head(rows, width, now), []]
        room = max(height - len(lines), 1)
        first = max(0, min(self.at - room // 2, len(rows) - room))
        for number, row in enumerate(rows[first : first + room], first):
            lines.append(self._row(row, width, at=number == self.at))
        if not rows:
            lines.append([("class:dim", " planning…" if self.running else " nothing was run")])
        return lines[:height]

    def _head(self, rows: list[Row], width: int, now: float) -> list[Line]:
        word = "ACTIVE" if self.running else "COMPLETE" if self.code == 0 else "ERROR"
        style = {"ACTIVE": "class:title", "COMPLETE": "class:tool.ok"}.get(word, "class:error")
        ended = sum(1 for row in rows if row.status not in UNENDED)
        share = ended / len(rows) if rows else 0.0
        bar = max(width - 24, 4)
        full = round(share * bar)
        seconds = f"{now - self.since:.0f}s" if self.running else ""
        totals = "  ".join(f"{name} {value}" for name, value in self.totals.items())
        return [
            fitted([(style, f" {word} "), ("", f"/{self.mode} {one_line(self.title)}")], width),
            [("class:gauge", " " + "━" * full), ("class:dim", "━" * (bar - full)), ("", f" {ended}/{len(rows)} {share:.0%}")],
            fitted([("class:dim", f" {seconds}  {totals}  Enter detail, Esc chat")], width),
        ]  # fmt: skip

    def _row(self, row: Row, width: int, *, at: bool) -> Line:
        style, icon = ICONS.get(row.status, ("class:dim", "?"))
        stage = f"[S{row.stage}] " if row.stage is not None else ""
        line: Line = [
            ("class:picker.at" if at else style, f" {icon} "),
            ("class:dim", stage),
            ("bold" if at else "", one_line(row.name)),
        ]
        if row.tool and row.status in AT_WORK:
            line.append(("class:tool.name", f" → {one_line(row.tool)}"))
        facts = "  ".join(f"{name} {value}" for name, value in row.facts.items())
        steps = f"  {row.steps} steps" if row.steps else ""
        line.append(("class:dim", f"{steps}  {facts}"))
        return fitted(line, width)

    def _detail(self, row: Row, width: int, height: int) -> list[Line]:
        style, icon = ICONS.get(row.status, ("class:dim", "?"))
        lines: list[Line] = [
            fitted([(style, f" {icon} "), ("bold", one_line(row.name)), ("class:dim", f"  {row.status}")], width),
            fitted([("class:dim", "   " + "  ".join(f"{k} {v}" for k, v in row.facts.items()))], width),
            [],
        ]  # fmt: skip
        body = [piece for kind, text in row.log for piece in wrapped([(kind, text)], width - 1)]
        room = max(height - len(lines), 1)
        self.scroll = max(0, min(self.scroll, len(body) - room))
        start = max(len(body) - room - self.scroll, 0)
        return [*lines, *body[start : start + room]]

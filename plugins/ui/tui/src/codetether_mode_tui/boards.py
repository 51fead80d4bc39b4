"""A swarm or Ralph on the screen: what their events add up to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from codetether.api import cells, one_line

from codetether_mode_tui import stories
from codetether_mode_tui.lines import Line, fitted, padded, width_of, wrapped

ICONS = {
    "pending": ("class:dim", "○"), "running": ("class:tool.running", "●"), "worked": ("class:tool.running", "◎"),
    "completed": ("class:tool.ok", "✓"), "failed": ("class:tool.failed", "✗"), "cancelled": ("class:dim", "⊗"),
    "timed_out": ("class:tool.failed", "✗"), "conflict": ("class:tool.failed", "⊘"),
    "working": ("class:tool.running", "●"), "judging": ("class:tool.running", "◎"), "merging": ("class:tool.running", "◎"),
    "passed": ("class:tool.ok", "✓"), "unverified": ("class:dim", "?"), "blocked": ("class:tool.failed", "⊘"),
    "skipped": ("class:dim", "⊗"),
}  # fmt: skip
UNENDED = frozenset({"pending", "running", "worked", "working", "judging", "merging"})
ACTIVITY = 6  # rows that must be left below a list for what the selected one does
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

    @property
    def doing(self) -> bool:
        """Whether its tool is at work now."""
        return bool(self.tool) and self.status in AT_WORK

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
                self.note(style, f"{mark} {self.tool or name}  {event.get('summary', '')}")
                self.tool = ""


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
        self.seconds = 0.0  # it took, once it is over

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
                    row.note("class:dim", str(each.get("instruction", "")))
                    if needs := ", ".join(each.get("dependencies", ())):
                        row.note("class:dim", f"after {needs}")
            case {"type": "subtask_changed", "subtask": str(key), "state": str(state)}:
                row = self.row(key)
                row.name, row.status, row.stage = str(event["name"]), state, event.get("stage")
                row.note("class:title", " ".join(filter(None, (state, str(event.get("why", ""))))))
            case {"type": "subagent_event", "subtask": str(key), "event": dict(inner)}:
                self.row(key).see(inner)
            case {"type": "subtask_result", "subtask": str(key)}:
                row = self.row(key)
                tokens = event.get("tokens", 0)
                row.facts = {"tokens": f"{tokens:,}"} if tokens else {}
                row.facts["s"] = f"{event['seconds']:.0f}"
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

    def end(self, code: int, said: str, now: float) -> None:
        """It is over."""
        self.running, self.code, self.said = False, code, said
        self.seconds = now - self.since

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
    @property
    def ordered(self) -> list[Row]:
        """The rows as they are shown: by stage."""
        return sorted(self.rows.values(), key=lambda row: row.stage or 0)

    def lines(self, width: int, height: int, now: float) -> list[Line]:
        """The list, or the selected row alone; keys in the last line."""
        rows = self.ordered
        alone = self.detail and bool(rows)
        lines = self._head(rows, width, now)
        room = max(height - len(lines) - 2, 1)
        if alone:
            lines += self._alone(rows[min(self.at, len(rows) - 1)], width, room)
        else:
            listed = self._list(rows, width, room)
            lines += listed
            if rows and room - len(listed) >= ACTIVITY:
                at = rows[min(self.at, len(rows) - 1)]
                lines += _activity(at, width, room - len(listed))
        keys = (
            "Up Down another · PgUp PgDn · Esc list"
            if alone
            else "Up Down · Enter detail · Esc chat"
        )
        lines += [[]] * (height - len(lines) - 1)
        return [*lines[: height - 1], fitted([("class:dim", keys)], width)]

    def _head(self, rows: list[Row], width: int, now: float) -> list[Line]:
        word = "ACTIVE" if self.running else "COMPLETE" if self.code == 0 else "ERROR"
        style = {"ACTIVE": "class:busy", "COMPLETE": "class:tool.ok"}.get(word, "class:error")
        ended = sum(1 for row in rows if row.status not in UNENDED)
        share = ended / len(rows) if rows else 0.0
        counted = f" {ended}/{len(rows)} {share:.0%}"
        bar = max(width - len(counted), 4)
        full = round(share * bar)
        seconds = now - self.since if self.running else self.seconds
        facts = [
            word,
            f"{seconds:.0f}s",
            *(f"{name} {value}" for name, value in self.totals.items()),
        ]
        return [
            fitted([("class:title", f"/{self.mode} "), ("bold", one_line(self.title))], width),
            fitted([(style, facts[0]), ("class:dim", "".join(f" · {fact}" for fact in facts[1:]))], width),
            [("class:gauge", "━" * full), ("class:gauge.rest", "━" * (bar - full)), ("", counted)],
            [],
        ]  # fmt: skip

    def _list(self, rows: list[Row], width: int, room: int) -> list[Line]:
        if not rows:
            return [[("class:dim", "planning…" if self.running else "nothing was run")]]
        size = min(max(cells(one_line(row.name)) for row in rows), max(width // 2 - 12, 12))
        lines: list[Line] = []
        at = 0
        stages = {row.stage for row in rows if row.stage is not None}
        before: int | None = None
        airy = len(rows) + 2 * len(stages) <= room
        for number, row in enumerate(rows):
            if len(stages) > 1 and row.stage is not None and row.stage != before:
                lines += [[]] * (airy and bool(lines))
                lines.append([("class:dim", f"stage {row.stage + 1} of {max(stages) + 1}")])
                before = row.stage
            if number == self.at:
                at = len(lines)
            lines.append(_row(row, size, width, at=number == self.at))
        first = max(0, min(at - room // 2, len(lines) - room))
        return lines[first : first + room]

    def _alone(self, row: Row, width: int, room: int) -> list[Line]:
        style, icon = ICONS.get(row.status, ("class:dim", "?"))
        head: Line = [(style, f"{icon} "), ("bold", one_line(row.name)), (style, f"  {row.status}"), ("class:dim", f"  {_facts(row)}")]  # fmt: skip
        body = _body(row, width)
        room = max(room - 2, 1)
        self.scroll = max(0, min(self.scroll, len(body) - room))
        start = max(len(body) - room - self.scroll, 0)
        return [fitted(head, width), [], *body[start : start + room]]


def _body(row: Row, width: int) -> list[Line]:
    """What happened in a row, and what happens now."""
    log = [piece for kind, text in row.log for piece in wrapped([(kind, text)], width - 2)]
    if row.doing:
        log.append(fitted([("class:tool.name", f"→ {one_line(row.tool)}")], width - 2))
    return [[("", "  "), *line] for line in log]


def _activity(row: Row, width: int, room: int) -> list[Line]:
    """The latest of the selected row, below the list."""
    name = fitted([("class:border", "── "), ("bold", one_line(row.name)), ("", " ")], width)
    rule = [*name, ("class:border", "─" * (width - width_of(name)))]
    return [[], rule, *_body(row, width)[-(room - 3) :]]


def _facts(row: Row) -> str:
    steps = [f"{row.steps} steps"] if row.steps else []
    return "  ".join([*steps, *(f"{value} {name}" for name, value in row.facts.items())])


def _row(row: Row, size: int, width: int, *, at: bool) -> Line:
    style, icon = ICONS.get(row.status, ("class:dim", "?"))
    facts = _facts(row)
    doing = f"→ {one_line(row.tool)}" if row.doing else row.status
    name = padded(fitted([("bold" if at else "", one_line(row.name))], size), size)
    line: Line = [
        ("class:key" if at else "", "▶ " if at else "  "),
        (style, f"{icon} "),
        *name,
        ("", "  "),
    ]
    room = max(width - size - 8 - cells(facts), 8)
    said: Line = [("class:tool.name" if row.doing else "class:dim", doing)]
    return fitted([*line, *padded(fitted(said, room), room), ("class:dim", f"  {facts}")], width)

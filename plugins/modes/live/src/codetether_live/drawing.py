"""The board as lines for a terminal of a given size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codetether.api import Style, cells, one_line

if TYPE_CHECKING:
    from codetether_live.board import Board, Row

MARKS = {"waiting": "·", "running": "●", "done": "✓", "failed": "✗", "skipped": "–"}
PLAIN = {"waiting": ".", "running": "*", "done": "+", "failed": "x", "skipped": "-"}
URGENT = {"running": 0, "failed": 1, "waiting": 2, "skipped": 3, "done": 4}
NAME = 24


def picture(
    board: Board, now: float, width: int, height: int, style: Style, *, unicode: bool = True
) -> list[str]:
    """At most `height` lines of at most `width` - 1 cells; when there are more rows, the most urgent are shown."""
    width = max(width - 1, 1)
    room = max(height - 2, 0)
    rows = list(board.rows.values())
    hidden = 0
    if len(rows) > room:
        room = max(room - 1, 0)
        kept = sorted(rows, key=lambda row: URGENT[row.state])[:room]
        hidden = len(rows) - len(kept)
        rows = [row for row in rows if row in kept]
    marks = MARKS if unicode else PLAIN
    lines = [style.bold(one_line(summary(board, now), width))] if height > 0 else []
    lines += [_row(row, now, width, style, marks) for row in rows]
    if hidden and height > 2:
        lines.append(style.dim(one_line(f"  and {hidden} more", width)))
    return lines[:height]


def summary(board: Board, now: float) -> str:
    """The board in one line: parts by state, stage, tokens, cost, time."""
    rows = board.rows.values()
    parts = [board.title, *([board.phase] if board.phase else [])]
    if rows:
        parts.append(f"{board.count('done')}/{len(rows)} done")
    parts += [
        f"{number} {state}"
        for state in ("running", "failed", "skipped")
        if (number := board.count(state))
    ]
    stages = max((row.stage for row in rows), default=0) + 1
    running = [row.stage for row in rows if row.state == "running"]
    if stages > 1 and running:
        parts.append(f"stage {min(running) + 1} of {stages}")
    usage = board.usage
    if usage.input or usage.output:
        parts.append(f"{amount(usage.input + usage.output)} tokens")
    if usage.cost is not None:
        parts.append(f"${usage.cost:.2f}")
    return " · ".join([*parts, clock(now - board.started)])


def _row(row: Row, now: float, width: int, style: Style, marks: dict[str, str]) -> str:
    paint = {"done": style.green, "failed": style.red, "running": style.cyan}.get(
        row.state, style.dim
    )
    facts = []
    if row.steps:
        facts.append(f"{row.steps} step{'s' * (row.steps > 1)}")
    if row.usage.input or row.usage.output:
        facts.append(amount(row.usage.input + row.usage.output))
    if (seconds := row.seconds(now)) is not None:
        facts.append(clock(seconds))
    name = one_line(row.name, NAME)
    line = f"{name}{' ' * (NAME - cells(name))} {'  '.join(facts):>20}  {row.detail}"
    return f"{paint(marks[row.state])} {one_line_kept(line, width - 2)}"


def one_line_kept(line: str, width: int) -> str:
    """`line`, already clean, cut to `width` cells; its spaces stay."""
    if cells(line) <= width:
        return line.rstrip()
    while line and cells(line) > width - 1:
        line = line[: max(len(line) - max(1, (cells(line) - width) // 2), 0)]
    return f"{line}…" if width > 0 else ""


def amount(number: int) -> str:
    """A count for people: 950, 12.3k, 4.1M."""
    if number < 1000:
        return str(number)
    return f"{number / 1000:.1f}k" if number < 1_000_000 else f"{number / 1_000_000:.1f}M"


def clock(seconds: float) -> str:
    """Minutes and seconds, hours when there are any."""
    whole = max(int(seconds), 0)
    hours = f"{whole // 3600}:{whole // 60 % 60:02}" if whole >= 3600 else str(whole // 60)
    return f"{hours}:{whole % 60:02}"

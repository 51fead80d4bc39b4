"""What servers find wrong with a file, and which of it is new."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from codetether_tool_lsp.positions import Places, characters

KEPT = 300  # of one file
SEVERITIES = {1: "error", 2: "warning", 3: "info", 4: "hint"}
MESSAGE = 300  # characters shown of one


class Problem(NamedTuple):
    """One diagnostic. `line` and `column` are counted from 1, in characters; `text` is the line it is on."""

    severity: int
    line: int
    column: int
    message: str
    code: str
    source: str
    text: str

    @property
    def kind(self) -> tuple[str, str, str]:
        """What makes it the same problem after lines have moved."""
        return self.source, self.code, self.message

    def __str__(self) -> str:
        rule = ": ".join(part for part in (self.source, self.code) if part)
        message = " ".join(self.message.split())
        message = message if len(message) <= MESSAGE else message[: MESSAGE - 1] + "…"
        told = f"{self.line}:{self.column} {SEVERITIES[self.severity]}: {message}"
        return f"{told} [{rule}]" if rule else told


def problems(raw: Any, places: Places, server: str) -> list[Problem]:
    """The diagnostics a server sent for a file, as far as they can be read."""
    found = []
    for each in raw[:KEPT] if isinstance(raw, list) else ():
        try:
            start = each["range"]["start"]
            text = places.line(start["line"])
            column = characters(text, start["character"], places.encoding)
            severity = each.get("severity") or 1
            found.append(
                Problem(
                    severity if severity in SEVERITIES else 1,
                    start["line"] + 1,
                    column + 1,
                    str(each["message"])[:4_000],
                    str(each.get("code") if each.get("code") is not None else "")[:100],
                    str(each.get("source") or server)[:40],
                    text.strip()[:200],
                )
            )
        except (KeyError, TypeError, AttributeError):
            continue
    return found


def new(before: Iterable[Problem], after: Sequence[Problem]) -> list[Problem]:
    """What of `after` was not there before: a problem is the same when its words and its line's text are, or at least
    its words. Errors first, then in the order of lines.
    """
    gone = Counter((problem.kind, problem.text) for problem in before)
    rest = []
    for problem in after:
        if gone[problem.kind, problem.text] > 0:
            gone[problem.kind, problem.text] -= 1
        else:
            rest.append(problem)
    moved: Counter[tuple[str, str, str]] = Counter()
    for (kind, _), count in gone.items():
        moved[kind] += count
    found = []
    for problem in rest:
        if moved[problem.kind] > 0:
            moved[problem.kind] -= 1
        else:
            found.append(problem)
    return in_order(found)


def in_order(found: Iterable[Problem]) -> list[Problem]:
    """Errors first, then by line; each once."""
    return sorted(dict.fromkeys(found), key=lambda each: each[:3])

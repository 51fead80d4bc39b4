"""ripgrep's lines, read into files and matches, in an order that does not depend on its threads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

# Between path, line number and text. A file name may hold them; its lines are then misread, and nothing worse.
AFTER_MATCH = "\x1f:\x1f"
AFTER_NEAR = "\x1f-\x1f"


class Line(NamedTuple):
    """One line of a file; `match` is False for a line of context."""

    number: int
    text: str
    match: bool


class Found:
    """Per file its lines and how many matches it has."""

    def __init__(self) -> None:
        self.lines: dict[str, list[Line]] = {}
        self.counts: dict[str, int] = {}
        self.left_out = 0

    def leave_out(self, paths: Iterable[str]) -> None:
        """Forget what was found in these files."""
        for path in tuple(paths):
            self.lines.pop(path, None)
            del self.counts[path]
            self.left_out += 1

    @property
    def matches(self) -> int:
        """All matches."""
        return sum(self.counts.values())

    @property
    def paths(self) -> list[str]:
        """The files with matches, in path order."""
        matched = [path for path, count in self.counts.items() if count]
        return sorted(matched, key=lambda path: path.split("/"))

    def show(self, mode: str, limit: int, *, groups: bool) -> tuple[int, str]:
        """How many matches (of mode lines) or files are shown, and the text. `groups`: part them with `--`."""
        paths = self.paths
        if mode == "lines":
            return self._show_lines(paths, limit, groups=groups)
        told = [
            path if mode == "files" else f"{path}: {self.counts[path]}" for path in paths[:limit]
        ]
        return len(told), "\n".join(told)

    def _show_lines(self, paths: list[str], limit: int, *, groups: bool) -> tuple[int, str]:
        told: list[str] = []
        shown = 0
        for path in paths:
            follows = 0
            for line in self.lines[path]:
                if line.match and shown == limit:
                    return shown, "\n".join(told)
                if groups and told and line.number != follows:
                    told.append("--")
                sign = ":" if line.match else "-"
                told.append(f"{path}{sign}{line.number}{sign} {line.text}".rstrip())
                shown += line.match
                follows = line.number + 1
        return shown, "\n".join(told)


def read_lines(output: str) -> Found:
    """What ripgrep said in mode lines."""
    found = Found()
    for raw in output.split("\n"):
        separator = AFTER_MATCH if AFTER_MATCH in raw else AFTER_NEAR
        path, _, rest = raw.partition(separator)
        number, _, text = rest.partition(separator)
        if not number.isdecimal():
            continue
        path = path.removeprefix("./")
        match = separator == AFTER_MATCH
        found.lines.setdefault(path, []).append(Line(int(number), text.rstrip("\r"), match))
        found.counts[path] = found.counts.get(path, 0) + match
    return found


def read_counts(output: str) -> Found:
    """What ripgrep said in the modes files and count."""
    found = Found()
    for raw in output.split("\n"):
        path, _, count = raw.rpartition(":")
        if count.isdecimal():
            found.counts[path.removeprefix("./")] = int(count)
    return found

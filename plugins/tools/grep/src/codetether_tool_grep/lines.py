"""ripgrep's lines, read into files and matches, in an order that does not depend on its threads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import nsmallest
from typing import NamedTuple

# Between path, line number and text. A file name may hold them; its lines are then misread, and nothing worse.
AFTER_MATCH = "\x1f:\x1f"
AFTER_NEAR = "\x1f-\x1f"
_BINARY = ": binary file matches (found"


class Line(NamedTuple):
    """One line of a file; `match` is False for a line of context."""

    number: int
    text: str
    match: bool


class Found:
    """Per file its lines and how many matches it has; of a binary file no lines, and one match."""

    def __init__(self) -> None:
        self.lines: dict[str, list[Line]] = {}
        self.counts: dict[str, int] = {}
        self.left_out = 0

    def leave_out(self, paths: Iterable[str]) -> None:
        """Forget what was found in these files."""
        for path in paths:
            self.lines.pop(path, None)
            del self.counts[path]
            self.left_out += 1

    @property
    def matches(self) -> int:
        """All matches."""
        return sum(self.counts.values())

    def paths(self) -> list[str]:
        """The files with matches, in path order: directory by directory."""
        return sorted(self.counts, key=_by_directory)

    def show(self, mode: str, offset: int, limit: int) -> tuple[int, str]:
        """How many matches (of mode lines) or files are shown behind the first `offset`, and the text."""
        if mode == "lines":
            return self._show_lines(offset, limit)
        shown = nsmallest(offset + limit, self.counts, _by_directory)[offset:]
        told = shown if mode == "files" else [f"{path}: {self.counts[path]}" for path in shown]
        return len(shown), "\n".join(told)

    def _show_lines(self, offset: int, limit: int) -> tuple[int, str]:
        told: list[str] = []
        shown = 0
        for path in self.paths():
            count = self.counts[path]
            if offset >= count:
                offset -= count
                continue
            if shown == limit:
                break
            wanted = min(count - offset, limit - shown)
            if path in self.lines:
                told += [path, *_part(self.lines[path], offset, wanted)]
            else:
                told.append(f"{path}: binary file matches")
            shown += wanted
            offset = 0
        return shown, "\n".join(told)


def _by_directory(path: str) -> str:
    return path.replace("/", "\0")


def _part(lines: list[Line], offset: int, wanted: int) -> Iterator[str]:
    """`wanted` matches behind `offset` with the context that is nearer to them than to others; gaps are `--`."""
    matches = [place for place, line in enumerate(lines) if line.match]
    start = 0 if not offset else matches[offset - 1] + 1
    last = offset + wanted
    end = len(lines) if last == len(matches) else matches[last]
    follows = 0
    around = len(matches) < len(lines)
    for line in lines[start:end]:
        if around and follows and line.number != follows:
            yield " --"
        yield f" {line.number}{':' if line.match else '-'} {line.text}".rstrip()
        follows = line.number + 1


def read_lines(output: str) -> Found:
    """What ripgrep said in mode lines."""
    found = Found()
    for raw in output.split("\n"):
        separator = AFTER_MATCH if AFTER_MATCH in raw else AFTER_NEAR
        path, _, rest = raw.partition(separator)
        number, _, text = rest.partition(separator)
        if number.isdecimal():
            path = path.removeprefix("./")
            match = separator == AFTER_MATCH
            found.lines.setdefault(path, []).append(Line(int(number), text.rstrip("\r"), match))
            found.counts[path] = found.counts.get(path, 0) + match
        elif _BINARY in raw:
            path = raw.partition(_BINARY)[0].removeprefix("./")
            found.lines.pop(path, None)  # what was found before the first NUL
            found.counts[path] = 1
    return found


def read_counts(output: str) -> Found:
    """What ripgrep said in mode count."""
    found = Found()
    pairs = (line.rpartition(":") for line in _paths(output))
    found.counts = {path: int(count) for path, _, count in pairs if count.isdecimal()}
    return found


def read_files(output: str) -> Found:
    """What ripgrep said in mode files."""
    found = Found()
    found.counts = dict.fromkeys(filter(None, _paths(output)), 1)
    return found


def _paths(output: str) -> list[str]:
    """Lines that begin with a path, as it is from the workspace root."""
    return output.removeprefix("./").replace("\n./", "\n").split("\n")

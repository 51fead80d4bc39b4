"""Searching the sources with ripgrep, for the worker: it may start no process itself."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec
import trio
from codetether.api import Completed, line_ends, ripgrep

from codetether_rlm.mapping import Mapped, Part
from codetether_rlm.sources import SourceError

SECONDS = 60.0
PATTERN = 64 << 10  # bytes of a pattern: it is a word of a command line, which holds 128 KB
MOST = 100_000  # lines given at once
LINE = 2_000  # bytes of a line
OUTPUT = 24 << 20
AROUND = 300  # bytes before and after a match in a longer line
CUT = " [... omitted end of long line]"  # what ripgrep puts at the end of such a line
# Names are ours and hold no colon. As bytes, whatever they are: offsets would not fit those of a recoded text. Never sorted: that is one thread only.
AS_BYTES = ("--text", "--encoding=none", "--with-filename", "--no-heading", "--no-ignore")


class Wanted(msgspec.Struct):
    """What the worker asks for. `limit` 0: only how many matches there are. `sources` None: all."""

    pattern: str
    limit: int
    ignore_case: bool
    sources: list[str] | None = None


Hit = tuple[str, str, int, int]
"""The line, its source, its number from 1, its first byte. In a line too long to show: a match, with what is around it."""


class Found(msgspec.Struct):
    """`hits`, or how many matches there are (`count`). `error`: why there are none, for the model."""

    hits: list[Hit] = []
    more: bool = False
    count: int = 0
    error: str = ""


async def find(mapped: Mapped, wanted: Wanted, seconds: float = SECONDS) -> Found:
    """Search. Linear in time whatever the pattern; at most `seconds`. May copy sources that lie among others."""
    if (size := len(wanted.pattern.encode())) > PATTERN:
        return Found(
            error=f"the pattern has {size:,} bytes, and {PATTERN:,} is the most: search for parts of it one after another"
        )
    named = None if wanted.sources is None else set(wanted.sources)
    parts = [part for part in mapped.parts if part.size and (named is None or part.name in named)]
    whole, among = _by_company(mapped, parts)
    found = await _search(mapped, whole, wanted, seconds) if whole else Found()
    if among and not found.error:
        try:
            copy = await trio.to_thread.run_sync(mapped.only, among)
        except SourceError as error:
            return Found(error=error.message)
        try:
            more = await _search(copy, copy.parts, wanted, seconds)
        finally:
            copy.close()
        found = Found(
            [*found.hits, *more.hits], found.more or more.more, found.count + more.count, more.error
        )
    found.hits.sort(key=_order(parts))
    limit = min(wanted.limit, MOST)
    found.more = found.more or len(found.hits) > limit > 0
    found.hits = found.hits[:limit]
    return found


def _order(parts: Sequence[Part]) -> Callable[[Hit], tuple[int, int]]:
    """Hits in the order of the sources, and of where they are."""
    order = {part.name: at for at, part in enumerate(parts)}
    return lambda hit: (order[hit[1]], hit[3])


def _by_company(mapped: Mapped, parts: Sequence[Part]) -> tuple[list[Part], list[Part]]:
    """Those in files that hold nothing else, and those among sources that are not wanted."""
    all_of_it = Counter(part.place for part in mapped.parts if part.size)
    wanted = Counter(part.place for part in parts)
    whole = [part for part in parts if wanted[part.place] == all_of_it[part.place]]
    return whole, [part for part in parts if wanted[part.place] != all_of_it[part.place]]


async def _search(mapped: Mapped, parts: Sequence[Part], wanted: Wanted, seconds: float) -> Found:
    """Search the files of `parts`, which hold nothing else."""
    limit = min(wanted.limit, MOST)
    places = sorted({part.place for part in parts})
    how = ["--count-matches"]
    if limit:
        how = ["--line-number", "--byte-offset", f"--max-columns={LINE}", "--max-columns-preview"]
        how.append(f"--max-count={limit + 1}")
    done = await _ripgrep(mapped, places, wanted, how, seconds)
    if done.timed_out:
        return Found(
            error=f"the search took longer than {seconds:.0f} s: use a simpler pattern or one source"
        )
    if done.code not in (0, 1) and not done.killed_for_output:
        return Found(error=_trouble(done))
    lines = _lines(done)
    if not limit:
        return Found(count=sum(int(line.partition(":")[2] or 0) for line in lines if ":" in line))
    numbers = {_path(mapped, place): place for place in places}
    hits, more = _hits(lines, numbers, parts), done.truncated
    if long := {hit[1:3] for hit in hits if hit[0].endswith(CUT)}:
        done = await _ripgrep(mapped, places, wanted, [*how, "--only-matching"], seconds)
        inside = [hit for hit in _hits(_lines(done), numbers, parts) if hit[1:3] in long]
        inside.sort(key=_order(parts))
        most = min(limit, OUTPUT // (3 * AROUND))
        more = more or len(inside) > most
        inside = await trio.to_thread.run_sync(_shown, mapped, inside[:most])
        shown = {hit[1:3] for hit in inside}
        hits = [*inside, *(hit for hit in hits if hit[1:3] not in shown)]
    return Found(hits=hits, more=more)


async def _ripgrep(
    mapped: Mapped, places: Sequence[int], wanted: Wanted, how: Sequence[str], seconds: float
) -> Completed:
    how = list(how)
    if wanted.ignore_case:
        how.append("--ignore-case")
    how += line_ends(wanted.pattern)
    pattern = wanted.pattern.replace("\0", r"\x00")  # which no word of a command line holds
    return await ripgrep(
        [*AS_BYTES, *how, f"--regexp={pattern}"],
        [_path(mapped, place) for place in places],
        cwd="/",
        timeout=seconds,
        head=OUTPUT,
        tail=0,
        spill_limit=OUTPUT,
        pass_fds=[mapped.files[place] for place in places],
    )


def _path(mapped: Mapped, place: int) -> str:
    return f"/proc/self/fd/{mapped.files[place]}"


def _lines(done: Completed) -> list[str]:
    """What ripgrep said, without the line that says that there was more."""
    lines = done.output.split("\n")
    return lines[:-3] if done.truncated else lines


def _shown(mapped: Mapped, matches: Sequence[Hit]) -> list[Hit]:
    """Each match with what is around it in its line."""
    known = {part.name: part for part in mapped.parts}
    shown: list[Hit] = []
    for text, name, line, at in matches:
        begin = max(0, at - AROUND)
        data = mapped.read(known[name], begin, at - begin + len(text.encode()) + AROUND)
        before = data[: at - begin].rpartition(b"\n")[2]
        after = data[at - begin :].partition(b"\n")[0]
        around = (before + after).decode("utf-8", "ignore")
        shown.append((f"[byte {at:,}] {around}", name, line, at))
    return shown


def _hits(lines: Sequence[str], numbers: dict[str, int], parts: Sequence[Part]) -> list[Hit]:
    """Ripgrep's lines `FILE:NUMBER:BYTE:TEXT` as hits, in no order."""
    by_place: dict[int, list[Part]] = {}
    for part in sorted(parts, key=lambda each: each.start):
        by_place.setdefault(part.place, []).append(part)
    starts = {place: [part.start for part in each] for place, each in by_place.items()}
    hits: list[Hit] = []
    for line in lines:
        file, _, rest = line.partition(":")
        number, _, rest = rest.partition(":")
        at, _, text = rest.partition(":")
        if file not in numbers or not number.isdigit() or not at.isdigit():
            continue
        place, byte = numbers[file], int(at)
        part = by_place[place][max(0, bisect_right(starts[place], byte) - 1)]
        if byte < part.start + part.size:  # else the file has grown since
            number_here = int(number) - part.first + 1
            hits.append((text.removesuffix("\r"), part.name, number_here, byte - part.start))
    return hits


def _trouble(done: Completed) -> str:
    """What ripgrep says of a pattern, without the pattern itself. Of files that it cannot read it says nothing."""
    said = [line.strip() for line in done.errors.splitlines() if line.strip()]
    if not said:
        return f"not all of the text could be searched: ripgrep ended with code {done.code}"
    last = said[-1].removeprefix("error:").strip()
    return f"the pattern is no regular expression ripgrep takes: {last[:300]}"

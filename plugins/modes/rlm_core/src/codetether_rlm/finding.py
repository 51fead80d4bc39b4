"""Searching the sources with ripgrep, for the worker: it may start no process itself."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import msgspec
from codetether.api import ripgrep

from codetether_rlm.mapping import Mapped, Part

SECONDS = 60.0
MOST = 100_000  # lines given at once
LINE = 2_000  # bytes of a line
OUTPUT = 24 << 20
# Names are ours and hold no colon. As bytes, whatever they are: offsets would not fit those of a recoded text. Never sorted: that is one thread only.
AS_BYTES = ("--text", "--encoding=none", "--with-filename", "--no-heading", "--no-ignore")


class Wanted(msgspec.Struct):
    """What the worker asks for. `limit` 0: only how many matches there are. `sources` None: all."""

    number: int
    pattern: str
    limit: int
    ignore_case: bool
    sources: list[str] | None = None


class Found(msgspec.Struct):
    """`hits`: (line, source, number from 1, byte). `error`: why there are none, for the model."""

    hits: list[tuple[str, str, int, int]] = []
    more: bool = False
    count: int = 0
    error: str = ""


async def find(mapped: Mapped, wanted: Wanted, seconds: float = SECONDS) -> Found:
    """Search. Linear in time whatever the pattern; at most `seconds`."""
    named = None if wanted.sources is None else set(wanted.sources)
    parts = [part for part in mapped.parts if part.size and (named is None or part.name in named)]
    if not parts:
        return Found()
    limit = min(wanted.limit, MOST)
    if limit or _is_whole(mapped, parts):
        return await _search(mapped, parts, wanted, limit, seconds)
    # Counted by file, the matches of one source among many in a file cannot be told: its lines are counted here.
    found = await _search(mapped, parts, wanted, MOST, seconds, only_matching=True)
    if found.more:
        found.error = (
            f"more than {MOST:,} matches: count fewer sources at once, or narrow the pattern"
        )
    return Found(count=len(found.hits), error=found.error)


def _is_whole(mapped: Mapped, parts: Sequence[Part]) -> bool:
    """Whether every file these parts are in holds nothing else."""
    places = {part.place for part in parts}
    return sum(part.place in places for part in mapped.parts) == len(parts)


async def _search(
    mapped: Mapped,
    parts: Sequence[Part],
    wanted: Wanted,
    limit: int,
    seconds: float,
    *,
    only_matching: bool = False,
) -> Found:
    places = sorted({part.place for part in parts})
    whole = _is_whole(mapped, parts)
    how = ["--count-matches"]
    if limit:
        how = ["--line-number", "--byte-offset", f"--max-columns={LINE}", "--max-columns-preview"]
        how += [f"--max-count={limit + 1}"] if whole else []
        how += ["--only-matching"] if only_matching else []
    files = [f"/proc/self/fd/{mapped.files[place]}" for place in places]
    done = await ripgrep(
        [
            *AS_BYTES,
            *how,
            *(["--ignore-case"] if wanted.ignore_case else []),
            f"--regexp={wanted.pattern}",
        ],
        files,
        cwd="/",
        timeout=seconds,
        head=OUTPUT,
        tail=0,
        spill_limit=OUTPUT,
        pass_fds=[mapped.files[place] for place in places],
    )
    if done.timed_out:
        return Found(
            error=f"the search took longer than {seconds:.0f} s: use a simpler pattern or one source"
        )
    if done.code == 2 and not done.output:
        return Found(error=_trouble(done.errors))
    numbers = dict(zip(files, places, strict=True))
    lines = done.output.split("\n")
    if done.truncated:
        lines = lines[:-3]
    if not limit:
        return Found(count=sum(int(line.partition(":")[2] or 0) for line in lines if ":" in line))
    return _hits(lines, numbers, parts, limit, more=done.truncated)


def _hits(
    lines: Sequence[str], numbers: dict[str, int], parts: Sequence[Part], limit: int, *, more: bool
) -> Found:
    """The lines as hits in the order of the sources."""
    by_place: dict[int, list[Part]] = {}
    for part in sorted(parts, key=lambda each: each.start):
        by_place.setdefault(part.place, []).append(part)
    starts = {place: [part.start for part in each] for place, each in by_place.items()}
    order = {part.name: at for at, part in enumerate(parts)}
    hits = []
    for line in lines:
        file, _, rest = line.partition(":")
        number, _, rest = rest.partition(":")
        at, _, text = rest.partition(":")
        if file not in numbers or not number.isdigit() or not at.isdigit():
            continue
        place, byte = numbers[file], int(at)
        nearest = bisect_right(starts[place], byte) - 1
        if nearest < 0:
            continue
        part = by_place[place][nearest]
        if byte < part.start + part.size:
            hits.append(
                (
                    text.removesuffix("\r"),
                    part.name,
                    int(number) - part.first + 1,
                    byte - part.start,
                )
            )
    hits.sort(key=lambda hit: (order[hit[1]], hit[3]))
    return Found(hits=hits[:limit], more=more or len(hits) > limit)


def _trouble(errors: str) -> str:
    """What ripgrep says of a pattern, without the pattern itself."""
    said = [line.strip() for line in errors.splitlines() if line.strip()]
    last = said[-1].removeprefix("error:").strip() if said else "unknown"
    return f"the pattern is no regular expression ripgrep takes: {last[:300]}"

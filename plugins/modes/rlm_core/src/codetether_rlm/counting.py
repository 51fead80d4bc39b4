"""The lines that bytes of a source are in, counted where no index knows them."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from codetether_rlm.mapping import PIECE, Mapped, Part


def lines_of(found: Mapped, part: Part, places: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The first and the last line of each of `places` (first byte, end), from 1. For a thread of trio, which may be cancelled;
    reads the source once, up to the last of them.
    """
    wanted = sorted({at for start, end in places for at in (start, max(start, end - 1))})
    lines: dict[int, int] = {}
    begins, line = 0, 1
    data = b""
    for at in wanted:
        while at >= begins + len(data) and (more := found.read(part, begins + len(data), PIECE)):
            line += data.count(b"\n")
            begins, data = begins + len(data), more
            trio.from_thread.check_cancelled()
        lines[at] = line + data.count(b"\n", 0, at - begins)
    return [(lines[start], lines[max(start, end - 1)]) for start, end in places]

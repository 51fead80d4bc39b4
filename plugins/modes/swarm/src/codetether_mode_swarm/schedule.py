"""Starting each sub-task as soon as what it waits for is over, the longest chain first, at most so many at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from codetether_mode_swarm.graph import Plan
    from codetether_mode_swarm.parts import Part


async def schedule(
    plan: Plan, parts: Mapping[str, Part], at_once: int, work: Callable[[Part], Awaitable[None]]
) -> None:
    """Call `work` once for every part that is not over, in an order the graph allows; it must leave the part over."""
    waiting = _Waiting(plan, parts)
    running = 0

    async with trio.open_nursery() as nursery:

        def start() -> None:
            nonlocal running
            while running < at_once and (part := waiting.next()) is not None:
                running += 1
                nursery.start_soon(do, part)

        async def do(part: Part) -> None:
            nonlocal running
            await work(part)
            running -= 1
            waiting.over(part)
            start()

        start()


class _Waiting:
    """The parts that have not begun, each with the number of those it waits for."""

    def __init__(self, plan: Plan, parts: Mapping[str, Part]) -> None:
        behind = plan.behind()
        self._parts = parts
        self._rank = {
            each.id: (-each.priority, -behind[each.id], index)
            for index, each in enumerate(plan.subtasks)
        }
        self._missing: dict[str, int] = {}
        self._after: dict[str, list[str]] = {}
        for each in plan.subtasks:
            missing = [other for other in each.dependencies if not parts[other].over]
            if not parts[each.id].over:
                self._missing[each.id] = len(missing)
            for other in missing:
                self._after.setdefault(other, []).append(each.id)
        self._ready = [
            (self._rank[name], name) for name, missing in self._missing.items() if not missing
        ]
        heapify(self._ready)

    def next(self) -> Part | None:
        """The one that is to begin first; None when each waits for another."""
        return self._parts[heappop(self._ready)[1]] if self._ready else None

    def over(self, part: Part) -> None:
        """Nobody waits for `part` any more."""
        for name in self._after.get(part.task.id, ()):
            self._missing[name] -= 1
            if not self._missing[name]:
                heappush(self._ready, (self._rank[name], name))

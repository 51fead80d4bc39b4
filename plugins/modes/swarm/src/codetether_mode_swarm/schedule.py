"""Starting each sub-task as soon as what it waits for is over, the longest chain first, at most so many at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from codetether_mode_swarm.graph import Plan
    from codetether_mode_swarm.parts import Part


async def schedule(
    plan: Plan, parts: Mapping[str, Part], at_once: int, work: Callable[[Part], Awaitable[None]]
) -> None:
    """Call `work` once for every part that is not over, in an order the graph allows; it must leave the part over."""
    behind = plan.behind()
    order = {each.id: index for index, each in enumerate(plan.subtasks)}
    waiting = {each.id for each in plan.subtasks if not parts[each.id].over}
    room = trio.Semaphore(at_once)
    news = trio.Event()

    async def do(part: Part) -> None:
        nonlocal news
        try:
            await work(part)
        finally:
            room.release()
            news.set()

    def ready() -> list[str]:
        names = [
            name
            for name in waiting
            if all(parts[other].over for other in parts[name].task.dependencies)
        ]
        return sorted(
            names, key=lambda name: (-parts[name].task.priority, -behind[name], order[name])
        )

    async with trio.open_nursery() as nursery:
        while waiting:
            news = trio.Event()
            for name in ready():
                try:
                    room.acquire_nowait()
                except trio.WouldBlock:
                    break
                waiting.discard(name)
                nursery.start_soon(do, parts[name])
            if waiting:
                await news.wait()

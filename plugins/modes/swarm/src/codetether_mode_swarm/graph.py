"""Sub-tasks and what each waits for, as a graph."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache

import msgspec


class SubTask(msgspec.Struct, frozen=True, omit_defaults=True):
    """One piece of work. `id`: a short word, unique in the plan; `dependencies`: ids it waits for; `stage`: 0, or one more
    than the last of those; `files`: patterns of what it will change; `writes`: false for one that only looks.
    """

    id: str
    name: str
    instruction: str
    specialty: str = ""
    dependencies: tuple[str, ...] = ()
    priority: int = 0
    files: tuple[str, ...] = ()
    writes: bool = True
    stage: int = 0


class Plan(msgspec.Struct, frozen=True, omit_defaults=True):
    """Sub-tasks in an order in which each comes after what it waits for; `notes` on what was changed in the plan."""

    subtasks: tuple[SubTask, ...]
    notes: tuple[str, ...] = ()

    @property
    def stages(self) -> int:
        """How many stages there are."""
        return max((each.stage for each in self.subtasks), default=-1) + 1

    @property
    def width(self) -> int:
        """How many sub-tasks the widest stage has."""
        return max((self._in(stage) for stage in range(self.stages)), default=0)

    def _in(self, stage: int) -> int:
        return sum(each.stage == stage for each in self.subtasks)

    def behind(self) -> dict[str, int]:
        """For each id how many sub-tasks in a row wait for it, itself counted: the longest chain goes first."""
        length = {each.id: 1 for each in self.subtasks}
        for each in reversed(self.subtasks):
            for before in each.dependencies:
                length[before] = max(length[before], length[each.id] + 1)
        return length


def in_line(plan: Plan) -> Plan:
    """The plan with sub-tasks whose files overlap put one after another, each behind the last one it has to wait for."""
    notes = list(plan.notes)
    before: dict[str, set[str]] = {}
    tasks: list[SubTask] = []
    for two in plan.subtasks:
        needed = list(two.dependencies)
        mine = _with_all(needed, before)
        for one in reversed(tasks):
            if one.id not in mine and (path := _shared(one, two)):
                notes.append(f"{two.name} waits for {one.name}: both change {path}")
                needed.append(one.id)
                mine |= _with_all([one.id], before)
        before[two.id] = mine
        tasks.append(msgspec.structs.replace(two, dependencies=tuple(needed)))
    return Plan(tuple(staged(tasks)), tuple(notes))


def overlaps(plan: Plan) -> Iterator[tuple[SubTask, SubTask, str]]:
    """Pairs that nothing keeps from running at the same time and that name the same files; the earlier one first."""
    before: dict[str, set[str]] = {}
    for each in plan.subtasks:
        before[each.id] = _with_all(each.dependencies, before)
    for index, one in enumerate(plan.subtasks):
        for two in plan.subtasks[index + 1 :]:
            if one.id not in before[two.id] and (path := _shared(one, two)):
                yield one, two, path


def cycle(tasks: Sequence[SubTask]) -> list[str]:
    """Names along a cycle, the first one again at the end; empty when there is none."""
    by_id = {each.id: each for each in tasks}
    done: set[str] = set()
    for start, task in by_id.items():
        path = [start]
        todo = [(start, iter(task.dependencies))] if start not in done else []
        while todo:
            here, rest = todo[-1]
            step = next((each for each in rest if each not in done), None)
            if step is None:
                done.add(here)
                todo.pop()
                path.pop()
            elif step in path:
                return [by_id[each].name for each in [*path[path.index(step) :], step]]
            else:
                path.append(step)
                todo.append((step, iter(by_id[step].dependencies)))
    return []


def staged(tasks: Sequence[SubTask]) -> list[SubTask]:
    """In order of stages, each with its number; there is no cycle."""
    stage: dict[str, int] = {}
    left = list(tasks)
    while left:
        ready = [each for each in left if all(other in stage for other in each.dependencies)]
        for each in ready:
            stage[each.id] = 1 + max((stage[other] for other in each.dependencies), default=-1)
        left = [each for each in left if each.id not in stage]
    numbered = [msgspec.structs.replace(each, stage=stage[each.id]) for each in tasks]
    return sorted(numbered, key=lambda each: each.stage)


def _with_all(ids: Sequence[str], before: Mapping[str, set[str]]) -> set[str]:
    """These and all they wait for."""
    return set(ids).union(*(before[each] for each in ids))


def _shared(one: SubTask, two: SubTask) -> str:
    """Files that both change, as `one` names them; "" when there are none."""
    if not (one.writes and two.writes):
        return ""
    return next(
        (mine for mine in one.files if any(_meet(mine, theirs) for theirs in two.files)), ""
    )


def _meet(one: str, two: str) -> bool:
    """Whether two patterns can name the same file, as far as can be told; `**` crosses folders."""
    first, second = _fixed(one), _fixed(two)
    if not (first.startswith(second) or second.startswith(first)):
        return False
    if fnmatchcase(one, two) or fnmatchcase(two, one):
        return True
    return "**" in one + two and (_below(first, second, two) or _below(second, first, one))


@cache
def _fixed(pattern: str) -> str:
    """The part of a pattern before its first wildcard."""
    return re.split(r"[*?\[]", pattern, maxsplit=1)[0]


def _below(path: str, folder: str, pattern: str) -> bool:
    return "**" in pattern and pattern.endswith("**") and path.startswith(folder)

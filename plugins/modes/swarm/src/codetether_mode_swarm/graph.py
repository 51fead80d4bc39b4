"""Sub-tasks and what each waits for, as a graph."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

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
    """The plan with sub-tasks whose files overlap put one after another."""
    notes = list(plan.notes)
    while found := next(iter(overlaps(plan)), None):
        one, two, path = found
        notes.append(f"{two.name} waits for {one.name}: both change {path}")
        changed = [
            msgspec.structs.replace(each, dependencies=(*each.dependencies, one.id))
            if each.id == two.id
            else each
            for each in plan.subtasks
        ]
        plan = Plan(tuple(staged(changed)))
    return msgspec.structs.replace(plan, notes=tuple(notes))


def overlaps(plan: Plan) -> Iterator[tuple[SubTask, SubTask, str]]:
    """Pairs that nothing keeps from running at the same time and that name the same files; the earlier one first."""
    before = _ancestors(plan.subtasks)
    writers = [each for each in plan.subtasks if each.writes and each.files]
    for index, one in enumerate(writers):
        for two in writers[index + 1 :]:
            if one.id in before[two.id] or two.id in before[one.id]:
                continue
            for mine in one.files:
                if any(_meet(mine, theirs) for theirs in two.files):
                    yield one, two, mine
                    break


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


def _ancestors(tasks: Sequence[SubTask]) -> dict[str, set[str]]:
    before: dict[str, set[str]] = {}
    for each in tasks:
        before[each.id] = set(each.dependencies).union(
            *(before[other] for other in each.dependencies)
        )
    return before


def _meet(one: str, two: str) -> bool:
    """Whether two patterns can name the same file, as far as can be told; `**` crosses folders."""
    if fnmatchcase(one, two) or fnmatchcase(two, one):
        return True
    first, second = _fixed(one), _fixed(two)
    return "**" in one + two and (_below(first, second, two) or _below(second, first, one))


def _fixed(pattern: str) -> str:
    """The part of a pattern before its first wildcard."""
    return re.split(r"[*?\[]", pattern, maxsplit=1)[0]


def _below(path: str, folder: str, pattern: str) -> bool:
    return "**" in pattern and pattern.endswith("**") and path.startswith(folder)

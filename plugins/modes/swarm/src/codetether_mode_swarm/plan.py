"""The plan: sub-tasks and what each waits for. Reading one from a model's answer, and everything that can be wrong in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

import msgspec
from codetether.api import CodetetherError

from codetether_mode_swarm.graph import Plan, SubTask, cycle, overlaps, staged

NAME = re.compile(r"[^a-z0-9]+")
FENCED = re.compile(r"```(?:json)?[ \t]*\n(.*?)\n[ \t]*```", re.DOTALL)


class PlanError(CodetetherError):
    """The plan cannot be carried out, and the model did not mend it."""


class _Proposed(msgspec.Struct):
    name: str
    instruction: str
    id: str | int = ""
    specialty: str | None = ""
    dependencies: list[str | int] = []
    priority: int = 0
    files: list[str] = []
    writes: bool = True


class _Proposal(msgspec.Struct):
    subtasks: list[_Proposed]


SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["subtasks"],
    "properties": {
        "subtasks": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": [
                    "name",
                    "instruction",
                    "specialty",
                    "dependencies",
                    "priority",
                    "files",
                    "writes",
                ],
                "properties": {
                    "name": {"type": "string"},
                    "instruction": {"type": "string"},
                    "specialty": {"type": "string"},
                    "dependencies": {"type": "array", "items": {"type": "string"}},
                    "priority": {"type": "integer"},
                    "files": {"type": "array", "items": {"type": "string"}},
                    "writes": {"type": "boolean"},
                },
            },
        }
    },
}


def single(task: str) -> Plan:
    """The plan of one sub-task."""
    return Plan((SubTask("main", "Main task", task),))


def read(answer: str, most: int) -> tuple[Plan | None, list[str]]:
    """The plan in a model's answer, and what is wrong with it. With problems other than overlaps there is no plan."""
    proposal, problem = _parsed(answer)
    if proposal is None:
        return None, [problem]
    proposed = proposal.subtasks
    problems = list(_wrong(proposed, most))
    if problems:
        return None, problems
    ids = _ids(proposed)
    known = _spellings(proposed, ids)
    tasks = []
    for each, own in zip(proposed, ids, strict=True):
        wanted, unknown = _resolved(each, known)
        problems += [f"{each.name!r} depends on {name!r}, which is no sub-task" for name in unknown]
        if own in wanted:
            problems.append(f"{each.name!r} depends on itself")
        tasks.append(
            SubTask(
                own, each.name.strip(), each.instruction.strip(), (each.specialty or "").strip(),
                tuple(dict.fromkeys(wanted)), each.priority, tuple(map(_tidy, each.files)), each.writes,
            )
        )  # fmt: skip
    if problems:
        return None, problems
    if circle := cycle(tasks):
        return None, [f"these wait for each other: {' -> '.join(circle)}"]
    plan = Plan(tuple(staged(tasks)))
    return plan, [
        f"{one.name!r} and {two.name!r} may run at the same time and both change {path}; make one depend on the other, or divide the files"
        for one, two, path in overlaps(plan)
    ]


# --- reading -----------------------------------------------------------------------------------------------------
def _parsed(answer: str) -> tuple[_Proposal | None, str]:
    fences = FENCED.findall(answer)
    text = fences[0] if fences else answer[answer.find("{") : answer.rfind("}") + 1]
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        return None, f"it is not JSON: {error}"
    try:
        return msgspec.convert(data, _Proposal, strict=False), ""
    except msgspec.ValidationError as error:
        return None, f"it does not match the schema: {error}"


def _wrong(proposed: Sequence[_Proposed], most: int) -> Iterator[str]:
    if not proposed:
        yield "it has no sub-tasks"
    if len(proposed) > most:
        yield f"it has {len(proposed)} sub-tasks; {most} are allowed"
    names: set[str] = set()
    for each in proposed:
        name = each.name.strip().casefold()
        if not name or not each.instruction.strip():
            yield "a sub-task has no name or no instruction"
        elif name in names:
            yield f"two sub-tasks are named {each.name!r}"
        names.add(name)


def _ids(proposed: Sequence[_Proposed]) -> list[str]:
    ids: list[str] = []
    for number, each in enumerate(proposed, 1):
        word = NAME.sub("-", each.name.lower()).strip("-")[:24].strip("-") or f"task-{number}"
        while word in ids:
            word = f"{word}-{number}"
        ids.append(word)
    return ids


def _spellings(proposed: Sequence[_Proposed], ids: Sequence[str]) -> dict[str, str]:
    """Our ids, by all that a dependency may be named: our own id, the one given, the name."""
    known: dict[str, str] = {}
    for other, own in zip(proposed, ids, strict=True):
        for spelling in (own, str(other.id), other.name):
            if spelling:
                known.setdefault(spelling.strip().casefold(), own)
    return known


def _resolved(each: _Proposed, known: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """The ids of what `each` depends on, and what names nothing."""
    wanted: list[str] = []
    unknown: list[str] = []
    for word in each.dependencies:
        found = known.get(str(word).strip().casefold())
        (wanted if found else unknown).append(found or str(word))
    return wanted, unknown


def _tidy(pattern: str) -> str:
    pattern = pattern.strip().removeprefix("./").lstrip("/")
    return f"{pattern}**" if pattern.endswith("/") else pattern

"""What happens in a swarm, for programs that watch: `codetether swarm --format stream-json` writes one a line, with the
same four keys in front as the events of a session.
"""

from __future__ import annotations

from typing import Any

import msgspec
from codetether.api import SessionEvent


class SwarmStarted(msgspec.Struct, tag="swarm_started", frozen=True, omit_defaults=True):
    """A swarm begins, or goes on (`resumed`). `worktrees` false: sub-agents that change files take turns in `directory`."""

    id: str
    task: str
    directory: str
    model: str
    resumed: bool = False
    worktrees: bool = True


class SwarmPlanned(msgspec.Struct, tag="swarm_planned", frozen=True, omit_defaults=True):
    """The plan stands: objects with id, name, instruction, specialty, dependencies, priority, files, writes, stage."""

    subtasks: tuple[dict[str, Any], ...]
    stages: int
    width: int
    notes: tuple[str, ...] = ()


class SubtaskChanged(msgspec.Struct, tag="subtask_changed", frozen=True, omit_defaults=True):
    """A sub-task is in another state: pending, running, worked (its changes wait to be merged), completed, failed,
    cancelled, timed_out or conflict. `why` one line, `branch` where its work is while it is merged nowhere.
    """

    subtask: str
    name: str
    state: str
    stage: int
    attempt: int = 1
    why: str = ""
    branch: str = ""


class SubagentEvent(msgspec.Struct, tag="subagent_event", frozen=True):
    """Something happened in a sub-agent's session: `event` is an event of a session, without its deltas."""

    subtask: str
    event: SessionEvent


class SubtaskResult(msgspec.Struct, tag="subtask_result", frozen=True, omit_defaults=True):
    """A sub-agent ended: its report, and what it took."""

    subtask: str
    ok: bool
    text: str
    steps: int
    seconds: float
    tokens: int = 0
    cost: float | None = None
    error: str = ""


class SubtaskMerged(msgspec.Struct, tag="subtask_merged", frozen=True, omit_defaults=True):
    """A sub-task's changes were merged, or not: `conflicts` are the paths both sides had changed, `resolved` whether an
    agent combined them and the gates let it pass.
    """

    subtask: str
    ok: bool
    files: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    resolved: bool = False
    why: str = ""


class StageFinished(msgspec.Struct, tag="stage_finished", frozen=True):
    """Every sub-task of a stage has ended."""

    stage: int
    completed: int
    failed: int


class GateFinished(msgspec.Struct, tag="gate_finished", frozen=True, omit_defaults=True):
    """A check of the project was run on the merged work. `blocks`: it fails otherwise than before the work."""

    kind: str
    command: str
    ok: bool
    blocks: bool
    seconds: float
    why: str = ""


class SwarmNotice(msgspec.Struct, tag="swarm_notice", frozen=True):
    """Something a person should know."""

    level: str
    text: str


class SwarmFinished(msgspec.Struct, tag="swarm_finished", frozen=True):
    """The end; `result` is what --json prints."""

    success: bool
    result: dict[str, Any]


SwarmEvent = (
    SwarmStarted | SwarmPlanned | SubtaskChanged | SubagentEvent | SubtaskResult | SubtaskMerged | StageFinished
    | GateFinished | SwarmNotice | SwarmFinished
)  # fmt: skip

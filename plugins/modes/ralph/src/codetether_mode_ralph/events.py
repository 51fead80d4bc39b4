"""What happens in a run of Ralph, for programs that watch: `codetether ralph run --format stream-json` writes one a line,
with the same four keys in front as the events of a session.
"""

from __future__ import annotations

from typing import Any

import msgspec
from codetether.api import SessionEvent


class RalphStarted(msgspec.Struct, tag="ralph_started", frozen=True, omit_defaults=True):
    """A run begins, or goes on (`resumed`). `stories`: objects with id, title, state, priority, complexity, depends_on,
    stage. `branch`: where passed stories go.
    """

    id: str
    prd: str
    project: str
    feature: str
    directory: str
    branch: str
    model: str
    stories: tuple[dict[str, Any], ...]
    max_iterations: int
    resumed: bool = False


class IterationStarted(msgspec.Struct, tag="iteration_started", frozen=True, omit_defaults=True):
    """An agent begins an attempt at a story."""

    iteration: int
    max_iterations: int
    story: str
    attempt: int


class StoryChanged(msgspec.Struct, tag="story_changed", frozen=True, omit_defaults=True):
    """A story is in another state: pending, working, judging (gates run), merging, passed, unverified (its work is kept,
    but nothing checks it), failed, blocked (its agent gave up), conflict or skipped. `why` one line; `commit` its work;
    `branch` where that is while it is merged nowhere.
    """

    story: str
    title: str
    state: str
    why: str = ""
    commit: str = ""
    branch: str = ""


class StoryEvent(msgspec.Struct, tag="story_event", frozen=True):
    """Something happened in the session of a story's agent: `event` is an event of a session, without its deltas."""

    story: str
    event: SessionEvent


class StoryAttempted(msgspec.Struct, tag="story_attempted", frozen=True, omit_defaults=True):
    """An attempt ended: what the agent said, and what it took. Whether the story passes is another matter."""

    story: str
    iteration: int
    ok: bool
    text: str
    steps: int
    seconds: float
    tokens: int = 0
    cost: float | None = None
    error: str = ""


class StoryChecked(msgspec.Struct, tag="story_checked", frozen=True, omit_defaults=True):
    """A gate or verification step was run. `story` is "" before any work. `blocks`: it fails otherwise than before."""

    story: str
    kind: str
    command: str
    ok: bool
    blocks: bool
    seconds: float
    why: str = ""
    log: str = ""


class StoryMerged(msgspec.Struct, tag="story_merged", frozen=True, omit_defaults=True):
    """A story's commit is part of the result, or is not. `conflicts`: paths that another story had changed too."""

    story: str
    ok: bool
    commit: str = ""
    files: tuple[str, ...] = ()
    added: int = 0
    removed: int = 0
    conflicts: tuple[str, ...] = ()
    why: str = ""


class RalphNotice(msgspec.Struct, tag="ralph_notice", frozen=True):
    """Something a person should know."""

    level: str
    text: str


class RalphFinished(msgspec.Struct, tag="ralph_finished", frozen=True):
    """The end; `result` is what --json prints."""

    success: bool
    result: dict[str, Any]


RalphEvent = (
    RalphStarted | IterationStarted | StoryChanged | StoryEvent | StoryAttempted | StoryChecked | StoryMerged
    | RalphNotice | RalphFinished
)  # fmt: skip

"""What the parent and its worker say to each other's callers: limits, sub-calls, outcomes."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """What one worker may use.

    `cell_seconds`: wall time of one cell or command, without the time its sub-calls take. `memory_bytes`: beyond the
    mapped sources. `output_bytes`: of one outcome, in UTF-8; the middle is left out. `snapshot_bytes`: of variables
    kept for the case that the process ends. `restarts`: how often it is started again. `queries`: sub-calls in
    one batch at most. `query_bytes`: of one sub-call's prompt and context together; `batch_bytes`: of a whole
    batch. `unconfined_python`: run cells also where the sandbox confines nothing.
    """

    cell_seconds: float = 60.0
    memory_bytes: int = 1 << 30
    output_bytes: int = 20_000
    snapshot_bytes: int = 8 << 20
    restarts: int = 5
    queries: int = 1_000
    query_bytes: int = 4 << 20
    batch_bytes: int = 128 << 20
    unconfined_python: bool = False


class Query(msgspec.Struct, frozen=True):
    """A question for the sub-model, asked from inside the worker. `context` is untrusted text it is about."""

    prompt: str
    context: str = ""


class Reply(msgspec.Struct, frozen=True):
    """The answer to one Query. `error`: why there is none, in words the model can act on."""

    text: str
    error: str | None = None


class Outcome(msgspec.Struct):
    """What one cell or command did.

    `output`: what it printed, cleaned for terminals and redacted, at most Limits.output_bytes; `truncated` when the
    middle was left out. `final`: the answer, when it gave one. `error`: why it stopped early, for the model; the state
    is kept, or the text says what was lost. `ranges`: (source, first line, last line) of what it showed or searched
    out, 1-based, as far as line numbers are known by now; Worker.ranges() has all. `seconds`: without sub-calls.
    `queries`: sub-calls it asked for, `failed` of these without answer. `ended`: the process did, in the middle of it.
    """

    output: str
    final: str | None = None
    error: str | None = None
    truncated: bool = False
    ranges: list[tuple[str, int, int]] = []
    seconds: float = 0.0
    queries: int = 0
    failed: int = 0
    ended: bool = False

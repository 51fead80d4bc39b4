"""What happens while a text is looked through, for programs that watch: `codetether rlm --format stream-json` writes one a
line, with the same four keys in front as the events of a session.
"""

from __future__ import annotations

from typing import Any

import msgspec


class RlmStarted(msgspec.Struct, tag="rlm_started", frozen=True, omit_defaults=True):
    """A run begins. `sources` are objects with name and bytes, the first of `count`; `why` says whether the text is sent whole (`direct`) or
    looked through, and why.
    """

    id: str
    query: str
    model: str
    sub_model: str
    sources: tuple[dict[str, Any], ...]
    count: int
    bytes: int
    content_type: str
    confidence: float
    direct: bool
    why: str


class RlmStep(msgspec.Struct, tag="rlm_step", frozen=True, omit_defaults=True):
    """The model asked for something and it was done: `code` as it wrote it, `output` as it is told (both cut)."""

    iteration: int
    kind: str
    code: str
    output: str
    ok: bool
    seconds: float


class RlmSubcall(msgspec.Struct, tag="rlm_subcall", frozen=True, omit_defaults=True):
    """A sub-call ended. `tokens` of both directions; `deep`: it was a run of its own."""

    number: int
    prompt: str
    ok: bool
    tokens: int
    seconds: float
    error: str = ""
    deep: bool = False


class RlmNotice(msgspec.Struct, tag="rlm_notice", frozen=True):
    """Something a person should know."""

    level: str
    text: str


class RlmFinished(msgspec.Struct, tag="rlm_finished", frozen=True):
    """The end; `result` is what --json prints."""

    success: bool
    result: dict[str, Any]


RlmEvent = RlmStarted | RlmStep | RlmSubcall | RlmNotice | RlmFinished

"""What a run is asked to do, and within which limits."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

ContentType = Literal["auto", "code", "logs", "conversation", "documents"]
CONTENT_TYPES: tuple[str, ...] = ("auto", "code", "logs", "conversation", "documents")
DEEPEST = 2


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """`model` and `sub_model` empty: as the settings say. `max_tokens`: of one answer, 0 for the vendor's limit. `timeout`: seconds for everything.
    `depth` 2: a piece too large for the sub-model is looked through as the whole is. Limits that are None do not hold.
    """

    query: str
    content_type: ContentType = "auto"
    model: str = ""
    sub_model: str = ""
    max_iterations: Annotated[int, msgspec.Meta(ge=1)] = 10
    max_subcalls: Annotated[int, msgspec.Meta(ge=0)] = 50
    max_tokens: Annotated[int, msgspec.Meta(ge=0)] = 0
    budget_tokens: int | None = None
    budget_usd: float | None = None
    timeout: float | None = None
    depth: Annotated[int, msgspec.Meta(ge=1, le=DEEPEST)] = 1
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=256)] = 16
    small_share: float = 0.35

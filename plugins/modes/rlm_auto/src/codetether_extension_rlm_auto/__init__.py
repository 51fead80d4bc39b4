"""Has the mode `rlm` summarise what does not fit the model's window, so that the model gets what matters of it and not
its two ends. Switch it off with `-p no:extensions:rlm_auto`.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Annotated

import msgspec
from codetether.api import Extension, Session, ToolCall, ToolResult, hookimpl

ATTACHMENTS = "attachments"  # what codetether_headless calls CUT; importing it would load the driver of prompts


class Settings(msgspec.Struct, frozen=True):
    """What is too large, and how far a summary may go."""

    threshold: Annotated[
        float,
        msgspec.Meta(
            gt=0, le=10, description="Share of the model's window from which a result is too large"
        ),
    ] = 0.35
    full: Annotated[
        float,
        msgspec.Meta(
            gt=0,
            le=1,
            description="Share of the window that the conversation and a result may fill together",
        ),
    ] = 0.8
    least_bytes: Annotated[
        int, msgspec.Meta(ge=4_096, description="Smaller results are never summarised")
    ] = 16_384
    tools: Annotated[
        tuple[str, ...], msgspec.Meta(description="Name patterns of tools whose results may be")
    ] = ("*",)
    max_iterations: Annotated[
        int, msgspec.Meta(ge=1, le=50, description="Replies of the model for one summary")
    ] = 6
    max_subcalls: Annotated[
        int, msgspec.Meta(ge=0, le=1_000, description="Sub-calls for one summary")
    ] = 16
    budget_tokens: Annotated[
        int, msgspec.Meta(ge=1_000, description="Tokens one summary may take")
    ] = 300_000
    timeout: Annotated[
        float, msgspec.Meta(gt=0, le=270, description="Seconds one summary may take")
    ] = 120.0


class RlmAuto(Extension):
    """Replaces a result that is too large by a summary, and says why; all of it stays in a file."""

    api = 1
    patience = 300.0
    Settings = Settings

    @hookimpl(trylast=True)
    async def codetether_result(
        self, call: ToolCall, result: ToolResult, session: Session
    ) -> ToolResult | None:
        """The result with a summary in place of its middle; None when it fits, or no summary can be had."""
        kept = "spilled" in result.meta
        if session.model.context is None or not (
            kept or len(result.text.encode("utf-8", "replace")) >= self.settings.least_bytes
        ):
            return None
        from codetether_extension_rlm_auto.summing import summed_result

        return await summed_result(self, call, result, session)

    @hookimpl
    def codetether_around_turn(self, session: Session) -> AbstractAsyncContextManager[None] | None:
        """Before a turn: summaries of the attached files that are too large, told to the model with the prompt."""
        cut = session.state.pop(ATTACHMENTS, ())
        if not cut or session.model.context is None:
            return None
        from codetether_extension_rlm_auto.attached import told_before

        return told_before(self, session, cut)

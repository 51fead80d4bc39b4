"""A stranger's plugin: written against codetether.api alone, one file, two plugins, no part of our workspace."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from codetether.api import (
    Effect,
    Extension,
    Session,
    SessionEvent,
    Tool,
    ToolCall,
    ToolContext,
    ToolOutput,
    ToolResult,
    Verdict,
    hookimpl,
)


class Params(msgspec.Struct):
    """What the model gives."""

    name: Annotated[str, msgspec.Meta(description="Who to greet")]


class HelloSettings(msgspec.Struct, frozen=True):
    """How to greet."""

    greeting: Annotated[str, msgspec.Meta(description="The first word")] = "Hello"


class Hello(Tool[Params]):
    """Greet."""

    api = 1
    params = Params
    effect = Effect.READ
    text = "Greet somebody by name."
    Settings = HelloSettings

    async def run(self, params: Params, ctx: ToolContext) -> ToolOutput:
        """Greet."""
        return ToolOutput(f"{self.settings.greeting}, {params.name}!")


class Acme(Extension):
    """Watch, veto, rewrite."""

    api = 1

    def __init__(self, kernel: Any, key: str) -> None:
        super().__init__(kernel, key)
        self.seen: list[str] = []

    @hookimpl
    async def codetether_observe(self, event: SessionEvent) -> None:
        """Watch."""
        self.seen.append(type(event).__name__)

    @hookimpl
    async def codetether_permit(
        self, call: ToolCall, tool: Tool[Any], session: Session
    ) -> Verdict | None:
        """Nobody greets Mallory."""
        return Verdict.DENY if "Mallory" in call.arguments else None

    @hookimpl
    async def codetether_result(self, call: ToolCall, result: ToolResult) -> ToolResult | None:
        """Politer."""
        return msgspec.structs.replace(result, text=result.text.replace("!", ", dear."))

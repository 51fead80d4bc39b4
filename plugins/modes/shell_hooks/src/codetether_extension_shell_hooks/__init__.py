"""Shell hooks: commands of a person that run when something happens in a session. They hear of it as JSON, and may
veto a tool call or a prompt, change a call's arguments, add to what the model reads, and make a turn go on
(docs/shell-hooks.md). Nothing but this module is imported when no hook is set.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import msgspec
from codetether.api import (
    Asked,
    ConfigError,
    DeniedError,
    Extension,
    Finding,
    Ruling,
    Session,
    SessionEvent,
    SessionFinished,
    Tool,
    ToolCall,
    ToolResult,
    hookimpl,
)
from msgspec import UNSET, Meta, UnsetType

if TYPE_CHECKING:
    from codetether_extension_shell_hooks.within import Within

EventName = Literal[
    "session_start", "on_prompt", "before_tool", "after_tool", "on_ask", "on_stop", "session_end"
]
ABOUT_TOOLS = frozenset({"before_tool", "after_tool"})
CAN_VETO = frozenset({"before_tool", "on_prompt"})


class HookSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One hook. `tools` is for `before_tool` and `after_tool`, `on_error` for `before_tool` and `on_prompt` only."""

    event: Annotated[EventName, Meta(description="When it runs")]
    command: Annotated[str, Meta(description="What `sh` runs", min_length=1, max_length=10_000)]
    tools: Annotated[
        list[str] | UnsetType, Meta(description="Patterns of tool names; unset: all tools")
    ] = UNSET
    timeout: Annotated[
        float, Meta(description="Seconds it may take; then it has failed", gt=0, le=600)
    ] = 60.0
    on_error: Annotated[
        Literal["deny", "warn"] | UnsetType,
        Meta(description="What its failure means, beside a warning; unset: deny"),
    ] = UNSET
    sandbox: Annotated[
        bool, Meta(description="Confined as commands of the agent are; false counts only from you")
    ] = True

    def __post_init__(self) -> None:
        """Refuse what would have no effect."""
        if self.tools is not UNSET and self.event not in ABOUT_TOOLS:
            raise ValueError(f"tools has no effect on {self.event}")
        if self.on_error is not UNSET and self.event not in CAN_VETO:
            raise ValueError(f"on_error has no effect on {self.event}")


class HooksSettings(msgspec.Struct, frozen=True):
    """The hooks by name, run in this order, and how often they may make a turn go on."""

    hooks: Annotated[
        dict[str, HookSettings], Meta(description="Hooks by name: see docs/shell-hooks.md")
    ] = {}
    go_on_limit: Annotated[
        int, Meta(description="How often in a turn `on_stop` may make it go on", ge=0, le=100)
    ] = 3


class ShellHooks(Extension):
    """Runs the commands. Each has a limit of its own, so the kernel's does not apply."""

    api = 1
    Settings = HooksSettings
    patience: ClassVar[float] = math.inf

    def _within(self, session: Session) -> Within | None:
        """The hooks as they are for this session; None when there are none. Raises ConfigError."""
        if not self.settings.hooks:
            return None
        found: Within | None = session.state.get(self.key)
        if found is None:
            from codetether_extension_shell_hooks.within import Within

            found = session.state[self.key] = Within(self.key, self.settings, session)
        return found

    @hookimpl
    def codetether_around_turn(self, session: Session) -> AbstractAsyncContextManager[None] | None:
        """`session_start` and `on_prompt` as a turn begins, `on_stop` as it ends."""
        try:
            within = self._within(session)
        except ConfigError as error:  # a veto that cannot be read must not be a veto left out
            return _refused(error)
        return within.around_turn() if within is not None else None

    @hookimpl
    async def codetether_permit(
        self, call: ToolCall, tool: Tool[Any], session: Session
    ) -> Ruling | None:
        """`before_tool`."""
        within = self._within(session)
        return await within.before_tool(call, tool) if within is not None else None

    @hookimpl
    async def codetether_result(
        self, call: ToolCall, result: ToolResult, session: Session
    ) -> ToolResult | None:
        """`after_tool`, and what `before_tool` had to add."""
        within = self._within(session)
        return await within.after_tool(call, result) if within is not None else None

    @hookimpl
    def codetether_observe(self, event: SessionEvent, session: Session) -> Awaitable[None] | None:
        """`on_ask` beside the question, `session_end` at the end."""
        if not isinstance(event, (Asked, SessionFinished)):
            return None
        within = self._within(session)
        if within is None:
            return None
        if isinstance(event, Asked):
            within.asked(event.question)
            return None
        return within.ended()

    @hookimpl
    def codetether_doctor(self) -> Iterable[Finding]:
        """Every hook that is set, where it is from, and whether it runs."""
        if not self.settings.hooks:
            return []
        from codetether_extension_shell_hooks.origins import findings

        return findings(self.kernel, self.key, self.settings)


@asynccontextmanager
async def _refused(error: ConfigError) -> AsyncIterator[None]:
    raise DeniedError(f"shell hooks cannot be read: {error.message}", error.hint)
    yield

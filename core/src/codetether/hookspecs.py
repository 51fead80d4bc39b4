"""Every hook: fourteen places where any plugin may watch or step in, and the seven ways they are called.

Mark an implementation with `@hookimpl` (from codetether.api) on a method of any plugin class, and name only the
arguments you want. Each spec declares its way; docs/hooks.md is written from this module.

historic  sync; answers ignored; replayed to plugins loaded later. A failure unloads the plugin.
collect   sync or async; the list of all answers. A failure: that answer is missing.
notify    async; answers ignored, 5 s each. A failure is a fault.
fold      async; each gets what the one before gave; None leaves it. A failure leaves it.
first     async; the first answer that is not None, no time limit. A failure: the next is asked.
strictest async; the highest Verdict. A failure counts as DENY.
around    sync, gives an async context manager held open around the work. A failure: not entered. One that raises
          DeniedError as it is entered refuses the work.

What has a limit has 30 s, or what the plugin's `patience` says.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

if TYPE_CHECKING:
    from codetether.events import SessionEvent
    from codetether.kernel import Kernel
    from codetether.ports import Command, Finding, Tool
    from codetether.session import Session
    from codetether.words import (
        Answer,
        Message,
        ModelInfo,
        Question,
        Ruling,
        ToolCall,
        ToolResult,
        Verdict,
    )

PROJECT = "codetether"
hookimpl = pluggy.HookimplMarker(PROJECT)
_spec = pluggy.HookspecMarker(PROJECT)
_historic = pluggy.HookspecMarker(PROJECT)(historic=True)
F = TypeVar("F", bound=Callable[..., Any])


def way(name: str) -> Callable[[F], F]:
    """Declare how a hook is called; codetether.calls refuses any other way."""

    def mark(function: F) -> F:
        marked: F = (_historic if name == "historic" else _spec)(function)
        marked.way = name  # type: ignore[attr-defined]
        return marked

    return mark


class Specs:
    """The hooks. Public for plugins; each docstring is the contract."""

    # --- life ---
    @way("historic")
    def codetether_ready(self, kernel: Kernel) -> None:
        """Called once for every plugin, however late it is loaded, when the kernel can be used."""

    @way("notify")
    def codetether_observe(self, event: SessionEvent, session: Session) -> Awaitable[None] | None:
        """Something happened in a session. Streamed deltas never come here: listen to `session.feed` for those. Answer
        None at once when it is nothing to you, as most are: what is awaited costs every event of every session a timer.
        """

    @way("collect")
    def codetether_doctor(self) -> Iterable[Finding] | Awaitable[Iterable[Finding]]:  # type: ignore[empty-body]
        """Findings for `plugins doctor`: what works, what does not, and the next step to take."""

    # --- what there is ---
    @way("collect")
    def codetether_tools(self, session: Session) -> Iterable[Tool[Any]]:  # type: ignore[empty-body]
        """Further tools for this session, made at run time (a bridge to another system). Their `name` must be set."""

    @way("collect")
    def codetether_models(self, provider: str) -> Iterable[ModelInfo]:  # type: ignore[empty-body]
        """Further or better facts about a provider's models; merged over what the provider says."""

    @way("collect")
    def codetether_commands(self, ui: str) -> Iterable[Command]:  # type: ignore[empty-body]
        """Slash commands for the interface named `ui`."""

    # --- what the model is told ---
    @way("collect")
    def codetether_system(self, session: Session) -> str | None:
        """Text to add to the system prompt. Must be the same for the whole session, or prompt caches miss."""

    @way("fold")
    async def codetether_context(
        self, messages: list[Message], session: Session
    ) -> list[Message] | None:
        """Change what is sent in this step. The transcript is not changed. User messages must survive."""

    @way("first")
    async def codetether_compact(
        self, messages: list[Message], session: Session, limit: int
    ) -> list[Message] | None:
        """Shorten `messages` to at most about `limit` tokens (estimated); None when you will not."""

    # --- what the model does ---
    @way("strictest")
    async def codetether_permit(
        self, call: ToolCall, tool: Tool[Any], session: Session
    ) -> Verdict | Ruling | None:
        """May this call run? An answer can only tighten what rules and access mode say. A Ruling says why, and may
        change the arguments; then rules and plugins are asked once more about the changed call, whose arguments
        nobody may change again, and the stricter of both answers holds.
        """

    @way("first")
    async def codetether_ask(self, question: Question, session: Session) -> Answer | None:
        """Ask a person. Interfaces implement this; None when nobody is there."""

    @way("fold")
    async def codetether_result(
        self, call: ToolCall, result: ToolResult, session: Session
    ) -> ToolResult | None:
        """Replace a tool's result before the model and the transcript get it."""

    @way("around")
    def codetether_around_turn(self, session: Session) -> AbstractAsyncContextManager[None] | None:
        """Hold something open for a whole turn. DeniedError as it is entered refuses the prompt, which is then not
        sent. `session.tell(text, go_on=True)` as it is left makes the turn go on, and this is entered again.
        """

    @way("around")
    def codetether_around_tool(
        self, call: ToolCall, session: Session
    ) -> AbstractAsyncContextManager[None] | None:
        """Hold something open while one tool runs."""


WAYS: dict[str, str] = {
    name: function.way for name, function in vars(Specs).items() if hasattr(function, "way")
}

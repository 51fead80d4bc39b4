"""The tool `lsp`: language servers, asked about code, and told of every edit, whose new problems they find."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import trio
from codetether.api import Effect, Subject, Tool, ToolContext, ToolOutput, hookimpl
from msgspec import Meta, Struct

from codetether_tool_lsp.settings import LspSettings, ServerSettings

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from types import ModuleType

    from codetether.api import Finding, Kernel, Session, ToolCall, ToolResult

    from codetether_tool_lsp.after_edit import Touched
    from codetether_tool_lsp.crew import Crew
    from codetether_tool_lsp.desk import Desk

__all__ = ["Lsp", "LspSettings", "Operation", "Params", "ServerSettings"]

CHANGING = ("rename", "code_actions")


class Operation(StrEnum):
    """What can be asked. The protocol's own spellings (goToDefinition, documentSymbol) are understood too."""

    DEFINITION = "definition"
    TYPE_DEFINITION = "type_definition"
    IMPLEMENTATION = "implementation"
    REFERENCES = "references"
    HOVER = "hover"
    COMPLETION = "completion"
    DOCUMENT_SYMBOLS = "document_symbols"
    WORKSPACE_SYMBOLS = "workspace_symbols"
    DIAGNOSTICS = "diagnostics"
    INCOMING_CALLS = "incoming_calls"
    OUTGOING_CALLS = "outgoing_calls"
    RENAME = "rename"
    CODE_ACTIONS = "code_actions"

    @classmethod
    def _missing_(cls, value: object) -> Operation | None:
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", str(value)).lower().replace("-", "_")
        words = re.sub("^(go_?to|find|prepare)_", "", words)
        known = {each.value: each for each in cls}
        more = {"call_hierarchy": cls.INCOMING_CALLS, "completions": cls.COMPLETION}
        return known.get(words) or known.get(f"{words}s") or more.get(words)


class Params(Struct):
    """The question."""

    operation: Annotated[Operation, Meta(description="What to ask")]
    path: Annotated[str, Meta(description="File")] = ""
    symbol: Annotated[str, Meta(description="Name to point at or to find")] = ""
    line: Annotated[int, Meta(ge=1, description="From 1")] | None = None
    column: Annotated[int, Meta(ge=1, description="From 1, in characters")] | None = None
    new_name: Annotated[str, Meta(description="For rename")] = ""
    action: Annotated[str, Meta(description="Number or title of the code action to do")] = ""
    dry_run: Annotated[bool, Meta(description="Only show what would change")] = False


class Lsp(Tool[Params]):
    """Asks language servers: pyright, ruff, typescript-language-server, rust-analyzer, gopls, clangd and others that are
    found on PATH, or in a project that is trusted, or named in the settings (docs/language-servers.md). They run
    confined, with the workspace read-only. What they would change, `apply_patch` changes, with its permission.
    """

    api = 1
    params = Params
    effect = Effect.READ
    Settings = LspSettings

    def __init__(self, kernel: Kernel, key: str) -> None:
        super().__init__(kernel, key)
        self._crew: Crew | None = None
        self._touched: dict[str, list[Touched]] = {}

    def subject(self, params: Params) -> Subject:
        """The file that is asked about."""
        return Subject(paths=(params.path,) if params.path else ())

    def title(self, params: Params) -> str:
        """The operation and what it points at."""
        at = f"{params.path}:{params.line}" if params.path and params.line else params.path
        return " ".join(filter(None, (self.name, params.operation.value, params.symbol, at)))

    async def run(self, params: Params, ctx: ToolContext) -> ToolOutput:
        """Ask. Raises ToolError: NOT_FOUND, AMBIGUOUS_MATCH, INVALID_ARGUMENT, NO_OP, DENIED, EXECUTION_FAILED."""
        part = "changing" if params.operation in CHANGING else "operations"
        module = await _loaded(part)
        desk = await self._desk(ctx.session)
        output: ToolOutput
        if params.operation is Operation.RENAME:
            output = await module.rename(params, desk, ctx)
        elif params.operation is Operation.CODE_ACTIONS:
            output = await module.code_actions(params, desk, ctx)
        else:
            output = await module.answer(params, desk, self.settings)
        return output

    async def _desk(self, session: Session) -> Desk:
        module = await _loaded("desk")
        if self._crew is None:
            crew = await _loaded("crew")
            self._crew = self._crew or crew.Crew(self.kernel, self.settings)
        desk: Desk = module.Desk(self._crew, self.settings, session)
        return desk

    # --- after edits ---
    @hookimpl
    def codetether_around_tool(
        self, call: ToolCall, session: Session
    ) -> AbstractAsyncContextManager[None] | None:
        """Learn what is wrong with files before they are edited."""
        tool = session.toolbox.find(call.name)
        if tool is None or tool.effect is not Effect.WRITE or self.settings.on_edit == "off":
            return None
        if self.settings.on_edit == "running" and (self._crew is None or not self._crew.all()):
            return None
        return self._editing(call, tool, session)

    @asynccontextmanager
    async def _editing(
        self, call: ToolCall, tool: Tool[Any], session: Session
    ) -> AsyncIterator[None]:
        if paths := _paths(call, tool):
            module = await _loaded("after_edit")
            desk = await self._desk(session)
            self._touched[call.id] = await module.before(paths, desk, self.settings)
        try:
            yield
        except BaseException:
            self._touched.pop(call.id, None)
            raise

    @hookimpl
    async def codetether_result(
        self, call: ToolCall, result: ToolResult, session: Session
    ) -> ToolResult | None:
        """Add the new problems of the files an edit has touched."""
        touched = self._touched.pop(call.id, None)
        if not touched or not result.ok or result.meta.get("applied") is False:
            return None
        module = await _loaded("after_edit")
        owed = session.state.setdefault(self.key, [])
        desk = await self._desk(session)
        found, owed[:] = await module.after(touched, list(owed), desk, self.settings)
        text = module.report(found)
        if not text:
            return None
        told = {name: [str(problem) for problem in each] for name, each in found.items()}
        meta = {**result.meta, "problems": told}
        return msgspec.structs.replace(result, text=f"{result.text}\n{text}", meta=meta)

    # --- the rest ---
    @hookimpl
    async def codetether_doctor(self) -> list[Finding]:
        """Which servers are found outside of projects."""
        module = await _loaded("doctor")
        found: list[Finding] = await trio.to_thread.run_sync(module.findings, self.settings)
        return found

    async def aclose(self) -> None:
        """End every server."""
        if self._crew is not None:
            await self._crew.aclose()


def _paths(call: ToolCall, tool: Tool[Any]) -> tuple[str, ...]:
    """The files a call edits."""
    try:
        arguments = msgspec.json.decode(call.arguments)
        params = msgspec.convert(arguments, tool.params, strict=False)
        paths: tuple[str, ...] = tool.subject(params).paths
    except Exception:
        return ()
    return paths


async def _loaded(name: str) -> ModuleType:
    """A module of this package. With the protocol's types the first takes half a second, which nobody else waits for."""
    import sys
    from importlib import import_module

    whole = f"{__name__}.{name}"
    if whole in sys.modules:
        return sys.modules[whole]
    return await trio.to_thread.run_sync(import_module, whole)

"""Everything a plugin may import from the kernel. Names load on first use, so a plugin costs only what it touches."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codetether.config import Config, Dirs
    from codetether.context import estimate
    from codetether.errors import (
        CodetetherError,
        ConfigError,
        DeniedError,
        InterruptedByUser,
        PluginError,
        ToolError,
        UsageError,
    )
    from codetether.events import (
        EVENTS_VERSION,
        Answered,
        Asked,
        CallDelta,
        CallStart,
        Cancel,
        Compacted,
        Finish,
        MessageDone,
        Notice,
        ProviderFault,
        Quit,
        Retrying,
        Say,
        SessionEvent,
        SessionFinished,
        SessionStarted,
        StepFinished,
        StepStarted,
        StreamEvent,
        TextDelta,
        ThoughtDelta,
        ThoughtEnd,
        ToolFinished,
        ToolProgress,
        ToolStarted,
        TurnFinished,
        TurnStarted,
        UserAct,
    )
    from codetether.files import write_atomic
    from codetether.hookspecs import hookimpl
    from codetether.kernel import Kernel
    from codetether.ports import (
        AgentResult,
        AgentTask,
        Command,
        Executor,
        Extension,
        Finding,
        Launch,
        Mode,
        Plugin,
        Provider,
        ProviderStatus,
        Router,
        Sandbox,
        SandboxPolicy,
        SecretMissing,
        Secrets,
        Tool,
        ToolContext,
        ToolOutput,
        Ui,
    )
    from codetether.process import Completed, run_process
    from codetether.redact import Redactor
    from codetether.session import Session
    from codetether.terminal import (
        Cleaner,
        Output,
        Style,
        can_move,
        cells,
        clean,
        columns,
        forget_typed_ahead,
        is_terminal,
        one_line,
        open_terminal,
        read_line,
        wants_colour,
    )
    from codetether.words import (
        Agent,
        Answer,
        Choice,
        Effect,
        Image,
        Message,
        ModelInfo,
        Part,
        Question,
        Request,
        Subject,
        Text,
        Thought,
        ToolCall,
        ToolResult,
        ToolSchema,
        Usage,
        Verdict,
    )
    from codetether.workspace import Workspace

_WHERE = {
    "config": "Config Dirs",
    "context": "estimate",
    "errors": "CodetetherError ConfigError DeniedError InterruptedByUser PluginError ToolError UsageError",
    "events": "EVENTS_VERSION Answered Asked CallDelta CallStart Cancel Compacted Finish MessageDone Notice "
    "ProviderFault Quit Retrying Say SessionEvent SessionFinished SessionStarted StepFinished StepStarted "
    "StreamEvent TextDelta ThoughtDelta ThoughtEnd ToolFinished ToolProgress ToolStarted TurnFinished "
    "TurnStarted UserAct",
    "files": "write_atomic",
    "hookspecs": "hookimpl",
    "kernel": "Kernel",
    "ports": "AgentResult AgentTask Command Executor Extension Finding Launch Mode Plugin Provider ProviderStatus "
    "Router Sandbox SandboxPolicy SecretMissing Secrets Tool ToolContext ToolOutput Ui",
    "process": "Completed run_process",
    "redact": "Redactor",
    "session": "Session",
    "terminal": "Cleaner Output Style can_move cells clean columns forget_typed_ahead is_terminal one_line "
    "open_terminal read_line wants_colour",
    "words": "Agent Answer Choice Effect Image Message ModelInfo Part Question Request Subject Text Thought "
    "ToolCall ToolResult ToolSchema Usage Verdict",
    "workspace": "Workspace",
}
_MODULE = {name: module for module, names in _WHERE.items() for name in names.split()}

__all__ = [
    "EVENTS_VERSION", "Agent", "AgentResult", "AgentTask", "Answer", "Answered", "Asked", "CallDelta",
    "CallStart", "Cancel", "Choice", "Cleaner", "CodetetherError", "Command", "Compacted", "Completed",
    "Config", "ConfigError", "DeniedError", "Dirs", "Effect", "Executor", "Extension", "Finding", "Finish",
    "Image", "InterruptedByUser", "Kernel", "Launch", "Message", "MessageDone", "Mode", "ModelInfo", "Notice",
    "Output", "Part", "Plugin", "PluginError", "Provider", "ProviderFault", "ProviderStatus", "Question",
    "Quit", "Redactor", "Request", "Retrying", "Router", "Sandbox", "SandboxPolicy", "Say", "SecretMissing",
    "Secrets", "Session", "SessionEvent", "SessionFinished", "SessionStarted", "StepFinished", "StepStarted",
    "StreamEvent", "Style", "Subject", "Text", "TextDelta", "Thought", "ThoughtDelta", "ThoughtEnd", "Tool",
    "ToolCall", "ToolContext", "ToolError", "ToolFinished", "ToolOutput", "ToolProgress", "ToolResult",
    "ToolSchema", "ToolStarted", "TurnFinished", "TurnStarted", "Ui", "Usage", "UsageError", "UserAct",
    "Verdict", "Workspace", "can_move", "cells", "clean", "columns", "estimate", "forget_typed_ahead",
    "hookimpl", "is_terminal", "one_line", "open_terminal", "read_line", "run_process", "wants_colour",
    "write_atomic",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    module = _MODULE.get(name)
    if module is None:
        raise AttributeError(f"codetether.api has no {name!r}")
    value = getattr(import_module(f"codetether.{module}"), name)
    globals()[name] = value
    return value

"""Everything a plugin may import from the kernel. Names load on first use, so a plugin costs only what it touches."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codetether.config import Config, Dirs
    from codetether.console import Output, forget_typed_ahead, open_terminal, read_line
    from codetether.context import estimate
    from codetether.environment import clean_env
    from codetether.errors import (
        CodetetherError,
        ConfigError,
        DeniedError,
        InterruptedByUser,
        PluginError,
        ToolError,
        UsageError,
        told,
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
    from codetether.feed import Listener
    from codetether.files import write_atomic
    from codetether.git import head
    from codetether.hookspecs import hookimpl
    from codetether.journal import SessionBusy
    from codetether.kernel import Kernel
    from codetether.loaded import Loaded
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
    from codetether.records import GitState, SessionHeader
    from codetether.redact import Redactor
    from codetether.ripgrep import ripgrep
    from codetether.session import Session
    from codetether.session_files import (
        SessionMissing,
        Summary,
        find_session,
        latest_session,
        list_sessions,
        remove_session,
    )
    from codetether.session_index import MATCH_END, MATCH_START, Hit, SessionIndex
    from codetether.terminal import (
        Cleaner,
        Style,
        can_move,
        cells,
        clean,
        columns,
        is_terminal,
        one_line,
        wants_colour,
    )
    from codetether.transcript import SessionReadOnly, Transcript
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
    "session_index": "MATCH_END MATCH_START Hit SessionIndex",
    "feed": "Listener",
    "git": "head",
    "journal": "SessionBusy",
    "loaded": "Loaded",
    "records": "GitState SessionHeader",
    "session_files": "SessionMissing Summary find_session latest_session list_sessions remove_session",
    "transcript": "SessionReadOnly Transcript",
    "config": "Config Dirs",
    "console": "Output forget_typed_ahead open_terminal read_line",
    "context": "estimate",
    "environment": "clean_env",
    "errors": "CodetetherError ConfigError DeniedError InterruptedByUser PluginError ToolError UsageError told",
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
    "ripgrep": "ripgrep",
    "session": "Session",
    "terminal": "Cleaner Style can_move cells clean columns is_terminal one_line wants_colour",
    "words": "Agent Answer Choice Effect Image Message ModelInfo Part Question Request Subject Text Thought "
    "ToolCall ToolResult ToolSchema Usage Verdict",
    "workspace": "Workspace",
}
_MODULE = {name: module for module, names in _WHERE.items() for name in names.split()}

__all__ = [
    "EVENTS_VERSION",
    "MATCH_END",
    "MATCH_START",
    "Agent",
    "AgentResult",
    "AgentTask",
    "Answer",
    "Answered",
    "Asked",
    "CallDelta",
    "CallStart",
    "Cancel",
    "Choice",
    "Cleaner",
    "CodetetherError",
    "Command",
    "Compacted",
    "Completed",
    "Config",
    "ConfigError",
    "DeniedError",
    "Dirs",
    "Effect",
    "Executor",
    "Extension",
    "Finding",
    "Finish",
    "GitState",
    "Hit",
    "Image",
    "InterruptedByUser",
    "Kernel",
    "Launch",
    "Listener",
    "Loaded",
    "Message",
    "MessageDone",
    "Mode",
    "ModelInfo",
    "Notice",
    "Output",
    "Part",
    "Plugin",
    "PluginError",
    "Provider",
    "ProviderFault",
    "ProviderStatus",
    "Question",
    "Quit",
    "Redactor",
    "Request",
    "Retrying",
    "Router",
    "Sandbox",
    "SandboxPolicy",
    "Say",
    "SecretMissing",
    "Secrets",
    "Session",
    "SessionBusy",
    "SessionEvent",
    "SessionFinished",
    "SessionHeader",
    "SessionIndex",
    "SessionMissing",
    "SessionReadOnly",
    "SessionStarted",
    "StepFinished",
    "StepStarted",
    "StreamEvent",
    "Style",
    "Subject",
    "Summary",
    "Text",
    "TextDelta",
    "Thought",
    "ThoughtDelta",
    "ThoughtEnd",
    "Tool",
    "ToolCall",
    "ToolContext",
    "ToolError",
    "ToolFinished",
    "ToolOutput",
    "ToolProgress",
    "ToolResult",
    "ToolSchema",
    "ToolStarted",
    "Transcript",
    "TurnFinished",
    "TurnStarted",
    "Ui",
    "Usage",
    "UsageError",
    "UserAct",
    "Verdict",
    "Workspace",
    "can_move",
    "cells",
    "clean",
    "clean_env",
    "columns",
    "estimate",
    "find_session",
    "forget_typed_ahead",
    "head",
    "hookimpl",
    "is_terminal",
    "latest_session",
    "list_sessions",
    "one_line",
    "open_terminal",
    "read_line",
    "remove_session",
    "ripgrep",
    "run_process",
    "told",
    "wants_colour",
    "write_atomic",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    module = _MODULE.get(name)
    if module is None:
        raise AttributeError(f"codetether.api has no {name!r}")
    value = getattr(import_module(f"codetether.{module}"), name)
    globals()[name] = value
    return value

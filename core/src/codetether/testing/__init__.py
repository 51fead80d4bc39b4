"""Doubles and checks for tests, ours and those of plugins from elsewhere. Nothing here runs in production.

`ByteServer` and `ScriptedServer` are loopback peers; `chat_sse` and its like make the bytes of the chat-completions
dialect; `make_kernel` is a kernel in a folder of its own with a scripted model; `contract_*` and `check_plugin` say
whether a plugin keeps to the rules; `files_with`,
`processes_with` and `full_disk` are for fault tests (kill points are in codetether.faults). docs/write-a-plugin.md shows them at work.
"""

from __future__ import annotations

from codetether.testing.byte_server import ByteServer, Fin, Pause, Reset, Stall, Step, Steps
from codetether.testing.checks import files_with, forms_of, full_disk, processes_with
from codetether.testing.contract import (
    check_plugin,
    contract_imports,
    contract_plugin,
    contract_schema,
    contract_settings,
    contract_tool,
    heavy_imports,
)
from codetether.testing.http import Received, head, redirect, response
from codetether.testing.kernels import make_kernel
from codetether.testing.replies import (
    Call,
    Reply,
    Said,
    call,
    chat_chunk,
    chat_completion,
    chat_events,
    chat_sse,
    chat_usage,
    reply,
    split_every,
    sse,
)
from codetether.testing.scripted_server import ScriptedServer

__all__ = [
    "ByteServer", "Call", "Fin", "Pause", "Received", "Reply", "Reset", "Said", "ScriptedServer", "Stall", "Step",
    "Steps", "call", "chat_chunk", "chat_completion", "chat_events", "chat_sse", "chat_usage", "check_plugin",
    "contract_imports", "contract_plugin", "contract_schema", "contract_settings", "contract_tool", "files_with",
    "forms_of", "full_disk", "head",
    "heavy_imports", "make_kernel", "processes_with", "redirect", "reply", "response", "split_every", "sse",
]  # fmt: skip

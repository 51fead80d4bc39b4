"""A model's answer from a child process: its lines become stream events.

We send `{"ask": {...}}`. The child answers with lines `{"text": ...}`, `{"thought": ...}`,
`{"call": {"id", "name", "arguments"}}`, and last `{"finish": reason, "input": tokens, "output": tokens}` or
`{"error": message, "kind": kind, "hint": hint}`. Lines `{"alive": true}` mean nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
from codetether.api import (
    CallDelta,
    CallStart,
    Finish,
    ProviderFault,
    StreamEvent,
    TextDelta,
    ThoughtDelta,
    Usage,
)

from codetether_wire.child import Child, ChildEnded
from codetether_wire.faults import excerpt

CHANNEL = 64
KINDS = frozenset(
    (
        "auth",
        "rate_limit",
        "overloaded",
        "invalid",
        "context",
        "network",
        "timeout",
        "content",
        "other",
    )
)
REASONS = frozenset(("stop", "length", "tool_calls", "content_filter"))


def fault(kind: Any, message: str, hint: str = "") -> Finish:
    """The end of a stream that failed; the message cut to what may be told. Redact before."""
    found = ProviderFault(
        kind=kind if kind in KINDS else "other", message=excerpt(message), hint=excerpt(hint)
    )
    return Finish(reason="error", error=found)


@asynccontextmanager
async def stream_of(
    produce: Callable[[trio.MemorySendChannel[StreamEvent]], Awaitable[None]],
) -> AsyncIterator[trio.MemoryReceiveChannel[StreamEvent]]:
    """Run `produce` beside the body and give its events. Leaving the body stops it at once; what the body raises comes
    out as it is, not in a group.
    """
    send, receive = trio.open_memory_channel[StreamEvent](CHANNEL)
    raised: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_producing, produce, send)
        try:
            yield receive
        except Exception as exc:
            raised = exc
        finally:
            receive.close()
            if nursery.child_tasks:
                nursery.cancel_scope.cancel()
    if raised is not None:
        raise raised


async def _producing(
    produce: Callable[[trio.MemorySendChannel[StreamEvent]], Awaitable[None]],
    send: trio.MemorySendChannel[StreamEvent],
) -> None:
    with send:
        try:
            await produce(send)
        except* trio.BrokenResourceError:  # the listener closed its end
            pass


async def relay(
    child: Child, ask: Any, send: trio.MemorySendChannel[StreamEvent], *, idle: float, total: float
) -> Finish:
    """Ask the child, send the events of its answer, and return the Finish. `idle`: seconds without a line; `total`:
    seconds in all. Unless a Finish without error comes back, or one with a kind other than timeout, end the child.

    Raises ChildEnded when the child goes before it has finished.
    """
    end = trio.current_time() + total
    calls = 0
    await child.send({"ask": ask})
    while True:
        deadline = min(trio.current_time() + idle, end)
        line: Any = None
        with trio.CancelScope(deadline=deadline):
            line = await child.receive()
        if line is None:
            await child.aclose()
            over = trio.current_time() >= end
            return fault(
                "timeout",
                "the model call took longer than its total time limit"
                if over
                else f"nothing came for {idle:.0f} s",
            )
        if not isinstance(line, dict):
            await child.aclose()
            raise ChildEnded("it said something that is no answer")
        if "error" in line:
            return fault(line.get("kind"), str(line["error"]), str(line.get("hint") or ""))
        if "finish" in line:
            return _finish(line, calls)
        for event in _events(line, calls):
            await send.send(event)
        calls += "call" in line


def _events(line: dict[str, Any], calls: int) -> list[StreamEvent]:
    if line.get("text"):
        return [TextDelta(str(line["text"]))]
    if line.get("thought"):
        return [ThoughtDelta(str(line["thought"]))]
    call = line.get("call")
    if isinstance(call, dict):
        start = CallStart(calls, str(call.get("id") or ""), str(call.get("name") or ""))
        return [start, CallDelta(calls, str(call.get("arguments") or "{}"))]
    return []


def _finish(line: dict[str, Any], calls: int) -> Finish:
    reason: Any = line["finish"] if line["finish"] in REASONS else "stop"
    counts = [line.get("input"), line.get("output")]
    known = [n if isinstance(n, int) and n >= 0 else None for n in counts]
    usage = None if known == [None, None] else Usage(input=known[0] or 0, output=known[1] or 0)
    if calls and reason == "stop":
        reason = "tool_calls"
    return Finish(reason=reason, usage=usage)

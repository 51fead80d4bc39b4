"""A reply as the events of a stream, at the pace asked for."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import trio
from codetether.api import (
    CallDelta,
    CallStart,
    Finish,
    StreamEvent,
    TextDelta,
    ThoughtDelta,
    ThoughtEnd,
)

if TYPE_CHECKING:
    from codetether_provider_scripted.script import Call, Reply

_numbers = itertools.count(1)


async def events(reply: Reply, delay: float) -> AsyncIterator[StreamEvent]:
    """The stream of `reply`, waiting `delay` seconds (or the reply's own) before each event but the last."""
    wait = delay if reply.delay is None else reply.delay
    *said, last = reply.events or (*_said(reply), _finish(reply))
    for event in said:
        await trio.sleep(wait)
        yield event
    if reply.stall:
        await trio.sleep_forever()
    yield last


def _said(reply: Reply) -> Iterator[StreamEvent]:
    for part in words(reply.thoughts):
        yield ThoughtDelta(part)
    if reply.thoughts:
        yield ThoughtEnd()
    for part in reply.pieces or words(reply.text):
        yield TextDelta(part)
    for index, call in enumerate(reply.calls):
        yield from _call(index, call)


def _call(index: int, call: Call) -> Iterator[StreamEvent]:
    yield CallStart(index, call.id or f"call_{next(_numbers)}", call.name)
    text = call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments)
    for part in words(text):
        yield CallDelta(index, part)


def _finish(reply: Reply) -> Finish:
    if reply.fault is not None:
        return Finish("error", reply.usage, reply.fault)
    return Finish(reply.finish or ("tool_calls" if reply.calls else "stop"), reply.usage)


def words(text: str) -> Iterator[str]:
    """`text` cut after each run of white space; joined again, it is unchanged."""
    start = 0
    for end in range(1, len(text)):
        if text[end - 1].isspace() and not text[end].isspace():
            yield text[start:end]
            start = end
    if text:
        yield text[start:]

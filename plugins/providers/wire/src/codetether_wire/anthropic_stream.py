"""The Anthropic Messages dialect: an answer as stream events."""

from __future__ import annotations

from typing import Any

import msgspec
from codetether.api import (
    CallDelta,
    CallStart,
    Finish,
    StreamEvent,
    TextDelta,
    ThoughtDelta,
    ThoughtEnd,
    Usage,
)

from codetether_wire.anthropic_content import REDACTED
from codetether_wire.anthropic_schema import STRUCTURED
from codetether_wire.chat_stream import in_stream_fault
from codetether_wire.dialect import SseDecoder
from codetether_wire.faults import WireFault
from codetether_wire.sse import Event

_REASONS = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
    "tool_use": "tool_calls",
}


class _Part(msgspec.Struct):
    """A content block as it begins, or a delta of one. Leaves are Any: other vendors speak this language too."""

    type: Any = None
    text: Any = None
    thinking: Any = None
    signature: Any = None
    data: Any = None
    id: Any = None
    name: Any = None
    input: Any = None
    partial_json: Any = None
    stop_reason: Any = None


class _Whole(msgspec.Struct):
    type: Any = None
    content: list[_Part] | None = None
    stop_reason: Any = None
    usage: Any = None


class _Chunk(msgspec.Struct):
    """Only what is read; unknown fields and unknown events cost nothing."""

    type: Any = None
    index: int | None = None
    message: _Whole | None = None
    content_block: _Part | None = None
    delta: _Part | None = None
    usage: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode
_decode_whole = msgspec.json.Decoder(_Whole).decode


class _Block:
    """A content block that is open. `call` is the number of a tool call, None when there is nothing to call."""

    __slots__ = ("arguments", "call", "input", "kind", "signature")

    def __init__(self, part: _Part, call: int | None) -> None:
        self.kind = part.type
        self.call = call
        self.input = part.input
        self.arguments = False
        self.signature = ""


class AnthropicDecoder(SseDecoder):
    """Reads the events of a Messages stream; see tests/plugins/providers/test_anthropic_stream.py for the shapes."""

    def __init__(self) -> None:
        super().__init__()
        self._blocks: dict[int | None, _Block] = {}
        self._calls = 0
        self._reason = ""
        self._usage: dict[str, Any] = {}

    # --- from bytes ---
    def event(self, event: Event, said: list[StreamEvent]) -> None:
        """One event. `ping` and what is not known yet say nothing."""
        try:
            chunk = _decode(event.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise WireFault.of(
                "incomplete", f"an event of the stream is not valid: {exc}", retry=True
            ) from exc
        match chunk.type or event.name:
            case "content_block_delta" if chunk.delta is not None:
                self._delta(chunk.index, chunk.delta, said)
            case "content_block_start" if chunk.content_block is not None:
                self._start(chunk.index, chunk.content_block, said)
            case "content_block_stop":
                self._stop(chunk.index, said)
            case "message_start" if chunk.message is not None:
                self._count(chunk.message.usage)
            case "message_delta":
                self._ended(chunk)
            case "message_stop":
                self._close(said)
            case "error":
                raise in_stream_fault(event.data)

    def whole(self, body: bytes) -> list[StreamEvent]:
        """An answer that was not streamed although asked for."""
        said: list[StreamEvent] = []
        try:
            message = _decode_whole(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise WireFault.of("other", f"the answer is not the JSON of a message: {exc}") from exc
        if message.content is None:
            raise in_stream_fault(body)
        for index, part in enumerate(message.content):
            self._start(index, part, said)
            self._stop(index, said)
        self._count(message.usage)
        self._reason = _plain(message.stop_reason)
        self._close(said)
        return said

    def finish(self) -> Finish:
        """The end. Calls make the reason `tool_calls`, unless the answer was cut or refused."""
        reason: Any = _REASONS.get(self._reason, "stop")
        if reason in ("stop", "tool_calls"):  # a structured answer is a call for the vendor only
            reason = "tool_calls" if self._calls else "stop"
        return Finish(reason=reason, usage=_usage(self._usage) if self._usage else None)

    # --- events ---
    def _start(self, index: int | None, part: _Part, said: list[StreamEvent]) -> None:
        for open_index, block in list(self._blocks.items()):
            if block.kind == "thinking" or open_index == index:  # the vendor forgot to close it
                self._stop(open_index, said)
        call = None
        if part.type == "tool_use" and part.name != STRUCTURED:
            call = self._calls
            self._calls += 1
            said.append(CallStart(call, _plain(part.id), _plain(part.name)))
        self._blocks[index] = _Block(part, call)
        if part.type == "redacted_thinking":
            said.append(ThoughtEnd(REDACTED + _plain(part.data)))
        elif part.type in ("text", "thinking"):
            self._delta(index, part, said)

    def _delta(self, index: int | None, part: _Part, said: list[StreamEvent]) -> None:
        block = self._blocks.get(index)
        if text := _plain(part.text):
            said.append(TextDelta(text))
        if text := _plain(part.thinking):
            said.append(ThoughtDelta(text))
        if block is None:
            return
        block.signature += _plain(part.signature)
        if text := _plain(part.partial_json):
            block.arguments = True
            said.append(_argument(block, text))

    def _stop(self, index: int | None, said: list[StreamEvent]) -> None:
        block = self._blocks.pop(index, None)
        if block is None:
            return
        if block.kind == "thinking":
            said.append(ThoughtEnd(block.signature))
        elif block.kind == "tool_use" and not block.arguments:  # none, or all at once
            given = block.input if isinstance(block.input, dict) else {}
            said.append(_argument(block, msgspec.json.encode(given).decode()))

    def _ended(self, chunk: _Chunk) -> None:
        if chunk.delta is not None and chunk.delta.stop_reason:
            self._reason = _plain(chunk.delta.stop_reason)
        self._count(chunk.usage)

    def _close(self, said: list[StreamEvent]) -> None:
        for index in list(self._blocks):
            self._stop(index, said)
        self.complete = self._over = True

    def _count(self, usage: Any) -> None:
        if isinstance(usage, dict):
            self._usage |= {key: value for key, value in usage.items() if value is not None}


def _argument(block: _Block, text: str) -> StreamEvent:
    return TextDelta(text) if block.call is None else CallDelta(block.call, text)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _usage(given: dict[str, Any]) -> Usage:
    """Token counts. The vendor's `input_tokens` leaves out what was read from the cache or written to it; ours does not."""
    fresh, read, written, output = (
        _number(given.get(name))
        for name in (
            "input_tokens",
            "cache_read_input_tokens",
            "cache_creation_input_tokens",
            "output_tokens",
        )
    )
    details = given.get("output_tokens_details")
    thought = _number(details.get("thinking_tokens")) if isinstance(details, dict) else 0
    return Usage(
        input=fresh + read + written,
        output=output,
        cached=read,
        cache_write=written,
        reasoning=thought,
    )


def _number(value: Any) -> int:
    counts = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return value if counts else 0

"""The Bedrock Converse dialect: an answer as stream events. The framing of its bytes is given by who uses it."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

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

from codetether_wire.bedrock_faults import fault_named
from codetether_wire.dialect import merge
from codetether_wire.faults import WireFault, classify, error_text

_REASONS = {
    "end_turn": "stop",
    "stop": "stop",
    "stop_sequence": "stop",
    "tool_use": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
}
_BROKEN = frozenset({"malformed_model_output", "malformed_tool_use"})


class Frame(NamedTuple):
    """One message of an AWS event stream: its headers (such as `:event-type`) and its payload."""

    headers: Mapping[str, Any]
    payload: bytes


class Frames(Protocol):
    """Cuts bytes into frames, whatever pieces they come in, and checks their sums. Raises WireFault."""

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completed. A fault behind good frames is raised by the next call."""


def mark(place: str, opaque: str) -> str:
    """What Bedrock wants back of a thought, as a Thought's `opaque`: a `signature`, or a `redacted` block in base64."""
    return f"{place}:{opaque}"


def unmark(opaque: str) -> tuple[str, str]:
    """(place, what is wanted back) of a Thought's `opaque`; ("", "") when it holds none."""
    place, _, wanted = opaque.partition(":")
    return (place, wanted) if place in ("signature", "redacted") and wanted else ("", "")


class _Block:
    """A content block as it arrives: a call, a thought, or nothing of interest."""

    __slots__ = ("call", "redacted", "signature", "thinks", "wrote")

    def __init__(self) -> None:
        self.call: int | None = None
        self.thinks = False
        self.wrote = False
        self.signature = ""
        self.redacted = b""


class ConverseDecoder:
    """Reads the events of ConverseStream. `messageStop` is the end; `metadata` with the token counts follows it."""

    def __init__(self, frames: Frames) -> None:
        self.complete = False
        self._over = False
        self._frames = frames
        self._blocks: dict[int, _Block] = {}
        self._calls = 0
        self._reason = ""
        self._usage: Usage | None = None
        self._fault: WireFault | None = None

    @property
    def over(self) -> bool:
        """Whether the token counts came, which are the last event."""
        return self._over

    # --- from bytes ---
    def feed(self, data: bytes) -> list[StreamEvent]:
        """Decode the frames these bytes complete."""
        if self._fault:
            raise self._fault
        said: list[StreamEvent] = []
        try:
            for frame in self._frames.feed(data):
                self._frame(frame, said)
        except WireFault as fault:
            if not said:
                raise
            self._fault = fault  # what was said before it is given first
        return said if len(said) < 2 else merge(said)

    def close(self) -> list[StreamEvent]:
        """Nothing is held back; a fault that waited is raised."""
        return self.feed(b"")

    def whole(self, body: bytes) -> list[StreamEvent]:
        """The answer of Converse without a stream, for models that cannot stream."""
        said: list[StreamEvent] = []
        try:
            document = msgspec.json.decode(body)
            blocks = document["output"]["message"]["content"]
            for index, block in enumerate(blocks):
                self._whole_block(index, block, said)
            self._usage = _usage(document.get("usage"))
            self._stopped(str(document["stopReason"]))
        except (
            msgspec.DecodeError,
            UnicodeDecodeError,
            RecursionError,
            LookupError,
            TypeError,
            AttributeError,
        ) as exc:
            raise _no_answer(body, exc) from exc
        self._over = True
        return said

    def finish(self) -> Finish:
        """The end. Calls make the reason `tool_calls`, unless the answer was cut or filtered."""
        reason: Any = _REASONS.get(self._reason, "stop")
        if self._calls and reason == "stop":
            reason = "tool_calls"
        return Finish(reason=reason, usage=self._usage)

    # --- one frame ---
    def _frame(self, frame: Frame, said: list[StreamEvent]) -> None:
        kind = frame.headers.get(":message-type")
        if kind == "exception":
            raise fault_named(str(frame.headers.get(":exception-type", "")), frame.payload)
        if kind == "error":
            words = msgspec.json.encode({"message": str(frame.headers.get(":error-message", ""))})
            raise fault_named(str(frame.headers.get(":error-code", "")), words)
        try:
            event = msgspec.json.decode(frame.payload)
            self._event(str(frame.headers.get(":event-type", "")), event, said)
        except (
            msgspec.DecodeError,
            UnicodeDecodeError,
            RecursionError,
            LookupError,
            TypeError,
            AttributeError,
        ) as exc:
            raise WireFault.of(
                "incomplete", f"an event of the stream is not valid: {exc!r}", retry=True
            ) from exc

    def _event(self, kind: str, event: Any, said: list[StreamEvent]) -> None:
        if kind == "contentBlockDelta":
            self._delta(event["contentBlockIndex"], event["delta"], said)
        elif kind == "contentBlockStart":
            self._start(event["contentBlockIndex"], event["start"], said)
        elif kind == "contentBlockStop":
            self._stop(event["contentBlockIndex"], said)
        elif kind == "messageStop":
            for index in list(self._blocks):
                self._stop(index, said)
            self._stopped(str(event["stopReason"]))
        elif kind == "metadata":
            self._usage = _usage(event.get("usage"))
            self._over = self.complete

    def _start(self, index: int, start: Mapping[str, Any], said: list[StreamEvent]) -> None:
        call = start.get("toolUse")
        if call and not call.get("type"):  # with a type it is a tool that the vendor runs itself
            block = self._blocks[index] = _Block()
            block.call = self._calls
            self._calls += 1
            said.append(CallStart(block.call, str(call["toolUseId"]), str(call["name"])))

    def _delta(self, index: int, delta: Mapping[str, Any], said: list[StreamEvent]) -> None:
        if text := delta.get("text"):
            said.append(TextDelta(str(text)))
        elif call := delta.get("toolUse"):
            block = self._blocks.get(index)
            if block is not None and block.call is not None and call.get("input"):
                block.wrote = True
                said.append(CallDelta(block.call, str(call["input"])))
        elif thought := delta.get("reasoningContent"):
            block = self._blocks.setdefault(index, _Block())
            block.thinks = True
            if text := thought.get("text"):
                said.append(ThoughtDelta(str(text)))
            block.signature += thought.get("signature") or ""
            if redacted := thought.get("redactedContent"):
                block.redacted += _unpacked(redacted)

    def _stop(self, index: int, said: list[StreamEvent]) -> None:
        block = self._blocks.pop(index, None)
        if block is None:
            return
        if block.call is not None and not block.wrote:
            said.append(CallDelta(block.call, "{}"))
        if block.thinks:
            opaque = mark("signature", block.signature) if block.signature else ""
            if block.redacted:
                opaque = mark("redacted", b64encode(block.redacted).decode())
            said.append(ThoughtEnd(opaque))

    def _stopped(self, reason: str) -> None:
        if reason in _BROKEN or (self._calls and reason not in _REASONS):
            # Calls of an answer that ended for a reason we do not know must not run.
            raise WireFault.of("incomplete", f"the vendor ended the answer: {reason}", retry=True)
        self._reason = reason
        self.complete = True

    def _whole_block(self, index: int, block: Mapping[str, Any], said: list[StreamEvent]) -> None:
        if call := block.get("toolUse"):
            self._start(index, {"toolUse": call}, said)
            text = msgspec.json.encode(call.get("input") or {}).decode()
            self._delta(index, {"toolUse": {"input": text}}, said)
        elif thought := block.get("reasoningContent"):
            self._delta(index, {"reasoningContent": thought.get("reasoningText") or thought}, said)
        else:
            self._delta(index, block, said)
        self._stop(index, said)


def _unpacked(text: str) -> bytes:
    try:
        return b64decode(text)
    except ValueError as exc:
        raise TypeError("redactedContent is not base64") from exc


def _usage(row: Any) -> Usage | None:
    """Converse counts what the cache holds beside `inputTokens`; we count it inside."""
    if not isinstance(row, Mapping):
        return None
    cached, written = _count(row, "cacheReadInputTokens"), _count(row, "cacheWriteInputTokens")
    return Usage(
        input=_count(row, "inputTokens") + cached + written,
        output=_count(row, "outputTokens"),
        cached=cached,
        cache_write=written,
    )


def _count(row: Mapping[str, Any], name: str) -> int:
    value = row.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _no_answer(body: bytes, exc: Exception) -> WireFault:
    """The fault for a document that is none of Converse's: what it says itself, when it says anything."""
    try:
        message, code = error_text(msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        message, code = "", ""
    if message:
        return classify(0, message, code)
    return WireFault.of("other", f"the answer is not Converse's JSON: {exc!r}")

"""The Google Generative Language dialect: an answer as stream events."""

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

from codetether_wire.dialect import SseDecoder
from codetether_wire.faults import WireFault
from codetether_wire.google_faults import fault_of
from codetether_wire.sse import Event


class _Call(msgspec.Struct):
    id: Any = None
    name: Any = None
    args: msgspec.Raw = msgspec.Raw()  # as the model wrote it; empty when there are none


class _Part(msgspec.Struct, rename="camel"):
    text: Any = None
    thought: Any = None
    thought_signature: Any = None
    function_call: _Call | None = None


class _Content(msgspec.Struct):
    parts: list[_Part] | None = None


class _Candidate(msgspec.Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: Any = None
    finish_message: Any = None


class _Feedback(msgspec.Struct, rename="camel"):
    block_reason: Any = None
    block_reason_message: Any = None


class _Chunk(msgspec.Struct, rename="camel"):
    """Only what is read. Pictures, code that Google ran and the like are parts without any of these fields."""

    candidates: list[_Candidate] | None = None
    usage_metadata: Any = None
    prompt_feedback: _Feedback | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode
_decode_list = msgspec.json.Decoder(list[_Chunk]).decode

_FILTERED = frozenset(
    {
        "SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR", "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION",
    }
)  # fmt: skip
_BROKEN = frozenset(
    {
        "MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "OTHER",
        "NO_IMAGE", "IMAGE_OTHER", "FINISH_REASON_UNSPECIFIED",
    }
)  # fmt: skip
_PLACES = ("thought", "text", "call")


def mark(place: str, signature: str) -> str:
    """A signature as the `opaque` of a Thought: with the kind of part it came in, which it must go back in."""
    return f"{place}:{signature}"


def unmark(opaque: str) -> tuple[str, str]:
    """(place, signature) of a Thought's `opaque`; ("", "") when it holds none."""
    place, _, signature = opaque.partition(":")
    return (place, signature) if place in _PLACES and signature else ("", "")


class GoogleDecoder(SseDecoder):
    """Reads GenerateContentResponse chunks. The end is a chunk with a finish reason; more may follow it."""

    def __init__(self) -> None:
        super().__init__()
        self._calls = 0
        self._spoke = False
        self._thinking = False
        self._reason = ""
        self._usage: Usage | None = None

    # --- from bytes ---
    def event(self, event: Event, said: list[StreamEvent]) -> None:
        """One chunk, or an error object."""
        try:
            chunk = _decode(event.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise WireFault.of(
                "incomplete", f"a chunk of the stream is not valid: {exc}", retry=True
            ) from exc
        self._chunk(chunk, said, event.data)

    def whole(self, body: bytes) -> list[StreamEvent]:
        """An answer as one document, or as a list of chunks, which is Google's form of a stream without `alt=sse`."""
        said: list[StreamEvent] = []
        try:
            chunks = _decode_list(body) if body.lstrip()[:1] == b"[" else [_decode(body)]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise WireFault.of("other", f"the answer is not Google's JSON: {exc}") from exc
        for chunk in chunks:
            self._chunk(chunk, said, body)
        self._over = self.complete
        return said

    def finish(self) -> Finish:
        """The end. Calls make the reason `tool_calls`, unless the answer was cut or filtered."""
        reason: Any = "stop"
        if self._reason == "MAX_TOKENS":
            reason = "length"
        elif self._reason in _FILTERED:
            reason = "content_filter"
        elif self._calls:
            reason = "tool_calls"
        return Finish(reason=reason, usage=self._usage)

    # --- one chunk ---
    def _chunk(self, chunk: _Chunk, said: list[StreamEvent], data: bytes) -> None:
        if chunk.error:
            raise fault_of(msgspec.json.decode(data)) or WireFault.of(
                "other", f"the answer holds an error: {chunk.error}"
            )
        if isinstance(chunk.usage_metadata, dict):
            self._usage = _usage(chunk.usage_metadata)
        if not chunk.candidates:
            self._check_prompt(chunk.prompt_feedback)
            return
        candidate = chunk.candidates[0]
        before = len(said)
        for part in (candidate.content and candidate.content.parts) or ():
            self._part(part, said)
        self._spoke = self._spoke or len(said) > before
        if candidate.finish_reason:
            self._finished(str(candidate.finish_reason), candidate.finish_message, said)

    @staticmethod
    def _check_prompt(feedback: _Feedback | None) -> None:
        if feedback is not None and feedback.block_reason:
            why = f"{feedback.block_reason} {feedback.block_reason_message or ''}".strip()
            raise WireFault.of("content", f"the request was blocked: {why}")

    def _part(self, part: _Part, said: list[StreamEvent]) -> None:
        signature = part.thought_signature if isinstance(part.thought_signature, str) else ""
        if part.function_call is not None:
            self._call(part.function_call, signature, said)
            return
        text = part.text if isinstance(part.text, str) else ""
        if part.thought:
            self._thinking = True
            if text:
                said.append(ThoughtDelta(text))
            if signature:
                self._end_thought(said, mark("thought", signature))
            return
        if text:
            self._end_thought(said)
            said.append(TextDelta(text))
        if signature:
            self._thinking = True
            self._end_thought(said, mark("text", signature))

    def _call(self, call: _Call, signature: str, said: list[StreamEvent]) -> None:
        if not isinstance(call.name, str) or not call.name:
            return
        if signature:
            self._thinking = True
        self._end_thought(said, mark("call", signature) if signature else "")
        arguments = bytes(call.args).decode("utf-8", "replace")
        said.append(CallStart(self._calls, call.id if isinstance(call.id, str) else "", call.name))
        said.append(CallDelta(self._calls, "{}" if arguments in ("", "null") else arguments))
        self._calls += 1

    def _end_thought(self, said: list[StreamEvent], opaque: str = "") -> None:
        if self._thinking:
            self._thinking = False
            said.append(ThoughtEnd(opaque))

    def _finished(self, reason: str, message: Any, said: list[StreamEvent]) -> None:
        self._end_thought(said)
        told = f"{reason} {message or ''}".strip()
        if reason == "MISSING_THOUGHT_SIGNATURE":
            raise WireFault.of("invalid", f"the vendor ended the answer: {told}")
        if reason in _BROKEN or not (self._is_known(reason) or not self._calls):
            # Calls of an answer that ended for a reason we do not know must not run.
            raise WireFault.of("incomplete", f"the vendor ended the answer: {told}", retry=True)
        if reason == "STOP" and not self._spoke:
            raise WireFault.of(
                "incomplete", "the vendor ended an answer without a word", retry=True
            )
        self._reason = reason
        self.complete = True

    @staticmethod
    def _is_known(reason: str) -> bool:
        return reason in ("STOP", "MAX_TOKENS") or reason in _FILTERED


def _usage(row: dict[str, Any]) -> Usage:
    thoughts = _count(row, "thoughtsTokenCount")
    return Usage(
        input=_count(row, "promptTokenCount") + _count(row, "toolUsePromptTokenCount"),
        output=_count(row, "candidatesTokenCount") + thoughts,
        cached=_count(row, "cachedContentTokenCount"),
        reasoning=thoughts,
    )


def _count(row: dict[str, Any], name: str) -> int:
    value = row.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0

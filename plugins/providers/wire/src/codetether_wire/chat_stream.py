"""The OpenAI chat-completions dialect: an answer as stream events."""

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

from codetether_wire.chat_chunk import Call, Chunk, Delta, Function, decode_chunk
from codetether_wire.dialect import SseDecoder
from codetether_wire.faults import WireFault, classify, error_text
from codetether_wire.reasoning_details import joined
from codetether_wire.sse import Event
from codetether_wire.usage import read_usage

_REASONS = {
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "content_filter": "content_filter",
    "sensitive": "content_filter",
    "refusal": "content_filter",
    "safety": "content_filter",
}
_FAILED = (
    "error",
    "network_error",
    "insufficient_system_resource",
    "repetition_truncation",
    "abort",
)


class _Building:
    """A call as it arrives."""

    __slots__ = ("arguments", "id", "index", "key", "name")

    def __init__(self, key: object, label: str) -> None:
        self.index = 0  # given with the name: a call without one never begins
        self.key = key
        self.id = label
        self.name = ""
        self.arguments: list[str] = []


class ChatDecoder(SseDecoder):
    """Reads chat-completion chunks of any vendor; see tests/plugins/providers/test_wire_chat_stream.py for the shapes."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: list[_Building] = []
        self._started = 0
        self._spoke = False
        self._reason = ""
        self._usage: Usage | None = None
        self._thinking = False
        self._details: list[Any] = []
        self._opaque = ""

    # --- from bytes ---
    def event(self, event: Event, said: list[StreamEvent]) -> None:
        """One SSE event: a chunk, the end mark, or an error object."""
        if event.data.strip() == b"[DONE]":
            self._over = True
            self.complete = (
                self.complete or self._spoke
            )  # an end mark after nothing at all is no answer
            self._end_thought(said)
            return
        try:
            chunk = decode_chunk(event.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise WireFault.of(
                "incomplete", f"a chunk of the stream is not valid: {exc}", retry=True
            ) from exc
        if (
            chunk.error
            or event.name == "error"
            or (not chunk.choices and b'"object":"error"' in event.data)
        ):
            raise in_stream_fault(event.data)
        self._chunk(chunk, said)

    def whole(self, body: bytes) -> list[StreamEvent]:
        """An answer that was not streamed although asked for."""
        said: list[StreamEvent] = []
        try:
            chunk = decode_chunk(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise WireFault.of(
                "other", f"the answer is not the JSON of a chat completion: {exc}"
            ) from exc
        if chunk.error or not chunk.choices:
            raise in_stream_fault(body)
        self._chunk(chunk, said)
        self.complete = self._over = True
        self._end_thought(said)
        return said

    def finish(self) -> Finish:
        """The end. Calls make the reason `tool_calls`, unless the answer was cut or filtered."""
        reason: Any = _REASONS.get(self._reason, "stop")
        if self._started and reason == "stop":
            reason = "tool_calls"
        return Finish(reason=reason, usage=self._usage)

    # --- one chunk ---
    def _chunk(self, chunk: Chunk, said: list[StreamEvent]) -> None:
        if chunk.choices:
            choice = chunk.choices[0]
            delta = choice.delta or choice.message
            if delta is not None:
                self._delta(delta, said)
            if choice.finish_reason:
                self._finished(str(choice.finish_reason), said)
        if isinstance(chunk.usage, dict):
            self._usage = read_usage(chunk.usage)

    def _finished(self, reason: str, said: list[StreamEvent]) -> None:
        if reason in _FAILED:
            raise WireFault.of(
                "overloaded", f"the vendor ended the answer with {reason!r}", retry=True
            )
        self._reason = reason.lower()
        self.complete = True
        self._end_thought(said)

    def _delta(self, delta: Delta, said: list[StreamEvent]) -> None:
        before = len(said)
        self._read(delta, said)
        self._spoke = self._spoke or len(said) > before

    def _read(self, delta: Delta, said: list[StreamEvent]) -> None:
        thought = delta.reasoning_content or delta.reasoning or delta.reasoning_text
        if thought or delta.reasoning_details or delta.reasoning_opaque:
            self._thinking = True
            if isinstance(delta.reasoning_opaque, str) and delta.reasoning_opaque:
                self._opaque = delta.reasoning_opaque
            if isinstance(delta.reasoning_details, list):
                self._details.extend(delta.reasoning_details)
            if thought := _plain(thought):
                said.append(ThoughtDelta(thought))
        if content := delta.content or delta.refusal:
            self._content(content, said)
        if delta.tool_calls:
            self._end_thought(said)
            for call in delta.tool_calls:
                self._call(call, said)

    def _content(self, content: Any, said: list[StreamEvent]) -> None:
        for part in content if isinstance(content, list) else (content,):
            if (
                isinstance(part, dict) and part.get("type") == "thinking"
            ):  # Mistral's form of reasoning
                self._thinking = True
                said.append(ThoughtDelta(_plain(part.get("thinking"))))
            elif text := _plain(part):
                self._end_thought(said)
                said.append(TextDelta(text))

    def _end_thought(self, said: list[StreamEvent]) -> None:
        if self._thinking:
            self._thinking = False
            opaque = self._opaque
            if self._details:
                opaque = msgspec.json.encode(joined(self._details)).decode()
            self._opaque, self._details = "", []
            said.append(ThoughtEnd(opaque))

    # --- calls ---
    def _call(self, call: Call, said: list[StreamEvent]) -> None:
        function = call.function or Function()
        name = function.name if isinstance(function.name, str) else ""
        arguments = _arguments(function.arguments)
        building = self._building(call, name, arguments)
        if name and not building.name:
            building.name = name
            building.index = self._started
            self._started += 1
            said.append(CallStart(building.index, building.id, name))
            arguments = "".join(building.arguments) + arguments
            building.arguments.clear()
        if not arguments:
            return
        building.arguments.append(arguments)
        if building.name:
            said.append(CallDelta(building.index, arguments))

    def _building(self, call: Call, name: str, arguments: str) -> _Building:
        """The call this piece belongs to; a new one when it cannot belong to an earlier one."""
        label = call.id if isinstance(call.id, str) else "" if call.id is None else str(call.id)
        found = self._find(call.index, label)
        if found is not None and not (
            name and found.name and self._is_another(found, call.index, label, name, arguments)
        ):
            found.id = found.id or label
            return found
        building = _Building(call.index, label)
        self._calls.append(building)
        return building

    def _find(self, index: Any, label: str) -> _Building | None:
        latest_first = reversed(self._calls)
        if index is not None:
            return next((b for b in latest_first if b.key == index), None)
        if label:
            return next((b for b in latest_first if b.id == label), None)
        return self._calls[-1] if self._calls else None

    @staticmethod
    def _is_another(found: _Building, index: Any, label: str, name: str, arguments: str) -> bool:
        """A piece that names a function again: the vendor repeats itself in each piece, or begins another call under a
        used index or id (Gemini's index 0 for all; Kimi's repeated ids; no ids at all).
        """
        if label and found.id and label != found.id:
            return True
        if name != found.name:
            return True
        if index is not None and label:
            return False
        return bool(arguments) and _is_json("".join(found.arguments))


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _arguments(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return msgspec.json.encode(value).decode()


def _plain(value: Any) -> str:
    """The text of a text, of a part `{"text": ...}`, or of a list of those."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(map(_plain, value))
    return _plain(value.get("text")) if isinstance(value, dict) else ""


def in_stream_fault(data: bytes) -> WireFault:
    """The fault for an error object that came with status 200."""
    try:
        document = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError):
        document = None
    message, code = error_text(document)
    if not message:
        return WireFault.of(
            "other", "the answer holds neither a choice nor an error message", retry=False
        )
    return classify(0, message, code)

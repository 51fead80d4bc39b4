"""The OpenAI Responses dialect: an answer as stream events."""

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
from codetether_wire.faults import WireFault, classify, error_text
from codetether_wire.sse import Event, SseParser
from codetether_wire.usage import read_usage

EVENT_LIMIT = 16 << 20  # the last event repeats the whole answer, with its encrypted reasoning


class _Event(msgspec.Struct):
    """Only what is read. `response` stays undecoded until the event that ends the answer."""

    type: str = ""
    output_index: Any = None
    item_id: Any = None
    summary_index: Any = None
    content_index: Any = None
    delta: Any = None
    arguments: Any = None
    item: Any = None
    response: msgspec.Raw = msgspec.Raw(b"")
    error: Any = None


class _Response(msgspec.Struct):
    status: Any = None
    output: Any = None
    usage: Any = None
    error: Any = None
    incomplete_details: Any = None


_decode = msgspec.json.Decoder(_Event).decode
_decode_response = msgspec.json.Decoder(_Response).decode
_REASONING = ("id", "type", "summary", "encrypted_content")
_CUT = {"max_output_tokens": "length", "content_filter": "content_filter"}


class _Item:
    """An output item as it arrives. `said`: how many characters of its text or arguments were passed on; `part`: which
    part of its text the latest were of; `index`: the number of a call.
    """

    __slots__ = ("index", "kind", "part", "said")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.index = 0
        self.part: tuple[str, Any] | None = None
        self.said = 0


class ResponsesDecoder(SseDecoder):
    """Reads the events of a streamed response. Items are passed on as they grow; what a server does not stream is
    taken from the item when it is done, or from the whole response at the end.
    """

    def __init__(self) -> None:
        super().__init__()
        self._parser = SseParser(EVENT_LIMIT)
        self._items: dict[Any, _Item] = {}
        self._done: set[Any] = set()
        self._calls = 0
        self._last: Any = None  # the text item that spoke last, while nothing else did
        self._thinking: _Item | None = None
        self._refused = False
        self._reason = ""
        self._usage: Usage | None = None

    # --- from bytes ---
    def event(self, event: Event, said: list[StreamEvent]) -> None:
        """One SSE event; kinds that say nothing to us are passed over."""
        if event.data.strip() == b"[DONE]":
            self._over = True
            return
        try:
            one = _decode(event.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise WireFault.of(
                "incomplete", f"an event of the stream is not valid: {exc}", retry=True
            ) from exc
        kind = one.type or event.name
        handle = _HANDLERS.get(kind)
        if handle is not None:
            handle(self, one, said)
        elif kind in _ENDS:
            response = _whole_response(one.response)
            response.status = response.status or kind.partition(".")[2]
            self._end(response, said)
        elif kind == "error" or one.error:
            raise _fault(msgspec.json.decode(event.data))

    def whole(self, body: bytes) -> list[StreamEvent]:
        """An answer that was not streamed although asked for."""
        said: list[StreamEvent] = []
        response = _whole_response(body)
        if response.status is None and response.output is None and not response.error:
            raise WireFault.of("other", "the answer is not the JSON of a response")
        self._end(response, said)
        return said

    def finish(self) -> Finish:
        """The end. Calls make the reason `tool_calls`, unless the answer was cut or refused."""
        reason: Any = self._reason or ("content_filter" if self._refused else "stop")
        if self._calls and reason == "stop":
            reason = "tool_calls"
        return Finish(reason=reason, usage=self._usage)

    # --- items ---
    def _key(self, event: _Event) -> int | str | None:
        """What an event's item is known by: its place (Copilot gives one item several ids), else its id (llama.cpp tells
        no places).
        """
        name = event.item.get("id") if isinstance(event.item, dict) else event.item_id
        keys = [key for key in (event.output_index, name) if isinstance(key, int | str)]
        return next((key for key in keys if key in self._items), keys[0] if keys else None)

    def _added(self, event: _Event, said: list[StreamEvent]) -> None:
        if isinstance(event.item, dict):
            self._item(self._key(event), event.item, said)

    def _item(self, key: Any, row: dict[str, Any], said: list[StreamEvent]) -> _Item:
        item = self._items.get(key)
        if item is None:
            item = self._items[key] = _Item(str(row.get("type") or ""))
            if item.kind == "function_call":
                self._end_thought(said)
                item.index = self._calls
                self._calls += 1
                self._last = None
                label = str(row.get("call_id") or row.get("id") or "")
                said.append(CallStart(item.index, label, str(row.get("name") or "")))
        return item

    def _item_done(self, event: _Event, said: list[StreamEvent]) -> None:
        if isinstance(event.item, dict):
            self._complete(self._key(event), event.item, said)

    def _complete(self, key: Any, row: dict[str, Any], said: list[StreamEvent]) -> None:
        """Say what of a finished item was not streamed."""
        if key in self._done:
            return
        self._done.add(key)
        item = self._item(key, row, said)
        if item.kind == "function_call":
            self._arguments(item, row.get("arguments"), said)
        elif item.kind == "message" and not item.said:
            for place, part in enumerate(_rows(row.get("content"))):
                self._refused = self._refused or part.get("type") == "refusal"
                text = part.get("refusal") if part.get("type") == "refusal" else part.get("text")
                self._text(key, item, ("content", place), text, said)
        elif item.kind == "reasoning":
            self._reasoned(item, row, said)

    # --- text and thoughts ---
    def _text_delta(self, event: _Event, said: list[StreamEvent]) -> None:
        self._refused = self._refused or event.type == "response.refusal.delta"
        key = self._key(event)
        item = self._items.setdefault(key, _Item("message"))
        self._text(key, item, ("content", event.content_index), event.delta, said)

    def _text(
        self, key: Any, item: _Item, part: tuple[str, Any], text: Any, said: list[StreamEvent]
    ) -> None:
        if not isinstance(text, str) or not text:
            return
        self._end_thought(said)
        place = (key, part)
        if self._last not in (None, place):  # two messages, or two parts of one, in a row
            text = "\n\n" + text
        self._last = place
        item.said += len(text)
        said.append(TextDelta(text))

    def _thought_delta(self, event: _Event, said: list[StreamEvent]) -> None:
        item = self._items.setdefault(self._key(event), _Item("reasoning"))
        kind = "content" if event.type == "response.reasoning_text.delta" else "summary"
        self._thought(item, (kind, event.summary_index), event.delta, said)

    def _thought(
        self, item: _Item, part: tuple[str, Any], text: Any, said: list[StreamEvent]
    ) -> None:
        if not isinstance(text, str) or not text or (item.part and item.part[0] != part[0]):
            return  # raw reasoning and its summary are not both shown
        if item.part not in (None, part):
            text = "\n\n" + text
        item.part = part
        item.said += len(text)
        self._last = None
        self._thinking = item
        said.append(ThoughtDelta(text))

    def _reasoned(self, item: _Item, row: dict[str, Any], said: list[StreamEvent]) -> None:
        if not item.said:
            for kind in ("summary", "content"):
                for place, part in enumerate(_rows(row.get(kind))):
                    self._thought(item, (kind, place), part.get("text"), said)
        opaque = ""
        if row.get("encrypted_content"):
            kept = {name: row[name] for name in _REASONING if name in row}
            kept.setdefault("summary", [])
            opaque = msgspec.json.encode(kept).decode()
        if opaque or self._thinking is not None:
            self._thinking = None
            self._last = None
            said.append(ThoughtEnd(opaque))

    def _end_thought(self, said: list[StreamEvent]) -> None:
        """For servers that go on without saying that the reasoning is done."""
        if self._thinking is not None:
            self._thinking = None
            said.append(ThoughtEnd())

    # --- calls ---
    def _arguments_delta(self, event: _Event, said: list[StreamEvent]) -> None:
        item = self._items.get(self._key(event))
        if item is not None and isinstance(event.delta, str) and event.delta:
            item.said += len(event.delta)
            said.append(CallDelta(item.index, event.delta))

    def _arguments_done(self, event: _Event, said: list[StreamEvent]) -> None:
        item = self._items.get(self._key(event))
        if item is not None:
            self._arguments(item, event.arguments, said)

    def _arguments(self, item: _Item, whole: Any, said: list[StreamEvent]) -> None:
        if isinstance(whole, str) and len(whole) > item.said:
            said.append(CallDelta(item.index, whole[item.said :]))
            item.said = len(whole)

    # --- the end ---
    def _end(self, response: _Response, said: list[StreamEvent]) -> None:
        if response.error or response.status in ("failed", "cancelled"):
            raise _failed(response)
        for place, row in enumerate(_rows(response.output)):
            key = self._key(_Event(output_index=place, item=row))
            if key in self._items or place >= len(self._done):
                self._complete(key, row, said)
        self._end_thought(said)
        if isinstance(response.usage, dict):
            self._usage = read_usage(response.usage)
        if response.status == "incomplete":
            details = response.incomplete_details
            why = details.get("reason") if isinstance(details, dict) else None
            if why == "steered":
                raise WireFault.of("incomplete", "the vendor ended the answer early", retry=True)
            self._reason = _CUT.get(str(why), "length")
        self.complete = self._over = True


_HANDLERS = {
    "response.output_item.added": ResponsesDecoder._added,
    "response.output_item.done": ResponsesDecoder._item_done,
    "response.output_text.delta": ResponsesDecoder._text_delta,
    "response.refusal.delta": ResponsesDecoder._text_delta,
    "response.reasoning_summary_text.delta": ResponsesDecoder._thought_delta,
    "response.reasoning_text.delta": ResponsesDecoder._thought_delta,
    "response.function_call_arguments.delta": ResponsesDecoder._arguments_delta,
    "response.function_call_arguments.done": ResponsesDecoder._arguments_done,
}
_ENDS = ("response.completed", "response.incomplete", "response.failed", "response.cancelled")


def _rows(value: Any) -> list[dict[str, Any]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _whole_response(data: bytes | msgspec.Raw) -> _Response:
    try:
        return _decode_response(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise WireFault.of("other", f"the answer is not the JSON of a response: {exc}") from exc


def _failed(response: _Response) -> WireFault:
    if response.error:
        return _fault({"error": response.error})
    return WireFault.of("overloaded", f"the vendor ended the answer: {response.status}", retry=True)


def _fault(document: Any) -> WireFault:
    message, code = error_text(document)
    if not message and not code:
        return WireFault.of("other", "the vendor reported an error without saying which")
    return classify(0, message or code, code)

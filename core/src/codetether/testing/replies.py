"""What a scripted model says, and the exact bytes a chat-completions server says it in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from codetether.events import ProviderFault, StopReason
from codetether.words import Usage


class Call(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tool call to ask for. `arguments` as an object, or as the JSON text (right or wrong) to stream as it is."""

    name: str
    arguments: dict[str, Any] | str = {}
    id: str = ""

    @property
    def json(self) -> str:
        """The arguments as streamed."""
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments)


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """One answer of a scripted model. `pieces` are the text's deltas, exactly; left empty, words are. `delay` is in
    seconds, before each delta. `fault` ends the stream with an error after the rest was said. `stall` never ends it.
    """

    text: str = ""
    thoughts: str = ""
    calls: tuple[Call, ...] = ()
    usage: Usage | None = None
    finish: StopReason | None = None
    pieces: tuple[str, ...] = ()
    delay: float | None = None
    fault: ProviderFault | None = None
    stall: bool = False

    @property
    def reason(self) -> StopReason:
        """The finish reason said, or the one that fits."""
        return self.finish or ("tool_calls" if self.calls else "stop")


Said = Reply | str | Mapping[str, Any]


def reply(said: Said) -> Reply:
    """A Reply from text, a mapping with its fields, or itself. msgspec.ValidationError names a wrong field."""
    if isinstance(said, Reply):
        return said
    return Reply(text=said) if isinstance(said, str) else msgspec.convert(dict(said), Reply)


def call(name: str, /, **arguments: Any) -> Reply:
    """A Reply that asks for one tool call."""
    return Reply(calls=(Call(name, arguments),))


def sse(data: Mapping[str, Any] | str) -> bytes:
    """One server-sent event."""
    return f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()


def chat_chunk(
    delta: Mapping[str, Any], *, finish: str | None = None, model: str = "scripted", **fields: Any
) -> bytes:
    """One chat.completion.chunk event with one choice."""
    choice = {"index": 0, "delta": dict(delta), "finish_reason": finish}
    return sse(_chunk(model, [choice]) | fields)


def chat_events(said: Said, *, model: str = "scripted", done: bool = True) -> list[bytes]:
    """The events of an answer, one by one, so that a test can cut, repeat or split them."""
    answer = reply(said)
    events = [chat_chunk({"role": "assistant", "content": ""}, model=model)]
    events += [
        chat_chunk({"reasoning_content": part}, model=model) for part in words(answer.thoughts)
    ]
    events += [
        chat_chunk({"content": part}, model=model) for part in answer.pieces or words(answer.text)
    ]
    for index, asked in enumerate(answer.calls):
        events += [
            chat_chunk({"tool_calls": [part]}, model=model) for part in _call_parts(index, asked)
        ]
    events.append(chat_chunk({}, finish=answer.reason, model=model))
    if answer.usage is not None:
        events.append(sse(_chunk(model, []) | {"usage": chat_usage(answer.usage)}))
    if done:
        events.append(sse("[DONE]"))
    return events


def chat_sse(
    said: Said = "", *, model: str = "scripted", done: bool = True, **fields: Any
) -> bytes:
    """The whole body of a streamed answer. `fields` are those of Reply, for `chat_sse(text="hi", usage=...)`."""
    answer = Reply(**fields) if fields else reply(said)
    return b"".join(chat_events(answer, model=model, done=done))


def chat_completion(said: Said, *, model: str = "scripted") -> dict[str, Any]:
    """The answer as the body of a call that does not stream."""
    answer = reply(said)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": answer.text or "".join(answer.pieces),
    }
    if answer.thoughts:
        message["reasoning_content"] = answer.thoughts
    if answer.calls:
        message["tool_calls"] = [
            {"id": asked.id or f"call_{index}", "type": "function",
             "function": {"name": asked.name, "arguments": asked.json}}
            for index, asked in enumerate(answer.calls)
        ]  # fmt: skip
    choice = {"index": 0, "message": message, "finish_reason": answer.reason}
    body = _chunk(model, [choice]) | {"object": "chat.completion"}
    return body if answer.usage is None else body | {"usage": chat_usage(answer.usage)}


def chat_usage(usage: Usage) -> dict[str, Any]:
    """Usage in the dialect's words."""
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


def split_every(data: bytes, size: int = 1) -> list[bytes]:
    """The same bytes in portions of `size`, for clients that must not care."""
    return [data[start : start + size] for start in range(0, len(data), size)]


def words(text: str) -> Iterable[str]:
    """`text` cut after each run of spaces; joined again, it is unchanged."""
    start = 0
    for end in range(1, len(text)):
        if text[end - 1].isspace() and not text[end].isspace():
            yield text[start:end]
            start = end
    if text:
        yield text[start:]


def _call_parts(index: int, asked: Call) -> list[dict[str, Any]]:
    text = asked.json
    middle = len(text) // 2
    first = {"name": asked.name, "arguments": ""}
    start = {
        "index": index,
        "id": asked.id or f"call_{index}",
        "type": "function",
        "function": first,
    }
    halves = [half for half in (text[:middle], text[middle:]) if half]
    return [start, *({"index": index, "function": {"arguments": half}} for half in halves)]


def _chunk(model: str, choices: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "id": "chatcmpl-scripted",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": model,
        "choices": list(choices),
    }

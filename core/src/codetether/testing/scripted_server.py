"""A loopback server that speaks OpenAI's chat completions and says what a script says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from codetether.events import ProviderFault
from codetether.testing.byte_server import ByteServer, Pause, Stall, Steps
from codetether.testing.http import Received, head, response
from codetether.testing.replies import Reply, Said, chat_completion, chat_events, reply

STATUS = {
    "auth": 401, "rate_limit": 429, "overloaded": 503, "invalid": 400, "context": 400, "network": 502,
    "timeout": 504, "incomplete": 502, "content": 400, "other": 500,
}  # fmt: skip


class ScriptedServer(ByteServer):
    """`async with ScriptedServer(["hello", call("bash", command="ls"), "done"]) as server:`; `server.url + "/v1"` is
    the base address of the API.

    `replies` are said in order, or a function makes one from the request's JSON; see `Reply` for what one can hold. A
    `fault` is answered with its HTTP status and an error object, or, when text precedes it, as an error inside the
    stream. `models` are what `/models` lists. Anything else is 404. `asked` holds the chat requests' JSON.
    """

    def __init__(
        self,
        replies: Sequence[Said] | Callable[[dict[str, Any]], Said],
        *,
        models: Sequence[str] = ("scripted",),
    ) -> None:
        super().__init__()
        self.asked: list[dict[str, Any]] = []
        self._replies = replies
        self._models = models

    def steps(self, request: Received) -> Steps:
        """Steps for one request."""
        path = request.path.partition("?")[0]
        if request.method == "GET" and path.endswith("/models"):
            rows = [
                {"id": name, "object": "model", "owned_by": "scripted"} for name in self._models
            ]
            return [response(json.dumps({"object": "list", "data": rows}))]
        if request.method == "POST" and path.endswith("/chat/completions"):
            return self._chat(request.json)
        return [_error(404, f"no route {request.method} {path}")]

    def _chat(self, asked: dict[str, Any]) -> Steps:
        self.asked.append(asked)
        if callable(self._replies):
            answer = reply(self._replies(asked))
        elif len(self.asked) <= len(self._replies):
            answer = reply(self._replies[len(self.asked) - 1])
        else:
            self.surprises.append("a chat request came after the last reply")
            return [_error(500, "the script has no more replies")]
        model = str(asked.get("model", "scripted"))
        if answer.fault is not None and not _speaks(answer):
            return [_refusal(answer.fault)]
        if not asked.get("stream"):
            return [response(json.dumps(chat_completion(answer, model=model)))]
        return _streamed(answer, model)


def _streamed(answer: Reply, model: str) -> Iterator[bytes | Pause | Stall]:
    yield head()
    events = chat_events(answer, model=model)
    if answer.fault is not None or answer.stall:
        events = events[: 1 + sum(b'"finish_reason": null' in event for event in events[1:])]
    for event in events:
        if answer.delay:
            yield Pause(answer.delay)
        yield event
    if answer.stall:
        yield Stall()
    if answer.fault is not None:
        yield (
            b"data: "
            + _error_body(STATUS[answer.fault.kind], answer.fault.message).encode()
            + b"\n\n"
        )


def _speaks(answer: Reply) -> bool:
    return bool(answer.text or answer.pieces or answer.thoughts or answer.calls)


def _refusal(fault: ProviderFault) -> bytes:
    wait = {} if fault.retry_after is None else {"retry-after": f"{fault.retry_after:g}"}
    return _error(fault.status or STATUS[fault.kind], fault.message, wait)


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> bytes:
    return response(_error_body(status, message), status=status, headers=headers)


def _error_body(status: int, message: str) -> str:
    return json.dumps({"error": {"message": message, "type": "scripted", "code": status}})

"""A model's answer as it grows: stream events in, one assistant message out."""

from __future__ import annotations

from collections.abc import Callable

from codetether.events import (
    CallDelta,
    CallStart,
    Finish,
    ProviderFault,
    Retrying,
    StreamEvent,
    TextDelta,
    ThoughtDelta,
    ThoughtEnd,
)
from codetether.words import Message, Part, Text, Thought, ToolCall


class Answer:
    """Collects one answer. `finish` is None until the stream's last event; only then may its calls run."""

    def __init__(self, provider: str, model: str, new_id: Callable[[str], str]) -> None:
        self._provider = provider
        self._model = model
        self._new_id = new_id
        self.finish: Finish | None = None
        self._reset()

    def _reset(self) -> None:
        self._order: list[_Growing] = []
        self._calls: dict[int, _Growing] = {}

    def add(self, event: StreamEvent) -> None:
        """Take the next event. Retrying empties the answer: the vendor will say everything again."""
        match event:
            case TextDelta(text):
                self._growing("text").texts.append(text)
            case ThoughtDelta(text):
                self._growing("thought").texts.append(text)
            case ThoughtEnd(opaque):
                self._growing("thought").label = opaque
                self._order[-1].closed = True
            case CallStart(index, label, name):
                call = _Growing("call", label=label, name=name)
                self._calls[index] = call
                self._order.append(call)
            case CallDelta(index, arguments):
                if index in self._calls:
                    self._calls[index].texts.append(arguments)
            case Retrying():
                self._reset()
            case Finish():
                self.finish = event

    def _growing(self, kind: str) -> _Growing:
        if not self._order or self._order[-1].kind != kind or self._order[-1].closed:
            self._order.append(_Growing(kind))
        return self._order[-1]

    @property
    def failed(self) -> ProviderFault | None:
        """Why the stream failed; a stream without an end has failed too."""
        if self.finish is None:
            return ProviderFault("incomplete", "the answer ended before it was complete")
        return self.finish.error

    def message(self) -> Message:
        """What was said. Without a clean end it is marked interrupted and its calls never run."""
        parts = [part for growing in self._order if (part := self._part(growing)) is not None]
        finish = self.finish
        whole = finish is not None and finish.error is None
        return Message(
            "assistant",
            tuple(parts),
            id=self._new_id("msg"),
            model=f"{self._provider}/{self._model}",
            usage=finish.usage if finish else None,
            stop=finish.reason if finish else "",
            interrupted=not whole,
        )

    def _part(self, growing: _Growing) -> Part | None:
        text = "".join(growing.texts)
        if growing.kind == "call":
            return ToolCall(self._new_id("call"), growing.name, text, growing.label)
        if growing.kind == "thought":
            return Thought(text, growing.label, self._provider) if text or growing.label else None
        return Text(text) if text else None


class _Growing:
    __slots__ = ("closed", "kind", "label", "name", "texts")

    def __init__(self, kind: str, *, label: str = "", name: str = "") -> None:
        self.kind = kind
        self.label = label
        self.name = name
        self.texts: list[str] = []
        self.closed = False

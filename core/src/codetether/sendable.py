"""`repair` for a conversation that grows: what was made fit once is not looked through again with every step."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import msgspec

from codetether.repair import GO_ON, repair
from codetether.words import Image, Message, Part, Text, Thought, ToolCall, ToolResult

_arguments = msgspec.json.Decoder(dict[str, msgspec.Raw])
_GO_ON = (Text(GO_ON),)


class Sendable:
    """Gives the same as `repair(messages)[0]`. When the last history given goes on, and goes on soundly (the common
    case by far), only the new messages are looked at; a long turn would cost its square otherwise.
    """

    def __init__(self) -> None:
        self._seen: list[Message] = []
        self._out: list[Message] = []
        self._ids: set[str] = set()

    def of(self, messages: Sequence[Message]) -> list[Message]:
        """What to send for `messages`."""
        known = len(self._seen)
        if 0 < known <= len(messages) and all(map(operator.is_, self._seen, messages)):
            more = messages[known:]
            if (ids := _sound(more, self._out[-1].role, self._ids)) is not None:
                self._seen += more
                self._out += more
                self._ids |= ids
                return list(self._out)
        out, _ = repair(messages)
        self._remember(messages, out)
        return out

    def _remember(self, messages: Sequence[Message], out: list[Message]) -> None:
        """Keep what can be gone on from: not the line that asks the model to go on, which the next answer replaces."""
        ends = bool(out) and out[-1].parts != _GO_ON
        self._seen = list(messages) if ends else []
        self._out = list(out) if ends else []
        self._ids = {call.id for message in (*self._seen, *self._out) for call in message.calls}


def _sound(messages: Sequence[Message], role: str, taken: set[str]) -> set[str] | None:
    """The ids of the calls in `messages` when `repair` would send each as it is behind a message of `role`; else None.

    `taken` are ids that other calls have. In doubt None.
    """
    ids: set[str] = set()
    calls: tuple[ToolCall, ...] = ()
    for message in messages:
        if message.role == "tool":
            if not calls or not _answer(message, calls):
                return None
            calls = ()
        elif calls or message.role == role or not _speaks(message):
            return None
        elif message.role == "assistant":
            if role == "system":
                return None
            calls = message.calls
            new = {call.id for call in calls}
            if len(new) < len(calls) or "" in new or new & ids or new & taken:
                return None
            ids |= new
        elif message.role != "user":
            return None
        role = message.role
    return None if calls or role not in ("user", "tool") else ids


def _speaks(message: Message) -> bool:
    parts = message.parts
    if not parts or isinstance(parts[-1], Thought):
        return False
    return all(_sound_part(part, message) for part in parts)


def _sound_part(part: Part, message: Message) -> bool:
    if isinstance(part, Text):
        return bool(part.text.strip())
    if message.role == "user":
        return isinstance(part, Image) and bool(part.data)
    if isinstance(part, ToolCall):
        return bool(part.name) and not message.interrupted and _is_object(part.arguments)
    return isinstance(part, Thought)


def _is_object(arguments: str) -> bool:
    try:
        _arguments.decode(arguments)
    except (ValueError, RecursionError):
        return False
    return True


def _answer(message: Message, calls: tuple[ToolCall, ...]) -> bool:
    """Whether `message` holds one good result for each of `calls`, in their order, and nothing else."""
    return len(message.parts) == len(calls) and all(
        isinstance(part, ToolResult)
        and (part.call_id, part.name) == (call.id, call.name)
        and all(image.data for image in part.images)
        and bool(part.text or part.images)
        for part, call in zip(message.parts, calls, strict=True)
    )

"""Make any history fit to be sent: after a cancel, a crash or kill -9 it may hold what every vendor refuses.

Pure, and done on the copy that goes out, before every request: what is on disk stays as it happened.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from codetether.words import Image, Message, Part, Text, Thought, ToolCall, ToolResult

NO_RESULT = "[interrupted: no result]"
NO_OUTPUT = "[no output]"
NO_IMAGE = "[image lost]"
NO_BEGINNING = "[The beginning of this conversation is not shown.]"
GO_ON = "[continue]"

_Place = tuple[int, int]  # number of the message, number of the part in it
_arguments = msgspec.json.Decoder(dict[str, msgspec.Raw])


def repair(messages: Sequence[Message]) -> tuple[list[Message], list[str]]:
    """What to send for `messages`, and a sentence for each thing that was changed.

    Afterwards: user and assistant take turns, a user begins and the model is the one to speak; every call has an id
    of its own, arguments that are a JSON object, and one result, in the tool message right behind it, in order; there
    is no other result and no empty message or text. No user message is lost. Doing it again changes nothing.
    """
    notes: list[str] = []
    kept = [_sound_parts(message, notes) for message in messages]
    results = _pair(messages, kept)
    out: list[Message] = []
    names = _Names(kept)
    for number, (message, parts) in enumerate(zip(messages, kept, strict=True)):
        if message.role == "tool":
            continue
        if not parts:
            if message.parts or message.role == "assistant":
                notes.append(f"an empty {message.role} message was left out")
            continue
        if message.role != "assistant":
            _add(out, _with(message, parts), notes)
            continue
        renamed, answers = _answered(number, parts, results, names, notes)
        _add(out, _with(message, renamed), notes)
        if answers:
            out.append(_tool_message(messages, answers))
    _note_orphans(messages, results, notes)
    _frame(out, notes)
    return out, notes


# --- parts ---
def _sound_parts(message: Message, notes: list[str]) -> list[Part]:
    """The parts this role may have and every vendor takes; calls that were cut are gone."""
    parts: list[Part] = []
    for part in message.parts:
        if isinstance(part, Text):
            if part.text.strip():
                parts.append(part)
        elif isinstance(part, Image):
            if message.role == "user":
                parts.append(part if part.data else Text(NO_IMAGE))
        elif message.role == "assistant" and isinstance(part, Thought):
            parts.append(part)
        elif message.role == "assistant" and isinstance(part, ToolCall):
            if message.interrupted or not part.name:
                notes.append(
                    f"call {part.id or part.name!r} was cut while the model wrote it and is left out"
                )
            else:
                parts.append(_sound_call(part, notes))
    while parts and isinstance(
        parts[-1], Thought
    ):  # one vendor refuses an answer that ends with a thought
        parts.pop()
    return parts


def _sound_call(call: ToolCall, notes: list[str]) -> ToolCall:
    try:
        _arguments.decode(call.arguments)
    except (ValueError, RecursionError):
        notes.append(
            f"the arguments of call {call.id or call.name!r} were no JSON object and are left out"
        )
        return msgspec.structs.replace(call, arguments="{}")
    return call


# --- pairing ---
def _pair(messages: Sequence[Message], kept: Sequence[list[Part]]) -> dict[_Place, _Place]:
    """Where the result of each call is. A result near its call goes before one that came late."""
    waiting: dict[str, deque[_Place]] = defaultdict(deque)
    late: dict[str, deque[_Place]] = defaultdict(deque)
    pairs: dict[_Place, _Place] = {}
    open_calls: list[tuple[str, _Place]] = []
    for number, message in enumerate(messages):
        calls = [
            (part.id, (number, i))
            for i, part in enumerate(kept[number])
            if isinstance(part, ToolCall)
        ]
        if calls:
            open_calls += [
                (name, place) for places in waiting.items() for name, place in _spread(places)
            ]
            waiting.clear()
            for name, place in calls:
                waiting[name].append(place)
        for index, part in enumerate(message.parts):
            if isinstance(part, ToolResult):
                if waiting[part.call_id]:
                    pairs[waiting[part.call_id].popleft()] = (number, index)
                elif part.call_id:
                    late[part.call_id].append((number, index))
    for name, place in open_calls:
        while late[name] and place not in pairs:
            result = late[name].popleft()
            if result > place:
                pairs[place] = result
    return pairs


def _spread(places: tuple[str, Iterable[_Place]]) -> list[tuple[str, _Place]]:
    return [(places[0], place) for place in places[1]]


class _Names:
    """Gives every call an id that no other has; the same history gets the same ids every time."""

    def __init__(self, kept: Iterable[list[Part]]) -> None:
        self._all = {part.id for parts in kept for part in parts if isinstance(part, ToolCall)}
        self._given: set[str] = set()

    def give(self, wanted: str) -> str:
        name, number = wanted, 1
        while not name or name in self._given or (name != wanted and name in self._all):
            number += 1
            name = f"{wanted or 'call'}_{number}"
        self._given.add(name)
        return name


def _answered(
    number: int,
    parts: list[Part],
    results: dict[_Place, _Place],
    names: _Names,
    notes: list[str],
) -> tuple[list[Part], list[tuple[ToolCall, _Place | None]]]:
    """The parts with calls renamed where needed, and for each call where its result is."""
    renamed: list[Part] = []
    answers: list[tuple[ToolCall, _Place | None]] = []
    for index, part in enumerate(parts):
        if not isinstance(part, ToolCall):
            renamed.append(part)
            continue
        call = part
        if (name := names.give(part.id)) != part.id:
            notes.append(f"call {part.id!r} was renamed {name}: its id was not its own")
            call = msgspec.structs.replace(part, id=name, label="")
        place = results.get((number, index))
        if place is None:
            notes.append(f"call {name} has no result; it is sent as interrupted")
        renamed.append(call)
        answers.append((call, place))
    return renamed, answers


def _tool_message(
    messages: Sequence[Message], answers: Iterable[tuple[ToolCall, _Place | None]]
) -> Message:
    found: list[ToolResult] = []
    source: Message | None = None
    for call, place in answers:
        if place is None:
            found.append(ToolResult(call.id, call.name, NO_RESULT, ok=False))
            continue
        source = source or messages[place[0]]
        result: Any = messages[place[0]].parts[place[1]]
        found.append(_sound_result(result, call))
    if source is None or source.role != "tool":
        return Message("tool", tuple(found))
    return _with(source, found)


def _sound_result(result: ToolResult, call: ToolCall) -> ToolResult:
    changes: dict[str, Any] = {}
    if result.call_id != call.id or result.name != call.name:
        changes |= {"call_id": call.id, "name": call.name}
    if any(not image.data for image in result.images):
        changes["images"] = tuple(image for image in result.images if image.data)
        changes["text"] = f"{result.text}\n{NO_IMAGE}".lstrip()
    elif not result.text and not result.images:
        changes["text"] = NO_OUTPUT
    return msgspec.structs.replace(result, **changes) if changes else result


def _note_orphans(
    messages: Sequence[Message], results: dict[_Place, _Place], notes: list[str]
) -> None:
    used = set(results.values())
    for number, message in enumerate(messages):
        for index, part in enumerate(message.parts):
            if isinstance(part, ToolResult) and (number, index) not in used:
                notes.append(f"a result for {part.call_id!r} without such a call is left out")


# --- order ---
def _with(message: Message, parts: Sequence[Part]) -> Message:
    """`message` holding `parts`; the same object when it does already."""
    new = tuple(parts)
    same = len(new) == len(message.parts) and all(
        a is b for a, b in zip(new, message.parts, strict=True)
    )
    return message if same else msgspec.structs.replace(message, parts=new)


def _add(out: list[Message], message: Message, notes: list[str]) -> None:
    """Append, or merge with a neighbour of the same role."""
    if not out or out[-1].role != message.role or message.role == "system":
        out.append(message)
        return
    notes.append(f"two {message.role} messages in a row were joined")
    first, second = out[-1].parts, message.parts
    if message.role == "user":
        out[-1] = _with(out[-1], _joined(first, second))
        return
    # Vendors that think want an answer to begin with its thought, and only the last one back.
    said = [part for part in first if not isinstance(part, Thought)]
    start = next(i for i, part in enumerate(second) if not isinstance(part, Thought))
    parts = (*second[:start], *_joined(said, second[start:]))
    out[-1] = msgspec.structs.replace(message, parts=parts)


def _joined(first: Sequence[Part], second: Sequence[Part]) -> list[Part]:
    if first and second and isinstance(first[-1], Text) and isinstance(second[0], Text):
        text = Text(f"{first[-1].text}\n\n{second[0].text}")
        return [*first[:-1], text, *second[1:]]
    return [*first, *second]


def _frame(out: list[Message], notes: list[str]) -> None:
    """A user speaks first, and the model is the one whose turn it is."""
    start = next((i for i, message in enumerate(out) if message.role != "system"), None)
    if start is None:
        return
    if out[start].role != "user":
        out.insert(start, Message("user", (Text(NO_BEGINNING),)))
        notes.append("the conversation did not begin with a user; a line saying so was put first")
    if out[-1].role == "assistant":
        out.append(Message("user", (Text(GO_ON),)))
        notes.append("the conversation ended with the model; it is asked to go on")

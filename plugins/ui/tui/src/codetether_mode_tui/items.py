"""What stands in the chat, one item for each thing said or done. Plain data; how it looks is for `paint`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from codetether.api import Image, Message, Text, Thought, ToolCall, ToolResult

OUTPUT = 40_000  # characters of a running tool's output that are kept
# Compiled (and kept, by re) when first needed.
_BLOCK = r'(?s)\n\n<(file|directory|stdin)(?: path="([^"\n]*)")?>\n.*?\n</\1>(?=\n\n<|\Z)'


class Item(msgspec.Struct):
    """`version` grows with every change, so that what was painted can be kept. `open`: shown in full."""

    version: int = 0
    open: bool = False

    def changed(self) -> None:
        """Paint it anew."""
        self.version += 1

    @property
    def folds(self) -> bool:
        """Whether it can be opened and closed."""
        return False


class Said(Item):
    """A message of the person. `attached` names what went with it."""

    text: str = ""
    message: str = ""
    attached: tuple[str, ...] = ()


class Answered(Item):
    """What the model said; `done` when no more comes."""

    text: str = ""
    done: bool = False
    interrupted: bool = False


class Thinking(Item):
    """What the model reasoned; `since` is the clock's time when it began, `seconds` how long it took, if that is known."""

    text: str = ""
    done: bool = False
    since: float = 0.0
    seconds: float = 0.0

    @property
    def folds(self) -> bool:
        """Reasoning is folded to one line."""
        return True


class Called(Item):
    """A tool call. `ok` is None while it runs; `since` is the clock's time when it began."""

    call: str = ""
    name: str = ""
    title: str = ""
    arguments: dict[str, Any] = {}
    output: str = ""
    ok: bool | None = None
    summary: str = ""
    seconds: float = 0.0
    since: float = 0.0
    meta: dict[str, Any] = {}

    @property
    def folds(self) -> bool:
        """A call is one line until it is opened."""
        return True


class Note(Item):
    """Something told beside the conversation: a notice, or a command's answer. `kind`: info, warning, error, text,
    markdown, diff or end.
    """

    text: str = ""
    kind: str = "info"
    title: str = ""
    hint: str = ""


def from_messages(messages: Sequence[Message]) -> Iterator[Item]:
    """The items of a conversation as it was kept."""
    calls: dict[str, Called] = {}
    for message in messages:
        if message.role == "user":
            yield said(message.text, message.id, message.parts)
            continue
        for part in message.parts:
            match part:
                case Thought(text) if text:
                    yield Thinking(text=text, done=True)
                case Text(text) if text.strip():
                    yield Answered(text=text, done=True, interrupted=message.interrupted)
                case ToolCall():
                    calls[part.id] = called = Called(
                        call=part.id,
                        name=part.name,
                        title=_title(part),
                        arguments=_arguments(part),
                        ok=False,
                        summary="was not run",
                    )
                    yield called
                case ToolResult() if part.call_id in calls:
                    finish(calls[part.call_id], part)


def finish(called: Called, result: ToolResult) -> None:
    """Put a kept result into its call."""
    called.ok, called.output, called.meta = result.ok, result.text, result.meta
    called.summary = result.text.strip().partition("\n")[0][:120]
    called.changed()


def said(text: str, message: str = "", parts: Sequence[object] = ()) -> Said:
    """A person's message, with what was attached named instead of shown."""
    attached = [path or kind for kind, path in re.findall(_BLOCK, text)]
    attached += [f"picture {part.mime}" for part in parts if isinstance(part, Image)]
    return Said(text=re.sub(_BLOCK, "", text), message=message, attached=tuple(attached))


def _arguments(call: ToolCall) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(call.arguments or "{}")
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _title(call: ToolCall) -> str:
    arguments = _arguments(call)
    about = next(
        (
            str(arguments[name])
            for name in ("command", "pattern", "query", "path", "url")
            if arguments.get(name)
        ),
        "",
    )
    return f"{call.name} {about}".rstrip()

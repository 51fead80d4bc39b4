"""Shortens a conversation that outgrows its model: old tool output first, then a summary the model writes.

What the person said is kept to the letter. The transcript on disk is not touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from codetether.api import (
    Extension,
    Finish,
    Message,
    Request,
    Session,
    Text,
    TextDelta,
    ToolCall,
    ToolResult,
    estimate,
    hookimpl,
)

OLD = 400
SUMMARY = "summary"
RECORD_CHARS = 4_000


class CompactSettings(msgspec.Struct, frozen=True):
    """How the conversation is shortened."""

    keep: Annotated[
        float,
        msgspec.Meta(
            gt=0, lt=1, description="Share of the room that the newest messages keep untouched"
        ),
    ] = 0.5


class Compact(Extension):
    """The shipped implementation of `codetether_compact`; another plugin's answer is taken before it."""

    api = 1
    Settings = CompactSettings

    @hookimpl(trylast=True)
    async def codetether_compact(
        self, messages: list[Message], session: Session, limit: int
    ) -> list[Message] | None:
        """Old tool output is left out; when that is not enough, the older part is summarised."""
        keep = int(limit * self.settings.keep)
        lighter = without_old_output(messages, keep)
        if estimate(lighter) <= limit:
            return lighter
        cut = tail_start(lighter, keep)
        said = [m for m in lighter[:cut] if _is_persons(m)]
        rest = [m for m in lighter[:cut] if not _is_persons(m)]
        if not rest:
            return lighter if estimate(lighter) < estimate(messages) else None
        summary = await self._summary(rest, session) or _listing(rest)
        note = Message(
            "user",
            (Text(f"[What happened before, summarised]\n{summary}"),),
            id=session.new_id(SUMMARY),
        )
        return [*said, note, *lighter[cut:]]

    async def _summary(self, messages: Sequence[Message], session: Session) -> str:
        room = (session.model.context or 32_000) * 2  # half the window, at 4 bytes a token
        record = "\n".join(_record(message) for message in messages)[-room:]
        request = Request(
            model=session.model.id,
            messages=(Message("user", (Text(record),)),),
            system=Path(__file__).with_name("summary.md").read_text("utf-8"),
            max_output=2_000,
        )
        texts: list[str] = []
        await session.spending(SUMMARY)
        async with session.provider.stream(request) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    texts.append(event.text)
                elif isinstance(event, Finish):
                    await session.spent(event.usage, SUMMARY)
                    return "" if event.error else "".join(texts).strip()
        return ""


def without_old_output(messages: Sequence[Message], keep: int) -> list[Message]:
    """`messages` with tool output older than the newest `keep` tokens replaced by a line saying how much it was."""
    result: list[Message] = []
    seen = 0
    for message in reversed(messages):
        seen += estimate([message])
        result.append(_lighter(message) if seen > keep and message.role == "tool" else message)
    return result[::-1]


def _lighter(message: Message) -> Message:
    parts = tuple(
        _dropped(part) if isinstance(part, ToolResult) else part for part in message.parts
    )
    return msgspec.structs.replace(message, parts=parts)


def _dropped(result: ToolResult) -> ToolResult:
    if len(result.text) <= OLD and not result.images:
        return result
    note = f"[output of {result.name} left out to save room: {len(result.text)} characters]"
    return msgspec.structs.replace(result, text=note, images=())


def tail_start(messages: Sequence[Message], keep: int) -> int:
    """Where the newest `keep` tokens begin: never between calls and their results, and never nothing."""
    start, seen = len(messages), 0
    for index in range(len(messages) - 1, -1, -1):
        seen += estimate([messages[index]])
        if seen > keep and start < len(messages):
            break
        if messages[index].role != "tool":
            start = index
    return start if start < len(messages) else max(len(messages) - 1, 0)


def _is_persons(message: Message) -> bool:
    return message.role == "user" and not message.id.startswith(SUMMARY)


def _record(message: Message) -> str:
    lines = []
    for part in message.parts:
        match part:
            case Text(text):
                lines.append(f"{message.role}: {text[:RECORD_CHARS]}")
            case ToolCall():
                lines.append(f"call {part.name} {part.arguments[:RECORD_CHARS]}")
            case ToolResult():
                lines.append(f"result {'ok' if part.ok else 'failed'}: {part.text[:RECORD_CHARS]}")
    return "\n".join(lines)


def _listing(messages: Sequence[Message]) -> str:
    """What can be said without a model: the calls made and the last words."""
    calls = [
        f"- {call.name} {call.arguments[:200]}" for message in messages for call in message.calls
    ]
    words = [message.text for message in messages if message.text]
    return "\n".join(
        ["Tool calls made:", *calls[-50:], *([f"Last words: {words[-1][:2000]}"] if words else [])]
    )

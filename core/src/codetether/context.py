"""Keeping a conversation within the model's window. The transcript on disk is never shortened, only what is sent.

Tokens are counted by the vendor where it told (usage of the last answer) and estimated at 4 bytes each beyond that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from codetether.errors import CodetetherError
from codetether.events import Compacted
from codetether.words import Image, Message, Text, Thought, ToolCall, ToolResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from codetether.session import Session

FULL = 0.85
AIM = 0.5
RESERVE = 8_192
IMAGE_TOKENS = 1_500
FAILURES = 2


class ContextTooLong(CodetetherError):
    """The conversation does not fit and cannot be shortened any more."""


def estimate(messages: Sequence[Message]) -> int:
    """Tokens of `messages`, estimated at 4 bytes a token and 1,500 an image."""
    return sum(_tokens(part) for message in messages for part in message.parts) + 4 * len(messages)


def _tokens(part: object) -> int:
    match part:
        case Text(text) | Thought(text):
            return len(text.encode("utf-8", "replace")) // 4 + 1
        case ToolCall():
            return (len(part.arguments) + len(part.name)) // 4 + 8
        case ToolResult():
            return (
                len(part.text.encode("utf-8", "replace")) // 4 + 8 + IMAGE_TOKENS * len(part.images)
            )
        case Image():
            return IMAGE_TOKENS
    return 0


class Size:
    """`estimate` for a list that only grows: what was estimated once is not estimated again."""

    def __init__(self) -> None:
        self._of: Sequence[Message] = ()
        self._count = 0
        self._tokens = 0

    def estimate(self, messages: Sequence[Message]) -> int:
        """As `estimate`. Another list, or one that became shorter, is taken from its beginning."""
        if messages is not self._of or len(messages) < self._count:
            self._of, self._count, self._tokens = messages, 0, 0
        self._tokens += estimate(messages[self._count :])
        self._count = len(messages)
        return self._tokens


def in_use(messages: Sequence[Message], overhead: int, size: Size) -> int:
    """Tokens the next request will hold: what the vendor counted at the last answer, and an estimate of the rest.

    `overhead` is the estimate for system text and schemas, used until the vendor has counted once.
    """
    for index in range(len(messages) - 1, -1, -1):
        usage = messages[index].usage
        if usage is not None and usage.input:
            return usage.input + usage.output + estimate(messages[index + 1 :])
    return overhead + size.estimate(messages)


async def fit(session: Session) -> None:
    """Shorten the context when it fills 85 % of the window; nothing when the window is unknown."""
    window = session.model.context
    if window is None or not session.auto_compact:
        return
    limit = int(max(window * FULL - min(RESERVE, window // 8), window * 0.25))
    if session.context_tokens() > limit:
        await shorten(session)


async def shorten(session: Session) -> bool:
    """Ask the plugins to shorten the context; whether it became shorter. Raises ContextTooLong when nobody would, or
    after two attempts that did not help.
    """
    before = session.context_tokens()
    # A vendor that refuses what should fit has a smaller window than was known.
    limit = int(min(session.model.context or before, before) * AIM)
    overhead = session.overhead
    messages = await session.calls.first(
        "codetether_compact",
        messages=list(session.context),
        session=session,
        limit=max(limit - overhead, 1_000),
    )
    share = 1.0 if messages is None else _share(session, messages)
    if messages is None or share >= 1:
        session.compaction_failures += 1
        if messages is None or session.compaction_failures >= FAILURES:
            raise ContextTooLong(
                f"the conversation ({before} tokens) does not fit {session.model_ref} and cannot be shortened",
                "start a new session, or use a model with a larger context",
            )
        return False
    session.compaction_failures = 0
    await session.compacted([_uncounted(message) for message in messages])
    await session.emit(Compacted(before, int(before * share), "compact hook"))
    return True


def _share(session: Session, messages: Sequence[Message]) -> float:
    """What `messages` are of the context so far; both estimated, since the vendor has counted only one of them."""
    return (session.overhead + estimate(messages)) / (session.overhead + estimate(session.context))


def _uncounted(message: Message) -> Message:
    return message if message.usage is None else msgspec.structs.replace(message, usage=None)

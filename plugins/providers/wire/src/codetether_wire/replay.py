"""What of an earlier answer goes back to its maker as it came: the ids of calls, and reasoning under a seal."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from codetether.api import Message, Thought, ToolCall

_LONGEST_ID = 64


class CallIds:
    """The ids of calls as they are sent: the vendor's own where this vendor gave one (Kimi reads them, Gemini's
    signatures name them), else ours. No two are the same, and a longer history changes none.
    """

    def __init__(self, messages: Sequence[Message], origin: str) -> None:
        self._given: dict[str, str] = {}
        taken: set[str] = set()
        for message in messages:
            if message.role != "assistant":
                continue
            own = message.model.startswith(f"{origin}/")
            for call in message.calls:
                sent = next(
                    name for name in _candidates(call, own=own) if name not in taken and _fits(name)
                )
                taken.add(sent)
                self._given[call.id] = sent

    def of(self, call_id: str) -> str:
        """What call `call_id` is named in the request."""
        return self._given.get(call_id, call_id)


def _candidates(call: ToolCall, *, own: bool) -> Iterator[str]:
    if own:
        yield call.label
    yield call.id
    made = call.id
    while True:
        made = "call_" + hashlib.sha256(made.encode("utf-8", "replace")).hexdigest()[:24]
        yield made


def _fits(name: str) -> bool:
    return 0 < len(name) <= _LONGEST_ID and name.isascii() and name.isprintable()


def thoughts_of(message: Message, origin: str) -> list[Thought]:
    """The reasoning that provider `origin` made."""
    return [p for p in message.parts if isinstance(p, Thought) and p.origin == origin]


def seals_hold(message: Message, origin: str, model: str) -> bool:
    """Whether sealed reasoning of this message can be read: only the model that made it can."""
    return message.model in ("", f"{origin}/{model}")

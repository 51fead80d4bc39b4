"""One model call: what it is asked, what it said, what it took."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import trio
from codetether.api import (
    Finish,
    Message,
    ModelInfo,
    Request,
    Retrying,
    Text,
    TextDelta,
    Usage,
    estimate,
    told,
)

if TYPE_CHECKING:
    from codetether.api import Kernel, Provider

WINDOW = 32_000  # tokens assumed when a model's window is unknown
PER_TOKEN = 4  # bytes, as everywhere in the kernel


class Line(NamedTuple):
    """A model that can be asked."""

    provider: Provider
    model: ModelInfo

    @property
    def ref(self) -> str:
        """As a person writes it: `provider/id`."""
        return f"{self.provider.name}/{self.model.id}"

    @property
    def window(self) -> int:
        """Tokens it takes at once; assumed when unknown."""
        return self.model.context or WINDOW


class Said(NamedTuple):
    """An answer. `error` says why there is none, or "" ; `kind` is the fault's. `cut`: it ended at the output limit."""

    text: str
    usage: Usage = Usage()
    error: str = ""
    kind: str = ""
    cut: bool = False


def tokens_of(size: int) -> int:
    """Tokens of `size` bytes of text, estimated."""
    return -(-size // PER_TOKEN)


def input_tokens(system: str, messages: Sequence[Message]) -> int:
    """Tokens a request holds, estimated."""
    return estimate([Message("user", (Text(system),)), *messages])


async def ask(kernel: Kernel, line: Line, request: Request, *, seconds: float = 600.0) -> Said:
    """The answer to `request`, at most `seconds` long in coming. A failure is an answer with an `error`.

    What the vendor does not count is estimated, so that budgets hold with it too.
    """
    texts: list[str] = []
    finish: Finish | None = None
    error, kind = "", ""
    try:
        with trio.fail_after(seconds):
            async with line.provider.stream(request) as events:
                async for event in events:
                    if isinstance(event, TextDelta):
                        texts.append(event.text)
                    elif isinstance(event, Retrying):
                        texts.clear()
                    elif isinstance(event, Finish):
                        finish = event
    except trio.TooSlowError:
        error, kind = f"no answer within {seconds:g} s", "timeout"
    except (Exception, BaseExceptionGroup) as failure:
        if isinstance(failure, BaseExceptionGroup) and failure.split(Exception)[1] is not None:
            raise
        kernel.host.fault(line.provider.key, "stream", failure)
        error, kind = kernel.redact.text(told(failure))[:500], "other"
    if finish is None and not error:
        error, kind = "the answer ended before it was complete", "incomplete"
    elif finish is not None and finish.error is not None:
        error, kind = finish.error.message, finish.error.kind
    text = "".join(texts)
    usage = finish.usage if finish is not None else None
    if usage is None:
        counted = 0 if error and not text else input_tokens(request.system, request.messages)
        usage = Usage(counted, tokens_of(len(text.encode("utf-8", "replace"))))
    cost = line.model.price(usage) if usage.cost is None else usage.cost
    cut = finish is not None and finish.reason == "length"
    return Said(text, msgspec.structs.replace(usage, cost=cost), error, kind, cut)

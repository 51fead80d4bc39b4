"""One call of a client: what it asked for, what became of it, and what a person was asked meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from codetether.api import Answer, Question, ToolCall, ToolResult

ENDS_WITHIN = 8.0  # seconds for a cancelled call to end its children, before it is left to itself
Ask = Callable[["Question"], Awaitable["Answer | None"]]
Report = Callable[[str], Awaitable[None]]


class Done:
    """The end of a call: its result, and what the session had to say meanwhile."""

    __slots__ = ("news", "result")

    def __init__(self, result: ToolResult, news: str = "") -> None:
        self.result = result
        self.news = news


class Call:
    """`outcome` is its end, or a question: then it goes on once `answer` was called.

    `ask` puts a question to a person while the call runs. None: by way of `outcome`, for a client that is asked by the
    answer to its request.
    """

    def __init__(self, call: ToolCall, report: Report, ask: Ask | None, patience: float) -> None:
        self.call = call
        self.report = report
        self.scope = trio.CancelScope()
        self.ended = trio.Event()
        self._ask = ask
        self._patience = patience
        self._outcomes, self._outcome = trio.open_memory_channel["Done | Question"](1)
        self._answers: trio.MemorySendChannel[Answer | None] | None = None

    async def asked_for(self, question: Question) -> Answer | None:
        """What a person says to `question`; None when nobody could be asked, or answered within `patience` seconds."""
        if self.ended.is_set():  # what it left in the background asks
            return None
        with trio.move_on_after(self._patience):
            return await self._put(question)
        return None

    async def _put(self, question: Question) -> Answer | None:
        if self._ask is not None:
            return await self._ask(question)
        self._answers, answer = trio.open_memory_channel["Answer | None"](1)
        with answer:
            await self._outcomes.send(question)
            return await answer.receive()

    def answer(self, answer: Answer | None) -> None:
        """Answer the question that `outcome` gave. Raises trio.BrokenResourceError when it waits no more."""
        if self._answers is None:
            raise trio.BrokenResourceError
        answers, self._answers = self._answers, None
        answers.send_nowait(answer)

    def end(self, done: Done | None) -> None:
        """The call is over; None: it was cut off."""
        if done is not None:
            # Full: a question lies there that nobody came for.
            with suppress(trio.WouldBlock, trio.BrokenResourceError):
                self._outcomes.send_nowait(done)
        self._outcomes.close()
        self.ended.set()

    async def outcome(self) -> Done | Question:
        """How it went on. Cancelled, the call is cancelled, and its children have ended. Raises trio.EndOfChannel when
        it was cut off.
        """
        try:
            return await self._outcome.receive()
        except trio.Cancelled:
            self.scope.cancel()
            with trio.move_on_after(ENDS_WITHIN, shield=True):
                await self.ended.wait()
            raise


CURRENT: ContextVar[Call | None] = ContextVar("codetether_mode_mcp.call", default=None)

"""One prompt all the way: ask the model, run the tools it calls, and again, until it has nothing more to call.

The transcript gets every message before anything depends on it: the call before the tool runs, the results before
the model is asked again. Cancellation keeps what was said and answers every call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import trio

from codetether.answer import Answer
from codetether.context import ContextTooLong, fit, shorten
from codetether.errors import CodetetherError, DeniedError, told
from codetether.events import (
    MessageDone,
    Notice,
    ProviderFault,
    StepFinished,
    StepStarted,
    TurnEnd,
    TurnFinished,
    TurnStarted,
)
from codetether.masking import Masking, Passed
from codetether.words import Effect, Image, Message, Request, Text, ToolCall, ToolResult

if TYPE_CHECKING:
    from codetether.session import Session

LAST_WORD = "You have used all the steps of this turn. Answer now, without tools: what is done, what is left."
CANCELLED = "Cancelled by the person before it finished."
NOT_BEGUN = "Not run: the turn ended before this call began."
# Why an answer ended too early, and what a person can do about it. A call in such an answer may be half of what was meant.
CUT = {
    "length": (
        "the model's answer was cut at the output limit",
        "ask for a smaller piece of work, or use a model with a larger output limit",
    ),
    "content_filter": (
        "the vendor's content filter stopped the answer",
        "ask in other words, or use another model",
    ),
}
INVALID_IN_A_ROW = 5
TRUNCATED_IN_A_ROW = 2
SHIELD_SECONDS = 1.0


class Stop(Exception):
    """Ends the turn for a reason."""

    def __init__(self, reason: TurnEnd, error: str = "", hint: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.error = error
        self.hint = hint


class Turn:
    """One turn of a session: from a user message to the final answer."""

    def __init__(self, session: Session, schema: dict[str, Any] | None = None) -> None:
        self._session = session
        self._schema = schema
        self.steps = 0
        self.text = ""
        self._invalid = 0
        self._truncated = 0

    async def run(self, text: str, images: Sequence[Image] = ()) -> TurnFinished:
        """Take the turn to its end. Never raises but for cancellation from outside the session."""
        started = trio.current_time()
        session = self._session
        session.toolbox.denials.clear()
        session.toolbox.denied_by_plugins = 0
        prompt = Message("user", (*images, Text(text)), id=session.new_id("prompt"))
        await session.add(prompt)
        await session.emit(TurnStarted(session.turns, text))
        reason, error, hint = "done", "", ""
        with trio.CancelScope() as scope:
            session.turn_scope = scope
            try:
                await self._stretches()
            except Stop as stop:
                reason, error, hint = stop.reason, stop.error, stop.hint
            except DeniedError as refused:
                reason, error, hint = "denied", refused.message, refused.hint
                if session.messages[-1] is prompt:  # nothing came of it yet: it is never sent
                    await session.compacted(session.context[:-1])
            except CodetetherError as failure:
                reason, error, hint = "error", failure.message, failure.hint
            finally:
                session.turn_scope = None
                with trio.CancelScope(shield=True):
                    await self._answer_the_rest()
        if scope.cancelled_caught:
            reason = "cancelled"
            session.transcript.append_interrupted("cancelled")
        if reason == "done" and session.toolbox.denials and not session.interactive:
            reason, error = "denied", "; ".join(session.toolbox.denials)
            hint = "allow it with --access-mode or a rule (docs/permissions.md)"
            if session.toolbox.denied_by_plugins:
                hint = "a plugin said so, whatever rules allow (docs/permissions.md)"
        with trio.move_on_after(SHIELD_SECONDS, shield=True):
            await session.sync()
        seconds = trio.current_time() - started
        usage = session.turn_usage
        finished = TurnFinished(reason, self.text, usage, self.steps, seconds, error, hint)  # type: ignore[arg-type]
        with trio.move_on_after(SHIELD_SECONDS, shield=True):
            await session.emit(finished)
        return finished

    async def _stretches(self) -> None:
        """The steps; again when a plugin had more to say as the turn was about to end."""
        session = self._session
        while True:
            async with session.calls.around("codetether_around_turn", session=session):
                await self._steps()
            if not session.goes_on():
                return

    async def _steps(self) -> None:
        limit = self._session.max_steps
        while True:
            self._check_budget()
            self.steps += 1
            last = self.steps > limit
            message = await self._step(last_word=last)
            if last:
                raise Stop(
                    "step_limit",
                    f"the limit of {limit} steps was reached",
                    "raise it with --max-steps",
                )
            if not message.calls:
                await self._tell_of_cut(message)
                return
            await self._tools(message)

    # --- the model ---
    async def _step(self, *, last_word: bool) -> Message:
        session = self._session
        await session.hear()
        await session.emit(StepStarted(self.steps, session.model_ref))
        try:
            await fit(session)
            answer = await self._ask(last_word)
            if (fault := answer.failed) is not None and fault.kind == "context":
                await shorten(session)
                answer = await self._ask(last_word)
        except ContextTooLong as error:
            raise Stop("error", error.message, error.hint) from None
        message = answer.message()
        await self._keep(message)
        if (fault := answer.failed) is not None:
            raise Stop("error", _told(fault, session.model_ref), fault.hint)
        if message.text:
            self.text = message.text
        return message

    async def _keep(self, message: Message) -> None:
        session = self._session
        message = session.priced(message)
        if message.parts:
            await session.add(message)
            await session.emit(MessageDone(message))
        await session.emit(
            StepFinished(self.steps, message.usage, session.context_tokens(), session.model.context)
        )

    async def _ask(self, last_word: bool) -> Answer:
        session = self._session
        request = await self._request(last_word)
        answer = Answer(session.provider.name, session.model.id, session.new_id)
        masking = Masking(session.kernel.redact)
        try:
            async with session.provider.stream(request) as events:
                async for event in events:
                    await self._take(answer, masking.take(event))
                await self._take(answer, masking.rest())
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await self._take(answer, masking.rest())
                await self._keep(answer.message())
            raise
        except (Exception, BaseExceptionGroup) as error:
            if isinstance(error, BaseExceptionGroup) and error.split(Exception)[1] is not None:
                with trio.CancelScope(shield=True):
                    await self._take(answer, masking.rest())
                    await self._keep(answer.message())
                raise
            await self._take(answer, masking.rest())
            session.host.fault(session.provider.key, "stream", error)
            answer.finish = _broken(session.redact(told(error)))
        return answer

    async def _take(self, answer: Answer, passed: Iterator[Passed]) -> None:
        for kept, shown in passed:
            if kept is not None:
                answer.add(kept)
            if shown is not None:
                await self._session.feed.publish(shown)

    async def _request(self, last_word: bool) -> Request:
        session = self._session
        messages = await session.calls.fold(
            "codetether_context", "messages", messages=list(session.context), session=session
        )
        messages = session.sendable.of(messages)
        if last_word:
            messages = [*messages, Message("user", (Text(LAST_WORD),))]
        return Request(
            model=session.model.id,
            messages=tuple(messages),
            system=session.system,
            tools=session.toolbox.schemas,
            temperature=session.agent.temperature,
            schema=self._schema,
            cache_key=session.id,
            tool_choice="none" if last_word else "auto",
        )

    async def _tell_of_cut(self, message: Message) -> None:
        if message.stop in CUT:
            await self._session.emit(Notice("warning", *CUT[message.stop]))

    # --- the tools ---
    async def _tools(self, message: Message) -> None:
        session = self._session
        if message.stop in CUT:
            await self._not_run(message, self._truncation(message))
            return
        self._truncated = 0
        if any(self._acts(call) for call in message.calls):
            await session.sync()
        results: dict[str, ToolResult] = {}
        try:
            await session.toolbox.run(message.calls, results)
        finally:
            given = tuple(
                results.get(call.id) or _result(session, call, CANCELLED) for call in message.calls
            )
            with trio.CancelScope(shield=True):
                await session.add(Message("tool", given, id=session.new_id("msg")))
        self._count_invalid(given)

    async def _answer_the_rest(self) -> None:
        """Give results to the calls of a step that ended between the answer and its tools."""
        session = self._session
        last = session.messages[-1]
        if last.role == "assistant" and last.calls and not last.interrupted:
            results = tuple(_result(session, call, NOT_BEGUN) for call in last.calls)
            await session.add(Message("tool", results, id=session.new_id("msg")))

    def _acts(self, call: ToolCall) -> bool:
        tool = self._session.toolbox.tools.get(self._session.toolbox.canonical(call.name))
        return tool is not None and tool.effect is not Effect.READ

    def _truncation(self, message: Message) -> str:
        self._truncated += 1
        if message.stop == "content_filter":
            return "Not run: the vendor's content filter stopped your answer. Say it otherwise."
        tokens = message.usage.output if message.usage else 0
        where = f" at {tokens} tokens" if tokens else ""
        return f"Not run: your answer was cut{where} at the output limit. Do it in smaller parts."

    async def _not_run(self, message: Message, why: str) -> None:
        session = self._session
        results = tuple(_result(session, call, why) for call in message.calls)
        await session.add(Message("tool", results, id=session.new_id("msg")))
        if self._truncated >= TRUNCATED_IN_A_ROW:
            what, hint = CUT[message.stop]
            raise Stop("error", f"{what} {self._truncated} times in a row", hint)

    def _count_invalid(self, results: Sequence[ToolResult]) -> None:
        self._invalid = self._invalid + 1 if all(r.meta.get("invalid") for r in results) else 0
        if self._invalid >= INVALID_IN_A_ROW:
            raise Stop(
                "error",
                f"the model called tools wrongly {self._invalid} times in a row",
                "try another model: this one does not follow the tools' schemas",
            )

    def _check_budget(self) -> None:
        session = self._session
        if session.budget_usd is None:
            return
        used = session.usage
        spent = used.cost if used.input or used.output else 0.0
        if spent is None or not session.model.priced:
            raise Stop(
                "budget",
                f"a budget is set, and the price of {session.model_ref} is unknown",
                "leave --budget-usd out, or give the price in your settings",
            )
        if spent >= session.budget_usd:
            raise Stop(
                "budget",
                f"the budget of ${session.budget_usd:g} is used up (${spent:.4f})",
                "raise --budget-usd",
            )


def _result(session: Session, call: ToolCall, text: str) -> ToolResult:
    return ToolResult(
        call.id, session.toolbox.canonical(call.name), text, ok=False, meta={"not_run": True}
    )


def _broken(message: str) -> Any:
    from codetether.events import Finish

    return Finish(
        "error",
        error=ProviderFault("other", message[:500], hint="this is a bug in the provider plugin"),
    )


def _told(fault: ProviderFault, model: str) -> str:
    status = f" (HTTP {fault.status})" if fault.status else ""
    return f"{model}: {fault.message}{status}"

"""The questions that code in the worker asks a model: many side by side, each within the budget, failures as answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio
from codetether.api import Message, Request, Text

from codetether_mode_rlm import texts
from codetether_mode_rlm.asking import Said, tokens_of
from codetether_mode_rlm.budget import BudgetOver
from codetether_mode_rlm.events import RlmSubcall

if TYPE_CHECKING:
    from codetether_rlm.limits import Query, Reply

    from codetether_mode_rlm.loop import Loop
    from codetether_mode_rlm.run import Run

ROOM = 0.8  # of the sub-model's window: what a question may fill


class Subcalls:
    """The sub-calls of one loop."""

    def __init__(self, run: Run, loop: Loop) -> None:
        self._run = run
        self._loop = loop
        self._system = texts.filled("subcall", mark=run.mark)

    async def answer(self, queries: Sequence[Query]) -> list[Reply]:
        """The replies, in the order of the questions. One that fails is a Reply with an error; nothing is raised."""
        from codetether_rlm.limits import Reply

        replies = [Reply("", "not asked") for _ in queries]

        async def one(at: int, query: Query, number: int) -> None:
            said = await self._told(query, number)
            replies[at] = Reply(said.text, said.error or None)

        async with trio.open_nursery() as nursery:
            for at, query in enumerate(queries):
                try:  # counted here, so that a million questions do not become a million tasks
                    self._run.budget.count_subcall()
                except BudgetOver as over:
                    replies[at] = Reply("", over.message)
                    continue
                nursery.start_soon(one, at, query, self._run.budget.subcalls_made)
        return replies

    async def _told(self, query: Query, number: int) -> Said:
        """One reply, with an event about it."""
        run = self._run
        began = trio.current_time()
        run.asking()
        tokens = tokens_of(len(query.prompt.encode()) + len(query.context.encode()))
        room = int(run.sub.window * ROOM)
        deep = tokens > room
        if not deep:
            said = await self._ask(query)
        elif self._loop.depth < run.options.depth:
            said = await run.deeper(query.prompt, query.context)
        else:
            said = Said("", error=f"the piece has about {tokens} tokens; give at most {room}")
        self._loop.spent += said.usage
        taken = said.usage.input + said.usage.output
        seconds = round(trio.current_time() - began, 3)
        prompt = run.redact(texts.cut(query.prompt, 300))
        await run.tell(RlmSubcall(number, prompt, not said.error, taken, seconds, said.error, deep))
        if not said.error and said.text.strip():
            self._loop.findings.append(said.text)
        return said

    def _request(self, query: Query) -> Request:
        run = self._run
        text = query.prompt
        if query.context:
            text = f"{text}\n\n{texts.data('text', run.mark, query.context)}"
        return Request(
            model=run.sub.model.id,
            messages=(Message("user", (Text(run.redact(text)),)),),
            system=self._system,
            max_output=run.options.max_tokens or None,
        )

    async def _ask(self, query: Query) -> Said:
        run = self._run
        try:
            said = await run.ask(run.sub, lambda: self._request(query), spare=run.spare, row="sub")
        except BudgetOver as over:
            return Said("", error=over.message)
        if said.cut:
            return said._replace(text=f"{said.text}\n[cut at the limit of an answer]")
        return said if said.error or said.text.strip() else said._replace(error="an empty answer")

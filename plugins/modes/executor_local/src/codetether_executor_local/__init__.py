"""Runs sub-agents as trio tasks of this process: each with a session, a transcript and a workspace of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import trio
from codetether.api import (
    AgentResult,
    AgentTask,
    CodetetherError,
    Executor,
    Session,
    SessionEvent,
    TurnFinished,
)


class Local(Executor):
    """The default executor. Cancelling `run` cancels the sub-agent and its children."""

    api = 1

    async def run(
        self, task: AgentTask, observe: Callable[[SessionEvent], Awaitable[None]] | None = None
    ) -> AgentResult:
        """Run one task to its end, or to its time limit; what went wrong is in the result."""
        started = trio.current_time()
        with trio.move_on_after(task.timeout) as limit:
            try:
                return await self._in_session(task, observe, started)
            except CodetetherError as error:
                return _failed(task, error.message, started)
        assert limit.cancelled_caught
        return _failed(task, f"took longer than {task.timeout:g} s", started)

    async def _in_session(
        self,
        task: AgentTask,
        observe: Callable[[SessionEvent], Awaitable[None]] | None,
        started: float,
    ) -> AgentResult:
        async with self.kernel.open_session(
            directory=Path(task.directory),
            model=task.model or None,
            agent=task.agent,
            access=task.access,
            max_steps=task.max_steps,
            budget_usd=task.budget_usd,
            started_by=task.started_by,
            within=task.within,
            depth=task.depth,
        ) as session:
            async with trio.open_nursery() as nursery:
                with session.feed.listen() as feed:
                    if observe is not None:
                        nursery.start_soon(_relay, feed, observe)
                    finished = await session.prompt(task.prompt)
                    session.feed.close()
                    if observe is None:
                        nursery.cancel_scope.cancel()
            return _result(task, session, finished, trio.current_time() - started)


async def _relay(
    feed: trio.abc.ReceiveChannel[SessionEvent], observe: Callable[[SessionEvent], Awaitable[None]]
) -> None:
    async for event in feed:
        await observe(event)


def _result(
    task: AgentTask, session: Session, finished: TurnFinished, seconds: float
) -> AgentResult:
    usage = finished.usage
    return AgentResult(
        task.id, finished.reason == "done", finished.text, finished.reason, session.id, finished.steps, seconds,
        usage.input, usage.output, usage.cost, finished.error,
    )  # fmt: skip


def _failed(task: AgentTask, error: str, started: float) -> AgentResult:
    return AgentResult(
        task.id, False, "", "error", "", 0, trio.current_time() - started, error=error
    )

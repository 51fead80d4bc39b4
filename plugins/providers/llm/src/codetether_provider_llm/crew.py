"""The children that run llm. One answers one question at a time; an idle one is used again, for it has its plugins,
and maybe a model, loaded.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from codetether.api import CodetetherError, clean_env
from codetether_wire.child import Child, ChildEnded

INSTALL = 'install it beside codetether: pip (or uv pip) install llm, or name its Python in plugins."providers:llm".python'


class Loan:
    """A child for one question. Say `done` when it is ready for the next; else it is ended."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.reusable = False

    def done(self) -> None:
        """The question was answered to its end."""
        self.reusable = True


class Crew:
    """At most `most` children."""

    def __init__(self, python: str, most: int, names: list[str], home: Path, limit: float) -> None:
        self._python = python
        self._names = ["LLM_USER_PATH", *names]
        self._home = home
        self._limit = limit
        self._room = trio.CapacityLimiter(most)
        self._idle: list[Child] = []

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Loan]:
        """A child, waited for when all are busy. Raises CodetetherError when llm cannot be loaded."""
        async with self._room:
            loan = Loan(self._at_hand() or await self._start())
            try:
                yield loan
            finally:
                if loan.reusable and not loan.child.ended:
                    self._idle.append(loan.child)
                else:
                    await loan.child.aclose()

    async def aclose(self) -> None:
        """End those that are idle; the others end with their question."""
        async with trio.open_nursery() as nursery:
            while self._idle:
                nursery.start_soon(self._idle.pop().aclose)

    def _at_hand(self) -> Child | None:
        while self._idle:
            child = self._idle.pop()
            if not child.ended:
                return child
        return None

    async def _start(self) -> Child:
        given = {name: os.environ[name] for name in self._names if name in os.environ}
        argv = [self._python, str(Path(__file__).with_name("serve.py"))]
        # Not the workspace: libraries read settings, and keys, from files they find where they run.
        child = await Child.start(argv, env=clean_env(given), cwd=self._home)
        answer: Any = None
        try:
            with trio.move_on_after(self._limit):
                answer = await child.receive()
        except ChildEnded as exc:
            raise CodetetherError(f"llm cannot be loaded: {exc.why}", INSTALL) from None
        except BaseException:
            await child.aclose()
            raise
        if answer is None or "ready" not in answer:
            await child.aclose()
            why = answer.get("failed") if answer else f"nothing came for {self._limit:.0f} s"
            raise CodetetherError(f"llm cannot be loaded: {why}", INSTALL)
        return child

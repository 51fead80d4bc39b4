"""The children that index, one for each workspace root: started with the first question, shared by all sessions."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import trio
from codetether.api import Launch, Session, ToolError, clean_env
from codetether_wire.child import Child, ChildEnded

VERSION = 1  # of what the index holds; another one is made when it changes
MOST = 4  # children at once
UNUSED_DAYS = 60
USED = "used"
ANSWER_SECONDS = 30.0  # beyond the time given for indexing

Tell = Callable[[str], Awaitable[None]]


class Worker:
    """One child and its questions."""

    def __init__(self, root: str, place: Path) -> None:
        self._root = root
        self._place = place
        self._child: Child | None = None
        self._turn = trio.Lock()
        self._number = 0
        self.used = trio.current_time()

    async def ask(self, session: Session, question: dict[str, Any], tell: Tell) -> dict[str, Any]:
        """The child's answer; it is started again once when it ends. Raises ToolError."""
        async with self._turn:
            self.used = trio.current_time()
            with trio.move_on_after(question["seconds"] + ANSWER_SECONDS):
                try:
                    return await self._ask(session, question, tell)
                except ChildEnded:
                    await self.aclose()
                try:
                    return await self._ask(session, question, tell)
                except ChildEnded as ended:
                    raise ToolError(f"The index ended: {ended.why}. Use grep.") from None
            await self.aclose()
            raise ToolError("The index gave no answer in time. Use grep.", "TIMEOUT")

    async def _ask(self, session: Session, question: dict[str, Any], tell: Tell) -> dict[str, Any]:
        if self._child is None or self._child.ended:
            self._child = await self._start(session)
        self._number += 1
        await self._child.send({**question, "id": self._number})
        while True:
            answer: dict[str, Any] = await self._child.receive()
            if answer["id"] != self._number:
                continue  # of a question that was cancelled
            if "progress" in answer:
                await tell("indexed {} of {} files".format(*answer["progress"]))
            elif "failed" in answer:
                raise ToolError(f"codesearch: {answer['failed']}. Use grep.")
            else:
                return answer

    async def _start(self, session: Session) -> Child:
        await trio.to_thread.run_sync(_prepare, self._place)
        kernel = session.kernel
        # What numpy's library is told of this processor; nothing else of ours reaches the child.
        env = clean_env({k: v for k, v in os.environ.items() if k.startswith("OPENBLAS_")})
        env["OPENBLAS_NUM_THREADS"] = "1"
        module = f"{__package__}.serve"
        argv = (sys.executable, "-I", "-m", module, self._root, str(self._place))
        policy = kernel.sandbox_policy(session, network=False)
        # It parses what others wrote: it may read the workspace, and write nothing but the index.
        policy = msgspec.structs.replace(
            policy,
            writable=(str(self._place),),
            read_only=(self._root, sys.prefix, *sys.path),  # a sandbox hides what lies below /tmp
        )
        launch = kernel.sandbox().wrap(Launch(argv, str(self._place), env), policy)
        return await Child.start(
            launch.argv, env=launch.env, cwd=launch.cwd, pass_fds=launch.pass_fds
        )

    async def aclose(self) -> None:
        """End the child."""
        if self._child is not None:
            await self._child.aclose()
            self._child = None


class Workers:
    """The children of this process, by root."""

    def __init__(self, cache: Path, *, by_meaning: bool) -> None:
        self._cache = cache / "codesearch"
        self._kind = kind(by_meaning=by_meaning)
        self._workers: dict[str, Worker] = {}
        self._swept = False

    async def of(self, root: str) -> Worker:
        """The worker for a root; beyond MOST, the one that was used longest ago ends."""
        if not self._swept:
            self._swept = True
            await trio.to_thread.run_sync(sweep, self._cache)
        if root not in self._workers:
            if len(self._workers) >= MOST:
                oldest = min(self._workers, key=lambda each: self._workers[each].used)
                await self._workers.pop(oldest).aclose()
            key = hashlib.blake2b(os.fsencode(root), digest_size=12).hexdigest()
            self._workers[root] = Worker(root, self._cache / key / self._kind)
        return self._workers[root]

    async def aclose(self) -> None:
        """End all."""
        while self._workers:
            await self._workers.popitem()[1].aclose()


def kind(*, by_meaning: bool) -> str:
    """The folder of an index: those with and without the model, and of other versions, are kept apart."""
    return f"{VERSION}-{'meaning' if by_meaning and find_spec('wordllama') else 'words'}"


def _prepare(place: Path) -> None:
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    for folder in (place, place.parent):
        folder.chmod(0o700)
    (place.parent / USED).touch()
    for other in place.parent.glob("*-*"):
        if not other.name.startswith(f"{VERSION}-"):
            shutil.rmtree(other, ignore_errors=True)


def sweep(cache: Path) -> None:
    """Remove indexes that were not used for a long time."""
    limit = time.time() - UNUSED_DAYS * 86_400
    for mark in cache.glob(f"*/{USED}"):
        if mark.stat().st_mtime < limit:
            shutil.rmtree(mark.parent, ignore_errors=True)

"""The seven ways a hook is called, over pluggy's public `get_hookimpls()`; pluggy itself is synchronous.

A plugin's failure never reaches the caller: it becomes a fault (`Host.fault`). Cancellation is not a failure.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import trio

from codetether.errors import DeniedError
from codetether.hookspecs import WAYS
from codetether.words import Ruling, Verdict

if TYPE_CHECKING:
    import pluggy

    from codetether.host import Host

NOTIFY_SECONDS = 5.0


class Ruled(NamedTuple):
    """The strictest ruling of all plugins: whose it was and why; the call's new `arguments` and who changed them last."""

    verdict: Verdict
    whose: str = ""
    why: str = ""
    arguments: str = ""
    changed_by: str = ""


class Calls:
    """Calls hooks in the way their spec declares; another way raises TypeError."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._slow: set[tuple[str, str]] = set()

    def has(self, hook: str) -> bool:
        """Whether anybody implements `hook`."""
        return bool(getattr(self._host.pm.hook, hook).get_hookimpls())

    def _impls(self, hook: str, way: str) -> list[pluggy.HookImpl]:
        if WAYS.get(hook) != way:
            raise TypeError(f"{hook} is called by {WAYS.get(hook)}, not by {way}")
        impls: list[pluggy.HookImpl] = getattr(self._host.pm.hook, hook).get_hookimpls()
        return impls[::-1]  # pluggy keeps the first to be called last

    async def _answer(
        self, impl: pluggy.HookImpl, hook: str, given: dict[str, Any], limit: float
    ) -> tuple[Any, bool]:
        """(answer, True), or (None, False) once the fault is written down."""
        try:
            answer = impl.function(*(given[name] for name in impl.argnames))
            if answer is None or not inspect.isawaitable(answer):  # it took the time it took
                return answer, True
            with trio.move_on_after(limit):
                return await answer, True
            self._slow.add((impl.plugin_name, hook))
            self._host.fault(impl.plugin_name, hook, f"took longer than {limit:g} s")
        except (Exception, SystemExit) as error:
            self._host.fault(impl.plugin_name, hook, error)
        except BaseExceptionGroup as group:
            _, rest = group.split(Exception)
            if rest is not None:
                raise
            self._host.fault(impl.plugin_name, hook, group)
        return None, False

    async def collect(self, hook: str, **given: Any) -> list[Any]:
        """Every answer that is not None, in order."""
        answers = []
        for impl in self._impls(hook, "collect"):
            answer, _ = await self._answer(impl, hook, given, _patience(impl))
            if answer is not None:
                answers.append(answer)
        return answers

    async def notify(self, hook: str, **given: Any) -> None:
        """Tell everybody; nobody can hold it up for longer than 5 s, and who did is not told again."""
        for impl in self._impls(hook, "notify"):
            if (impl.plugin_name, hook) not in self._slow:
                await self._answer(impl, hook, given, NOTIFY_SECONDS)

    async def fold(self, hook: str, over: str, **given: Any) -> Any:
        """Hand `given[over]` from one to the next; None or a failure leaves it as it was."""
        for impl in self._impls(hook, "fold"):
            answer, _ = await self._answer(impl, hook, given, _patience(impl))
            if answer is not None:
                given[over] = answer
        return given[over]

    async def first(self, hook: str, **given: Any) -> Any:
        """The first answer that is not None. No time limit: a person may be thinking."""
        for impl in self._impls(hook, "first"):
            answer, _ = await self._answer(impl, hook, given, float("inf"))
            if answer is not None:
                return answer
        return None

    async def strictest(self, hook: str, **given: Any) -> Ruled:
        """The highest verdict and whose it was; a plugin that fails or answers nonsense has said DENY. A Ruling may
        change the arguments of `given["call"]`: those asked after it see the changed call.
        """
        found = Ruled(Verdict.ALLOW)
        for impl in self._impls(hook, "strictest"):
            answer, ok = await self._answer(impl, hook, given, _patience(impl))
            if ok and answer is None:
                continue
            ruling = _ruling(answer) if ok else Ruling(Verdict.DENY)
            if ruling.verdict > found.verdict:
                found = found._replace(
                    verdict=ruling.verdict, whose=impl.plugin_name, why=ruling.why
                )
            if ruling.arguments:
                call = msgspec.structs.replace(given["call"], arguments=ruling.arguments)
                given["call"] = call
                found = found._replace(arguments=call.arguments, changed_by=impl.plugin_name)
        return found

    @asynccontextmanager
    async def around(self, hook: str, **given: Any) -> AsyncIterator[None]:
        """Hold every plugin's context manager open. One that cannot be entered, or fails on exit, is a fault; one
        that raises DeniedError as it is entered refuses the work, and that goes to the caller.
        """
        impls = self._impls(hook, "around")
        if not impls:
            yield
            return
        async with AsyncExitStack() as stack:
            for impl in impls:
                manager, ok = await self._answer(impl, hook, given, 5.0)
                if ok and manager is not None:
                    await stack.enter_async_context(
                        _Guarded(self._host, impl.plugin_name, hook, manager)
                    )
            yield


def _patience(impl: pluggy.HookImpl) -> float:
    return max(30.0, float(getattr(impl.plugin, "patience", 0.0)))


def _ruling(answer: Any) -> Ruling:
    if isinstance(answer, Verdict):
        return Ruling(answer)
    return answer if isinstance(answer, Ruling) else Ruling(Verdict.DENY)


class _Guarded:
    def __init__(self, host: Host, plugin: str, hook: str, manager: Any) -> None:
        self._host, self._plugin, self._hook, self._manager = host, plugin, hook, manager
        self._entered = False

    async def __aenter__(self) -> None:
        try:
            await self._manager.__aenter__()
            self._entered = True
        except DeniedError:
            raise
        except (Exception, SystemExit) as error:
            self._host.fault(self._plugin, self._hook, error)

    async def __aexit__(self, *exc: object) -> None:
        if not self._entered:
            return
        try:
            await self._manager.__aexit__(*exc)
        except (Exception, SystemExit) as error:
            if error is not exc[1]:
                self._host.fault(self._plugin, self._hook, error)

"""What stands by for all calls and sessions of a kernel, such as servers: where it lives, and how long it rests when it
falls.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

from codetether.errors import CodetetherError

if TYPE_CHECKING:
    from codetether.kernel import Kernel

STRIKES = 3  # falls without work done in between, after which it is left alone
PAUSE = 0.5  # seconds before the second start; four times as long before the third
CLOSING = 1.5


class GaveUp(CodetetherError):
    """It fell too often."""


class Falls:
    """How often something fell since it last did its work."""

    def __init__(self) -> None:
        self._falls: list[tuple[float, CodetetherError]] = []

    def __len__(self) -> int:
        return len(self._falls)

    @property
    def last(self) -> CodetetherError:
        """Why it fell the last time; only when it did."""
        return self._falls[-1][1]

    def add(self, error: CodetetherError) -> None:
        """It fell now."""
        self._falls.append((trio.current_time(), error))

    def forget(self) -> None:
        """It did its work."""
        self._falls.clear()

    def rest(self) -> float:
        """Seconds until it may be started again."""
        if not self._falls:
            return 0.0
        until = self._falls[-1][0] + PAUSE * 4.0 ** (len(self._falls) - 1)
        return max(until - trio.current_time(), 0.0)

    async def pause(self, hint: str) -> None:
        """Wait until it may be started again. Raises GaveUp, with `hint`, when it is not."""
        if len(self._falls) >= STRIKES:
            text = f"{self.last.message} ({len(self)} times; it is not started again in this run)"
            raise GaveUp(text, hint)
        await trio.sleep(self.rest())


class Standing:
    """A nursery that lives as long as trio runs, which no nursery of a call could: one system task. `watch` runs in it
    from its beginning; what fails is a fault of the plugin `key`.
    """

    def __init__(self, kernel: Kernel, key: str, watch: Callable[[], Awaitable[None]]) -> None:
        self._kernel, self._key, self._watch = kernel, key, watch
        self._gone = trio.Event()
        self.nursery: trio.Nursery | None = None

    async def open(self) -> trio.Nursery:
        """The nursery; made when there is none."""
        if self.nursery is None:
            self._gone = trio.Event()
            opened = trio.Event()
            trio.lowlevel.spawn_system_task(self._live, opened)
            await opened.wait()
        assert self.nursery is not None
        return self.nursery

    async def _live(self, opened: trio.Event) -> None:
        """A system task: it must not raise. When trio ends it is cancelled, and so is everything in it."""
        try:
            async with trio.open_nursery() as nursery:
                self.nursery = nursery
                opened.set()
                nursery.start_soon(self._watch)
                await trio.sleep_forever()
        except Exception as error:
            self._kernel.host.fault(self._key, "standing by", error)
        except BaseExceptionGroup as group:
            errors, rest = group.split(Exception)
            if errors is not None:
                self._kernel.host.fault(self._key, "standing by", errors)
            if rest is not None:
                raise rest from None
        finally:
            self.nursery = None
            opened.set()
            self._gone.set()

    async def aclose(self) -> None:
        """End everything in it, and wait for that, for a moment."""
        if self.nursery is not None:
            self.nursery.cancel_scope.cancel()
            with trio.move_on_after(CLOSING, shield=True):
                await self._gone.wait()

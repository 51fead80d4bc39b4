"""What a session without a model has in a model's place: its tools work, and asking it says that there is none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from codetether.events import Finish, ProviderFault, StreamEvent
from codetether.ports import Provider, ProviderStatus
from codetether.words import ModelInfo, Request

WHY = "this session has no model"
HINT = "name one: --model PROVIDER/MODEL"


class NoModel(Provider):
    """A provider of nothing, for sessions whose calls come from elsewhere."""

    api = 1
    keyless = True

    async def status(self) -> ProviderStatus:
        """Never usable."""
        return ProviderStatus(usable=False, why=WHY, hint=HINT)

    async def models(self) -> Sequence[ModelInfo]:
        """None."""
        return ()

    async def model(self, model_id: str) -> ModelInfo:
        """A model of which nothing is known."""
        return ModelInfo(model_id, self.name)

    @asynccontextmanager
    async def stream(
        self, request: Request
    ) -> AsyncIterator[trio.MemoryReceiveChannel[StreamEvent]]:
        """An answer that says there is no model."""
        send, receive = trio.open_memory_channel[StreamEvent](1)
        send.send_nowait(Finish("error", error=ProviderFault("invalid", WHY, hint=HINT)))
        send.close()
        with receive:
            yield receive

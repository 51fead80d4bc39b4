"""A provider without a model: it says what a script says, and says that it does.

Model ids: `demo` (shipped, for `codetether demo`), `file:PATH` (a script in TOML or JSON), `python:MODULE:FUNCTION`
(a function from the Request to a reply; only with the setting `testing`), `test` (what `use` was given).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec
import trio
from codetether.api import (
    CodetetherError,
    Finish,
    ModelInfo,
    Provider,
    ProviderFault,
    ProviderStatus,
    Request,
    StreamEvent,
)

from codetether_provider_scripted.player import events
from codetether_provider_scripted.script import Player, demo_script, imported, parse, reply

WHY = "a script that says what was written, not a model; used only when it is named"
# Every file ends in .txt here, or tests and linters would take the bug for ours.
DEMO = Path(__file__).with_name("demo") / "repository"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the scripted provider."""

    delay: Annotated[
        float,
        msgspec.Meta(
            ge=0,
            le=60,
            description="Seconds before each piece of an answer, unless the script says otherwise.",
            extra_json_schema={"env": "CODETETHER_SCRIPTED_DELAY"},
        ),
    ] = 0.015
    testing: Annotated[
        bool,
        msgspec.Meta(
            description="Allow `scripted/python:MODULE:FUNCTION`, which runs code that is named in a model id.",
            extra_json_schema={"env": "CODETETHER_SCRIPTED_TESTING"},
        ),
    ] = False


class Scripted(Provider):
    """Answers from a script. `asked` holds the Requests that `use`d replies answered."""

    api = 1
    keyless: ClassVar[bool] = True
    Settings = Settings

    def __init__(self, kernel: Any, key: str) -> None:
        super().__init__(kernel, key)
        self.asked: list[Request] = []
        self._settings: Settings = kernel.settings(key, Settings)
        self._players: dict[str, Player] = {}
        self._delay: float | None = None
        self._context: int | None = None

    def use(
        self,
        replies: Sequence[Any] | Callable[[Request], Any],
        *,
        delay: float = 0.0,
        context: int | None = None,
    ) -> None:
        """For tests: what the model `scripted/test` says from now on, a list in order or a function. One reply more
        than a list has is an error. `context` is the window the model claims, in tokens.
        """
        self.asked.clear()
        self._delay, self._context = delay, context
        if callable(replies):
            self._players["test"] = Player(function=replies)
            return
        self._players["test"] = Player(replies=[reply(said) for said in replies])

    def demo_files(self) -> dict[str, bytes]:
        """The throw-away repository of the demo: path below its root, and content."""
        found = sorted(DEMO.rglob("*.txt"))
        return {p.relative_to(DEMO).as_posix().removesuffix(".txt"): p.read_bytes() for p in found}

    async def status(self) -> ProviderStatus:
        """Always usable, and never chosen by itself."""
        return ProviderStatus(usable=True, model="demo", why=WHY)

    async def models(self) -> Sequence[ModelInfo]:
        """The demo, and `test` while there is one."""
        return [
            await self.model(name)
            for name in ("demo", *(["test"] if "test" in self._players else []))
        ]

    async def model(self, model_id: str) -> ModelInfo:
        """What can be said of a script: it costs nothing, and its window is unknown."""
        name = model_id.removeprefix("scripted/")
        return ModelInfo(
            id=name,
            provider=self.name,
            name=f"Scripted: {name} (not a model)",
            context=self._context if name == "test" else None,
            input_price=0.0,
            output_price=0.0,
            tools=True,
            images=True,
        )

    @asynccontextmanager
    async def stream(
        self, request: Request
    ) -> AsyncIterator[trio.MemoryReceiveChannel[StreamEvent]]:
        """The script's answer. A script that cannot be used is a Finish with an error."""
        send, receive = trio.open_memory_channel[StreamEvent](16)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._say, request, send)
            async with receive:
                yield receive
            nursery.cancel_scope.cancel()

    async def _say(self, request: Request, send: trio.MemorySendChannel[StreamEvent]) -> None:
        async with send:
            try:
                answer = (await self._player(request.model)).answer(request)
            except CodetetherError as error:
                fault = ProviderFault("invalid", error.message[:500], hint=error.hint)
                await send.send(Finish("error", error=fault))
                return
            delay = self._settings.delay if self._delay is None else self._delay
            try:
                async for event in events(answer, delay):
                    await send.send(event)
            except trio.BrokenResourceError:
                return  # the listener left first

    async def _player(self, model_id: str) -> Player:
        name = model_id.removeprefix("scripted/")
        kind, _, rest = name.partition(":")
        if name == "test" and name in self._players:
            player = self._players[name]
            return Player(function=lambda request: self._asked(player, request))
        if name not in self._players:
            if kind == "file" and rest:
                script = await trio.to_thread.run_sync(parse, Path(rest))
                self._players[name] = Player.of(script)
            elif kind == "python" and rest:
                self._players[name] = Player(function=self._imported(rest))
            elif name == "demo":
                self._players[name] = Player.of(demo_script())
            else:
                raise CodetetherError(
                    f"there is no script {name!r}",
                    "there are scripted/demo, scripted/file:PATH and scripted/python:MODULE:FUNCTION",
                )
        return self._players[name]

    def _asked(self, player: Player, request: Request) -> Any:
        self.asked.append(request)
        return player.answer(request)

    def _imported(self, where: str) -> Callable[[Request], Any]:
        if not self._settings.testing:
            raise CodetetherError(
                "scripted/python: runs code named in a model id, which is switched off",
                'for tests: [plugins."providers:scripted"] testing = true',
            )
        return imported(where)

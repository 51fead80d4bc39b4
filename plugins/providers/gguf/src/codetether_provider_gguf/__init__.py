"""A GGUF file on this disk, run by a library in a child process: no server to set up, no key, no port."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import trio
from codetether.api import (
    CodetetherError,
    Finish,
    ModelInfo,
    Notice,
    ProviderStatus,
    Request,
    Retrying,
    StreamEvent,
)
from codetether_wire import Endpoint, Traits, WireFault, WireProvider, excerpt

from codetether_provider_gguf.choose import (
    CTRANSFORMERS,
    LLAMACPP,
    backend_for,
    check,
    install_hint,
    installed,
)
from codetether_provider_gguf.folder import find, listed, missing_parts
from codetether_provider_gguf.header import Header, read_header
from codetether_provider_gguf.settings import GgufSettings

if TYPE_CHECKING:
    from codetether_provider_gguf.loaded import Loaded, Shelf


class Gguf(WireProvider):
    """`gguf/NAME` is a file in the models folder, `gguf//path` and `gguf/./path` one anywhere."""

    api = 1
    keyless = True
    Settings = GgufSettings

    def __init__(self, kernel: Any, key: str) -> None:
        super().__init__(kernel, key)
        self._headers: dict[tuple[str, int, int], Header] = {}
        self._told: dict[str, ModelInfo] = {}
        self._addresses: dict[str, str] = {}
        self._warned: set[str] = set()

    # --- the port ---
    async def status(self) -> ProviderStatus:
        """Usable when there is a file and a library for it. No file is loaded."""
        model = self.settings.model
        if not model:
            files = await trio.to_thread.run_sync(listed, self.folder)
            if not files:
                return ProviderStatus(
                    usable=False,
                    why=f"no model file in {self.folder}",
                    hint="get one: codetether models pull URL, or name one: gguf//path/to/file.gguf",
                )
            model = self._name(files[0])
        if not installed(LLAMACPP) and not installed(CTRANSFORMERS):
            why = "no library that runs model files is installed"
            return ProviderStatus(False, model=model, why=why, hint=install_hint(LLAMACPP))
        return ProviderStatus(usable=True, model=model)

    async def models(self) -> Sequence[ModelInfo]:
        """The files in the folder that could be loaded, with what their headers tell."""
        found = []
        for path in await trio.to_thread.run_sync(listed, self.folder):
            try:
                found.append(await self._facts(self._name(path)))
            except CodetetherError:
                continue  # `codetether -m` with its name says what is wrong with it
        if not found:
            raise CodetetherError(
                f"no model file in {self.folder} can be loaded",
                "get one: codetether models pull URL",
            )
        return found

    async def model(self, model_id: str) -> ModelInfo:
        """Facts from the file's header; unknown when it cannot be read: asking it says why."""
        try:
            return await self._facts(model_id)
        except CodetetherError:
            return ModelInfo(id=model_id, provider=self.name)

    def stream(self, request: Request) -> AbstractAsyncContextManager[AsyncIterator[StreamEvent]]:
        """The answer as it comes. The model is loaded first, which the open sessions are told."""
        from codetether_wire.child_answer import stream_of

        return stream_of(lambda send: self._answer(request, send))

    async def aclose(self) -> None:
        """Close the connections and end the children."""
        if "_shelf" in self.__dict__:
            await self._shelf.aclose()
        await super().aclose()

    # --- facts ---
    @cached_property
    def folder(self) -> Path:
        """Where names are looked up."""
        named = self.settings.folder
        return Path(named).expanduser() if named else Path(self.kernel.dirs.data) / "models"

    async def examine(self, path: Path) -> Header:
        """What a file says about itself. Raises CodetetherError when it must not be loaded: `models pull` asks too."""

        def read() -> Header:
            try:
                seen = os.stat(path)
            except OSError as exc:
                raise CodetetherError(f"{path}: {exc.strerror}", "is the path right?") from None
            key = (str(path), seen.st_size, seen.st_mtime_ns)
            if key not in self._headers:
                header = read_header(path)
                check(header)
                self._headers[key] = header
            return self._headers[key]

        return await trio.to_thread.run_sync(read)

    def known(self, model_id: str) -> ModelInfo:
        """What was told so far."""
        return self._told.get(model_id) or ModelInfo(id=model_id, provider=self.name)

    def traits(self, model_id: str) -> Traits:
        """Text only."""
        return msgspec.structs.replace(super().traits(model_id), images=False)

    async def _facts(self, model_id: str) -> ModelInfo:
        from codetether_provider_gguf.loaded import window

        header = await self._header(model_id)
        backend = backend_for(header, self.settings.backend)
        info = ModelInfo(
            id=model_id,
            provider=self.name,
            name=header.name,
            context=window(header, self.settings.context) if header.context else None,
            tools=backend == LLAMACPP and "tool" in header.template,
            images=False,
        )
        self._told[model_id] = info
        return info

    async def _header(self, model_id: str) -> Header:
        directory = Path(self.kernel.config.directory)
        path = await trio.to_thread.run_sync(find, model_id, self.folder, directory)
        if missing := missing_parts(path):
            raise CodetetherError(f"{path.name} is split and {', '.join(missing)} is not there")
        return await self.examine(path.resolve())

    def _name(self, path: Path) -> str:
        name = str(path.relative_to(self.folder))
        return name.removesuffix(".gguf")

    # --- answering ---
    @cached_property
    def _shelf(self) -> Shelf:
        from codetether_provider_gguf.loaded import Shelf

        home = Path(self.kernel.dirs.data)
        home.mkdir(parents=True, exist_ok=True)
        return Shelf(self.settings, home)

    async def _tell(self, text: str) -> None:
        """To every open session: a model in memory concerns all of this process."""
        for session in list(self.kernel.sessions):
            await session.feed.publish(Notice("info", text))

    async def _answer(self, request: Request, send: trio.MemorySendChannel[StreamEvent]) -> None:
        from codetether_wire.child_answer import fault

        try:
            header = await self._header(request.model)
            backend = backend_for(header, self.settings.backend)
            await self._without_tools(await self._facts(request.model), request)
            if backend == LLAMACPP:
                await self._by_server(request, header, send)
                return
            finish = await self._by_lines(request, header, send)
        except CodetetherError as exc:
            finish = fault("invalid", self.redacted(f"{self.name}: {exc.message}"), exc.hint)
        except WireFault as exc:
            told = exc.fault
            finish = fault(told.kind, self.redacted(f"{self.name}: {told.message}"), told.hint)
        await send.send(finish)

    async def _without_tools(self, info: ModelInfo, request: Request) -> None:
        """Say once that tools are offered in vain."""
        if request.tools and info.tools is False and info.id not in self._warned:
            self._warned.add(info.id)
            await self._tell(f"{info.id} cannot call tools: its chat template knows none")

    async def _by_server(
        self, request: Request, header: Header, send: trio.MemorySendChannel[StreamEvent]
    ) -> None:
        """llama.cpp's HTTP server over its socket, in the dialect every such server speaks."""
        async with (
            self._shelf.use(header, LLAMACPP, self._tell),
            super().stream(request) as events,
        ):
            async for event in events:
                await send.send(event)

    async def endpoint(self, model: str, *, fresh: bool = False) -> Endpoint:
        """The server of `model`, which is loaded when it is not, or no longer. Raises WireFault, CodetetherError."""
        from codetether_wire import pool_of

        header = await self._header(model)
        loaded = await self._shelf.get(header, LLAMACPP, self._tell)
        host = self._addresses.setdefault(header.path, f"model-{len(self._addresses) + 1}")
        # Not called localhost: to a server of ours that cannot be reached another try is worth while.
        url = f"http://{host}.gguf/v1"
        pool_of(self.kernel).over_socket(url, loaded.address)
        return Endpoint(url, {})

    async def renewed(self) -> bool:
        """There is no key."""
        return False

    async def _by_lines(
        self, request: Request, header: Header, send: trio.MemorySendChannel[StreamEvent]
    ) -> Finish:
        """A crash is followed by another try, as often as the shelf loads the model again."""
        from codetether_wire.child import ChildEnded
        from codetether_wire.child_answer import fault

        for attempt in count(1):
            async with self._shelf.use(header, CTRANSFORMERS, self._tell) as loaded:
                try:
                    return await self._asked(loaded, request, send)
                except ChildEnded as exc:
                    why = self.redacted(f"{Path(header.path).name} crashed: {exc.why}")
                    if loaded.child.dismissed:
                        break
            await send.send(Retrying(attempt, 0.0, excerpt(why, 200)))
        return fault("other", f"{self.name}: {why}")

    async def _asked(
        self, loaded: Loaded, request: Request, send: trio.MemorySendChannel[StreamEvent]
    ) -> Finish:
        """One question to ctransformers. It cannot be told to stop, so leaving early ends it."""
        from codetether_wire.child_answer import relay

        settings = self.settings
        async with loaded.turn:
            over = False
            try:
                finish = await relay(
                    loaded.child,
                    _plain(request),
                    send,
                    idle=settings.idle_timeout,
                    total=settings.total_timeout,
                )
                over = True
                return finish
            finally:
                if not over:
                    await loaded.child.aclose()


def _plain(request: Request) -> dict[str, Any]:
    """The conversation as roles and words: all that a library without tools and pictures can take."""
    messages = [{"role": "system", "content": request.system}] if request.system else []
    for message in request.messages:
        words = message.text
        if message.results:
            words = "\n\n".join(f"[{result.name}]\n{result.text}" for result in message.results)
        role = "user" if message.role == "tool" else message.role
        if words:
            messages.append({"role": role, "content": words})
    return {
        "messages": messages,
        "max_output": request.max_output,
        "temperature": request.temperature,
    }

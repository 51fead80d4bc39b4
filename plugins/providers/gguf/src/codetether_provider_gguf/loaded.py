"""The models in memory: each in a child process of its own, started when asked for, started again when it crashed."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from codetether.api import clean_env
from codetether_wire import WireFault
from codetether_wire.child import Child, ChildEnded

from codetether_provider_gguf.choose import CONTROL, LLAMACPP, old_kind
from codetether_provider_gguf.header import Header

CRASH_SECONDS = 600.0  # a crash longer ago is forgiven
MOST_CRASHES = 4
PAUSE = 1.0  # seconds after the second crash; doubled with each one more
TELL_AFTER = 1.0  # a load that takes no longer is not worth a word
TELL_EVERY = 15.0
SOCKET_PATH_LIMIT = 100  # of 104 to 108 bytes, depending on the system
USER_PIECE = 4

Tell = Callable[[str], Awaitable[None]]


class Loaded:
    """One model that is ready. `address`: its Unix socket, empty for ctransformers."""

    def __init__(self, child: Child, backend: str, address: str, folder: str) -> None:
        self.child = child
        self.backend = backend
        self.address = address
        self.turn = trio.Lock()  # ctransformers answers one question at a time
        self.users = 0
        self.used = trio.current_time()
        self._folder = folder

    async def aclose(self) -> None:
        """End the child and remove its socket."""
        await self.child.aclose()
        if self._folder:
            await trio.to_thread.run_sync(shutil.rmtree, self._folder, True)


class Shelf:
    """At most `room` idle models stay loaded; a crash is followed by a pause that doubles, and after some by an end."""

    def __init__(self, settings: Any, home: Path) -> None:
        self._settings = settings
        self._home = home
        self._loaded: dict[str, Loaded] = {}
        self._crashes: dict[str, deque[float]] = {}
        self._loading = trio.Lock()

    @asynccontextmanager
    async def use(self, header: Header, backend: str, tell: Tell) -> AsyncIterator[Loaded]:
        """The model, loaded; it stays so inside the context. Raises WireFault."""
        loaded = await self.get(header, backend, tell)
        loaded.users += 1
        try:
            yield loaded
        finally:
            loaded.users -= 1
            loaded.used = trio.current_time()

    async def get(self, header: Header, backend: str, tell: Tell) -> Loaded:
        """The model, loaded now if it was not, or is no longer. Raises WireFault."""
        loaded = self._loaded.get(header.path)
        if loaded is None or loaded.child.ended:
            async with self._loading:
                loaded = await self._load(header, backend, tell)
        loaded.used = trio.current_time()
        return loaded

    async def aclose(self) -> None:
        """End all."""
        async with trio.open_nursery() as nursery:
            while self._loaded:
                nursery.start_soon(self._loaded.popitem()[1].aclose)

    # --- loading ---
    async def _load(self, header: Header, backend: str, tell: Tell) -> Loaded:
        loaded = self._loaded.get(header.path)
        if loaded is not None and not loaded.child.ended:
            return loaded  # another call has done it meanwhile
        if loaded is not None:
            del self._loaded[header.path]
            why = await loaded.child.why()
            await loaded.aclose()
            if not loaded.child.dismissed:
                await self._after_crash(header, why, tell)
        await self._make_room()
        loaded = self._loaded[header.path] = await self._start(header, backend, tell)
        return loaded

    async def _after_crash(self, header: Header, why: str, tell: Tell) -> None:
        now = trio.current_time()
        crashes = self._crashes.setdefault(header.path, deque(maxlen=MOST_CRASHES))
        crashes.append(now)
        recent = [at for at in crashes if now - at < CRASH_SECONDS]
        name = Path(header.path).name
        if len(recent) >= MOST_CRASHES:
            raise WireFault.of(
                "other",
                f"{name} crashed {len(recent)} times: {why}",
                hint="a smaller context, or another file of the same model, may help",
            )
        pause = PAUSE * 2.0 ** (len(recent) - 2) if len(recent) > 1 else 0.0
        await tell(f"{name} crashed and is loaded again: {why}")
        await trio.sleep(pause)

    async def _make_room(self) -> None:
        idle = [path for path, one in self._loaded.items() if not one.users]
        idle.sort(key=lambda path: self._loaded[path].used)
        while idle and len(self._loaded) >= self._settings.loaded_models:
            await self._loaded.pop(idle.pop(0)).aclose()

    async def _start(self, header: Header, backend: str, tell: Tell) -> Loaded:
        address = folder = ""
        if backend == LLAMACPP:
            folder = await trio.to_thread.run_sync(_private_folder)
            address = os.path.join(folder, "llm.sock")
        script = Path(__file__).with_name(f"serve_{backend}.py")
        env = clean_env({"GGML_NO_BACKTRACE": "1"})  # else a crash starts a debugger
        child = await Child.start([sys.executable, "-P", str(script)], env=env, cwd=self._home)
        loaded = Loaded(child, backend, address, folder)
        try:
            await self._until_ready(child, header, self._wanted(header, backend, address), tell)
        except BaseException:
            await loaded.aclose()
            raise
        return loaded

    async def _until_ready(
        self, child: Child, header: Header, wanted: dict[str, Any], tell: Tell
    ) -> None:
        name = Path(header.path).name
        answer: Any = None
        try:
            with trio.move_on_after(self._settings.load_timeout):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_tell_of_loading, header, tell)
                    await child.send(wanted)
                    answer = await child.receive()
                    nursery.cancel_scope.cancel()
        except* ChildEnded as group:
            why = group.exceptions[0]
            raise WireFault.of(
                "other",
                f"{name} cannot be loaded: {why}",
                hint="is the file whole, and its architecture known?",
            ) from None
        if answer is None:
            limit = self._settings.load_timeout
            raise WireFault.of("timeout", f"{name} was not loaded within {limit:.0f} s")
        if "ready" not in answer:
            raise WireFault.of("other", f"{name} cannot be loaded: {answer.get('failed')}")

    def _wanted(self, header: Header, backend: str, address: str) -> dict[str, Any]:
        settings = self._settings
        wanted: dict[str, Any] = {
            "path": header.path,
            "context": window(header, settings.context),
            "threads": settings.threads,
            "gpu_layers": settings.gpu_layers,
        }
        if backend == LLAMACPP:
            return {**wanted, "alias": Path(header.path).stem, "socket": address}
        marked = [
            (piece.decode("utf-8", "replace"), number)
            for number, (piece, kind) in enumerate(zip(header.tokens, header.types, strict=False))
            if kind in (CONTROL, USER_PIECE) and piece
        ]
        word = {number: piece for piece, number in marked}
        return {
            **wanted,
            "type": "gguf" if header.version else old_kind(header),
            "template": header.template,
            "control": dict(marked),
            "bos": word.get(header.bos if header.bos is not None else -1, ""),
            "eos": word.get(header.eos if header.eos is not None else -1, ""),
            "ends": [header.eos] if header.eos is not None else [],
        }


def window(header: Header, most: int) -> int:
    """Tokens of context the model is run with: its own, at most `most`; 2048 when it does not say."""
    return min(header.context or 2048, most)


async def _tell_of_loading(header: Header, tell: Tell) -> None:
    await trio.sleep(TELL_AFTER)
    name, since = Path(header.path).name, trio.current_time() - TELL_AFTER
    await tell(f"loading {name} ({header.size / 1e9:.1f} GB)")
    while True:
        await trio.sleep(TELL_EVERY)
        await tell(f"still loading {name}, {trio.current_time() - since:.0f} s")


def _private_folder() -> str:
    """A new folder only we may enter, with a path short enough for a socket in it."""
    for base in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):  # noqa: S108 - mkdtemp's own folder in it
        if base and os.path.isabs(base) and len(os.fsencode(base)) < SOCKET_PATH_LIMIT - 30:
            with contextlib.suppress(OSError):
                return tempfile.mkdtemp(prefix="codetether-", dir=base)
    raise WireFault.of(
        "other", "no folder for a socket can be made", hint="set TMPDIR to a short path"
    )

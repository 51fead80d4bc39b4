"""The worker process itself: how it is started and confined, and one request with all it asks meanwhile."""

from __future__ import annotations

import marshal
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import trio
from codetether.api import CodetetherError, Launch, SandboxPolicy, clean_env
from codetether_wire.child import Child, ChildEnded

from codetether_rlm.limits import Limits
from codetether_rlm.mapping import Mapped
from codetether_rlm.state import State, named

if TYPE_CHECKING:
    from codetether.api import Kernel

START_SECONDS = 30.0
TAKE_SECONDS = 10.0  # for it to read what it asked for
KEPT = ("PATH", "LANG", "TZ", "LD_LIBRARY_PATH")
# Where programs and their libraries are; with the interpreter's own folders all that a cell may read.
SYSTEM = ("/usr", "/lib", "/lib64", "/lib32", "/etc/ld.so.cache", "/etc/localtime", "/nix/store")

Serve = Callable[[str, msgspec.Raw], Awaitable[dict[str, Any]]]
"""Answers what the process asks while it works: what for, and the line. `free` of it: seconds that are not the cell's."""


class _Line(msgspec.Struct):
    """What of a line says what it is. What it holds is decoded by who knows the types of that."""

    ask: Literal["grep", "query", ""] = ""
    number: int = 0


class _Greeting(msgspec.Struct):
    lost: list[str] = []


class Overdue(Exception):
    """It took longer than it may, and did not stop when interrupted."""


class Process:
    """One process at a time; a new one, with the kept state, when the last one ended.

    `told`: what a new one lost, for the next outcome.
    """

    def __init__(self, kernel: Kernel, sources: Mapped, limits: Limits, state: State) -> None:
        self._kernel = kernel
        self._mapped = sources
        self._limits = limits
        self._state = state
        self._filter = _filter()
        self._child: Child | None = None
        self._greeted = False
        self._number = 0
        self._ends = 0
        self.kinds: dict[str, str] = {}
        self.told = ""

    @property
    def confined(self) -> bool:
        """Whether a cell can do no harm in it."""
        return self._kernel.sandbox_level not in ("", "S0") and bool(self._filter)

    async def alive(self, meanwhile: Callable[[], Awaitable[None]] | None = None) -> Child:
        """The child; a new one when there is none. `meanwhile` is done while it starts. Raises CodetetherError."""
        if self._child is not None and not self._child.ended:
            return self._child
        if self._ends > self._limits.restarts:
            raise CodetetherError(f"the worker ended {self._ends} times; it is not started again")
        await self.end()
        try:
            with trio.fail_after(START_SECONDS):
                return await self._start(meanwhile)
        except ChildEnded as ended:
            await self.end()
            why = f"the worker cannot be started: {ended.why}"
            raise CodetetherError(why, "see `codetether plugins doctor`") from None
        except trio.TooSlowError:
            await self.end()
            raise CodetetherError("the worker did not start in time") from None
        except BaseException:
            await self.end()
            raise

    async def _start(self, meanwhile: Callable[[], Awaitable[None]] | None) -> Child:
        self._mapped.check()
        launch = self._launch()
        self._child = child = await Child.start(
            launch.argv,
            env=launch.env,
            cwd=launch.cwd,
            pass_fds=[*launch.pass_fds, *self._mapped.files],
        )
        if meanwhile is not None:
            await meanwhile()
        await child.receive(_Line)  # it is ready: mapped, in the sandbox
        document = {
            "parts": [(*part[:4], self.kinds.get(part.name, "")) for part in self._mapped.parts],
            "written": [*self._state.written.values()],
            "values": self._state.values,
            "limits": msgspec.to_builtins(self._limits),
        }
        await child.send(document)
        self._greeted = False  # it imports what it needs meanwhile: nobody waits for that yet
        return child

    def _launch(self) -> Launch:
        """How the child is started: it may read its interpreter, and write nothing."""
        package = str(Path(__file__).parent)
        plan = {
            "files": list(zip(self._mapped.files, self._mapped.sizes, strict=True)),
            "memory": self._limits.memory_bytes,
            "filter": self._filter,
            "package": package,
        }
        python = os.path.realpath(sys.executable)
        argv = (python, "-I", "-S", f"{package}/inside/serve.py", marshal.dumps(plan).hex())
        env = {name: value for name, value in clean_env().items() if name in KEPT}
        policy = SandboxPolicy(
            writable=(),
            hidden=(str(self._kernel.dirs.data),),
            # A virtual environment's own copy of Python is not below the base, and finds that by its cfg.
            readable=(
                *(*SYSTEM, sys.base_prefix, str(sys.base_exec_prefix), package),
                *(python, os.path.join(sys.prefix, "pyvenv.cfg")),
            ),
        )
        return self._kernel.sandbox().wrap(Launch(argv, "/", env), policy)

    async def exchange(self, request: dict[str, Any], seconds: float, serve: Serve) -> msgspec.Raw:
        """Send a request, serve what the child asks meanwhile, and return the line of its answer. What sub-calls wait for is no time of it.

        Raises ChildEnded, Overdue, ValidationError of msgspec, CodetetherError, and what `serve` raises. However it fails, the
        child is ended.
        """
        try:
            child = await self.alive()
            self._number += 1
            left = seconds
            with trio.move_on_after(START_SECONDS):
                await child.send({**request, "id": self._number})
                await self._greet(child)
            if not self._greeted:
                raise Overdue
            while True:
                began = trio.current_time()
                line: msgspec.Raw | None = None
                with trio.move_on_after(max(left, 0)):
                    line = await child.receive(msgspec.Raw)
                left -= trio.current_time() - began
                if line is None:
                    raise Overdue
                about = msgspec.json.decode(line, type=_Line)
                if not about.ask:
                    return line
                began = trio.current_time()
                answer = {**await serve(about.ask, line), "answer": about.number}
                with trio.move_on_after(TAKE_SECONDS) as taking:
                    await child.send(answer)
                if taking.cancelled_caught:
                    raise ChildEnded("it does not take what it asked for")
                left -= trio.current_time() - began - answer.get("free", 0.0)
        except BaseException:
            await self.end()
            raise

    async def _greet(self, child: Child) -> None:
        if self._greeted:
            return
        greeting = await child.receive(_Greeting)
        self._greeted = True
        if lost := [*self._state.lost(), *greeting.lost]:
            self.told = f"started again without {named(lost)}"

    def failed(self) -> None:
        """It ended in the middle of something: there is a limit to how often it is started again."""
        self._ends += 1

    async def end(self) -> None:
        """End the child and wait until it is gone."""
        if self._child is not None:
            child, self._child = self._child, None
            await child.aclose()


def _filter() -> bytes:
    from codetether_confinement import alone_filter

    try:
        return alone_filter()
    except ValueError:
        return b""  # the facts then say that Python is not run


def compile_inside() -> None:
    """Compile what the child imports, where that is not done: it may not write, and would do it at every start."""
    from importlib.util import cache_from_source

    folder = Path(__file__).parent
    for file in (*folder.glob("inside/*.py"), folder / "chunking.py"):
        cached = Path(cache_from_source(str(file)))
        try:
            if not cached.exists() or cached.stat().st_mtime < file.stat().st_mtime:
                import py_compile

                py_compile.compile(str(file), quiet=2)
        except OSError:
            return  # installed where we may not write

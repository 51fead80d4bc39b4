"""The worker process as its owner sees it: commands and cells in, outcomes out, and it is there again when it ended."""

from __future__ import annotations

import marshal
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import trio
from codetether.api import CodetetherError, Launch, SandboxPolicy, clean, clean_env
from codetether_wire.child import Child, ChildEnded

from codetether_rlm.finding import Wanted, find
from codetether_rlm.limits import Limits, Outcome, Query, Reply
from codetether_rlm.mapping import Mapped, facts_of, mapped
from codetether_rlm.sources import Source

if TYPE_CHECKING:
    from codetether.api import Kernel

__all__ = ["Ask", "Limits", "Outcome", "Query", "Reply", "Worker", "worker"]

Ask = Callable[[list[Query]], Awaitable[list[Reply]]]
"""Answers sub-calls: as many replies as queries, in their order. Failure is a reply with an error."""

GRACE = 5.0  # seconds a cell may take to end after it was interrupted
START_SECONDS = 30.0
RANGES_SECONDS = 60.0
LINES_NOW = 16 << 20  # bytes of sources whose lines are counted at the start
KEPT = ("PATH", "LANG", "TZ", "LD_LIBRARY_PATH")
# Where programs and their libraries are; with the interpreter's own folders all that a cell may read.
SYSTEM = ("/usr", "/lib", "/lib64", "/lib32", "/etc/ld.so.cache", "/etc/localtime", "/nix/store")
MOST = 2_000  # ranges kept of one source


class _Kept(msgspec.Struct):
    values: dict[str, str] = {}
    gone: list[str] = []
    unsaved: list[str] | None = None
    written: list[tuple[str, str]] = []


class _Done(msgspec.Struct):
    done: int
    output: str
    truncated: bool
    final: str | None
    error: str | None
    ranges: list[tuple[str, int, int]]
    bytes: list[tuple[str, int, int]]
    queries: int
    failed: int
    kept: _Kept | None


class _Queries(msgspec.Struct):
    number: int
    queries: list[Query]


class _Ranges(msgspec.Struct):
    ranges: list[tuple[str, int, int]]


class _Overdue(Exception):
    """It took longer than it may, and did not stop when interrupted."""


class Worker:
    """One confined process over the sources. One cell or command at a time; others wait their turn.

    `facts`: `sources` (each name, bytes, kind, confidence, why), `bytes`, `kind`, `confidence`, `why`, `lines` (None when
    not counted yet), `skipped` (why sources were left out), `python` (whether cells can be run), `sandbox` (its level).
    """

    def __init__(self, kernel: Kernel, sources: Mapped, query: Ask, limits: Limits) -> None:
        self._kernel = kernel
        self._mapped = sources
        self._query = query
        self._limits = limits
        self._child: Child | None = None
        self._turn = trio.Lock()
        self._number = 0
        self._restarts = 0
        self._values: dict[str, str] = {}
        self._written: dict[str, str] = {}
        self._unsaved: list[str] = []
        self._told = ""
        self._pending: list[tuple[str, int, int]] = []
        self._ranges: dict[str, list[tuple[int, int]]] = {}
        self._filter = b""
        self.facts: dict[str, Any] = {}

    # --- what an owner asks ---
    async def command(self, line: str) -> Outcome:
        """Run text commands, one or several lines (docs/rlm.md). Raises CodetetherError when no worker can be started."""
        return await self._run("command", line)

    async def python(self, cell: str) -> Outcome:
        """Run a cell of Python. Its variables stay for the next one, whatever becomes of it.

        Raises CodetetherError when no worker can be started. Where nothing confines it, the outcome is an error.
        """
        if not self.facts["python"]:
            return Outcome(
                "", error="Python is not run here: no sandbox confines it. Use the text commands"
            )
        return await self._run("python", cell)

    async def ranges(self) -> list[tuple[str, int, int]]:
        """(source, first line, last line) of everything that was shown so far, sorted and joined.

        Line numbers that were not known are counted now: half a second for each gigabyte.
        """
        if self._pending:
            async with self._turn:
                pending, self._pending = self._pending, []
                try:
                    line = await self._exchange({"do": "ranges", "bytes": pending}, RANGES_SECONDS)
                    self._saw(msgspec.convert(line, _Ranges, strict=False).ranges)
                except (ChildEnded, _Overdue, msgspec.ValidationError):
                    await self._end()  # these lines stay unknown
        return [(name, *each) for name in self._order() for each in self._ranges.get(name, ())]

    # --- one cell ---
    async def _run(self, what: str, text: str) -> Outcome:
        async with self._turn:
            began = trio.current_time()
            self._waited = 0.0
            try:
                line = await self._exchange(
                    {"do": what, "text": text}, self._limits.cell_seconds + GRACE
                )
                done = msgspec.convert(line, _Done, strict=False)
            except ChildEnded as ended:
                outcome = Outcome("", error=await self._lost(f"the worker ended: {ended.why}"))
            except msgspec.ValidationError:
                outcome = Outcome(
                    "", error=await self._lost("the worker said what cannot be understood")
                )
            except _Overdue:
                limit = self._limits.cell_seconds
                outcome = Outcome(
                    "", error=await self._lost(f"killed after {limit:g} s: it did not stop")
                )
            else:
                outcome = self._outcome(done)
            outcome.seconds = round(trio.current_time() - began - self._waited, 3)
            return outcome

    def _outcome(self, done: _Done) -> Outcome:
        self._keep(done.kept)
        limit = self._limits.output_bytes
        text, cut = _cut(self._clean(done.output), limit)
        error = done.error
        if self._told:
            error = f"{self._told}; {error}" if error else None
            text = text if error else f"[{self._told}]\n{text}"
            self._told = ""
        ranges = self._saw(done.ranges)
        sizes = {part.name: part.size for part in self._mapped.parts}
        good = [(n, a, b) for n, a, b in done.bytes if n in sizes and 0 <= a <= b <= sizes[n]]
        self._pending = [*self._pending, *good][:MOST]
        final = None if done.final is None else self._clean(done.final)
        error = None if error is None else self._clean(error)
        return Outcome(
            text,
            final,
            error,
            done.truncated or cut,
            ranges,
            queries=done.queries,
            failed=done.failed,
        )

    def _clean(self, text: str) -> str:
        return self._kernel.redact.text(clean(text))

    def _order(self) -> list[str]:
        return [part.name for part in self._mapped.parts]

    def _saw(self, ranges: list[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
        """Keep what the worker says of known sources: its word, not more, since a cell can say anything."""
        from codetether_rlm.inside.texts import merged

        known = set(self._order())
        good = [(n, a, b) for n, a, b in ranges[: 2 * MOST] if n in known and 1 <= a <= b]
        for name in {name for name, _, _ in good}:
            new = [(first, last) for each, first, last in good if each == name]
            self._ranges[name] = merged([*self._ranges.get(name, []), *new], MOST)
        return good

    # --- state ---
    def _keep(self, kept: _Kept | None) -> None:
        if kept is None or kept.unsaved is None:
            return  # nothing new was pickled in time: what was kept before is still good
        for name in kept.gone:
            self._values.pop(name, None)
        self._values.update(kept.values)
        for name, text in kept.written:
            self._written.pop(name, None)
            self._written[name] = text
        self._unsaved = kept.unsaved[:100]
        room = 4 * self._limits.snapshot_bytes
        if sum(map(len, self._values.values())) + sum(map(len, self._written.values())) > room:
            self._unsaved = [*self._values][:100]  # more than an honest worker sends
            self._values = {}

    async def _lost(self, why: str) -> str:
        """What the model is told of an end: why, and which variables are gone. The next cell starts a new process."""
        await self._end()
        self._restarts += 1
        kept = (
            f"kept: {', '.join(sorted(self._values)[:20])}"
            if self._values
            else "no variables were kept"
        )
        lost = f"; lost: {', '.join(self._unsaved[:20])}" if self._unsaved else ""
        self._unsaved = []
        return self._clean(f"{why}. Its state is that before this cell; {kept}{lost}")

    # --- the process ---
    async def start(self) -> None:
        """Start it and learn the facts. Raises CodetetherError."""
        await self._kernel.settle_sandbox()
        self._filter = _filter()
        level = self._kernel.sandbox_level
        confined = level not in ("", "S0") and bool(self._filter)
        async with self._turn:
            await self._alive()
        self.facts["python"] = confined or self._limits.unconfined_python
        self.facts["sandbox"] = level

    async def _learn(self) -> None:
        self.facts.update(await trio.to_thread.run_sync(facts_of, self._mapped))
        self.facts["lines"] = None
        if self._mapped.size <= LINES_NOW:
            self.facts["lines"] = await trio.to_thread.run_sync(_lines, self._mapped)

    async def _alive(self) -> Child:
        """The child; a new one, with what was kept, when there is none. Raises CodetetherError."""
        if self._child is not None and not self._child.ended:
            return self._child
        if self._restarts > self._limits.restarts:
            raise CodetetherError(
                f"the worker ended {self._restarts} times; it is not started again"
            )
        await self._end()
        with trio.move_on_after(START_SECONDS):
            try:
                child = self._child = await self._start()
                return child
            except ChildEnded as ended:
                why = ended.why
            except BaseException:
                await self._end()
                raise
            raise CodetetherError(f"the worker cannot be started: {why}", "see `codetether doctor`")
        await self._end()
        raise CodetetherError("the worker did not start in time")

    async def _start(self) -> Child:
        self._mapped.check()
        launch = self._launch()
        files = self._mapped.files
        self._child = child = await Child.start(
            launch.argv, env=launch.env, cwd=launch.cwd, pass_fds=[*launch.pass_fds, *files]
        )
        if not self.facts:
            await self._learn()
        await child.receive()  # it is ready: mapped and confined
        kinds = {each["name"]: each.get("kind", "") for each in self.facts.get("sources", [])}
        parts = [
            (
                part.name,
                part.place,
                part.start,
                part.size,
                kinds.get(part.name) or self.facts.get("kind", ""),
            )
            for part in self._mapped.parts
        ]
        document = {"parts": parts, "written": [*self._written.values()], "values": self._values}
        await child.send({**document, "limits": msgspec.to_builtins(self._limits)})
        answer = await child.receive()
        lost = (
            [str(name)[:80] for name in answer.get("lost", [])] if isinstance(answer, dict) else []
        )
        if lost:
            self._told = f"the worker was started again; lost: {', '.join(lost[:20])}"
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
        serve = str(Path(__file__).with_name("inside") / "serve.py")
        python = os.path.realpath(sys.executable)
        argv = (python, "-I", "-S", serve, marshal.dumps(plan).hex())
        env = {name: value for name, value in clean_env().items() if name in KEPT}
        policy = SandboxPolicy(
            writable=(),
            hidden=(str(self._kernel.dirs.data),),
            readable=(
                *SYSTEM,
                sys.base_prefix,
                sys.base_exec_prefix,
                package,
            ),
        )
        return self._kernel.sandbox().wrap(Launch(argv, "/", env), policy)

    async def _exchange(self, request: dict[str, Any], seconds: float) -> Any:
        """Send a request, serve what the child asks meanwhile, and return its answer.

        Raises ChildEnded, _Overdue, CodetetherError. However it fails, the child is ended.
        """
        try:
            child = await self._alive()
            self._number += 1
            left = seconds
            await child.send({**request, "id": self._number})
            while True:
                began = trio.current_time()
                line: Any = None
                with trio.move_on_after(left):
                    line = await child.receive()
                left -= trio.current_time() - began
                if line is None:
                    raise _Overdue
                if not isinstance(line, dict):
                    raise ChildEnded("it said what cannot be understood")
                if "ask" not in line:
                    return line
                began = trio.current_time()
                await child.send({**await self._served(line), "answer": line.get("number")})
                if line["ask"] == "query":
                    self._waited += trio.current_time() - began
        except BaseException:
            await self._end()
            raise

    async def _served(self, line: dict[str, Any]) -> dict[str, Any]:
        """The answer to what the child asks."""
        if line["ask"] == "grep":
            wanted = msgspec.convert(line, Wanted, strict=False)
            found = await find(self._mapped, wanted)
            return {"error": found.error} if found.error else msgspec.to_builtins(found)
        queries = msgspec.convert(line, _Queries, strict=False).queries
        if (trouble := self._too_much(queries)) is not None:
            return {"error": trouble}
        replies = await self._query(queries)
        return {"replies": [(reply.text, reply.error) for reply in replies]}

    def _too_much(self, queries: list[Query]) -> str | None:
        if len(queries) > self._limits.queries:
            return f"{len(queries):,} sub-calls at once; at most {self._limits.queries:,}"
        for query in queries:
            size = len(query.prompt.encode()) + len(query.context.encode())
            if size > self._limits.query_bytes:
                return f"a sub-call of {size:,} bytes; at most {self._limits.query_bytes:,}: send a part"
        return None

    async def _end(self) -> None:
        if self._child is not None:
            child, self._child = self._child, None
            await child.aclose()

    async def aclose(self) -> None:
        """End the process and close the files."""
        await self._end()
        self._mapped.close()


@asynccontextmanager
async def worker(
    kernel: Kernel, sources: Sequence[Source], *, query: Ask, limits: Limits | None = None
) -> AsyncIterator[Worker]:
    """A worker over `sources`, ready to use, ended on leaving.

    `query` answers what cells ask sub-models; it is the place for budgets. Raises SourceError for sources that cannot be
    used, PluginError when no sandbox is installed, CodetetherError when the process cannot be started.
    """
    found = await mapped(sources, kernel.dirs.cache / "rlm")
    made = Worker(kernel, found, query, limits or Limits())
    try:
        await made.start()
        yield made
    finally:
        await made.aclose()


def _filter() -> bytes:
    from codetether_confinement import alone_filter

    try:
        return alone_filter()
    except ValueError:
        return b""  # the facts then say that Python is not run


def _lines(found: Mapped) -> int:
    total = 0
    for part in found.parts:
        data = found.read(part, 0, part.size)
        total += data.count(b"\n") + bool(data and not data.endswith(b"\n"))
    return total


def _cut(text: str, limit: int) -> tuple[str, bool]:
    """At most `limit` bytes: cleaning makes some characters longer."""
    data = text.encode()
    if len(data) <= limit + 100:  # the line that says what is missing may be beyond
        return text, False
    head, tail = data[: limit * 3 // 4], data[-limit // 4 :]
    missing = f"\n[... {len(data) - len(head) - len(tail):,} bytes left out ...]\n"
    return head.decode("utf-8", "ignore") + missing + tail.decode("utf-8", "ignore"), True

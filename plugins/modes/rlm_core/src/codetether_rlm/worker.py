"""The worker as its owner sees it: commands and cells in, outcomes out, and it is there again when it ended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import trio
from codetether.api import clean
from codetether_wire.child import ChildEnded

from codetether_rlm.counting import lines_of
from codetether_rlm.finding import Wanted, find
from codetether_rlm.inside.texts import ALL, MOST, merged
from codetether_rlm.limits import Limits, Outcome, Query, Reply
from codetether_rlm.mapping import Mapped, Part, facts_of, mapped
from codetether_rlm.process import Overdue, Process, compile_inside
from codetether_rlm.sources import Source
from codetether_rlm.state import Kept, State

if TYPE_CHECKING:
    from codetether.api import Kernel

__all__ = ["Ask", "Limits", "Outcome", "Query", "Reply", "Worker", "worker"]

Ask = Callable[[list[Query]], Awaitable[list[Reply]]]
"""Answers sub-calls: as many replies as queries, in their order. Failure is a reply with an error."""

GRACE = 5.0  # seconds a cell may take to end after it was interrupted

Range = tuple[str, int, int]


class _Done(msgspec.Struct):
    output: str
    truncated: bool
    final: str | None
    error: str | None
    ranges: list[Range]
    bytes: list[Range]
    queries: int
    failed: int
    kept: Kept | None


class _Asked(msgspec.Struct):
    prompt: str
    context: str = ""
    parts: list[Range] | None = None  # in place of a context: source, first byte, end


class _Queries(msgspec.Struct):
    queries: list[_Asked]


class Worker:
    """One confined process over the sources. One cell or command at a time; others wait their turn.

    `facts`: `sources` (each name, bytes, kind, confidence, why), `bytes`, `kind`, `confidence`, `why`, `lines` (None when
    not counted yet), `skipped` (why sources were left out), `odd` (those that are no text), `python` (whether cells can be run), `sandbox` (its level).
    """

    def __init__(
        self, kernel: Kernel, sources: Mapped, query: Ask, limits: Limits, kind: str
    ) -> None:
        self._kernel = kernel
        self._kind = kind
        self._mapped = sources
        self._query = query
        self._limits = limits
        self._state = State(limits.snapshot_bytes)
        self._process = Process(kernel, sources, limits, self._state)
        self._turn = trio.Lock()
        self._waited = 0.0
        self._pending: dict[
            str, list[tuple[int, int]]
        ] = {}  # bytes, of which the lines are not known
        self._ranges: dict[str, list[tuple[int, int]]] = {}
        self.facts: dict[str, Any] = {}

    async def start(self) -> None:
        """Start the process and learn the facts. Raises CodetetherError, PluginError without a sandbox."""
        await self._kernel.settle_sandbox()
        async with self._turn:
            await self._process.alive(self._learn)
        self.facts["python"] = self._process.confined or self._limits.unconfined_python
        self.facts["sandbox"] = self._kernel.sandbox_level

    async def _learn(self) -> None:
        self.facts.update(await trio.to_thread.run_sync(facts_of, self._mapped))
        if self._kind:
            self.facts |= {"kind": self._kind, "confidence": 1.0, "why": "somebody said so"}
        kind = self.facts["kind"]
        self._process.kinds = {
            each["name"]: self._kind or each.get("kind", kind) for each in self.facts["sources"]
        }
        await trio.to_thread.run_sync(compile_inside)

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

    @property
    def seen(self) -> list[Range]:
        """(source, first line, last line) of everything that was shown so far, in the sources' order, joined; as far as line
        numbers are known.
        """
        return [
            (part.name, *each)
            for part in self._mapped.parts
            for each in self._ranges.get(part.name, ())
        ]

    async def ranges(self) -> list[Range]:
        """`seen`, with all line numbers: those that are not known are counted now, half a second or more for each gigabyte. No
        process is needed for that.
        """
        for part in self._mapped.parts:
            if places := self._pending.get(part.name):
                lines = await trio.to_thread.run_sync(lines_of, self._mapped, part, places)
                del self._pending[part.name]
                self._saw([(part.name, *each) for each in lines])
        return self.seen

    async def aclose(self) -> None:
        """End the process and close the files."""
        try:
            await self._process.end()
        finally:
            self._mapped.close()

    # --- one cell ---
    async def _run(self, what: str, text: str) -> Outcome:
        async with self._turn:
            began = trio.current_time()
            self._waited = 0.0
            seconds = self._limits.cell_seconds + GRACE
            try:
                line = await self._process.exchange(
                    {"do": what, "text": text}, seconds, self._serve
                )
                outcome = self._outcome(msgspec.json.decode(line, type=_Done, strict=False))
            except ChildEnded as ended:
                outcome = await self._ended(f"the worker ended: {ended.why}")
            except (msgspec.MsgspecError, UnicodeDecodeError):
                outcome = await self._ended("the worker said what cannot be understood")
            except Overdue:
                outcome = await self._ended(
                    f"killed after {seconds:g} s: it did not stop when told to"
                )
            outcome.seconds = round(trio.current_time() - began - self._waited, 3)
            return outcome

    async def _ended(self, why: str) -> Outcome:
        """What the model is told of an end. The next cell starts a new process."""
        await self._process.end()
        self._process.failed()
        told = f"{why}. The next cell has the variables of before this one; {self._state.told()}"
        return Outcome("", error=self._clean(told), ended=True)

    def _outcome(self, done: _Done) -> Outcome:
        self._state.keep(done.kept)
        text, cut = _cut(self._clean(done.output), self._limits.output_bytes)
        if self._process.told:
            text = f"[{self._clean(self._process.told)}]\n{text}"
            self._process.told = ""
        sizes = {part.name: part.size for part in self._mapped.parts}
        known = [
            (n, a, b) for n, a, b in done.bytes[:ALL] if n in sizes and 0 <= a <= b <= sizes[n]
        ]
        for name, places in _by_source(known).items():
            self._pending[name] = merged([*self._pending.get(name, ()), *places], MOST)
        return Outcome(
            text,
            None if done.final is None else self._clean(done.final),
            None if done.error is None else self._clean(done.error),
            done.truncated or cut,
            self._saw(done.ranges),
            queries=done.queries,
            failed=done.failed,
        )

    def _clean(self, text: str) -> str:
        return self._kernel.redact.text(clean(text))

    def _saw(self, ranges: list[Range]) -> list[Range]:
        """Keep what the worker says of known sources: its word, not more, since a cell can say anything."""
        known = {part.name for part in self._mapped.parts}
        good = [(n, a, b) for n, a, b in ranges[:ALL] if n in known and 1 <= a <= b]
        for name, new in _by_source(good).items():
            self._ranges[name] = merged([*self._ranges.get(name, []), *new], MOST)
        return good

    # --- what it asks meanwhile ---
    async def _serve(self, ask: str, line: msgspec.Raw) -> dict[str, Any]:
        if ask == "grep":
            wanted = msgspec.json.decode(line, type=Wanted, strict=False)
            return msgspec.structs.asdict(await find(self._mapped, wanted))
        asked = msgspec.json.decode(line, type=_Queries, strict=False).queries
        if (trouble := self._too_much(asked)) is not None:
            return {"error": trouble}
        queries = await trio.to_thread.run_sync(self._read, asked)
        began = trio.current_time()
        replies = await self._query(queries)
        waited = trio.current_time() - began
        self._waited += waited
        return {"replies": [(reply.text, reply.error) for reply in replies], "free": waited}

    def _too_much(self, queries: list[_Asked]) -> str | None:
        if len(queries) > self._limits.queries:
            return f"{len(queries):,} sub-calls at once; at most {self._limits.queries:,}"
        total = 0
        for query in queries:
            about = len(query.context.encode()) + sum(
                max(0, b - a) for _, a, b in query.parts or ()
            )
            size = len(query.prompt.encode()) + about
            if size > self._limits.query_bytes:
                return f"a sub-call of {size:,} bytes; at most {self._limits.query_bytes:,}: send a part"
            total += size
        if total > self._limits.batch_bytes:
            return f"sub-calls of {total:,} bytes at once; at most {self._limits.batch_bytes:,}: ask fewer"
        return None

    def _read(self, asked: list[_Asked]) -> list[Query]:
        """The queries, with what they are about read from the sources."""
        known = {part.name: part for part in self._mapped.parts}
        queries = []
        for each in asked:
            parts = [part for part in each.parts or () if part[0] in known]
            texts = [self._text(known[name], start, end) for name, start, end in parts]
            if len(parts) > 1:
                texts = [
                    f"=== {part[0]} ===\n{text}" for part, text in zip(parts, texts, strict=True)
                ]
            queries.append(Query(each.prompt, "\n".join(texts) if each.parts else each.context))
        return queries

    def _text(self, part: Part, start: int, end: int) -> str:
        start = max(0, start)
        return self._mapped.read(part, start, max(0, end - start)).decode("utf-8", "replace")


@asynccontextmanager
async def worker(
    kernel: Kernel,
    sources: Sequence[Source],
    *,
    query: Ask,
    limits: Limits | None = None,
    kind: str = "",
) -> AsyncIterator[Worker]:
    """A worker over `sources`, ready to use, ended on leaving.

    `query` answers what cells ask sub-models; it is the place for budgets. `kind`: what all sources are, when that is
    known; else it is found out. Raises SourceError for sources that cannot be
    used, PluginError when no sandbox is installed, CodetetherError when the process cannot be started.
    """
    found = await mapped(sources, kernel.dirs.cache / "rlm")
    made = Worker(kernel, found, query, limits or Limits(), kind)
    try:
        await made.start()
        yield made
    finally:
        await made.aclose()


def _by_source(ranges: Sequence[Range]) -> dict[str, list[tuple[int, int]]]:
    found: dict[str, list[tuple[int, int]]] = {}
    for name, first, last in ranges:
        found.setdefault(name, []).append((first, last))
    return found


def _cut(text: str, limit: int) -> tuple[str, bool]:
    """At most `limit` bytes, and the line that says what is missing."""
    data = text.encode()
    if len(data) <= limit + 100:  # the worker's own such line
        return text, False
    head, tail = data[: limit * 3 // 4], data[-limit // 4 :]
    missing = f"\n[... {len(data) - len(head) - len(tail):,} bytes left out ...]\n"
    return head.decode("utf-8", "ignore") + missing + tail.decode("utf-8", "ignore"), True

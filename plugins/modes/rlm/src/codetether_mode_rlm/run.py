"""One run: the models, the texts, what it may spend, and whoever is told what happens. The loops share it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
from codetether.api import (
    CodetetherError,
    InterruptedByUser,
    Message,
    Request,
    Text,
    Usage,
    UsageError,
)
from codetether_live import Board

from codetether_mode_rlm import texts
from codetether_mode_rlm.asking import Line, Said, ask, input_tokens, tokens_of
from codetether_mode_rlm.budget import Budget, BudgetOver, Hold, expected
from codetether_mode_rlm.direct import parts
from codetether_mode_rlm.events import (
    RlmEvent,
    RlmFinished,
    RlmNotice,
    RlmStarted,
    RlmStep,
    RlmSubcall,
)
from codetether_mode_rlm.loop import CUT, Ended, Loop
from codetether_mode_rlm.options import Options
from codetether_mode_rlm.reading import Step
from codetether_mode_rlm.report import Outcome, outcome, step_lines

if TYPE_CHECKING:
    from codetether.api import Kernel, Session
    from codetether_rlm.mapping import Mapped
    from codetether_rlm.sources import Source

Tell = Callable[[RlmEvent], Awaitable[None]]
DEEP = 4  # pieces looked through at one time, each by a worker of its own
NAMED = 200  # sources told by name
AGAIN = frozenset({"incomplete", "timeout", "network", "overloaded", "rate_limit"})
ATTEMPTS = 2
LAST_SECONDS = 2.0
BARE = "no sandbox confines the worker: Python is refused, and the model has the commands only"
COUNT_SECONDS = 5.0  # for the numbers of lines, which take half a second or more for each gigabyte
PATIENT = 6  # times as long when nothing cut it short
UNCOUNTED = "more was read, of which the line numbers could not be counted in time"
APART = 0.001  # seconds from the beginning of one call to that of the next


def spool_of(kernel: Kernel) -> Path:
    """Where what is not in a file yet is kept, in files without a name."""
    return kernel.dirs.cache / "rlm"


def new_id() -> str:
    """A name for a run: when it began, and something of its own."""
    return f"rlm-{time.strftime('%m%d-%H%M')}-{secrets.token_hex(2)}"


class Run:
    """Answers one query about `sources`. `settings`: those of the mode; `session`: whose calls its calls are, None for a person's
    own run; `listener` is told every event.
    """

    def __init__(
        self,
        kernel: Kernel,
        options: Options,
        sources: Sequence[Source],
        *,
        settings: Any,
        session: Session | None = None,
    ) -> None:
        self.kernel = kernel
        self.session = session
        self.options = options
        self.sources = list(sources)
        self.settings = settings
        self.id = new_id()
        self.mark = secrets.token_hex(4)
        self.board = Board(f"rlm {options.query}")
        self.budget = Budget(options.budget_tokens, options.budget_usd, options.max_subcalls)
        self.limiter = trio.CapacityLimiter(options.concurrency)
        self.root: Line
        self.sub: Line
        self.facts: dict[str, Any] = {}
        self.kind = ""
        self.confidence = 0.0
        self.whole: list[tuple[str, int, int]] = []
        self.why = ""
        self.failed_subcalls = 0
        self.model_seconds = 0.0
        self._deep = trio.CapacityLimiter(DEEP)
        self._loops: list[Loop] = []  # those at work
        self._main: Loop | None = None
        self.listener: Tell | None = None
        self.verbose = False
        self._scope = trio.CancelScope()
        self._stopped = ""
        self.began = trio.current_time()
        self._subcalls_ended = 0
        self._next = 0.0
        self._uncounted = False

    # --- facts ---
    @property
    def size(self) -> int:
        """Bytes of all sources."""
        return int(self.facts["bytes"])

    @property
    def _given(self) -> str:
        """The kind of text a person says it is, or ""."""
        return "" if self.options.content_type == "auto" else self.options.content_type

    @property
    def iterations(self) -> int:
        """Replies of the model asked first."""
        return self._main.iterations if self._main is not None else int(bool(self.budget.total))

    @property
    def ranges(self) -> list[tuple[str, int, int]]:
        """What was read of the sources."""
        return self._main.ranges if self._main is not None else self.whole

    def spare(self, besides: Loop | None = None) -> Hold:
        """What the loops at work, `besides` one, need to end with an answer: other calls must leave that much."""
        total = Hold()
        for loop in self._loops:
            if loop is not besides:
                total = total.plus(loop.spare)
        return total

    # --- the whole ---
    async def go(self) -> Outcome:
        """The outcome, whatever happened on the way. Raises CodetetherError when it cannot begin."""
        if self.options.timeout is not None:
            self._scope.deadline = self.began + self.options.timeout
        ended, settled = None, False
        with self._scope:
            await self._settle()
            settled = True
            ended = await self._answered()
        ended = ended or self._cut_off()
        if not settled:
            raise (InterruptedByUser if self._stopped else CodetetherError)(ended.why)
        answer = ended.answer or (self._main.partial() if self._main is not None else "")
        elapsed = trio.current_time() - self.began
        done = outcome(self, answer=answer, how=ended.how, why=ended.why, elapsed=elapsed)
        with trio.move_on_after(LAST_SECONDS, shield=True):
            if self._uncounted:
                await self.tell(RlmNotice("warning", UNCOUNTED))
            await self.tell(RlmFinished(done.complete, done.data))
        return done

    def stop(self, why: str) -> None:
        """Stop in order, with what there is."""
        self._stopped = why
        self._scope.cancel()

    def _cut_off(self) -> Ended:
        how = "interrupted" if self._stopped else "timeout"
        why = self._stopped or f"took longer than {self.options.timeout:g} s"
        for key, row in self.board.rows.items():
            if key == "root" or row.state == "running":
                self.board.enter(key, "failed", why)
        return Ended("", how, why)

    async def _settle(self) -> None:
        options, settings = self.options, self.settings
        if not options.query.strip():
            raise UsageError("the query is empty")
        self.root = Line(*await self.kernel.resolve_model(options.model or settings.model or None))
        sub = options.sub_model or settings.sub_model
        self.sub = Line(*await self.kernel.resolve_model(sub)) if sub else self.root
        if options.budget_usd is not None:
            for line in (self.root, self.sub):
                if not line.model.priced:
                    raise UsageError(f"a budget in dollars is set, and the price of {line.ref} is unknown", "use --budget-tokens, or give the price in your settings")  # fmt: skip

    async def _answered(self) -> Ended:
        from codetether_rlm.mapping import mapped

        found = await mapped(self.sources, spool_of(self.kernel))
        try:
            await self._look(found)
            if self._direct:
                text, whole = await trio.to_thread.run_sync(parts, found, self.mark)
        finally:
            found.close()
        return await (self._sent_whole(text, whole) if self._direct else self._explored())

    async def _look(self, found: Mapped) -> None:
        """What there is, and whether it is small; told."""
        from codetether_rlm.mapping import facts_of

        self.facts = await trio.to_thread.run_sync(facts_of, found)
        if not self.size:
            raise UsageError("there is nothing to read: all of it is empty")
        self.kind = self._given or self.facts["kind"]
        self.confidence = 1.0 if self._given else self.facts["confidence"]
        tokens, share = tokens_of(self.size), self.options.small_share
        self._direct = tokens <= int(self.root.window * share)
        assumed = "assumed " if self.root.model.context is None else ""
        done = "Sent whole" if self._direct else "Looked through piece by piece"
        fits = "fit" if self._direct else "do not fit"
        self.why = (
            f"{done}: about {tokens:,} tokens {fits} {share:.0%} of the model's window"
            f" ({assumed}{self.root.window:,} tokens)."
        )
        sources = tuple(
            {"name": each["name"], "bytes": each["bytes"]} for each in self.facts["sources"][:NAMED]
        )
        await self.tell(
            RlmStarted(
                self.id, self.options.query, self.root.ref, self.sub.ref, sources, len(found.parts), self.size,
                self.kind, self.confidence, self._direct, self.why,
            )
        )  # fmt: skip
        for why in self.facts["skipped"]:
            await self.tell(RlmNotice("warning", f"left out: {why}"))
        for name in self.facts["odd"]:
            await self.tell(RlmNotice("warning", f"{name} is no text: its bytes are looked at"))

    # --- small ---
    async def _sent_whole(self, given: str, whole: list[tuple[str, int, int]]) -> Ended:
        text = self.redact(f"{self.options.query}\n\n{given}")
        request = Request(
            model=self.root.model.id,
            messages=(Message("user", (Text(text),)),),
            system=texts.filled("subcall", mark=self.mark),
            max_output=self.options.max_tokens or None,
        )
        self.board.add("root", "the model")
        self.board.enter("root", "running", "reading all of it")
        try:
            said = await self.ask(self.root, lambda: request)
        except BudgetOver as over:
            said = Said("", error=over.message, kind="budget")
        answer = self.redact(said.text.strip())
        if not answer and not said.error:
            said = said._replace(error=CUT if said.cut else "an empty answer")
        self.board.enter("root", "failed" if said.error else "done", said.error)
        if said.kind == "budget":
            return Ended("", "budget", said.error)
        if said.kind == "context":  # its window is smaller than was known
            self.why = f"Looked through piece by piece: {self.root.ref} does not take it whole."
            await self.tell(RlmNotice("warning", self.why))
            return await self._explored()
        if said.error:
            return Ended("", "error", f"{self.root.ref}: {said.error}")
        self.whole = whole
        return Ended(answer, "error", CUT) if said.cut else Ended(answer, "direct")

    # --- large ---
    async def _explored(self) -> Ended:
        self.board.add("root", "the model")
        self.board.add("sub", "sub-calls")
        self._main = Loop(self, self.root, self.options.query)
        ended = await self._by(self._main, self.sources, self._given)
        good = ended.how == "final"
        self.board.enter("root", "done" if good else "failed", ended.why)
        if self.budget.subcalls_made:
            self.board.enter("sub", "done", f"{self.budget.subcalls_made} asked")
        else:
            self.board.enter("sub", "skipped", "none was asked")
        return ended

    async def _by(self, loop: Loop, sources: Sequence[Source], kind: str = "") -> Ended:
        """Explore `sources` by `loop`, in a worker of its own. `kind`: what kind of text a person says it is, or ""."""
        from codetether_rlm.worker import worker

        self._loops.append(loop)
        try:
            async with worker(self.kernel, sources, query=loop.subcalls.answer, kind=kind) as held:
                if not held.facts["python"] and loop.depth == 1:
                    await self.tell(RlmNotice("warning", BARE))
                seconds = COUNT_SECONDS
                try:
                    ended = await loop.explore(held, texts.about(held.facts))
                    seconds *= PATIENT
                    return ended
                finally:  # also when it was cut short: what it found so far is given
                    with trio.move_on_after(seconds, shield=True) as counting:
                        await held.ranges()
                    loop.ranges = held.seen
                    self._uncounted = loop.depth == 1 and counting.cancelled_caught
        except CodetetherError as error:
            return Ended("", "error", f"{error.message}{'; ' if error.hint else ''}{error.hint}")
        finally:
            self._loops.remove(loop)

    async def deeper(self, prompt: str, context: str) -> Said:
        """A sub-call whose piece is too large for the sub-model, looked through as the whole is."""
        from codetether_rlm.sources import Source

        async with self._deep:
            loop = Loop(self, self.sub, prompt, depth=2)
            piece = Source("piece", data=context.encode("utf-8", "replace"))
            ended = await self._by(loop, [piece])
        if ended.how == "final":
            return Said(ended.answer, loop.spent)
        return Said(ended.answer or loop.partial(), loop.spent, error=ended.why)

    # --- a call ---
    async def ask(
        self,
        line: Line,
        request: Callable[[], Request],
        *,
        spare: Callable[[], Hold] = Hold,
        row: str = "root",
    ) -> Said:
        """One model call, within the budget, at most so many side by side; once more when the trouble may pass. `spare`:
        so much must be left after it; `row` of the board has it. Raises BudgetOver; then nothing was asked.

        The request is made when it is its turn: hundreds of large ones take their time and their room.
        """
        said, taken = Said(""), Usage()
        for _ in range(ATTEMPTS):
            async with self.limiter:
                await self._apart()
                said = await self._ask(line, request(), spare(), row)
            taken += said.usage
            if said.kind not in AGAIN:
                break
        return said._replace(usage=taken)

    async def _apart(self) -> None:
        """Let calls begin a moment one after another. Each has some milliseconds to do before it waits for its vendor; side by
        side they would take turns at that, and the first would be sent only when the last is ready.
        """
        at = max(self._next, trio.current_time())
        self._next = at + APART
        await trio.sleep_until(at)

    async def _ask(self, line: Line, request: Request, spare: Hold, row: str) -> Said:
        tokens = input_tokens(request.system, request.messages)
        held = await self.budget.hold(expected(line.model, tokens), spare=spare)
        usage, began = Usage(), trio.current_time()
        try:
            if self.session is not None:
                await self.session.spending(self.id, line.ref)
            usage = Usage(tokens, cost=line.model.price(Usage(tokens)))  # if cancelled: it was sent
            said = await ask(self.kernel, line, request)
            usage = said.usage
        finally:
            self.model_seconds += trio.current_time() - began
            self.budget.settle(held, usage)
            self.board.spent(row, usage, steps=1)
            if self.session is not None and usage != Usage():
                await self.session.spent(usage, self.id, line.ref)
        return said

    # --- telling ---
    async def tell(self, event: RlmEvent) -> None:
        """Tell the one who watches, and the board."""
        if isinstance(event, RlmSubcall):
            self.failed_subcalls += not event.ok
            self._subcalls_ended += 1
            at = f"{self._subcalls_ended} of {self.budget.subcalls_made}"
            self.board.doing("sub", f"{at}, at most {self.budget.subcalls}: {event.prompt}")
            if event.error:
                self.board.say(f"sub-call {event.number} failed: {event.error}", brief=True)
        elif isinstance(event, RlmStep):
            for line in step_lines(event) if self.verbose else ():
                self.board.say(line)
            if not self.verbose:
                failed = "" if event.ok else f": failed, {event.output}"
                self.board.say(f"[{event.iteration}] {event.code}{failed}", brief=True)
        elif isinstance(event, RlmStarted):
            self.board.say(event.why)
        elif isinstance(event, RlmNotice):
            self.board.say(event.text)
        if self.listener is not None:
            await self.listener(event)

    def thinking(self, loop: Loop) -> None:
        """A loop asks its model."""
        if loop.depth == 1:
            self.board.enter("root", "running", f"thinking, reply {loop.iterations}")

    def asking(self) -> None:
        """A sub-call begins."""
        if self.board.rows["sub"].state == "waiting":
            self.board.enter("sub", "running")

    def looking(self, loop: Loop, step: Step) -> None:
        """A loop has its worker do a step."""
        if loop.depth == 1:
            self.board.doing("root", step.text)

    def redact(self, text: str) -> str:
        """`text` without secrets."""
        return self.kernel.redact.text(text)

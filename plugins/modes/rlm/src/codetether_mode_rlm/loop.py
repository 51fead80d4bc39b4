"""The loop: the model says what to look at, the worker looks, the model is told, until it answers or may not go on."""

from __future__ import annotations

import hashlib
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from codetether.api import Message, Request, Text, Usage

from codetether_mode_rlm import texts
from codetether_mode_rlm.asking import PER_TOKEN, Line, Said, input_tokens, tokens_of
from codetether_mode_rlm.budget import BudgetOver, Hold, expected
from codetether_mode_rlm.events import RlmNotice, RlmStep
from codetether_mode_rlm.reading import Step, read
from codetether_mode_rlm.subcalls import Subcalls

if TYPE_CHECKING:
    from codetether_rlm.limits import Outcome
    from codetether_rlm.worker import Worker

    from codetether_mode_rlm.run import Run

SHOWN = 16_000  # characters of one reply's outputs that the model is told
LEAST = 500  # of these, however little the budget leaves
AROUND = 200  # tokens of what frames an output, and of the last word
FULL = 0.6  # of the window: then the oldest outputs are left out
SILENT = 2  # replies in a row that ask for nothing
SAME = 3  # the same reply with the same outcome
FAILED = 6  # replies in a row whose every step failed
KEPT = 4_000  # characters of a partial answer's findings
FINDINGS = 50  # the last ones, of which a partial answer is made
EVENT = 2_000
ENDED = "the worker ended in the middle of a step; it is started again for the next one"
CUT = "the answer was cut at the limit of a reply"
LEFT_OUT = "[output left out to save room]"


class Ended(NamedTuple):
    """How an exploration ended: `how` is final, budget, iterations, no_progress or error; `why` one line unless final."""

    answer: str
    how: str
    why: str = ""


class Loop:
    """One exploration of one worker's sources by one model. `depth`: 1 for the whole, 2 for a piece of it.

    `spent`: what its calls and those of its sub-calls took. `ranges`: what was read, as source, first and last line, once it is over. `findings`: the outputs worth keeping when there is no answer.
    """

    def __init__(self, run: Run, line: Line, query: str, depth: int = 1) -> None:
        self.run = run
        self.line = line
        self.query = query
        self.depth = depth
        self.iterations = 0
        self.spent = Usage()
        self.ranges: list[tuple[str, int, int]] = []
        self.findings: deque[str] = deque(maxlen=FINDINGS)
        self.subcalls = Subcalls(run, self)
        self._messages: list[Message] = []
        self._system = ""
        self._room = int(line.window * FULL)
        self._seen: list[str] = []
        self._silent = 0
        self._failed = 0

    # --- the whole ---
    async def explore(self, worker: Worker, about: str) -> Ended:
        """Until there is an answer, or none can be had. `about`: what the model is told of the sources first."""
        options = self.run.options
        self._system = texts.filled("system", mark=self.run.mark)
        self._say(texts.filled("begin", query=self.query, about=about, limits=self._limits()))
        for self.iterations in range(1, options.max_iterations + 1):
            last = self._last_word()
            try:
                said = await self._ask(last)
            except BudgetOver as over:
                return Ended("", "budget", over.message)
            if said.error:
                return Ended("", "error", f"{self.line.ref}: {said.error}")
            ended = await self._step(worker, said, last=bool(last))
            if ended is not None:
                return ended
        return Ended("", "iterations", f"{options.max_iterations} iterations brought no answer")

    @property
    def spare(self) -> Hold:
        """What one more call of this loop's model takes: sub-calls must leave that much."""
        return self._next_call(0)

    def _next_call(self, size: int) -> Hold:
        """What the next call takes when it tells `size` characters of output."""
        told = tokens_of(size) + AROUND
        return expected(self.line.model, input_tokens(self._system, self._messages) + told)

    async def _step(self, worker: Worker, said: Said, *, last: bool) -> Ended | None:
        if said.text.strip():  # vendors refuse an empty one
            self._messages.append(Message("assistant", (Text(said.text),)))
        found = read(said.text)
        if not found.steps or (said.cut and not last):
            return self._nothing_done(said, found.prose)
        self._silent = 0
        outcomes: list[Outcome] = []
        for step in found.steps:
            outcome = await self._do(worker, step)
            outcomes.append(outcome)
            if outcome.final is not None and outcome.final.strip():
                answer = self.run.redact(outcome.final.strip())
                return Ended(answer, "error", CUT) if said.cut else Ended(answer, "final")
            if outcome.error:
                break  # what comes after it was written for what did not happen
        told = self._told(outcomes, found.asked)
        if found.prose:
            self.findings.append(found.prose)
        self.findings += [outcome.output for outcome in outcomes if outcome.output.strip()]
        if stuck := self._stuck(said.text, told, outcomes):
            return Ended("", "no_progress", stuck)
        self._say(f"{told}\n\n{self._limits()}")
        return None

    async def _do(self, worker: Worker, step: Step) -> Outcome:
        self.run.looking(self, step)
        outcome = await (
            worker.python(step.text) if step.kind == "python" else worker.command(step.text)
        )
        output = self.run.redact(outcome.output if not outcome.error else outcome.error)
        event = RlmStep(
            self.iterations, step.kind, texts.cut(step.text, EVENT), texts.cut(output, EVENT),
            not outcome.error, round(outcome.seconds, 3),
        )  # fmt: skip
        await self.run.tell(event)
        if outcome.ended:
            await self.run.tell(RlmNotice("warning", ENDED))
        return outcome

    # --- the model ---
    async def _ask(self, last_word: str) -> Said:
        said = Said("")
        for _ in range(2):
            self._make_room()
            self.run.thinking(self)
            said = await self.run.ask(
                self.line,
                lambda: self._request(last_word),
                spare=lambda: self.run.spare(besides=self),
                row="root" if self.depth == 1 else "sub",
            )
            self.spent += said.usage
            if said.kind != "context":
                break
            self._room //= 2  # the window is smaller than was known
        return said

    def _request(self, last_word: str) -> Request:
        messages = list(self._messages)
        if last_word:
            messages.append(Message("user", (Text(last_word),)))
        return Request(
            model=self.line.model.id,
            messages=_joined(messages),
            system=self._system,
            max_output=self.run.options.max_tokens or None,
            cache_key=f"{self.run.id}-{self.depth}",
        )

    def _last_word(self) -> str:
        """What the model is told when this is its last reply, "" when it is not."""
        if self.iterations == self.run.options.max_iterations:
            return texts.filled("last", why="this is the last reply you have")
        one = self.spare
        if why := self.run.budget.over(one.plus(one).plus(one).plus(self.run.spare(besides=self))):
            return texts.filled("last", why=why)
        return ""

    def _say(self, text: str) -> None:
        self._messages.append(Message("user", (Text(text),)))

    def _limits(self) -> str:
        options, budget = self.run.options, self.run.budget
        left = options.max_iterations - self.iterations
        calls = budget.subcalls - budget.subcalls_made
        return f"[left: {left} replies, {calls} sub-calls]"

    def _told(self, outcomes: list[Outcome], steps: int) -> str:
        room = min(SHOWN, int(self.line.window * PER_TOKEN * 0.15))
        while room > LEAST and self.run.budget.over(self._next_call(room)):
            room //= 2  # the next call has to fit the budget
        parts = []
        for number, outcome in enumerate(outcomes, 1):
            share = room // (len(outcomes) - number + 1)  # what one leaves is for those after it
            output = texts.cut(self.run.redact(outcome.output).strip(), share)
            room -= min(len(output), share)
            parts.append(texts.data("output", self.run.mark, output or "(no output)"))
            if outcome.truncated:
                parts.append("[the output was longer: ask for less at once]")
            if outcome.error:
                parts.append(f"[failed: {texts.cut(self.run.redact(outcome.error), 2_000)}]")
        if left_out := steps - len(outcomes):
            parts.append(f"[{left_out} steps after it were not done]")
        return "\n".join(parts)

    def _make_room(self) -> None:
        """Leave the oldest outputs out while the conversation fills too much of the window."""
        for at in range(2, len(self._messages) - 2):
            if input_tokens(self._system, self._messages) <= self._room:
                return
            message = self._messages[at]
            if message.role == "user":
                self._messages[at] = Message("user", (Text(LEFT_OUT),))

    # --- going nowhere ---
    def _nothing_done(self, said: Said, prose: str) -> Ended | None:
        if prose:
            self.findings.append(prose)
        self._silent += 1
        if self._silent >= SILENT:
            why = "the model's replies were cut" if said.cut else "the model asked for nothing"
            return Ended("", "no_progress", f"{why} {self._silent} times in a row")
        name = "cut" if said.cut else "silent"
        self._say(f"{texts.filled(name)}\n\n{self._limits()}")
        return None

    def _stuck(self, reply: str, told: str, outcomes: list[Outcome]) -> str:
        digest = hashlib.sha256(f"{reply.strip()}\0{told}".encode("utf-8", "replace")).hexdigest()
        self._seen.append(digest)
        if self._seen[-SAME:] == [digest] * SAME:
            return f"the model asked for the same {SAME} times and got the same"
        self._failed = self._failed + 1 if all(each.error for each in outcomes) else 0
        if self._failed >= FAILED:
            return f"{self._failed} replies in a row failed"
        return ""

    def partial(self) -> str:
        """What there is to say without an answer: the last findings, shortened."""
        kept: list[str] = []
        room = KEPT
        for text in reversed(self.findings):
            if room < 200:
                break
            piece = texts.cut(self.run.redact(text).strip(), room)
            kept.append(piece)
            room -= len(piece)
        return "\n\n".join(reversed(kept))


def _joined(messages: list[Message]) -> tuple[Message, ...]:
    """Neighbours of one role as one message: vendors want turns."""
    done: list[Message] = []
    for message in messages:
        if done and done[-1].role == message.role:
            done[-1] = Message(message.role, (Text(f"{done[-1].text}\n\n{message.text}"),))
        else:
            done.append(message)
    return tuple(done)

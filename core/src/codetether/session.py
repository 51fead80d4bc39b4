"""A session: one transcript and its settings, and what a turn needs at hand."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from codetether import context
from codetether.agents import READ_ONLY
from codetether.errors import CodetetherError
from codetether.events import (
    Answered,
    Asked,
    Notice,
    Retrying,
    SessionEvent,
    SessionStarted,
    Spending,
    Spent,
    TextDelta,
    ThoughtDelta,
    ToolProgress,
    TurnFinished,
)
from codetether.feed import Feed
from codetether.sendable import Sendable
from codetether.spill import redact_file
from codetether.words import (
    Agent,
    Answer,
    Effect,
    Image,
    Message,
    ModelInfo,
    Question,
    Text,
    ToolCall,
    Usage,
)

if TYPE_CHECKING:
    from codetether.kernel import Kernel
    from codetether.permit import Decision, Permissions
    from codetether.ports import Provider, Tool
    from codetether.process import Completed
    from codetether.toolbox import Toolbox
    from codetether.transcript import Transcript
    from codetether.workspace import Workspace

DELTAS = (TextDelta, ThoughtDelta, ToolProgress, Retrying)
TOOL_SECONDS = 120.0
TELL_SECONDS = 2.0
_EVERYTHING = frozenset(Effect)


class Session:
    """One conversation. Made by `Kernel.open_session`, which fills it; a mode or a UI talks to it.

    `messages` is the whole conversation, `context` what is sent of it (shorter after a compaction).
    """

    toolbox: Toolbox
    DEEPEST = 2
    system: str = ""
    overhead: int = 0
    instructions: Sequence[Path] = ()
    selected: Sequence[str] = ("*",)  # of its agent's tools, as it was opened
    started: SessionStarted
    started_by: str = ""

    def __init__(
        self,
        kernel: Kernel,
        transcript: Transcript,
        workspace: Workspace,
        permissions: Permissions,
        *,
        agent: Agent,
        provider: Provider,
        model: ModelInfo,
        access: str,
        messages: Sequence[Message] = (),
        sent: Sequence[Message] = (),
        usage: Usage | None = None,
        max_steps: int | None = None,
        budget_usd: float | None = None,
        auto_compact: bool = True,
        interactive: bool = False,
        within: frozenset[Effect] | None = None,
        depth: int = 0,
        parent: Session | None = None,
        planning: str = "",
    ) -> None:
        self.kernel = kernel
        self.transcript = transcript
        self.workspace = workspace
        self.permissions = permissions
        self.agent = agent
        self.provider = provider
        self.model = model
        self.access = access
        self.messages = list(messages)
        self.context = list(sent)
        self.sendable = Sendable()
        self._size = context.Size()
        self.usage = usage or Usage()
        self.turn_usage = Usage()  # of the turn that runs, or ran last
        self.max_steps = max_steps or agent.max_steps
        self.budget_usd = budget_usd
        self.auto_compact = auto_compact
        self.interactive = interactive
        self.depth = depth
        self.planning = planning
        self._within = _EVERYTHING if within is None else within
        self._parent = parent
        self.feed = Feed()
        self.state: dict[str, Any] = {}
        self.turn_scope: trio.CancelScope | None = None
        self.turns = sum(1 for message in messages if message.role == "user")
        self.compaction_failures = 0
        self.calls = kernel.host.calls
        self.host = kernel.host
        self._asking = trio.Lock()
        self._ids = itertools.count()
        self._id_prefix = os.urandom(5).hex()
        self._turning = False
        self._begun = False
        self._news: list[str] = []
        self.sent_on: set[str] = set()  # by codetether.outgoing
        self._goes_on = False
        self._beside: trio.Nursery | None = None

    @property
    def id(self) -> str:
        """The session's id, as `--session` takes it."""
        return self.transcript.id

    @property
    def directory(self) -> Path:
        """The root of the workspace."""
        return self.workspace.root

    @property
    def files(self) -> Path:
        """Where this session's side files go: long outputs, to-dos. Readable by file tools."""
        return self.transcript.files

    @property
    def model_ref(self) -> str:
        """The model as a person writes it: `provider/id`."""
        return f"{self.provider.name}/{self.model.id}"

    # --- what it may do ---
    @property
    def reach(self) -> frozenset[Effect]:
        """What tools may do here when it does not plan: what the agent may, within what its starter may now."""
        effects = self.agent.effects & self._within
        if self._parent is not None:
            effects &= self._parent.effects
        return effects if self.depth < self.DEEPEST else effects - {Effect.AGENT}

    @property
    def effects(self) -> frozenset[Effect]:
        """What tools may do here now: while it plans, look only."""
        return self.reach & READ_ONLY if self.planning else self.reach

    def why_not(self, effect: Effect) -> str:
        """Why `effect` is not among `effects`, for the model and the person."""
        if effect not in self.agent.effects:
            return f"the agent {self.agent.name} may not {effect}"
        if self.planning:
            return f"planning is read-only, it may not {effect} until the plan is approved"
        return f"a sub-agent may not {effect} where the one that started it may not"

    def plan(self, goal: str) -> None:
        """Only look from now on, to plan `goal`; with an empty goal that ends. It holds when the session is resumed."""
        self.transcript.append_setting(planning=goal)
        self.planning = goal

    def use_access(self, access: str) -> None:
        """Another access mode from the next call on, by word of the person. Raises UsageError."""
        from codetether.opening import access_mode

        self.access = access_mode(access)
        self.transcript.append_setting(access=access)

    async def compact(self) -> None:
        """Shorten what is sent of the conversation now, between two turns. Raises CodetetherError when it cannot be."""
        if self._turning:
            raise RuntimeError("a turn of this session is running")
        self._turning = True
        try:
            if not await context.shorten(self):
                self.compaction_failures = 0  # a person's wish is no attempt to save a turn
                await self.emit(Notice("info", "the conversation is as short as it can be made"))
        finally:
            self._turning = False

    @property
    def parent(self) -> Session | None:
        """The session whose sub-agent this one is, while both live."""
        return self._parent

    def new_id(self, kind: str) -> str:
        """An id that no other process and no earlier run of this session has given."""
        return f"{kind}_{self._id_prefix}{next(self._ids):x}"

    def redact(self, text: str) -> str:
        """`text` without any secret known to this process."""
        return self.kernel.redact.text(text)

    # --- a turn ---
    async def prompt(
        self, text: str, images: Sequence[Image] = (), schema: dict[str, Any] | None = None
    ) -> TurnFinished:
        """Take one user message to the final answer. One turn at a time."""
        from codetether.loop import Turn

        if self._turning:
            raise RuntimeError("a turn of this session is running")
        self._turning = True
        try:
            self.turns += 1
            self.turn_usage = Usage()
            await self.begin()
            return await Turn(self, schema).run(text, images)
        finally:
            self._turning = False

    def cancel(self) -> None:
        """Stop the running turn; what was said is kept and every call gets a result."""
        if self.turn_scope is not None:
            self.turn_scope.cancel()

    # --- telling ---
    async def begin(self) -> None:
        """Announce the session to those who listen now; the first prompt does it when nobody did before."""
        if not self._begun:
            self._begun = True
            await self.emit(self.started)

    def tell(self, text: str, *, go_on: bool = False) -> None:
        """Have the model read `text` before it is asked again, as a message of the user's side. With `go_on` a turn
        that is about to end goes on with it (see codetether_around_turn).
        """
        self._news.append(text)
        self._goes_on |= go_on

    def moved(self, url: str, to: str) -> None:
        """A network tool was sent on from `url` to the address `to`: it holds no more of the model's own than `url` did."""
        from codetether.outgoing import moved

        moved(self, url, to)

    def goes_on(self) -> bool:
        """Whether the turn goes on though the model was done; asked once, by the loop."""
        goes_on, self._goes_on = self._goes_on, False
        return goes_on

    async def hear(self) -> None:
        """Put what was told into the conversation; the loop does it before it asks the model."""
        news, self._news = self._news, []
        if news:
            await self.add(Message("user", (Text("\n\n".join(news)),), id=self.new_id("msg")))

    def beside(self, work: Callable[[], Awaitable[object]]) -> None:
        """Do `work` beside the turns; it is cancelled, and waited for, when the session ends. A failure is a fault."""
        if self._beside is None:
            raise RuntimeError("this session is not open")
        self._beside.start_soon(self._guarded, work)

    async def _guarded(self, work: Callable[[], Awaitable[object]]) -> None:
        try:
            await work()
        except Exception as error:
            self.host.fault("kernel", "beside", error)

    @asynccontextmanager
    async def company(self) -> AsyncIterator[None]:
        """What is done beside the turns lives in here; opening a session holds it open. An error comes out as it is."""
        failure: BaseException | None = None
        try:
            async with trio.open_nursery() as nursery:
                self._beside = nursery
                try:
                    yield
                except BaseException as error:
                    failure = error
                self._beside = None
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup:
            if failure is None:
                raise
        if failure is not None:
            raise failure

    async def emit(self, event: SessionEvent) -> None:
        """Tell the listeners, and the plugins that observe (deltas go to listeners only)."""
        while self.kernel.notices:
            await self.feed.publish(self._masked(self.kernel.notices.pop(0)))
        await self.feed.publish(self._masked(event) if isinstance(event, Notice) else event)
        if not isinstance(event, DELTAS) and self.calls.has("codetether_observe"):
            await self.calls.notify("codetether_observe", event=event, session=self)

    def _masked(self, notice: Notice) -> Notice:
        return Notice(notice.level, self.redact(notice.text), self.redact(notice.hint))

    async def add(self, message: Message) -> None:
        """Append to the conversation: to the transcript first."""
        self.transcript.append_message(message)
        self.messages.append(message)
        self.context.append(message)

    async def compacted(self, messages: Sequence[Message] | None) -> None:
        """Send `messages` from now on instead of the context so far."""
        if messages is not None:
            self.transcript.append_compaction(list(messages), upto=self.messages[-1].id)
            self.context = list(messages)
            self.toolbox.nested.forget()

    async def sync(self) -> None:
        """Wait until the transcript is on the disk itself: before a tool acts, and at the end of a turn."""
        await trio.to_thread.run_sync(self.transcript.sync)

    def context_tokens(self) -> int:
        """Tokens the next request will hold, counted or estimated."""
        return context.in_use(self.context, self.overhead, self._size)

    def priced(self, message: Message) -> Message:
        """`message` with its cost filled in, added to the session's usage."""
        if message.usage is None:
            return message
        usage = self._with_cost(message.usage)
        self._add(usage)
        return msgspec.structs.replace(message, usage=usage)

    async def spending(self, why: str, model: str = "") -> None:
        """Say that a model call which leaves no message is about to be made; `spent` is told when it is over. `model`: as
        `provider/id`, "" for the session's own. Who watches what is spent may cancel the session here.
        """
        await self.emit(Spending(why, model or self.model_ref))

    async def spent(
        self, usage: Usage | None, why: str, model: str = "", *, told: bool = False
    ) -> None:
        """Count model calls that leave no message, such as one that writes a summary. `told`: sessions of sub-agents here
        have told of each already. It is counted, and told of, even when this is cancelled.
        """
        if usage is None:
            return
        if not model:
            model, usage = self.model_ref, self._with_cost(usage)
        self._add(usage)
        self.transcript.append_usage(usage, why, model)
        with trio.move_on_after(TELL_SECONDS, shield=True):
            await self.emit(Spent(why, model, usage, told))

    def _add(self, usage: Usage) -> None:
        self.usage += usage
        self.turn_usage += usage

    def _with_cost(self, usage: Usage) -> Usage:
        if usage.cost is not None:
            return usage
        return msgspec.structs.replace(usage, cost=self.model.price(usage))

    # --- asking ---
    async def ask(self, question: Question) -> Answer | None:
        """Ask a person, one question at a time; None when nobody can be asked."""
        async with self._asking:
            await self.emit(Asked(question))
            answer: Answer | None = await self.calls.first(
                "codetether_ask", question=question, session=self
            )
            await self.emit(Answered(question.id, answer or Answer("", "nobody was there to ask")))
            return answer

    async def ask_permission(
        self, call: ToolCall, tool: Tool[Any], params: Any, decision: Decision, diff: str
    ) -> Answer | None:
        """Ask whether a call may run, and remember what was granted."""
        async with self._asking:
            again = self.permissions.decide(call, tool, params, self)
            if again.verdict < decision.verdict and again.verdict == 0:
                return Answer(
                    "once"
                )  # granted for the session while this call waited its turn to ask
        question = self.permissions.question_for(
            self.new_id("ask"), call, tool, params, decision, diff, self
        )
        answer = await self.ask(question)
        if answer is not None:
            try:
                self.permissions.grant(answer, call, tool, params, self)
            except CodetetherError as error:
                await self.emit(Notice("warning", error.message, error.hint))
        return answer

    # --- processes ---
    async def run_process(self, argv: Sequence[str], **how: Any) -> Completed:
        """Run a child in the workspace, inside the sandbox. `how` as for process.run_process; `cwd` is the
        workspace's root and `timeout` 120 s unless given; `network` false asks the sandbox for none.
        """
        how.setdefault("timeout", TOOL_SECONDS)
        done = await self.kernel.run_process(argv, directory=self.directory, **how)
        if done.spilled is not None:
            await trio.to_thread.run_sync(redact_file, done.spilled, self.redact)
        return done

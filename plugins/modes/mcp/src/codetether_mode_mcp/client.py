"""One client: its session, the calls it makes in it, and the transcript of them."""

from __future__ import annotations

import secrets
import sys
from typing import TYPE_CHECKING

import msgspec
import trio
from codetether.api import (
    CodetetherError,
    DeniedError,
    Effect,
    Message,
    Notice,
    Text,
    ToolCall,
    ToolProgress,
    ToolResult,
    clean,
    told,
)

from codetether_mode_mcp.call import CURRENT, Ask, Call, Done, Report
from codetether_mode_mcp.lanes import Lanes

if TYPE_CHECKING:
    from codetether.api import Listener, Question, Session

SIDE_BY_SIDE = 8
MOST_CALLS = 64  # running and waiting; more are refused at once
PROGRESS = 4_000  # characters of a report
ROOM = 10_000  # events that may wait while the client does not read
CANCELLED = "Cancelled before it finished."
LOOKS = frozenset({Effect.READ, Effect.NETWORK, Effect.AGENT})


class TooMany(CodetetherError):
    """The client has as many calls open as it may."""


class Client:
    """A session whose calls come from outside. `run` keeps it going; its calls end with it."""

    def __init__(self, session: Session, asking: float) -> None:
        self.session = session
        self.used = trio.current_time()
        self.leaving = trio.Event()
        self._asking = asking
        self._lanes = Lanes(SIDE_BY_SIDE)
        self._open: dict[str, Call] = {}
        self._asked: dict[str, tuple[Call, Question]] = {}
        self._nursery: trio.Nursery | None = None
        self._met = False

    @property
    def busy(self) -> bool:
        """Whether a call is open."""
        return bool(self._open)

    async def run(self, idle: float, task_status: trio.TaskStatus[Client]) -> None:
        """Until `leaving`, or unused for `idle` seconds; open calls are cancelled then."""
        with self.session.feed.listen(ROOM) as events:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._hear, events)
                await self.session.begin()
                task_status.started(self)
                while not self.leaving.is_set():
                    rest = self.used + idle - trio.current_time()
                    if rest <= 0 and not self.busy:
                        break
                    with trio.move_on_after(max(rest, 1.0)):
                        await self.leaving.wait()
                self._nursery = None
                nursery.cancel_scope.cancel()

    async def meet(self, who: str) -> None:
        """Write down, once, who calls: the transcript begins with it."""
        self.used = trio.current_time()
        if not self._met:
            self._met = True
            text = f"{who} calls the tools of this workspace over MCP."
            await self.session.add(Message("user", (Text(text),), id=self.session.new_id("msg")))

    # --- calls ---
    def begin(
        self, name: str, arguments: dict[str, object], report: Report, ask: Ask | None
    ) -> Call:
        """Start a call. Raises CodetetherError: TooMany, or the session has ended meanwhile."""
        if self._nursery is None:
            raise CodetetherError("the session has ended", "call again")
        if len(self._open) >= MOST_CALLS:
            raise TooMany(f"{MOST_CALLS} calls are open already", "wait for some of them to end")
        wanted = ToolCall(
            self.session.new_id("call"), name, msgspec.json.encode(arguments).decode()
        )
        call = Call(wanted, report, ask, self._asking)
        self._open[wanted.id] = call
        self._nursery.start_soon(self._run, call)
        return call

    def ask_by_retry(self, call: Call, question: Question) -> str:
        """A word with which the client comes back with the answer to `question`, that `call` waits for."""
        word = secrets.token_urlsafe(24)
        self._asked[word] = call, question
        return word

    def asked(self, word: str) -> tuple[Call, Question] | None:
        """The call that waits for the answer which comes with `word`, and its question; a word is good once."""
        return self._asked.pop(word, None)

    async def _run(self, call: Call) -> None:
        done = None
        CURRENT.set(call)
        try:
            with call.scope:
                tool = self.session.toolbox.find(call.call.name)
                alone = tool is not None and (tool.alone or tool.effect not in LOOKS)
                async with self._lanes.lane(alone=alone):
                    if alone or (tool is not None and tool.effect is Effect.AGENT):
                        self.session.turns += 1  # what is counted by turns is counted by calls here
                    done = await self._recorded(call.call, alone=alone)
        except Exception as error:  # a fault costs this call, not the server
            self.session.host.fault("modes:mcp", "call", error)
            text = self.session.redact(f"{call.call.name} failed: {told(error)}")
            done = Done(ToolResult(call.call.id, call.call.name, text, ok=False))
        finally:
            self._open.pop(call.call.id, None)
            for word in [word for word, (other, _) in self._asked.items() if other is call]:
                del self._asked[word]
            self.used = trio.current_time()
            call.end(done)

    async def _recorded(self, call: ToolCall, *, alone: bool) -> Done:
        """Run the call between its two records: it is on disk before it acts, and it has a result whatever happens."""
        session = self.session
        name = session.toolbox.canonical(call.name)
        result = ToolResult(call.id, name, CANCELLED, ok=False, meta={"not_run": True})
        self._write(Message("assistant", (call,), id=session.new_id("msg")))
        try:
            if alone:
                await session.sync()
                result = await self._as_turn(call)
            else:
                result = await session.toolbox.one(call)
        finally:
            self._write(Message("tool", (result,), id=session.new_id("msg")))
        session.toolbox.denials.clear()
        return Done(result, await self._news())

    async def _as_turn(self, call: ToolCall) -> ToolResult:
        """A call that acts is a turn of its own, for those who watch turns: so it can be undone."""
        session = self.session
        try:
            async with session.calls.around("codetether_around_turn", session=session):
                return await session.toolbox.one(call)
        except DeniedError as refused:
            name = session.toolbox.canonical(call.name)
            text = f"Denied: {refused.message}"
            return ToolResult(call.id, name, text, ok=False, meta={"denied": True})
        finally:
            session.goes_on()

    def _write(self, message: Message) -> None:
        # Not kept in memory as well: nothing is sent to a model, and a client may call for weeks.
        self.session.transcript.append_message(message)

    async def _news(self) -> str:
        """What was told to the model meanwhile, such as the end of a command in the background."""
        messages = self.session.messages
        before = len(messages)
        await self.session.hear()
        return self.session.redact("\n\n".join(message.text for message in messages[before:]))

    async def _hear(self, events: Listener) -> None:
        """Pass on progress to who called, and notices to who reads standard error."""
        async for event in events:
            if isinstance(event, ToolProgress) and event.call_id in self._open:
                await self._open[event.call_id].report(clean(event.text)[-PROGRESS:])
            elif isinstance(event, Notice):
                hint = f"\n  {event.hint}" if event.hint else ""
                text = self.session.redact(f"codetether: {event.text}{hint}")
                print(clean(text), file=sys.stderr, flush=True)

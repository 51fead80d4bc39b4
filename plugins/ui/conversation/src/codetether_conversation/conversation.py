"""The conversation: the session at hand, what waits to be said, the commands, and the way from one session to the next.

It owns no screen. An interface gives it `tell` and calls `act`; both run in trio. `tell` may wait: what it holds up is
this conversation's own channel, never the agent, whose feed joins deltas and drops a listener that stands still.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import trio
from codetether.api import (
    Answer,
    Answered,
    CodetetherError,
    Compacted,
    Image,
    Notice,
    Question,
    SessionFinished,
    SessionStarted,
    StepFinished,
    TurnFinished,
    TurnStarted,
    head,
    told,
)

from codetether_conversation.modes import ModeRun
from codetether_conversation.place import Files, dirty
from codetether_conversation.words import (
    Act,
    Asking,
    Choose,
    Leave,
    Left,
    Opened,
    Reply,
    Returned,
    Rewind,
    Settled,
    Shown,
    Speak,
    Standing,
    Stop,
    Told,
)

if TYPE_CHECKING:
    from codetether.api import Kernel, Session, SessionEvent

ROOM = 10_000  # events an interface may be behind
TOLD_SECONDS = 5.0  # an interface may take to be told how a turn ended
WAITING = 100  # messages that may wait for a turn


class Start(msgspec.Struct, frozen=True):
    """How a session is to be opened; empty values as for `Kernel.open_session`. `draft`: words for the input;
    `undone`: a diff of what was taken back in files on the way there."""

    model: str | None = None
    agent: str = ""
    access: str = ""
    resume: str | None = None
    fork: bool = False
    draft: str = ""
    undone: str = ""


class _Message(msgspec.Struct, frozen=True):
    text: str
    images: tuple[Image, ...] = ()


class Conversation:
    """One person's work in one directory. `run` lives until they leave; everything else is called meanwhile."""

    def __init__(
        self,
        kernel: Kernel,
        directory: Path,
        tell: Callable[[Told], Awaitable[None]],
        *,
        interface: str,
        start: Start | None = None,
    ) -> None:
        self.kernel = kernel
        self.directory = directory
        self.interface = interface
        self.files = Files(directory)
        self.models: dict[str, list[str]] = {}  # by provider, once it was asked: for completion
        self.session: Session | None = None
        self.mode: ModeRun | None = None
        self.busy = False
        self.closed = trio.Event()  # nothing is told any more
        self.last = ""  # the id of the session last open
        self.said_anything = False
        self._tell = tell
        self._next: Start | None = start or Start()
        self._waiting: deque[_Message] = deque()
        self._early: deque[_Message] = deque()  # said while a session opens: for it
        self._opening = True
        self._wake = trio.Event()
        self._quiet = trio.Event()
        self._ended = trio.Event()  # the end of the turn was told
        self._change: trio.CancelScope | None = None
        self._questions: dict[str, tuple[trio.Event, list[Answer]]] = {}
        self._context: tuple[int | None, int | None] = (None, None)
        self._dirty: int | None = None
        self._nursery: trio.Nursery | None = None

    # --- from the beginning to the end ---
    async def run(self) -> None:
        """Open sessions one after another until the person leaves."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                while (start := self._next) is not None:
                    self._next = Start()
                    await self._one(start)
                nursery.cancel_scope.cancel()
            await self._tell(Left())
        finally:
            self.closed.set()

    async def _one(self, start: Start) -> None:
        """One session, until another is wanted."""
        with trio.CancelScope() as self._change:
            try:
                async with self.kernel.open_session(
                    directory=self.directory,
                    model=start.model,
                    agent=start.agent,
                    access=start.access,
                    resume=start.resume,
                    fork=start.fork,
                    interactive=True,
                ) as session:
                    self.session = session
                    await self._serve(session, start)
            except CodetetherError as error:
                self.session = None
                await self.show(error.message, kind="error", hint=error.hint)
                await self._hear_early()
                await self.refresh()
                self._quiet.set()
                await trio.sleep_forever()  # a command opens another, or the person leaves
            finally:
                self.session = None
                self.busy = False

    async def _serve(self, session: Session, start: Start) -> None:
        self._context = (None, session.model.context)
        self.last, self.said_anything = session.id, bool(session.messages)
        with session.feed.listen(ROOM) as feed:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._relay, feed)
                title = session.transcript.title
                await self._tell(Opened(session.id, title, tuple(session.messages), start.draft))
                await session.begin()
                if start.undone:
                    await self.show(start.undone, title="taken back in files", kind="diff")
                await self.refresh()
                await self._hear_early()
                await self._turns(session)

    async def _hear_early(self) -> None:
        """Take what was said while the session opened, in order."""
        self._opening = False
        while self._early and not self._opening:  # a command may open another
            early = self._early.popleft()
            await self.act(Speak(early.text, early.images))

    async def _relay(self, feed: trio.abc.ReceiveChannel[SessionEvent]) -> None:
        async for event in feed:
            if isinstance(event, Answered | SessionFinished):
                continue
            await self._tell(event)
            if isinstance(event, StepFinished):
                self._context = (event.context, event.window)
            if isinstance(event, Compacted):
                self._context = (event.after, self._context[1])
            if isinstance(event, StepFinished | Compacted | SessionStarted | TurnStarted):
                await self.stand()
            if isinstance(event, TurnFinished):
                self._ended.set()
                await self.refresh()
        notice = "this interface was too slow and was left behind"
        await self._tell(Notice("error", notice, "/resume shows the session again"))

    async def _turns(self, session: Session) -> None:
        while True:
            while not self._waiting:
                self._wake = trio.Event()
                self._quiet.set()
                await self._wake.wait()
            message = self._waiting.popleft()
            self.busy = True
            try:
                await self.stand()
                await self._turn(session, message)
            except CodetetherError as error:
                await self.show(error.message, kind="error", hint=error.hint)
            finally:
                self.busy = False
            await self.stand()

    async def _turn(self, session: Session, message: _Message) -> None:
        from codetether_headless import CUT, add_mentions

        material = await add_mentions(self.directory, message.text)
        for note in material.notes:
            await self._tell(Notice("warning", note))
        self.said_anything = True
        self._ended = trio.Event()
        session.state[CUT] = material.cut
        await session.prompt(material.text, (*message.images, *material.images))
        with trio.move_on_after(TOLD_SECONDS):
            await self._ended.wait()

    # --- what the interface calls ---
    async def act(self, act: Act) -> None:
        """What the person did. Returns at once, but for commands that answer quickly; errors are shown, not raised."""
        try:
            await self._act(act)
        except CodetetherError as error:
            await self.show(error.message, kind="error", hint=error.hint)
        except Exception as error:
            self.kernel.host.fault(f"ui:{self.interface}", "command", error)
            await self.show(f"that failed: {told(error)}", kind="error")

    async def _act(self, act: Act) -> None:
        match act:
            case Speak(text, images):
                await self.speak(text, images)
            case Stop():
                await self.stop()
            case Reply(question, answer):
                self._answer(question, answer)
            case Choose(about, key):
                from codetether_conversation.pick import chosen

                await chosen(self, about, key)
            case Rewind(message, files):
                from codetether_conversation.rewind import rewind

                await rewind(self, message, with_files=files)
            case Leave():
                self.leave()

    async def speak(self, text: str, images: Sequence[Image] = ()) -> None:
        """Take a line or a message: run it as a command, or let the model have it when its turn comes."""
        from codetether_conversation.slash import is_command, run_command

        if not text.strip() and not images:
            return
        if self._opening and len(self._early) < WAITING:
            self._early.append(_Message(text, tuple(images)))
            await self.stand()
            return
        if is_command(text):
            await run_command(self, text)
            return
        if self.session is None:
            await self.show(
                "there is no session, so nobody reads this",
                kind="error",
                hint="/model chooses a model, /new opens a session",
            )
            await self._tell(Returned(text))
            return
        if len(self._waiting) >= WAITING:
            await self.show("too many messages wait", kind="error", hint="wait, or stop the turn")
            await self._tell(Returned(text))
            return
        self._quiet = trio.Event()
        self._waiting.append(_Message(text, tuple(images)))
        self._wake.set()
        if self.busy:
            await self.stand()

    async def stop(self) -> None:
        """Stop the turn; what waits goes back to the input. With no turn, stop the mode."""
        if self.busy and self.session is not None:
            self.session.cancel()
            await self._give_back(self._waiting)
        elif self._early:
            await self._give_back(self._early)
        elif self.mode is not None:
            self.mode.stop()

    async def _give_back(self, waiting: deque[_Message]) -> None:
        if texts := [message.text for message in waiting]:
            waiting.clear()
            await self._tell(Returned("\n\n".join(texts)))
            await self.stand()

    @property
    def leaving(self) -> bool:
        """Whether the person has left and no session follows."""
        return self._next is None

    def leave(self) -> None:
        """End `run` when the session is closed."""
        self.open(None)

    def open(self, start: Start | None) -> None:
        """Leave this session for another one; None: for none. A running turn is stopped and kept."""
        self._next = start
        self._opening = start is not None
        self._quiet = trio.Event()
        self._waiting.clear()
        if self.session is not None and self.busy:
            self.session.cancel()
        if self._change is not None:
            self._change.cancel()

    def reopen(self, **changes: str) -> None:
        """The same session again, with another agent or model."""
        if self.session is not None:
            self.open(msgspec.structs.replace(Start(resume=self.session.id), **changes))

    async def quiet(self) -> None:
        """Wait until no turn runs and nothing waits for one, in a session that is open or could not be opened."""
        while not self._quiet.is_set():
            await self._quiet.wait()

    # --- questions ---
    async def ask(self, question: Question) -> Answer | None:
        """Ask the person; for the hook `codetether_ask` of the interface."""
        answered: tuple[trio.Event, list[Answer]] = (trio.Event(), [])
        self._questions[question.id] = answered
        await self._tell(Asking(question))
        try:
            await answered[0].wait()
            return answered[1][0]
        finally:
            self._questions.pop(question.id, None)
            with trio.move_on_after(1, shield=True):
                await self._tell(Settled(question.id))

    def _answer(self, question: str, answer: Answer) -> None:
        if waiting := self._questions.get(question):
            waiting[1].append(answer)
            waiting[0].set()

    # --- telling ---
    async def tell(self, what: Told) -> None:
        """Tell the interface."""
        await self._tell(what)

    async def show(self, text: str, title: str = "", kind: str = "text", hint: str = "") -> None:
        """Show a person something that is no part of the session."""
        shown = Shown(self.kernel.redact.text(text), title, kind, hint)  # type: ignore[arg-type]
        await self._tell(shown)

    async def refresh(self) -> None:
        """Look at the repository again, and tell how things stand."""
        self.files.forget()
        self._dirty = await dirty(self.directory)
        await self.stand()
        from codetether_conversation.pick import around

        await self._tell(await around(self))

    async def stand(self) -> None:
        """Tell how things stand."""
        await self._tell(self.standing())

    def standing(self) -> Standing:
        """How things stand now."""
        git = head(self.directory)
        plain = Standing(
            str(self.directory),
            branch=git.branch or git.commit[:8] if git is not None else None,
            dirty=self._dirty,
            agents=tuple(self.kernel.agents(self.directory)),
            busy=self.busy,
            waiting=tuple(message.text for message in (*self._early, *self._waiting)),
        )
        session = self.session
        if session is None:
            return plain
        context, window = self._context
        return msgspec.structs.replace(
            plain,
            session=session.id,
            title=session.transcript.title,
            model=session.model_ref,
            agent=session.agent.name,
            access=session.access,
            sandbox=self.kernel.sandbox_level,
            usage=session.usage,
            context=context if context is not None else session.context_tokens(),
            window=window,
            planning=session.planning,
        )

    # --- modes beside it ---
    def begin_mode(self, mode: str, words: Sequence[str]) -> None:
        """Run `codetether MODE WORDS` beside the conversation. Raises CodetetherError when one runs already."""
        if self.mode is not None:
            raise CodetetherError(f"{self.mode.name} is running", "stop it first: Esc, or wait")
        assert self._nursery is not None
        self.mode = ModeRun(mode, tuple(words), self.directory)
        self._nursery.start_soon(self._beside, self.mode)

    async def _beside(self, mode: ModeRun) -> None:
        try:
            await mode.run(self._tell)
        finally:
            self.mode = None
        await self.refresh()

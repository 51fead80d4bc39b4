"""One prompt without a person at the keyboard all the time: what `exec`, `run` and `demo` have in common.

Opens a session, shows it in an interface, obeys signals, and says how it ended. Ctrl-C stops the turn and keeps what
was said; again within two seconds it leaves at once. TERM and HUP stop the turn and leave.
"""

from __future__ import annotations

import errno
import math
import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import msgspec
import trio
from codetether.api import (
    Cancel,
    CodetetherError,
    InterruptedByUser,
    Notice,
    PluginError,
    Quit,
    SessionEvent,
    ToolFinished,
    TurnFinished,
    UserAct,
    told,
)

from codetether_headless.job import CODES, Job, Outcome
from codetether_headless.material import CUT

if TYPE_CHECKING:
    from codetether.api import Kernel, Listener, Session

ROOM = 10_000  # events an interface may be behind: a person may pause their pager
SENDING = (
    "allow it by a rule that names the address (url), the command, or the other program's tool "
    "(docs/permissions.md)"
)
AGAIN_SECONDS = 2.0
LEAVE_SECONDS = 1.0
LAST_SECONDS = 1.0  # from leaving to the end of the process, whatever still holds it
AGAIN = "Your answer does not match the JSON Schema that was asked for: {0}\nAnswer with the JSON document only."


async def drive(
    kernel: Kernel, job: Job, opened: Callable[[Session], None] | None = None
) -> Outcome:
    """Run `job` to its end; `opened` is given the session before the prompt.

    Raises CodetetherError when no turn could be had, InterruptedByUser when told to leave before it ended.
    """
    drive = _Drive(kernel, job, opened)
    leave = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        await nursery.start(
            drive.obey_signals, leave
        )  # outside of it: a third Ctrl-C is no surprise
        nursery.start_soon(drive.stop_when_asked)
        if job.timeout is not None:
            nursery.start_soon(drive.stop_after, job.timeout)
        with leave:
            await drive.run()
        nursery.cancel_scope.cancel()
    return drive.outcome()


class _Drive:
    def __init__(self, kernel: Kernel, job: Job, opened: Callable[[Session], None] | None) -> None:
        self.kernel = kernel
        self.job = job
        self.opened = opened
        self.session: Session | None = None
        self.finished: TurnFinished | None = None
        self.error: CodetetherError | None = None
        self.denied: list[str] = []
        self.stopping = trio.Event()
        self.interrupted = False
        self.timed_out = False
        self.unread = False
        self._decided, self._decisions = trio.open_memory_channel[TurnFinished | None](1)

    # --- the work ---
    async def run(self) -> None:
        ui = self.kernel.ui(self.job.ui) if self.job.ui else None
        with ExitStack() as stack:
            async with trio.open_nursery() as showing:
                try:
                    async with self._open() as session:
                        self.session = session
                        feed = stack.enter_context(session.feed.listen(ROOM))
                        showing.start_soon(self._show, feed, ui)
                        if self.opened is not None:
                            self.opened(session)
                        self.finished = await self._turns(session)
                except CodetetherError as error:
                    self.error = error
                    showing.cancel_scope.cancel()

    def _open(self) -> Any:
        job = self.job
        return self.kernel.open_session(
            directory=job.directory,
            model=job.model,
            agent=job.agent,
            access=job.access,
            resume=job.resume,
            fork=job.fork,
            max_steps=job.max_steps,
            budget_usd=job.budget_usd,
            tools=job.tools,
            interactive=job.interactive,
        )

    async def _turns(self, session: Session) -> TurnFinished:
        finished = self._explained(await self._answered(session))
        await self._decide(finished)
        return finished

    async def _answered(self, session: Session) -> TurnFinished:
        """The turn; with a check, a second one when the answer is wrong, and the answer in its final form."""
        job = self.job
        session.state[CUT] = job.cut
        finished = await session.prompt(job.prompt, job.images, job.schema)
        if job.check is None or finished.reason != "done":
            return finished
        text, wrong = job.check(finished.text)
        if wrong and not self.stopping.is_set():
            await self._decide(None)
            notice = f"the answer does not match the schema: {wrong}; asking again"
            await session.emit(Notice("warning", notice))
            finished = _both(finished, await session.prompt(AGAIN.format(wrong), (), job.schema))
            if finished.reason != "done":
                return finished
            text, wrong = job.check(finished.text)
        if wrong:
            error, hint = (
                f"the answer does not match the schema: {wrong}",
                "try another model or a simpler schema",
            )
            return msgspec.structs.replace(finished, reason="error", error=error, hint=hint)
        return msgspec.structs.replace(finished, text=text)

    async def _decide(self, finished: TurnFinished | None) -> None:
        """What the interface is to see as the end of the turn; None: nothing, there comes another."""
        with suppress(trio.BrokenResourceError):  # the interface left
            await self._decided.send(finished)

    def _explained(self, finished: TurnFinished) -> TurnFinished:
        if self.timed_out and finished.reason == "cancelled":
            error = f"took longer than {self.job.timeout:g} s"
            return msgspec.structs.replace(
                finished, reason="error", error=error, hint="raise --timeout"
            )
        if finished.reason == "denied" and self.denied:
            sending = "may send something out" in finished.error
            return msgspec.structs.replace(finished, hint=SENDING if sending else self._allowing())
        return finished

    def _allowing(self) -> str:
        rules = (
            " ".join(f'{name} = "allow"' for name in dict.fromkeys(self.denied)) or 'TOOL = "allow"'
        )
        assert self.session is not None
        wider = {
            "ask": "--access-mode auto allows edits in the workspace and commands in a sandbox, full all that sends nothing out",
            "auto": "--access-mode full allows all that sends nothing out",
        }.get(self.session.access, "a rule or the agent forbids it")
        return (
            f"{wider}; a rule in your settings: [permissions.tools] {rules} (docs/permissions.md)"
        )

    # --- the interface ---
    async def _show(self, feed: Listener, ui: Any) -> None:
        send, receive = trio.open_memory_channel[SessionEvent](0)
        say, acts = trio.open_memory_channel[UserAct](8)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._relay, feed, send)
            nursery.start_soon(self._obey, acts)
            try:
                await (ui.run(receive, say) if ui is not None else _watch(receive))
            except (Exception, BaseExceptionGroup) as error:
                if isinstance(error, BaseExceptionGroup) and error.split(Exception)[1] is not None:
                    raise
                self.error = self._output_failed(error) or PluginError(
                    f"the interface {ui.name} failed: {told(error)}", "try another --format"
                )
                if isinstance(self.error, PluginError):
                    self.kernel.host.fault(ui.key, "run", error)
            if self.finished is None:
                self.unread = True
                self.stopping.set()
            receive.close()
            say.close()

    def _output_failed(self, error: BaseException) -> CodetetherError | None:
        """The error to tell of when a stream could not be written, which is nobody's fault here."""
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        if not isinstance(error, OSError) or error.errno is None:
            return None
        if self.interrupted or error.errno == errno.EIO:  # the terminal's window was closed
            self.interrupted = True
            return InterruptedByUser("interrupted", self._how_to_continue())
        return CodetetherError(
            f"standard output or error cannot be written: {error.strerror}", self._how_to_continue()
        )

    async def _relay(self, feed: Listener, send: trio.MemorySendChannel[SessionEvent]) -> None:
        """Hand events on; how the turn ended is for the driver to say."""
        with send, self._decisions, suppress(trio.BrokenResourceError):
            async for event in feed:
                if (
                    isinstance(event, ToolFinished)
                    and event.meta.get("denied")
                    and not event.meta.get("denied_by")  # no rule and no access mode would help
                ):
                    self.denied.append(event.name)
                shown = (
                    await self._decisions.receive() if isinstance(event, TurnFinished) else event
                )
                if shown is not None:
                    await send.send(shown)

    async def _obey(self, acts: trio.MemoryReceiveChannel[UserAct]) -> None:
        async for act in acts:
            if isinstance(act, Cancel | Quit):
                self.interrupted = True
                self.stopping.set()

    # --- stopping ---
    async def stop_when_asked(self) -> None:
        await self.stopping.wait()
        while True:  # a turn that is just beginning cannot be cancelled yet
            if self.session is not None:
                self.session.cancel()
            await trio.sleep(0.05)

    async def stop_after(self, seconds: float) -> None:
        await trio.sleep(seconds)
        self.timed_out = True
        self.stopping.set()

    async def obey_signals(
        self, scope: trio.CancelScope, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        numbers = [
            getattr(signal, name)
            for name in ("SIGINT", "SIGTERM", "SIGHUP")
            if hasattr(signal, name)
        ]
        last = -math.inf
        with trio.open_signal_receiver(*numbers) as signals:
            task_status.started()
            async for number in signals:
                now = trio.current_time()
                again = number == signal.SIGINT and now - last < AGAIN_SECONDS
                last = now
                self.interrupted = True
                self.stopping.set()
                if again or self.session is None:
                    scope.deadline = now
                elif number != signal.SIGINT:
                    scope.deadline = now + LEAVE_SECONDS
                else:
                    continue
                trio.lowlevel.spawn_system_task(_leave_at_last, scope.deadline + LAST_SECONDS)

    # --- the end ---
    def outcome(self) -> Outcome:
        if self.error is not None:
            raise self.error
        if self.session is None or self.finished is None:
            raise InterruptedByUser("interrupted", self._how_to_continue())
        code = 130 if self.interrupted else CODES[self.finished.reason]
        if self.unread and not self.interrupted:
            code = 1
        if self._tell_of_unsaved(self.session) and code == 0:
            code = 1
        return Outcome(
            finished=self.finished,
            session=self.session.id,
            model=self.session.model_ref,
            code=code,
            denied=tuple(self.denied),
        )

    def _tell_of_unsaved(self, session: Session) -> int:
        """How many records ended with this process, said to the person: no listener is left to say it."""
        lost = session.transcript.unsaved
        if lost:
            what = "1 record" if lost == 1 else f"{lost} records"
            print(
                f"codetether: {what} of session {session.id} could not be saved; the files it changed are as shown\n"
                f"  make room for {session.transcript.path}",
                file=sys.stderr,
            )
        return lost

    def _how_to_continue(self) -> str:
        return f"continue with --session {self.session.id}" if self.session is not None else ""


async def _leave_at_last(when: float) -> None:
    """What shields itself from being cancelled has had its time. The transcript is written line by line, and the guard
    of `codetether.process` ends the children.
    """
    await trio.sleep_until(when)
    os._exit(130)


async def _watch(feed: trio.MemoryReceiveChannel[SessionEvent]) -> None:
    async for _ in feed:
        pass


def _both(first: TurnFinished, second: TurnFinished) -> TurnFinished:
    return msgspec.structs.replace(
        second,
        usage=first.usage + second.usage,
        steps=first.steps + second.steps,
        seconds=first.seconds + second.seconds,
    )

"""Commands that go on beside the turns: started, listened to, ended; none outlives its session."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import trio
from codetether.api import Notice, ToolError, ToolOutput, one_line

from codetether_background.screen import settled

if TYPE_CHECKING:
    from codetether.api import Completed, Session

KEY = "tools:bash"
UNHEARD = 32_000  # characters kept between two looks; the file has all when there was much
FIRST = 0.3  # a command that fails at once is told of at once
KEPT = 50  # ended commands that can still be looked at


class Job:
    """One command. `scope` ends it; `over` is set when it has ended."""

    def __init__(self, name: str, command: str) -> None:
        self.name = name
        self.command = command
        self.scope = trio.CancelScope()
        self.over = trio.Event()
        self.done: Completed | None = None
        self.error = ""
        self.started = trio.current_time()
        self.seen = False
        self.killed = False
        self.awaited = 0
        self._text = ""
        self._dropped = 0
        self._heard = 0

    async def hear(self, text: str) -> None:
        """Take new output; of much at once only the end comes here."""
        self._heard += len(text.encode())
        self._text += text
        if len(self._text) > UNHEARD:
            self._dropped += len(self._text) - UNHEARD
            self._text = self._text[-UNHEARD:]

    async def ended(self, seconds: float) -> None:
        """Wait for its end, at most so long."""
        self.awaited += 1
        try:
            with trio.move_on_after(seconds):
                await self.over.wait()
        finally:
            self.awaited -= 1

    def new_output(self) -> str:
        """What it said since the last time this was asked."""
        text, self._text = self._text, ""
        if self.done is not None:
            self._dropped += max(self.done.total_bytes - self._heard, 0)
            self._heard = max(self._heard, self.done.total_bytes)
        dropped, self._dropped = self._dropped, 0
        left_out = f"[about {dropped} bytes left out here]\n" if dropped else ""
        return left_out + settled(text)

    @property
    def state(self) -> str:
        """One phrase: running, or how it ended."""
        done = self.done
        if self.error:
            return f"failed: {self.error}"
        if done is None:
            seconds = trio.current_time() - self.started
            return "killed" if self.over.is_set() else f"running for {seconds:.0f} s"
        if done.timed_out:
            return f"ended after {done.seconds:.0f} s, the most a background command may take"
        if done.killed_for_output:
            return "ended: it wrote too much"
        if done.outgrown:
            return "ended: it had too many processes at one time"
        return f"exit {done.code} after {done.seconds:.0f} s"


class Jobs:
    """The background commands of one session, by id."""

    def __init__(self) -> None:
        self.all: dict[str, Job] = {}
        self._numbers = itertools.count(1)

    @property
    def running(self) -> list[Job]:
        """Those that have not ended."""
        return [job for job in self.all.values() if not job.over.is_set()]

    def add(self, command: str) -> Job:
        """A new one; the oldest that have ended are forgotten."""
        ended = [name for name, job in self.all.items() if job.over.is_set()]
        for name in ended[: max(len(ended) - KEPT, 0)]:
            del self.all[name]
        job = Job(f"b{next(self._numbers)}", command)
        self.all[job.name] = job
        return job


def jobs_of(session: Session) -> Jobs:
    """The session's background commands."""
    jobs: Jobs = session.state.setdefault(KEY, Jobs())
    return jobs


async def start(
    command: str,
    argv: Sequence[str],
    session: Session,
    *,
    at_once: int,
    seconds: float,
    **how: Any,
) -> ToolOutput:
    """Start one, for at most `seconds`; `how` as for run_process. Raises ToolError DENIED when `at_once` run."""
    jobs = jobs_of(session)
    if len(jobs.running) >= at_once:
        names = ", ".join(job.name for job in jobs.running) or "none allowed"
        raise ToolError(
            f"Too many background commands run ({names}). Kill one with bash_output.", "DENIED"
        )
    job = jobs.add(command)
    session.beside(lambda: _run(job, argv, how, session, seconds))
    await job.ended(FIRST)
    return look(job)


async def _run(
    job: Job, argv: Sequence[str], how: dict[str, Any], session: Session, seconds: float
) -> None:
    told = one_line(job.command, 80)
    try:
        with job.scope:
            job.done = await session.run_process(argv, timeout=seconds, on_output=job.hear, **how)
    except Exception as error:
        job.error = one_line(str(error), 300) or type(error).__name__
    finally:
        job.over.set()
        if job.done is None and not (job.killed or job.error):
            with trio.CancelScope(shield=True):
                text = f"background command {job.name} was ended with the session: {told}"
                await session.emit(Notice("warning", session.redact(text)))
    if not (job.awaited or job.killed):
        session.tell(
            f"[Background command {job.name} ({told}): {job.state}. Its output: bash_output.]"
        )


def look(job: Job) -> ToolOutput:
    """What is new of one, for the model."""
    text = job.new_output().rstrip("\n")
    over = job.over.is_set()
    job.seen = job.seen or over
    notes = [f"[{job.name}: {job.state}]"]
    if over and job.done is not None and job.done.spilled is not None:
        notes.append(f"[all of the output: read_file {job.done.spilled}]")
    meta: dict[str, Any] = {"id": job.name, "running": not over}
    if job.done is not None:
        meta |= {"exit_code": job.done.code, "seconds": round(job.done.seconds, 3)}
    return ToolOutput(
        "\n".join([text or "(no new output)", *notes]),
        ok=not over or job.killed or (job.done is not None and job.done.ok),
        summary=f"{job.name}: {job.state}",
        meta=meta,
    )

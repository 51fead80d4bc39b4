"""What each event looks like."""

from __future__ import annotations

import os

import trio
from codetether.api import (
    Asked,
    Cleaner,
    Compacted,
    MessageDone,
    Notice,
    Retrying,
    SessionEvent,
    SessionStarted,
    StepFinished,
    StepStarted,
    TextDelta,
    ThoughtDelta,
    ToolFinished,
    ToolProgress,
    ToolStarted,
    TurnFinished,
    TurnStarted,
    clean,
    one_line,
)

from . import figures
from .screen import Screen

FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
ASCII_FRAMES = "|/-\\"
TICK = 0.1
TITLE = 100
ENDS = {
    "done": "done",
    "step_limit": "stopped at the step limit",
    "budget": "stopped at the budget",
    "cancelled": "stopped",
    "error": "failed",
    "denied": "done, but something was denied",
}


class View:
    """One session on a screen.

    On a terminal the answer streams to standard output as it comes. Into a file or pipe only the final answer goes
    there, and what the model says between its steps is dimmed on standard error.
    """

    def __init__(self, screen: Screen, *, diff_lines: int, reasoning: bool) -> None:
        self.screen = screen
        self.asked: dict[str, trio.Event] = {}
        self._diff_lines = diff_lines
        self._reasoning = reasoning and screen.err.terminal
        self._streams = screen.out.terminal
        self._cleaner = Cleaner()
        self._thoughts = Cleaner()
        self._shown = ""
        self._said = False
        self._titles: dict[str, str] = {}
        self._seen: set[str] = set()  # calls whose change was shown with the question
        self._status = ""
        self._since = 0.0
        self._until: float | None = None
        self._tokens = 0
        self._letters = 0

    # --- the spinner ---
    async def tick(self) -> None:
        """Keep the spinner turning until cancelled."""
        if not self.screen.live:
            return
        frame = 0
        while True:
            await trio.sleep(TICK)
            if self._status:
                await self.screen.paint(self._spinner(frame))
                frame += 1

    def _spinner(self, frame: int) -> str:
        frames = FRAMES if self.screen.err.unicode else ASCII_FRAMES
        now = trio.current_time()
        if self._until is not None and self._until > now:
            clock = f"in {self._until - now:.0f} s"
        else:
            clock = figures.seconds(now - self._since)
        spent = self._tokens + self._letters // 4
        tokens = f" · ~{spent:,} tokens" if spent else ""
        return f"{frames[frame % len(frames)]} {self._status} {clock}{tokens}"

    def _doing(self, status: str, wait: float | None = None) -> None:
        self._status = status
        self._since = trio.current_time()
        self._until = None if wait is None else self._since + wait

    # --- events ---
    async def show(self, event: SessionEvent) -> None:
        """Show one event."""
        match event:
            case TextDelta(text):
                await self._text(text)
            case ThoughtDelta(text):
                await self._thought(text)
            case ToolProgress(call_id, text):
                self._progress(call_id, text)
            case TurnStarted():
                self._shown, self._letters, self._tokens = "", 0, 0
            case StepStarted():
                self._said = False
                self._doing("waiting for the model")
            case StepFinished(usage=usage) if usage is not None:
                self._tokens += usage.input + usage.output
                self._letters = 0
            case MessageDone():
                await self._message(event)
            case ToolStarted():
                self._titles[event.call_id] = one_line(event.title, TITLE)
                self._doing(self._titles[event.call_id])
            case ToolFinished():
                await self._tool(event)
            case Asked(question):
                self._status = ""
                self.asked.setdefault(question.id, trio.Event()).set()
                self._seen |= {question.call_id} if question.diff else set()
            case TurnFinished():
                await self._turn(event)
            case _:
                await self._word(event)

    async def _word(self, event: SessionEvent) -> None:
        style, line = self.screen.style, self.screen.line
        match event:
            case SessionStarted():
                named = {"": "", "S0": " · no sandbox"}
                sandbox = named.get(event.sandbox, f" · sandbox {event.sandbox}")
                text = f"{event.model} · {event.agent} · access {event.access}{sandbox}"
                await line(style.dim(one_line(text)))
                if event.instructions:
                    await line(style.dim(one_line(f"instructions from {_shown(event)}")))
            case Retrying(attempt, wait, why):
                void = ", what it said so far is void" if self._said else ""
                self._said, self._cleaner = False, Cleaner()
                text = f"attempt {attempt} failed{void}: {one_line(why)}; again in {wait:.0f} s"
                await line(style.yellow(text))
                self._doing("trying again", wait)
            case Compacted(before, after, how):
                text = f"context shortened: about {before:,} tokens to {after:,} ({one_line(how)})"
                await line(style.dim(text))
            case Notice(level, text, hint):
                paint = {"error": style.red, "warning": style.yellow}.get(level, style.dim)
                mark = "" if level == "info" else f"{level}: "
                await line(paint(mark + clean(text)) + (f"\n  {clean(hint)}" if hint else ""))

    async def _text(self, text: str) -> None:
        self._letters += len(text)
        self._said = True
        if not self._streams:
            self._status = self._status and "answering"
            return
        await self._thought_over()
        shown = self._cleaner.feed(text)
        self._shown += shown
        await self.screen.say(self.screen.out, shown)

    async def _thought(self, text: str) -> None:
        self._letters += len(text)
        if self._reasoning:
            shown = self._thoughts.feed(text)
            await self.screen.say(self.screen.err, shown, self.screen.style.dim(shown))
        else:
            self._status = self._status and "thinking"

    async def _thought_over(self) -> None:
        rest = self._thoughts.end()
        await self.screen.say(self.screen.err, rest, self.screen.style.dim(rest))

    def _progress(self, call_id: str, text: str) -> None:
        lines = text.strip().splitlines()
        if lines and call_id in self._titles:
            self._status = f"{self._titles[call_id]} · {one_line(lines[-1], 60)} ·"

    async def _message(self, event: MessageDone) -> None:
        message = event.message
        await self._thought_over()
        if self._streams:
            rest = self._cleaner.end() if self._said else clean(message.text)
            self._shown += rest
            await self.screen.say(self.screen.out, rest)
            self._cleaner = Cleaner()
            await self.screen.finish()
        elif message.text and (message.calls or message.interrupted):
            await self.screen.line(self.screen.style.dim(clean(message.text).rstrip("\n")))
        self._status = ""

    async def _tool(self, event: ToolFinished) -> None:
        screen, style = self.screen, self.screen.style
        title = self._titles.pop(event.call_id, "") or one_line(event.name, TITLE)
        summary = one_line(event.summary, TITLE)
        parts = [part for part in (summary, figures.seconds(event.seconds)) if part]
        rest = style.dim("".join(f" · {part}" for part in parts))
        if event.ok:
            mark = style.green("✓" if screen.err.unicode else "ok")
        else:
            mark, title = style.red("✗" if screen.err.unicode else "FAILED"), style.red(title)
        text = f"{mark} {title}{rest}"
        diff = event.meta.get("diff")
        if isinstance(diff, str) and diff and event.ok and event.call_id not in self._seen:
            text += "\n" + self._diff(diff)
        await screen.line(text)
        self._status = ""
        if self._titles:
            self._doing(next(iter(self._titles.values())))

    def _diff(self, diff: str) -> str:
        lines = diff.rstrip("\n").split("\n")
        text = self.screen.style.diff("\n".join(lines[: self._diff_lines]))
        left = len(lines) - self._diff_lines
        return text + (f"\n  {left:,} more lines of diff" if left > 0 else "")

    async def _turn(self, event: TurnFinished) -> None:
        screen, style = self.screen, self.screen.style
        self._status = ""
        await screen.finish()
        answer = clean(event.text)
        answered = event.reason not in ("cancelled", "error")
        if answer and answered and not (self._streams and answer.strip() in self._shown):
            await screen.say(screen.out, answer if answer.endswith("\n") else answer + "\n")
        paint = {"done": style.dim, "error": style.red, "denied": style.red}.get(
            event.reason, style.yellow
        )
        end = ENDS[event.reason]
        if event.error and event.reason != "cancelled":
            end = f"{end}: {clean(event.error)}"
        await screen.line(paint(f"{end} · {figures.total(event)}"))
        if event.hint:
            await screen.line(f"  {clean(event.hint)}")


def _shown(event: SessionStarted) -> str:
    """The files whose text became part of the system text, relative to the working directory where they are in it."""
    return ", ".join(
        os.path.relpath(path, event.directory) if path.startswith(f"{event.directory}/") else path
        for path in event.instructions
    )

"""What happens: stream events (from a provider) and session events (to interfaces, hooks and logs).

Session events are a public format, written one per line by the `jsonl` UI; docs/events.md is written from this
module. Adding a field or an event keeps version 1; removing or changing one does not.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from codetether.words import Answer, Message, Question, Usage

EVENTS_VERSION = 1


# --- from a provider ---------------------------------------------------------------------------------------------
ErrorKind = Literal[
    "auth",
    "rate_limit",
    "overloaded",
    "invalid",
    "context",
    "network",
    "timeout",
    "incomplete",
    "content",
    "other",
]


class ProviderFault(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a stream failed. `kind` decides what the loop does; `message` is redacted and at most 500 characters;
    `retry_after` in seconds when the vendor said so.
    """

    kind: ErrorKind
    message: str
    status: int = 0
    retry_after: float | None = None
    hint: str = ""


class TextDelta(msgspec.Struct, tag="text_delta", frozen=True):
    """More of the answer's text."""

    text: str


class ThoughtDelta(msgspec.Struct, tag="thought_delta", frozen=True):
    """More of the reasoning shown."""

    text: str


class ThoughtEnd(msgspec.Struct, tag="thought_end", frozen=True, omit_defaults=True):
    """The reasoning block is over; `opaque` must go back to the same vendor unread."""

    opaque: str = ""


class CallStart(msgspec.Struct, tag="call_start", frozen=True, omit_defaults=True):
    """The model begins a tool call. `index` numbers the calls of this answer from 0; `id` is the vendor's."""

    index: int
    id: str
    name: str


class CallDelta(msgspec.Struct, tag="call_delta", frozen=True):
    """More of the JSON text of call `index`."""

    index: int
    arguments: str


class Retrying(msgspec.Struct, tag="retrying", frozen=True, omit_defaults=True):
    """The request will be tried again in `wait` seconds. What this answer said so far is void."""

    attempt: int
    wait: float
    why: str


StopReason = Literal["stop", "length", "tool_calls", "content_filter", "error"]


class Finish(msgspec.Struct, tag="finish", frozen=True, omit_defaults=True):
    """The last event of every stream. `error` is set exactly when reason is "error"; a provider never raises for
    what the network or the vendor does.
    """

    reason: StopReason
    usage: Usage | None = None
    error: ProviderFault | None = None


StreamEvent = TextDelta | ThoughtDelta | ThoughtEnd | CallStart | CallDelta | Retrying | Finish


# --- of a session ------------------------------------------------------------------------------------------------
class SessionStarted(msgspec.Struct, tag="session_started", frozen=True, omit_defaults=True):
    """A session was opened. `resumed` when it has earlier messages. `instructions` names the files added to the
    system text (AGENTS.md and its like).
    """

    session: str
    directory: str
    model: str
    agent: str
    access: str
    resumed: bool = False
    title: str = ""
    instructions: tuple[str, ...] = ()
    sandbox: str = ""


class TurnStarted(msgspec.Struct, tag="turn_started", frozen=True):
    """The user's message was taken; `text` is that message."""

    turn: int
    text: str


class StepStarted(msgspec.Struct, tag="step_started", frozen=True):
    """A model call begins. `step` counts from 1 within the turn."""

    step: int
    model: str


class MessageDone(msgspec.Struct, tag="message_done", frozen=True):
    """An assistant message is complete and on disk."""

    message: Message


class ToolStarted(msgspec.Struct, tag="tool_started", frozen=True, omit_defaults=True):
    """A tool call may run and does. `title` is one line for a person, such as `bash: pytest -q`."""

    call_id: str
    name: str
    arguments: dict[str, Any]
    title: str


class ToolProgress(msgspec.Struct, tag="tool_progress", frozen=True):
    """Output of a running tool, as it comes."""

    call_id: str
    text: str


class ToolFinished(msgspec.Struct, tag="tool_finished", frozen=True, omit_defaults=True):
    """A tool call has its result. `summary` is one line; `text` what the model sees; `meta` may hold `diff`,
    `exit_code`, `spilled` and more.
    """

    call_id: str
    name: str
    ok: bool
    summary: str
    text: str
    seconds: float
    meta: dict[str, Any] = {}


class Asked(msgspec.Struct, tag="asked", frozen=True):
    """A person is being asked."""

    question: Question


class Answered(msgspec.Struct, tag="answered", frozen=True):
    """The person, or the absence of one, answered."""

    question_id: str
    answer: Answer


class StepFinished(msgspec.Struct, tag="step_finished", frozen=True, omit_defaults=True):
    """A model call is over; `usage` is this step's, `context` the tokens now in use and `window` the model's limit."""

    step: int
    usage: Usage | None = None
    context: int | None = None
    window: int | None = None


class Spending(msgspec.Struct, tag="spending", frozen=True):
    """A model call that is no step is about to be made for this session, such as one that writes a summary; `why` says what for."""

    why: str
    model: str


class Spent(msgspec.Struct, tag="spent", frozen=True, omit_defaults=True):
    """Model calls that are no steps of this session are over, and took `usage`. `told`: another session of this process, a
    sub-agent of this one, has told of each of them before; who counts all sessions leaves this out.
    """

    why: str
    model: str
    usage: Usage
    told: bool = False


class Compacted(msgspec.Struct, tag="compacted", frozen=True):
    """Older context was shortened for the model; the transcript on disk is unchanged. Token estimates."""

    before: int
    after: int
    how: str


class Notice(msgspec.Struct, tag="notice", frozen=True, omit_defaults=True):
    """Something a person should know, with what to do next."""

    level: Literal["info", "warning", "error"]
    text: str
    hint: str = ""


TurnEnd = Literal["done", "step_limit", "budget", "cancelled", "error", "denied"]


class TurnFinished(msgspec.Struct, tag="turn_finished", frozen=True, omit_defaults=True):
    """The turn is over. `text` is the final answer; `usage` sums the turn, also calls that are no steps; `seconds` is
    wall time.
    """

    reason: TurnEnd
    text: str
    usage: Usage
    steps: int
    seconds: float
    error: str = ""
    hint: str = ""


class SessionFinished(msgspec.Struct, tag="session_finished", frozen=True, omit_defaults=True):
    """No more events will come. `usage` sums the session as far as this process saw it."""

    session: str
    usage: Usage


SessionEvent = (
    SessionStarted
    | TurnStarted
    | StepStarted
    | TextDelta
    | ThoughtDelta
    | Retrying
    | MessageDone
    | ToolStarted
    | ToolProgress
    | ToolFinished
    | Asked
    | Answered
    | StepFinished
    | Spending
    | Spent
    | Compacted
    | Notice
    | TurnFinished
    | SessionFinished
)


# --- from a person -----------------------------------------------------------------------------------------------
class Say(msgspec.Struct, tag="say", frozen=True, omit_defaults=True):
    """A new user message."""

    text: str


class Cancel(msgspec.Struct, tag="cancel", frozen=True):
    """Stop the turn; keep what was said."""


class Quit(msgspec.Struct, tag="quit", frozen=True):
    """Leave, after the turn was stopped."""


UserAct = Say | Cancel | Quit

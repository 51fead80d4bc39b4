"""What an interface and the conversation say to each other, beside the session's own events and acts."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from codetether.api import Answer, Image, Message, Question, SessionEvent, Usage


# --- to the interface --------------------------------------------------------------------------------------------
class Opened(msgspec.Struct, frozen=True):
    """A session is at hand: `messages` is all of it, to be shown anew. `draft`: words to put into the input."""

    session: str
    title: str
    messages: tuple[Message, ...]
    draft: str = ""


class Standing(msgspec.Struct, frozen=True):
    """How things stand; told whenever one of them changed. None: unknown. `context` tokens of `window` are in use;
    `dirty` files differ from the last commit; `waiting` are messages that wait for the running turn.
    """

    directory: str
    session: str = ""
    title: str = ""
    model: str = ""
    agent: str = ""
    agents: tuple[str, ...] = ()
    access: str = ""
    sandbox: str = ""
    branch: str | None = None
    dirty: int | None = None
    usage: Usage = Usage()
    context: int | None = None
    window: int | None = None
    planning: str = ""
    busy: bool = False
    waiting: tuple[str, ...] = ()


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of a picker. `group` is a heading, `facts` short columns, `preview` text for a side."""

    key: str
    label: str
    group: str = ""
    facts: tuple[str, ...] = ()
    preview: str = ""


class Around(msgspec.Struct, frozen=True):
    """What lies around: the first names in the directory (folders end in a slash), its newest sessions, and the commands
    with what each does.
    """

    entries: tuple[str, ...] = ()
    sessions: tuple[Entry, ...] = ()
    commands: tuple[tuple[str, str], ...] = ()


class Shown(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a command answers, for a person; it is not part of the session. `text` may hold anything."""

    text: str
    title: str = ""
    kind: Literal["text", "markdown", "diff", "error"] = "text"
    hint: str = ""


class Asking(msgspec.Struct, frozen=True):
    """A person must decide: say Reply. Sub-agents' questions come this way as well."""

    question: Question


class Settled(msgspec.Struct, frozen=True):
    """The question needs no answer any more: it has one, or what asked was stopped."""

    question: str


class Choosing(msgspec.Struct, frozen=True):
    """Let the person pick, and say Choose. The same `about` again replaces the entries; `more`: others are to come.
    `columns` are headings of the entries' facts, `notes` what a person should know of what is missing.
    """

    about: Literal["model", "session", "message", "agent", "access", "theme"]
    title: str
    entries: tuple[Entry, ...]
    current: str = ""
    more: bool = False
    columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Screen(msgspec.Struct, frozen=True, omit_defaults=True):
    """A wish about the screen itself: `layout` webview or classic, `inspector`, `view` NAME, `help`, `theme` NAME."""

    what: Literal["layout", "inspector", "view", "help", "theme"]
    name: str = ""


class Returned(msgspec.Struct, frozen=True):
    """Words to put back into the input: messages that waited when the turn was cancelled."""

    text: str


class ModeStarted(msgspec.Struct, frozen=True):
    """A mode runs beside the conversation: `swarm` or `ralph`."""

    mode: str
    words: tuple[str, ...]


class ModeEvent(msgspec.Struct, frozen=True):
    """One event of it, as the mode's `--format stream-json` writes it (docs/events.md)."""

    mode: str
    event: dict[str, Any]


class ModeEnded(msgspec.Struct, frozen=True):
    """It is over. `code` is its exit code, `said` the end of what it wrote for people."""

    mode: str
    code: int
    said: str


class Left(msgspec.Struct, frozen=True):
    """The conversation is over; nothing follows."""


Told = (
    SessionEvent
    | Opened
    | Standing
    | Around
    | Shown
    | Asking
    | Settled
    | Choosing
    | Screen
    | Returned
    | ModeStarted
    | ModeEvent
    | ModeEnded
    | Left
)


# --- from the person ---------------------------------------------------------------------------------------------
class Speak(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message for the model, or a line that begins with a slash. While a turn runs a message waits."""

    text: str
    images: tuple[Image, ...] = ()


class Stop(msgspec.Struct, frozen=True):
    """Stop the turn and keep what was said; with no turn, stop the mode that runs."""


class Reply(msgspec.Struct, frozen=True):
    """The answer to an Asking."""

    question: str
    answer: Answer


class Choose(msgspec.Struct, frozen=True):
    """What was picked of a Choosing."""

    about: str
    key: str


class Rewind(msgspec.Struct, frozen=True):
    """Go back to before the user message `message`, in a copy of the session; with `files`, what file tools changed
    since is undone too.
    """

    message: str
    files: bool = True


class Leave(msgspec.Struct, frozen=True):
    """The person goes; a turn is stopped first."""


Act = Speak | Stop | Reply | Choose | Rewind | Leave

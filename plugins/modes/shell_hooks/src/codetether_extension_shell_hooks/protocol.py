"""What a hook is told and what it may answer, as JSON (docs/shell-hooks.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from codetether.api import clean, one_line

if TYPE_CHECKING:
    from codetether.api import Completed

VERSION = 1
VETO = 2  # the exit code that says no, with the reason on stderr
CANNOT_START = (126, 127)  # what `sh` says of a program that may not be run, or is not there
MOST_OUTPUT = 1_000_000  # bytes; more is no answer
MOST_RESULT = 64_000  # characters of a result; the toolbox has bounded those of tools already
MOST_TEXT = 10_000  # characters of what a hook says to the model; the rest is cut


class Failed(Exception):
    """The hook gave no answer; the text says why, for a person."""


class Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything a hook can answer; each event takes some of it."""

    decision: Literal["allow", "ask", "deny"] = "allow"
    reason: str = ""
    arguments: dict[str, Any] | None = None
    context: str = ""
    result: str | None = None
    go_on: str = ""


TAKES: dict[str, tuple[str, ...]] = {
    "session_start": ("context",),
    "on_prompt": ("decision", "reason", "context"),
    "before_tool": ("decision", "reason", "arguments", "context"),
    "after_tool": ("result", "context"),
    "on_ask": (),
    "on_stop": ("go_on",),
    "session_end": (),
}


def question(event: str, facts: dict[str, Any], redact: Callable[[str], str]) -> bytes:
    """The JSON a hook reads from its stdin, without secrets; one line."""
    told = {"version": VERSION, "event": event, **facts}
    return msgspec.json.encode(_redacted(told, redact)) + b"\n"


def _redacted(value: Any, redact: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: _redacted(each, redact) for key, each in value.items()}
    return [_redacted(each, redact) for each in value] if isinstance(value, list) else value


def answer(event: str, done: Completed, redact: Callable[[str], str]) -> Said:
    """What the finished hook said. Raises Failed."""
    if done.timed_out:
        raise Failed(f"it took longer than {done.seconds:.0f} s, and was ended")
    if done.killed_for_output or done.truncated:
        raise Failed(f"it said more than {MOST_OUTPUT:,} bytes, and was ended")
    told = clean(redact(done.errors)).strip()
    if done.code == VETO:
        return _veto(event, _cut(told) or "it ended with exit code 2")
    if done.code != 0:
        what = "it cannot be started, " if done.code in CANNOT_START else ""
        raise Failed(f"{what}exit code {done.code}: {one_line(told)[:300]}".rstrip(": "))
    if not done.output.strip():
        return Said()
    return _checked(event, done, redact)


def _veto(event: str, why: str) -> Said:
    if "decision" in TAKES[event]:
        return Said(decision="deny", reason=one_line(why))
    if "context" in TAKES[event] and event != "session_start":
        return Said(context=why)
    if "go_on" in TAKES[event]:
        return Said(go_on=why)
    raise Failed(f"exit code {VETO}, and {event} can stop nothing: {one_line(why)[:300]}")


def _checked(event: str, done: Completed, redact: Callable[[str], str]) -> Said:
    try:
        given = msgspec.json.decode(done.output)
        said = msgspec.convert(given, Said)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Failed(f"its output is no answer: {one_line(str(error))[:300]}") from None
    if unknown := sorted(set(given) - set(TAKES[event])):
        takes = ", ".join(TAKES[event]) or "nothing"
        raise Failed(f"its answer has {', '.join(unknown)}; {event} takes {takes}")
    if said.decision == "ask" and event != "before_tool":
        raise Failed(f"its decision is ask; {event} takes allow and deny")
    return msgspec.structs.replace(
        said,
        reason=one_line(_cut(redact(said.reason))),
        context=_cut(redact(said.context)),
        result=None if said.result is None else _cut(redact(said.result), MOST_RESULT),
        go_on=_cut(redact(said.go_on)),
    )


def _cut(text: str, most: int = MOST_TEXT) -> str:
    text = text.strip()
    return text if len(text) <= most else text[: most - 1] + "…"

"""Scripts: rules that look at the conversation, replies in order, and how the next reply is chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from codetether.api import (
    CodetetherError,
    Message,
    ProviderFault,
    Request,
    StreamEvent,
    ToolResult,
    Usage,
)
from msgspec import Meta


class Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tool call to ask for."""

    name: Annotated[str, Meta(description="The tool.")]
    arguments: Annotated[
        dict[str, Any] | str, Meta(description="An object, or the JSON text to stream as it is.")
    ] = {}
    id: Annotated[str, Meta(description="The vendor's id; made up when empty.")] = ""


class Reply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One answer."""

    text: Annotated[str, Meta(description="The words, streamed one by one.")] = ""
    thoughts: Annotated[str, Meta(description="Reasoning shown before them.")] = ""
    calls: Annotated[tuple[Call, ...], Meta(description="Tool calls to ask for.")] = ()
    usage: Annotated[Usage | None, Meta(description="Tokens to report.")] = None
    finish: Annotated[
        Literal["stop", "length", "tool_calls", "content_filter", "error"] | None,
        Meta(description="The finish reason, when it shall not be the one that fits."),
    ] = None
    pieces: Annotated[
        tuple[str, ...], Meta(description="The text's deltas exactly, in place of `text`.")
    ] = ()
    delay: Annotated[float | None, Meta(description="Seconds before each delta.")] = None
    fault: Annotated[ProviderFault | None, Meta(description="The error the stream ends with.")] = (
        None
    )
    stall: Annotated[bool, Meta(description="Never end.")] = False
    events: Annotated[
        tuple[StreamEvent, ...] | None,
        Meta(description="The stream's events exactly, in place of all else."),
    ] = None


class When(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What must be so for a rule to speak; everything named must. A turn begins with the last user message."""

    user: Annotated[str, Meta(description="Text the last user message contains.")] = ""
    result: Annotated[str, Meta(description="Text one of the last tool results contains.")] = ""
    after: Annotated[str, Meta(description="The last tool results include one of this tool.")] = ""
    ok: Annotated[
        bool | None, Meta(description="Whether all of the last tool results are good.")
    ] = None
    done: Annotated[tuple[str, ...], Meta(description="Tools that succeeded in this turn.")] = ()
    undone: Annotated[
        tuple[str, ...], Meta(description="Tools that did not succeed in this turn.")
    ] = ()
    step: Annotated[int | None, Meta(description="How many answers this turn has.")] = None
    turn: Annotated[int | None, Meta(description="Which turn of the conversation this is.")] = None


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A reply for a situation."""

    when: Annotated[When, Meta(description="The situation.")]
    reply: Annotated[Reply, Meta(description="What to say in it.")]


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first rule that fits speaks; when none does, the next of `replies`; when none is left, `otherwise`."""

    rules: Annotated[tuple[Rule, ...], Meta(description="Looked through from the top.")] = ()
    replies: Annotated[tuple[Reply, ...], Meta(description="Said in order, each once.")] = ()
    otherwise: Annotated[Reply | None, Meta(description="Said when nothing else fits.")] = None


def parse(path: Path) -> Script:
    """Read a script in TOML or, when its name ends in .json, JSON. Raises CodetetherError naming file and place."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CodetetherError(f"the script {path} cannot be read: {error.strerror}") from error
    try:
        if path.suffix == ".json":
            return msgspec.json.decode(data, type=Script)
        import tomllib

        return msgspec.convert(tomllib.loads(data.decode()), Script)
    except (ValueError, msgspec.DecodeError) as error:
        raise CodetetherError(f"the script {path} is wrong: {error}") from error


def demo_script() -> Script:
    """The script of `codetether demo`."""
    return parse(Path(__file__).with_name("demo") / "script.toml")


def imported(where: str) -> Callable[[Request], Any]:
    """The function named `module:function`. Raises CodetetherError when there is none."""
    module, _, name = where.rpartition(":")
    try:
        function: Callable[[Request], Any] = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise CodetetherError(
            f"no function {where!r}: {error}", "write python:MODULE:FUNCTION"
        ) from error
    return function


def reply(said: Any) -> Reply:
    """A Reply from text, a mapping with its fields, a struct that has them, or itself."""
    if isinstance(said, Reply):
        return said
    if isinstance(said, str):
        return Reply(text=said)
    return msgspec.convert(msgspec.to_builtins(said), Reply)


class Player:
    """Answers requests by one script, or by a function."""

    def __init__(
        self,
        *,
        function: Callable[[Request], Any] | None = None,
        rules: Sequence[Rule] = (),
        replies: Sequence[Reply] = (),
        otherwise: Reply | None = None,
    ) -> None:
        self._function = function
        self._rules = rules
        self._replies = list(replies)
        self._otherwise = otherwise

    @classmethod
    def of(cls, script: Script) -> Player:
        """A player at the beginning of `script`."""
        return cls(rules=script.rules, replies=script.replies, otherwise=script.otherwise)

    def answer(self, request: Request) -> Reply:
        """The reply to a request. Raises CodetetherError when the script has none."""
        if self._function is not None:
            return reply(self._function(request))
        scene = Scene(request.messages)
        for rule in self._rules:
            if scene.fits(rule.when):
                return rule.reply
        if self._replies:
            return self._replies.pop(0)
        if self._otherwise is None:
            raise CodetetherError("the script has no more replies")
        return self._otherwise


class Scene:
    """The conversation as rules see it."""

    def __init__(self, messages: Sequence[Message]) -> None:
        starts = [index for index, message in enumerate(messages) if message.role == "user"]
        turn = messages[starts[-1] :] if starts else messages
        self.turn = len(starts)
        self.user = turn[0].text if starts else ""
        self.step = sum(message.role == "assistant" for message in turn)
        self.results: tuple[ToolResult, ...] = turn[-1].results if turn else ()
        self.done = {result.name for message in turn for result in message.results if result.ok}

    def fits(self, when: When) -> bool:
        """Whether everything `when` names is so."""
        return (
            when.user in self.user
            and (not when.result or any(when.result in result.text for result in self.results))
            and (not when.after or any(result.name == when.after for result in self.results))
            and when.ok in (None, all(result.ok for result in self.results))
            and self.done.issuperset(when.done)
            and self.done.isdisjoint(when.undone)
            and when.step in (None, self.step)
            and when.turn in (None, self.turn)
        )

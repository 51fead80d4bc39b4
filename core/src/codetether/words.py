"""The nouns of a conversation: what is said, asked for, answered, and what it cost.

All are msgspec structs: they validate, encode to one JSON line, and carry the schema. Field names are the transcript
format (docs/sessions.md); renaming one is a format change.
"""

from __future__ import annotations

import enum
from typing import Any, Literal

import msgspec


class Text(msgspec.Struct, tag="text", frozen=True):
    """Words, in Markdown when the model wrote them."""

    text: str


class Image(msgspec.Struct, tag="image", frozen=True):
    """A picture; `data` is the raw bytes (base64 in JSON), `mime` such as image/png."""

    mime: str
    data: bytes


class Thought(msgspec.Struct, tag="thought", frozen=True, omit_defaults=True):
    """Reasoning the model showed. `opaque` is what the vendor wants back unread (signature, encrypted item);
    `origin` is the provider that made it, and only that provider is ever sent it again.
    """

    text: str
    opaque: str = ""
    origin: str = ""


class ToolCall(msgspec.Struct, tag="tool_call", frozen=True, omit_defaults=True):
    """A call the model asks for. `id` is ours and unique in the session; `label` is the vendor's own id.

    `arguments` is the JSON text exactly as the model wrote it: it is decoded once, by the toolbox.
    """

    id: str
    name: str
    arguments: str
    label: str = ""


class ToolResult(msgspec.Struct, tag="tool_result", frozen=True, omit_defaults=True):
    """The answer to one call. The model sees `text` and `images`; `meta` (diff, exit code, ...) is for interfaces."""

    call_id: str
    name: str
    text: str
    ok: bool = True
    images: tuple[Image, ...] = ()
    meta: dict[str, Any] = {}


Part = Text | Image | Thought | ToolCall | ToolResult
Role = Literal["system", "user", "assistant", "tool"]


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tokens of one model call, and its price in US dollars (None: unknown, never zero).

    `input` counts everything sent, `cached` and `cache_write` are parts of it; `reasoning` is part of `output`.
    """

    input: int = 0
    output: int = 0
    cached: int = 0
    cache_write: int = 0
    reasoning: int = 0
    cost: float | None = None

    def __add__(self, other: Usage) -> Usage:
        cost = (
            None
            if self.cost is None and other.cost is None
            else (self.cost or 0.0) + (other.cost or 0.0)
        )
        return Usage(
            self.input + other.input,
            self.output + other.output,
            self.cached + other.cached,
            self.cache_write + other.cache_write,
            self.reasoning + other.reasoning,
            cost,
        )


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message of the conversation. `tool` messages hold ToolResults only, in the order the calls were asked.

    `interrupted` marks an answer that was cut (cancel, broken stream): its text is kept, its calls never ran.
    """

    role: Role
    parts: tuple[Part, ...]
    id: str = ""
    model: str = ""
    usage: Usage | None = None
    stop: str = ""
    interrupted: bool = False

    @property
    def text(self) -> str:
        """All Text parts joined: what a person would read."""
        return "".join([p.text for p in self.parts if isinstance(p, Text)])

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The tool calls asked for, in order."""
        return tuple([p for p in self.parts if isinstance(p, ToolCall)])

    @property
    def results(self) -> tuple[ToolResult, ...]:
        """The tool results held, in order."""
        return tuple([p for p in self.parts if isinstance(p, ToolResult)])


class Verdict(enum.IntEnum):
    """What may happen to a tool call. The highest of all answers wins, so a plugin can tighten and never loosen."""

    ALLOW = 0
    ASK = 1
    DENY = 2


class Ruling(msgspec.Struct, frozen=True, omit_defaults=True):
    """A plugin's verdict on a call, with more to say. `why`: one line for the person and the model. `arguments`: JSON
    text the call gets instead of its own; the changed call is judged again, and the stricter answer holds.
    """

    verdict: Verdict = Verdict.ALLOW
    why: str = ""
    arguments: str = ""


class Effect(enum.StrEnum):
    """What a tool does to the world; decides its verdict when no rule spoke, and whether calls run side by side."""

    READ = "read"
    WRITE = "write"
    EXECUTE = "execute"
    NETWORK = "network"
    AGENT = "agent"


class ToolSchema(msgspec.Struct, frozen=True):
    """What a provider is told about a tool: `parameters` is a JSON Schema object, keys in a stable order."""

    name: str
    description: str
    parameters: dict[str, Any]


class ModelInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """Facts about a model. None means unknown and is shown as unknown. Sizes in tokens, prices in USD per million."""

    id: str
    provider: str
    name: str = ""
    context: int | None = None
    output: int | None = None
    input_price: float | None = None
    output_price: float | None = None
    cached_price: float | None = None
    tools: bool | None = None
    images: bool | None = None
    reasoning: bool | None = None
    cache_write_price: float | None = None

    @property
    def priced(self) -> bool:
        """Whether it is known what a call costs."""
        return self.input_price is not None and self.output_price is not None

    def price(self, usage: Usage) -> float | None:
        """What `usage` cost in USD, or None when the prices are unknown."""
        if self.input_price is None or self.output_price is None:
            return None
        cached_price = self.input_price if self.cached_price is None else self.cached_price
        write_price = self.input_price if self.cache_write_price is None else self.cache_write_price
        fresh = max(usage.input - usage.cached - usage.cache_write, 0)
        return (
            fresh * self.input_price
            + usage.cached * cached_price
            + usage.cache_write * write_price
            + usage.output * self.output_price
        ) / 1e6


class Request(msgspec.Struct, frozen=True):
    """One model call. `messages` is already repaired and holds no system message; `system` is sent first.

    `schema`: a JSON Schema the answer should follow. `cache_key`: same value for all calls of a session, for vendors
    that route by it. Limits left None are the vendor's.
    """

    model: str
    messages: tuple[Message, ...]
    system: str = ""
    tools: tuple[ToolSchema, ...] = ()
    max_output: int | None = None
    temperature: float | None = None
    schema: dict[str, Any] | None = None
    cache_key: str = ""
    tool_choice: Literal["auto", "none", "required"] = "auto"


class Agent(msgspec.Struct, frozen=True, omit_defaults=True):
    """A named set of prompt, tools and permissions: build, plan, explore, or a user's own (docs/agents.md).

    `effects`: what its tools may do, enforced by the kernel. `tools`: name patterns offered, `*` for all.
    """

    name: str
    description: str
    prompt: str
    effects: frozenset[Effect] = frozenset(Effect)
    tools: tuple[str, ...] = ("*",)
    model: str = ""
    max_steps: int = 100
    temperature: float | None = None
    origin: str = "built in"


class Choice(msgspec.Struct, frozen=True, omit_defaults=True):
    """One answer a person may pick; `key` is what comes back, `label` what is shown."""

    key: str
    label: str


class Question(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something a person must decide. `kind` approval has the choices once/session/project/deny; `detail` shows what
    would happen (command, address), `diff` a unified diff when a file would change.
    """

    id: str
    kind: Literal["approval", "trust", "choice", "text"]
    title: str
    detail: str = ""
    diff: str = ""
    choices: tuple[Choice, ...] = ()
    default: str = ""
    call_id: str = ""


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A person's decision: the `key` of a choice, and free `text` (a reason for a denial, an answer in words)."""

    key: str
    text: str = ""


class Subject(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a tool call touches, for rules and for the question a person is asked: workspace paths as the model gave
    them, the shell command, the address.
    """

    paths: tuple[str, ...] = ()
    command: str = ""
    url: str = ""

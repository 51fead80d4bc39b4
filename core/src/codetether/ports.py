"""What each kind of plugin fulfils. A kind is an entry-point group; a port is the class its plugins derive from.

A plugin is a class named by an entry point: `codetether.<kinds>`, name = the word a user or model types. The host
builds it as `cls(kernel, key)`; `key` is `<kinds>:<name>`. It must say `api = 1` itself: a literal, not inherited.
Any plugin, of whatever kind, may also implement hooks (codetether.hookspecs).
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import msgspec

from codetether.errors import CodetetherError
from codetether.words import (
    Answer,
    Effect,
    Image,
    ModelInfo,
    Question,
    Request,
    Subject,
    ToolCall,
    ToolSchema,
)

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    import trio

    from codetether.events import SessionEvent, StreamEvent, UserAct
    from codetether.kernel import Kernel
    from codetether.process import Completed
    from codetether.session import Session
    from codetether.workspace import Workspace

APIS = frozenset({1})
KINDS: Mapping[str, str] = {
    "provider": "providers",
    "tool": "tools",
    "mode": "modes",
    "ui": "ui",
    "router": "routers",
    "secrets": "secrets",
    "sandbox": "sandboxes",
    "executor": "executors",
    "extension": "extensions",
}


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of `plugins doctor`: level ok, warning or error; the `hint` is the next step to take."""

    level: str
    subject: str
    text: str
    hint: str = ""


class NoSettings(msgspec.Struct, frozen=True):
    """A plugin without settings."""


class Plugin:
    """What every plugin is. `Settings` is a msgspec Struct whose fields all have defaults and a description
    (`Annotated[int, Meta(description=...)]`); it is filled from the table `[plugins."<key>"]` (docs/config.md).
    `patience`: seconds its collect, fold and strictest hooks may take; for one that waits on something outside.
    """

    api: ClassVar[int]
    patience: ClassVar[float] = 30.0
    Settings: ClassVar[type[msgspec.Struct]] = NoSettings

    def __init__(self, kernel: Kernel, key: str) -> None:
        self.kernel = kernel
        self.key = key
        self.name = key.partition(":")[2]

    @property
    def settings(self) -> Any:
        """The settings of this plugin, an instance of `Settings`. Raises ConfigError when a value is wrong."""
        return self.kernel.settings(self.key, self.Settings)


class Extension(Plugin):
    """A plugin that has hooks only."""


# --- provider ----------------------------------------------------------------------------------------------------
class ProviderStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether a provider can be used now; `why` and `hint` say what is missing. `model` is its default model id."""

    usable: bool
    model: str = ""
    why: str = ""
    hint: str = ""


class Provider(Plugin):
    """A vendor of models, or a server that runs them."""

    keyless: ClassVar[bool] = False

    async def status(self) -> ProviderStatus:
        """Usable now? Cheap: it reads a secret or asks a loopback port, it does not call a model. Never raises."""
        raise NotImplementedError

    async def models(self) -> Sequence[ModelInfo]:
        """The models known, discovery merged over the dated data file. Raises CodetetherError when none can be told."""
        raise NotImplementedError

    async def model(self, model_id: str) -> ModelInfo:
        """Facts about one model without a listing call if possible; unknown fields None. Never raises."""
        raise NotImplementedError

    def stream(self, request: Request) -> AbstractAsyncContextManager[AsyncIterator[StreamEvent]]:
        """The answer as it comes: an iterator, or a memory channel. Ends with exactly one Finish; failures of network and
        vendor are `Finish.error`. Leaving the context closes the connection at once.
        """
        raise NotImplementedError


# --- tool --------------------------------------------------------------------------------------------------------
class ToolOutput(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a tool gives back. The model reads `text` (the toolbox bounds it) and `images`; `summary` is one line for
    a person; `meta` is structured data for interfaces: `diff` (unified), `exit_code`, `paths`, `count`, ...
    """

    text: str
    ok: bool = True
    summary: str = ""
    images: tuple[Image, ...] = ()
    meta: dict[str, Any] = {}


class ToolContext:
    """What a running tool may use. One per call; the toolbox makes it."""

    def __init__(
        self,
        session: Session,
        call: ToolCall,
        progress: Callable[[str], Awaitable[None]],
        nested: Callable[[str, dict[str, Any]], Awaitable[ToolOutput]],
        ask: Callable[[Question], Awaitable[Answer | None]],
    ) -> None:
        self.session = session
        self.call_id = call.id
        self.progress = progress
        self.call = nested
        self.ask = ask

    @property
    def workspace(self) -> Workspace:
        """The directory tree this session may touch; every path a tool opens goes through it."""
        return self.session.workspace

    async def run(self, argv: Sequence[str], **how: Any) -> Completed:
        """Run a child process in the workspace, inside the session's sandbox; `how` as `process.run_process`."""
        return await self.session.run_process(argv, **how)


P = TypeVar("P", bound=msgspec.Struct)


@lru_cache(maxsize=512)
def _text(beside: str, name: str) -> str:
    """The file `name` in the folder of the file `beside`, read once."""
    with open(os.path.join(os.path.dirname(beside), name), "rb") as file:
        return file.read().decode().replace("\r\n", "\n").strip()


class Tool(Plugin, Generic[P]):
    """Something a model may call. Arguments are a msgspec Struct: schema, defaults and validation in one.

    The description the model reads is `<name>.md` beside the module (or the class attribute `text`).
    `parameters` are described by `Meta(description=...)`. Raise ToolError to answer with an error.
    `alone`: it runs alone and in its turn, though its effect only looks (what it starts may do more). `advertised`:
    false for one that models are not told of. `foreign`: what it does is done by another program, outside of our
    sandbox: access `auto` does not allow it, and what a person grants is the tool as a whole. `needs_model`: it asks
    the session's model, and a session without one does not offer it.
    """

    params: ClassVar[type[msgspec.Struct]]
    effect: ClassVar[Effect]
    aliases: ClassVar[tuple[str, ...]] = ()
    alone: ClassVar[bool] = False
    advertised: ClassVar[bool] = True
    foreign: ClassVar[bool] = False
    needs_model: ClassVar[bool] = False
    text: ClassVar[str] = ""

    def schema(self) -> ToolSchema:
        """What providers are told. Strict-mode clean: no `$ref`, `additionalProperties` false, stable order."""
        from codetether.schema import tool_parameters

        return ToolSchema(self.name, self.description, tool_parameters(self.params))

    @property
    def description(self) -> str:
        """The text the model reads."""
        if self.text:
            return self.text
        module = sys.modules[type(self).__module__]
        return _text(module.__file__ or "", f"{self.name}.md")

    @property
    def online(self) -> bool:
        """For a tool that runs commands: whether its sandbox lets them use the network."""
        return False

    def subject(self, params: P) -> Subject:
        """What this call touches. Default: the parameter `path`, `command` or `url` if there is one."""
        path = getattr(params, "path", None)
        return Subject(
            paths=(path,) if isinstance(path, str) else (),
            command=getattr(params, "command", None) or "",
            url=getattr(params, "url", None) or "",
        )

    def title(self, params: P) -> str:
        """One line for a person: the tool and what it is about."""
        subject = self.subject(params)
        about = subject.command or subject.url or " ".join(subject.paths)
        return f"{self.name} {about}".rstrip()

    async def preview(self, params: P, ctx: ToolContext) -> str:
        """A unified diff of what would change, shown when a person is asked; empty when there is none."""
        return ""

    async def run(self, params: P, ctx: ToolContext) -> ToolOutput:
        """Do it. Cancellation may come at every await; leave nothing half done."""
        raise NotImplementedError


# --- the others --------------------------------------------------------------------------------------------------
class Router(Plugin):
    """Turns an answer's prose into tool calls, for models that cannot call tools themselves."""

    async def route(self, text: str, tools: Sequence[ToolSchema]) -> Sequence[ToolCall]:
        """Calls found in `text`, or none. The loop passes the message on unchanged after an error or 10 s."""
        raise NotImplementedError


class Mode(Plugin):
    """A word after `codetether`: it reads its arguments and does the work."""

    def arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments. Import nothing heavy here: `--help` runs it."""

    async def run(self, args: Namespace) -> int:
        """Do it; the exit code: 0 done, 1 failed, 2 usage, 3 denied, 130 interrupted."""
        raise NotImplementedError


class Ui(Plugin):
    """Shows a session's events and says what a person does. It owns no logic.

    A ui that can ask a person implements the hook `codetether_ask`.
    """

    async def run(
        self, feed: trio.abc.ReceiveChannel[SessionEvent], say: trio.MemorySendChannel[UserAct]
    ) -> None:
        """Show events until the feed ends. Closing `say` is the ui's way to leave."""
        raise NotImplementedError


class SecretMissing(CodetetherError):
    """No secret for this provider where secrets are kept; the hint says which command puts it there."""


READ_ONLY_HINT = "change the secret where it is kept"


class Secrets(Plugin):
    """Where keys come from. There is no other source: no environment keys, none in settings."""

    async def get(self, provider: str) -> Mapping[str, Any]:
        """The provider's secret document: `api_key`, and maybe `base_url`, `organization`, `headers`, `region`.

        Raises SecretMissing, or CodetetherError with a diagnosis. Values are registered with the redactor.
        """
        raise NotImplementedError

    def forget(self, provider: str) -> None:
        """Drop what is remembered of this provider's document: it was refused, and the next `get` must ask again."""

    async def providers(self) -> Sequence[str]:
        """The provider names that have a document. Raises CodetetherError with a diagnosis."""
        raise NotImplementedError

    async def configured(self) -> bool:
        """Whether it is said where keys are kept; whether they can be read there is another question.

        Raises CodetetherError with a diagnosis.
        """
        return True

    async def put(self, provider: str, fields: Mapping[str, Any]) -> None:
        """Store `fields` in the provider's document: None takes a field out, fields not named stay as they are.

        Raises CodetetherError with a diagnosis; then nothing is changed.
        """
        raise CodetetherError("this source of secrets is read-only", READ_ONLY_HINT)

    async def remove(self, provider: str) -> None:
        """Delete the provider's document. Raises SecretMissing when there is none, CodetetherError with a diagnosis."""
        raise CodetetherError("this source of secrets is read-only", READ_ONLY_HINT)

    async def check(self) -> Sequence[Finding]:
        """What works and what does not, for `plugins doctor`. Never raises."""
        raise NotImplementedError


class Launch(msgspec.Struct, frozen=True):
    """A child process about to start. `env` is complete, not a change to ours."""

    argv: tuple[str, ...]
    cwd: str
    env: dict[str, str]
    pass_fds: tuple[int, ...] = ()


class SandboxPolicy(msgspec.Struct, frozen=True):
    """What a confined child may do. Paths are absolute. `network` false: no address at all. `readable`: all it may
    read, when there is something in it; else everything that is not hidden. With nothing `writable` it gets no place for
    temporary files either.
    """

    writable: tuple[str, ...]
    hidden: tuple[str, ...] = ()
    read_only: tuple[str, ...] = ()
    network: bool = False
    readable: tuple[str, ...] = ()


class Sandbox(Plugin):
    """Confines child processes. `level`: S3 bubblewrap and seccomp, S2 Landlock and seccomp, S1 seatbelt, S0 none."""

    level: ClassVar[str] = "S0"

    async def probe(self) -> Finding:
        """Whether it really confines on this machine, found by trying; ok, or why not. Never raises."""
        raise NotImplementedError

    def wrap(self, launch: Launch, policy: SandboxPolicy) -> Launch:
        """The launch that runs confined. Raises CodetetherError rather than run unconfined."""
        raise NotImplementedError


class AgentTask(msgspec.Struct, frozen=True, omit_defaults=True):
    """Work for one sub-agent: JSON all the way, so that it can travel. Limits None: the agent's own.
    `started_by` is the id of the session that asks. `within`: effects it may have whatever its agent may (None: no
    further limit). `depth`: how many sub-agents stand between it and a person, itself counted; the kernel ends it
    at Session.DEEPEST. For an executor that works elsewhere `directory` is in the repository to bring there, `base` the
    commit to start from, `branch` the branch of that repository on which it leaves what was changed."""

    id: str
    prompt: str
    directory: str
    agent: str = "build"
    model: str = ""
    access: str = ""
    max_steps: int | None = None
    budget_usd: float | None = None
    timeout: float = 600.0
    started_by: str = ""
    within: frozenset[Effect] | None = None
    depth: int = 0
    base: str = ""
    branch: str = ""


class AgentResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of an AgentTask. `reason` as TurnFinished.reason, or `unreachable`: where it was to run is not there,
    and trying again at once is no use; `session` names the transcript, where it ran."""

    id: str
    ok: bool
    text: str
    reason: str
    session: str
    steps: int
    seconds: float
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    error: str = ""


class Executor(Plugin):
    """Where sub-agents run: `local` (trio tasks of this process), or a queue that other machines serve.

    `elsewhere`: not in `directory`; it brings the repository there, and the result back as a branch.
    """

    elsewhere: ClassVar[bool] = False

    async def ready(self, address: str = "") -> None:
        """Called before the first task of a long run, so that what is missing is told early. `address`: where it is, for
        one that works elsewhere, in place of what its settings say. Raises CodetetherError.
        """

    async def run(
        self, task: AgentTask, observe: Callable[[SessionEvent], Awaitable[None]] | None = None
    ) -> AgentResult:
        """Run one task to its end. Failure is a result, not an exception; cancelling cancels the sub-agent."""
        raise NotImplementedError


class Command(msgspec.Struct, frozen=True):
    """A slash command an interface offers. `run(session, words)` may return text to show."""

    name: str
    summary: str
    run: Callable[[Session, str], Awaitable[str | None]]

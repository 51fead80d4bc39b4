"""Every model of the tool `llm` and its plugins, as `llm/MODEL`.

The models run in child processes. Their keys are llm's own (`llm keys set`), outside Vault; no key of ours is given to
them, and of the environment only what the settings name.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import trio
from codetether.api import (
    CodetetherError,
    Finish,
    Image,
    Message,
    ModelInfo,
    Provider,
    ProviderStatus,
    Request,
    StreamEvent,
)
from msgspec import Meta

from codetether_provider_llm.python import default_model, python_with_llm

if TYPE_CHECKING:
    from codetether_provider_llm.crew import Crew

ASKING_SECONDS = 60.0
NO_IMAGE = "[image left out: this model takes text only]"


class LlmSettings(msgspec.Struct, frozen=True):
    """Where llm is, what its plugins may see, and how long a call may take."""

    model: Annotated[
        str, Meta(description="Default model; empty: that of `llm models default`")
    ] = ""
    python: Annotated[
        str,
        Meta(description="The Python that has llm; empty: ours, else that of the `llm` command"),
    ] = ""
    environment: Annotated[
        list[str], Meta(description="Names of environment variables llm's plugins may see")
    ] = []
    options: Annotated[
        dict[str, Any], Meta(description="Options for every model that knows them")
    ] = {}
    children: Annotated[
        int, Meta(ge=1, description="Questions at the same time, each in a process of its own")
    ] = 4
    idle_timeout: Annotated[
        float, Meta(gt=0, description="Seconds without anything before a call is given up")
    ] = 300.0
    total_timeout: Annotated[
        float, Meta(gt=0, description="Seconds one model call may take in all")
    ] = 1800.0


class Llm(Provider):
    """The provider of llm's models."""

    api = 1
    keyless = True
    Settings = LlmSettings

    def __init__(self, kernel: Any, key: str) -> None:
        super().__init__(kernel, key)
        self._told: dict[str, ModelInfo] = {}

    # --- the port ---
    async def status(self) -> ProviderStatus:
        """Usable when a Python with llm is found; nothing is started."""
        from codetether_provider_llm.crew import INSTALL

        if not self._python:
            named = self.settings.python
            why = f"there is no program {named}" if named else "the tool llm is not installed"
            return ProviderStatus(usable=False, why=why, hint=INSTALL)
        return ProviderStatus(usable=True, model=self.settings.model or default_model())

    async def models(self) -> Sequence[ModelInfo]:
        """The models that need no key, or have one. Raises CodetetherError when there is none."""
        rows = (await self._asked({"list": True}))["models"]
        found = [self._info(row) for row in rows if row["key"]]
        if not found:
            raise CodetetherError(
                "llm has no model that can be used",
                "give it a key (llm keys set openai) or a plugin (llm install llm-ollama)",
            )
        return found

    async def model(self, model_id: str) -> ModelInfo:
        """What llm knows about a model; unknown when it cannot be asked."""
        if model_id not in self._told:
            try:
                self._info((await self._asked({"facts": model_id}))["model"], model_id)
            except CodetetherError:
                return ModelInfo(id=model_id, provider=self.name)
        return self._told[model_id]

    def stream(self, request: Request) -> AbstractAsyncContextManager[AsyncIterator[StreamEvent]]:
        """The answer as it comes. A call that is left early ends the child: llm's models cannot be told to stop."""
        from codetether_wire.child_answer import stream_of

        return stream_of(lambda send: self._answer(request, send))

    async def aclose(self) -> None:
        """End the children."""
        if "_crew" in self.__dict__:
            await self._crew.aclose()

    # --- children ---
    @cached_property
    def _python(self) -> str:
        return python_with_llm(self.settings.python)

    @cached_property
    def _crew(self) -> Crew:
        from codetether_provider_llm.crew import Crew

        settings, home = self.settings, Path(self.kernel.dirs.data)
        home.mkdir(parents=True, exist_ok=True)
        return Crew(self._python, settings.children, settings.environment, home, ASKING_SECONDS)

    async def _asked(self, question: Any) -> Any:
        """One line for one line. Raises CodetetherError."""
        from codetether_wire.child import ChildEnded

        status = await self.status()
        if not status.usable:
            raise CodetetherError(status.why, status.hint)
        answer: Any = None
        try:
            async with self._crew.lend() as loan:
                with trio.move_on_after(ASKING_SECONDS):
                    await loan.child.send(question)
                    answer = await loan.child.receive()
                    loan.done()
        except ChildEnded as exc:
            raise CodetetherError(self._redacted(f"llm ended while asked: {exc.why}")) from None
        if answer is None:
            raise CodetetherError(f"llm did not answer within {ASKING_SECONDS:.0f} s")
        if "error" in answer:
            raise CodetetherError(
                self._redacted(f"llm: {answer['error']}"), answer.get("hint") or ""
            )
        return answer

    async def _answer(self, request: Request, send: trio.MemorySendChannel[StreamEvent]) -> None:
        from codetether_wire.child import ChildEnded
        from codetether_wire.child_answer import fault

        try:
            status = await self.status()
            if not status.usable:
                raise CodetetherError(status.why, status.hint)
            finish = await self._relayed(request, send)
        except CodetetherError as exc:
            finish = fault("invalid", self._redacted(f"{self.name}: {exc.message}"), exc.hint)
        except ChildEnded as exc:
            finish = fault("other", self._redacted(f"{self.name}: its process is gone: {exc.why}"))
        if finish.error is not None and not finish.error.message.startswith(self.name):
            error = msgspec.structs.replace(
                finish.error, message=self._redacted(f"{self.name}: {finish.error.message}")
            )
            finish = Finish(reason="error", error=error)
        await send.send(finish)

    async def _relayed(self, request: Request, send: trio.MemorySendChannel[StreamEvent]) -> Finish:
        from codetether_wire.child_answer import relay

        settings = self.settings
        images = (await self.model(request.model)).images is not False
        async with self._crew.lend() as loan:
            finish = await relay(
                loan.child,
                _document(request, settings.options, images),
                send,
                idle=settings.idle_timeout,
                total=settings.total_timeout,
            )
            loan.done()
            return finish

    # --- facts ---
    def _info(self, row: dict[str, Any], model_id: str = "") -> ModelInfo:
        """A model's row; under the name that was asked for, which may be an alias."""
        info = ModelInfo(
            id=model_id or row["id"], provider=self.name, tools=row["tools"], images=row["images"]
        )
        self._told[info.id] = info
        return info

    def _redacted(self, text: str) -> str:
        told: str = self.kernel.redact.text(text)
        return told


def _document(request: Request, options: dict[str, Any], images: bool) -> dict[str, Any]:
    """The request as the child reads it. llm cannot forbid the use of tools, so forbidden ones are not offered."""
    tools = request.tools if request.tool_choice != "none" else ()
    return {
        "model": request.model,
        "system": request.system,
        "messages": [_message(message, images) for message in request.messages],
        "tools": [msgspec.to_builtins(tool) for tool in tools],
        "schema": request.schema,
        "max_output": request.max_output,
        "temperature": request.temperature,
        "options": options,
    }


def _message(message: Message, images: bool) -> dict[str, Any]:
    pictures = [part for part in message.parts if isinstance(part, Image)]
    pictures += [picture for result in message.results for picture in result.images]
    text = message.text
    if pictures and not images:
        text, pictures = f"{text}\n{NO_IMAGE}".strip(), []
    return {
        "role": message.role,
        "text": text,
        "calls": [
            {"id": call.id, "name": call.name, "arguments": _object(call.arguments)}
            for call in message.calls
        ],
        "results": [{"id": r.call_id, "name": r.name, "text": r.text} for r in message.results],
        "images": [
            {"mime": image.mime, "data": b64encode(image.data).decode()} for image in pictures
        ],
    }


def _object(arguments: str) -> str:
    """The arguments if they are an object: what the model wrote wrongly it was told in the result."""
    try:
        return arguments if isinstance(msgspec.json.decode(arguments), dict) else "{}"
    except msgspec.DecodeError:
        return "{}"

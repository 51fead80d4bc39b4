"""Whether a provider can really be used: its key is read, and its model asked for a word."""

from __future__ import annotations

from typing import Literal, NamedTuple

import trio
from codetether.api import CodetetherError, Finish, Kernel, Message, Provider, Request, Text

SECONDS = 60.0
WORDS = 16  # tokens: some models refuse to be asked for one

Outcome = Literal["works", "refused", "failed"]


class Verdict(NamedTuple):
    """`refused`: the vendor does not take this key; `failed`: something else, which says nothing about the key."""

    outcome: Outcome
    text: str
    hint: str = ""


async def try_out(kernel: Kernel, name: str, model: str = "") -> Verdict:
    """Ask the provider's default model, or `model`, for a few tokens. Costs a fraction of a cent.

    Raises PluginError when no such provider is installed.
    """
    provider = kernel.provider(name)
    status = await provider.status()
    if not status.usable:
        return Verdict("failed", status.why or f"{name} cannot be used", status.hint)
    if not (model or status.model):
        return await _listed(provider)
    with trio.move_on_after(SECONDS):
        return await _asked(provider, model or status.model)
    text = f"{name} did not answer within {SECONDS:g} s"
    return Verdict("failed", text, "try again; is the network there?")


async def _listed(provider: Provider) -> Verdict:
    """No model is known by default: its list has to do."""
    try:
        models = await provider.models()
    except CodetetherError as error:
        return Verdict("failed", error.message, error.hint)
    hint = f"ask one of them: codetether auth test {provider.name} --model ID"
    return Verdict("works", f"{provider.name} lists {len(models)} models; none was asked", hint)


async def _asked(provider: Provider, model: str) -> Verdict:
    message = Message(role="user", parts=(Text("Answer with one word: ready"),))
    request = Request(model=model, messages=(message,), max_output=WORDS)
    start = trio.current_time()
    finish: Finish | None = None
    async with provider.stream(request) as events:
        async for event in events:
            if isinstance(event, Finish):
                finish = event
    name = f"{provider.name}/{model}"
    if finish is None:
        return Verdict("failed", f"{name} broke off", "try again")
    if (fault := finish.error) is None:
        return Verdict("works", f"{name} answers, in {trio.current_time() - start:.1f} s")
    status = f" (status {fault.status})" if fault.status else ""
    refused = fault.kind == "auth" and fault.status in (401, 403)
    if refused:
        text = f"{provider.name} refuses the key{status}: {fault.message}"
        return Verdict("refused", text, f"store another: codetether auth login {provider.name}")
    return Verdict("failed", f"{name}: {fault.kind}{status}: {fault.message}", fault.hint)

"""Which model to use: one resolver for every mode.

`provider/model`, or a provider's name for its default. The prefix must be an installed provider: an unknown one is
an error, never another vendor; what follows it is sent exactly as written, `/` and `:` included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from codetether.errors import CodetetherError, UsageError

if TYPE_CHECKING:
    from codetether.kernel import Kernel
    from codetether.ports import Provider
    from codetether.words import ModelInfo

FIRST_CHOICE = "moonshotai/kimi-k2.5"
NO_MODEL = "none/none"  # for a session whose tools are called from elsewhere; nothing is asked for keys or servers
ORDER = (
    "anthropic", "openai", "google", "moonshotai", "openrouter", "github-copilot", "bedrock", "azure-anthropic",
    "deepseek", "zhipuai", "stepfun", "cerebras", "novita", "minimax",
)  # fmt: skip
NOTHING = (
    "start a local server (Ollama, llama.cpp, LM Studio or vLLM is found by itself), put a key into Vault "
    "(docs/vault.md), or see it work without either: codetether demo"
)


async def resolve(kernel: Kernel, spec: str | None) -> tuple[Provider, ModelInfo]:
    """The provider and model for `spec`; without one the configured default, then the first that can be used.

    Raises UsageError for an unknown provider, CodetetherError when nothing can be used.
    """
    if spec == NO_MODEL:
        from codetether.no_model import NoModel

        nobody = NoModel(kernel, "providers:none")
        return nobody, await nobody.model("none")
    if wanted := spec or kernel.config.kernel.default_model:
        provider, model_id = await _named(kernel, wanted)
        return provider, await provider.model(model_id)
    for provider, model_id in await _candidates(kernel):
        return provider, await provider.model(model_id)
    raise CodetetherError("no model can be used", NOTHING)


async def _named(kernel: Kernel, spec: str) -> tuple[Provider, str]:
    name, slash, model_id = spec.partition("/")
    names = kernel.host.names("providers")
    if name not in names:
        from difflib import get_close_matches

        near = get_close_matches(name, names, 2)
        what = f"no provider {name!r} is installed" if slash else f"{spec!r} is not provider/model"
        meant = f"did you mean {' or '.join(near)}? " if near else ""
        raise UsageError(what, f"{meant}installed: {', '.join(names) or 'none'}")
    provider = kernel.provider(name)
    if model_id:
        return provider, model_id
    status = await provider.status()
    if not status.model:
        raise CodetetherError(
            f"{name} has no default model: {status.why or 'name one'}",
            status.hint or f"write {name}/MODEL",
        )
    return provider, status.model


async def _candidates(kernel: Kernel) -> list[tuple[Provider, str]]:
    """The usable providers with their default models, best first: at most one is returned."""
    names = kernel.host.names("providers")
    first, _, first_model = FIRST_CHOICE.partition("/")
    keyed = [name for name in (first, *ORDER) if name in names]
    rest = [name for name in names if name not in keyed]
    for name in dict.fromkeys([*keyed, *rest]):
        provider = kernel.host.get("providers", name)
        if provider is None or (provider.keyless and name != "local"):
            continue  # a scripted model is used only when it is named
        status = await provider.status()
        if status.usable and status.model:
            return [(provider, first_model if name == first else status.model)]
    return []

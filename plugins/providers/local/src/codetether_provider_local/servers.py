"""What each kind of local server tells about its models, and where it tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import trio
from codetether.api import CodetetherError, ModelInfo
from codetether_wire import Endpoint
from codetether_wire.catalogue import listed_model

if TYPE_CHECKING:
    from codetether_provider_local import Local

FOUND_AT = (
    "http://127.0.0.1:11434/v1",  # Ollama
    "http://127.0.0.1:8080/v1",  # llama.cpp
    "http://127.0.0.1:1234/v1",  # LM Studio
    "http://127.0.0.1:8000/v1",  # vLLM
)


PROBE_PATH = "/models"  # all four answer it below their base address


async def facts(
    provider: Local, endpoint: Endpoint, row: dict[str, Any], seconds: float
) -> ModelInfo:
    """One model's facts: from its row in the list, then from the server's own page. Silence leaves them unknown."""
    info = listed_model(row, provider.name)
    root = Endpoint(endpoint.base_url.removesuffix("/v1"), endpoint.headers)
    if isinstance(row.get("max_model_len"), int):  # vLLM says all it knows in the list
        return info
    kinds = [_llama, _ollama, _lm_studio]
    owner = row.get("owned_by")
    if owner == "llamacpp":
        kinds = [_llama]
    elif owner == "library" or endpoint.base_url.startswith("http://127.0.0.1:11434"):
        kinds = [_ollama]
    answers: list[dict[str, Any]] = []

    async def ask(kind: Any) -> None:
        try:
            answers.append(await kind(provider, root, info.id, seconds))
        except (CodetetherError, KeyError, TypeError, ValueError, AttributeError):
            return

    async with trio.open_nursery() as nursery:
        for kind in kinds:
            nursery.start_soon(ask, kind)
    told = {
        name: value for answer in answers for name, value in answer.items() if value is not None
    }
    return msgspec.structs.replace(info, **told)


async def _llama(provider: Local, root: Endpoint, _model: str, seconds: float) -> dict[str, Any]:
    props = await provider.fetch(root, "/props", seconds=seconds)
    settings = props["default_generation_settings"]
    template = str(props.get("chat_template") or "")
    vision = props.get("modalities", {}).get("vision")
    return {
        "context": _positive(settings.get("n_ctx")),
        "tools": "tool" in template if template else None,
        "images": vision if isinstance(vision, bool) else None,
    }


async def _ollama(provider: Local, root: Endpoint, model: str, seconds: float) -> dict[str, Any]:
    """The window Ollama runs the model with: of the loaded model, else its own `num_ctx`, else what it was made for."""
    shown = await provider.fetch(
        root, "/api/show", seconds=max(seconds, 1.0), post={"model": model}
    )
    made_for = next(
        (value for key, value in shown["model_info"].items() if key.endswith(".context_length")),
        None,
    )
    own = [
        line.split()[1]
        for line in str(shown.get("parameters") or "").splitlines()
        if line.startswith("num_ctx ")
    ]
    abilities = shown.get("capabilities")
    known = isinstance(abilities, list)
    return {
        "context": await _loaded(provider, root, model, seconds)
        or (int(own[0]) if own and own[0].isdigit() else _positive(made_for)),
        "tools": "tools" in abilities if known else None,
        "images": "vision" in abilities if known else None,
        "reasoning": "thinking" in abilities if known else None,
    }


async def _loaded(provider: Local, root: Endpoint, model: str, seconds: float) -> int | None:
    try:
        running = (await provider.fetch(root, "/api/ps", seconds=seconds))["models"]
        rows = [row for row in running if model in (row.get("name"), row.get("model"))]
    except (CodetetherError, KeyError, TypeError, AttributeError):
        return None
    return _positive(rows[0].get("context_length")) if rows else None


async def _lm_studio(provider: Local, root: Endpoint, model: str, seconds: float) -> dict[str, Any]:
    rows = (await provider.fetch(root, "/api/v0/models", seconds=seconds))["data"]
    row: dict[str, Any] = next((row for row in rows if row["id"] == model), {})
    abilities = row.get("capabilities")
    return {
        "context": _positive(row.get("loaded_context_length"))
        or _positive(row.get("max_context_length")),
        "images": row.get("type") == "vlm" if row.get("type") else None,
        "tools": "tool_use" in abilities if isinstance(abilities, list) else None,
    }


def _positive(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None

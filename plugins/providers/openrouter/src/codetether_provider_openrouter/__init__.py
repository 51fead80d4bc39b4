"""OpenRouter: many vendors behind one address. Ids such as `stepfun/step-3.5-flash:free` are sent as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from codetether.api import ModelInfo, Request
from codetether_wire import WireProvider
from codetether_wire.catalogue import listed_model, listed_models


class OpenRouter(WireProvider):
    """OpenRouter, or whatever the secret's `base_url` names that speaks the same language."""

    api = 1
    base_url = "https://openrouter.ai/api/v1"

    def headers(self, request: Request) -> Mapping[str, str]:
        """Who asks, for the vendor's statistics."""
        return {"HTTP-Referer": "https://codetether.run", "X-Title": "CodeTether Agent"}

    def listed(self, document: Any) -> list[ModelInfo]:
        """Its rows say what a model can do, and its longest answer."""
        rows = {row["id"]: row for row in document["data"] if isinstance(row, dict) and "id" in row}
        return [
            _with_abilities(model, rows[model.id]) for model in listed_models(document, self.name)
        ]


def _with_abilities(model: ModelInfo, row: dict[str, Any]) -> ModelInfo:
    takes = _list(row.get("supported_parameters"))
    sees = _list((row.get("architecture") or {}).get("input_modalities"))
    longest = listed_model({"id": model.id, **(row.get("top_provider") or {})}, model.provider)
    return msgspec.structs.replace(
        model,
        output=longest.output,
        tools=None if takes is None else "tools" in takes,
        reasoning=None if takes is None else "reasoning" in takes,
        images=None if sees is None else "image" in sees,
    )


def _list(value: Any) -> list[Any] | None:
    return value if isinstance(value, list) else None

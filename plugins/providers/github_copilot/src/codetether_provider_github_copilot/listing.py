"""Copilot's list of models, which says more than others and holds more than can be talked to."""

from __future__ import annotations

from typing import Any

from codetether.api import ModelInfo


def listed(document: Any, provider: str) -> list[ModelInfo]:
    """The chat models that the plan allows, each once. Prices are unknown: a plan counts requests, not tokens."""
    rows = [row for row in document["data"] if isinstance(row, dict) and row.get("id")]
    models = [_model(row, provider) for row in rows if _talks(row)]
    return list({model.id: model for model in models}.values())


def _talks(row: dict[str, Any]) -> bool:
    kind = _part(row, "capabilities").get("type")
    return kind in (None, "chat") and _part(row, "policy").get("state") != "disabled"


def _model(row: dict[str, Any], provider: str) -> ModelInfo:
    abilities = _part(row, "capabilities")
    limits, supports = _part(abilities, "limits"), _part(abilities, "supports")
    name = row.get("name")
    thinks = any(supports.get(word) for word in ("reasoning_effort", "adaptive_thinking"))
    return ModelInfo(
        id=str(row["id"]),
        provider=provider,
        name=name if isinstance(name, str) else "",
        context=_count(limits.get("max_context_window_tokens")),
        output=_count(limits.get("max_output_tokens")),
        tools=_flag(supports.get("tool_calls"), supports),
        images=_flag(supports.get("vision"), supports),
        reasoning=True if thinks else None,
    )


def _part(row: dict[str, Any], name: str) -> dict[str, Any]:
    value = row.get(name)
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _flag(value: Any, supports: dict[str, Any]) -> bool | None:
    """A list of abilities leaves out those that are not there; without a list nothing is known."""
    return bool(value) if supports else None

"""Reasoning that OpenRouter hands out as data, to be handed back as it was."""

from __future__ import annotations

from typing import Any


def joined(details: list[Any]) -> list[Any]:
    """Reasoning details as one document has them: streamed, a detail comes in fragments under one index, and a vendor
    that gets the fragments back sees many unsigned thoughts.
    """
    whole: list[Any] = []
    for detail in details:
        last = whole[-1] if whole else None
        if isinstance(detail, dict) and isinstance(last, dict) and _continues(last, detail):
            for name, value in detail.items():
                if name in ("text", "summary") and isinstance(value, str):
                    last[name] = (last.get(name) or "") + value
                elif value is not None:
                    last[name] = value
        else:
            whole.append(dict(detail) if isinstance(detail, dict) else detail)
    return whole


def _continues(last: dict[str, Any], detail: dict[str, Any]) -> bool:
    if detail.get("type") not in ("reasoning.text", "reasoning.summary"):
        return False
    same = all(last.get(name) == detail.get(name) for name in ("type", "index"))
    return same and (not detail.get("id") or not last.get("id") or detail["id"] == last["id"])

"""Token counts in the OpenAI form, and in the words other vendors use for them."""

from __future__ import annotations

from typing import Any

from codetether.api import Usage


def read_usage(usage: dict[str, Any]) -> Usage:
    """Token counts, with the parts vendors name differently; a vendor's own `cost` in USD is kept."""
    prompt = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
    completion = usage.get("completion_tokens_details") or usage.get("output_tokens_details")
    cached = _first(prompt, "cached_tokens") or _first(
        usage, "prompt_cache_hit_tokens", "cached_tokens"
    )
    cost = usage.get("cost")
    return Usage(
        input=_first(usage, "prompt_tokens", "input_tokens"),
        output=_first(usage, "completion_tokens", "output_tokens"),
        cached=cached,
        cache_write=_first(prompt, "cache_write_tokens")
        or _first(usage, "cache_creation_input_tokens"),
        reasoning=_first(completion, "reasoning_tokens") or _first(usage, "reasoning_tokens"),
        cost=float(cost) if isinstance(cost, int | float) and not isinstance(cost, bool) else None,
    )


def _first(row: Any, *names: str) -> int:
    if isinstance(row, dict):
        for name in names:
            value = row.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
                return int(value)
    return 0

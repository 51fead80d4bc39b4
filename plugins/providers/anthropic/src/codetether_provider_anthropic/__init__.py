"""Anthropic, by the Messages interface. Everything particular is in models.json."""

from __future__ import annotations

from codetether_wire import AnthropicProvider


class Anthropic(AnthropicProvider):
    """Anthropic, or whatever the secret's `base_url` names that speaks the same language."""

    api = 1
    base_url = "https://api.anthropic.com"
    models_path = "/v1/models?limit=1000"

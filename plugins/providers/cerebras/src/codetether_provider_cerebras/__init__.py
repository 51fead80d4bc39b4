"""Cerebras. Everything particular is in models.json."""

from __future__ import annotations

from codetether_wire import WireProvider


class Cerebras(WireProvider):
    """Cerebras, or whatever the secret's `base_url` names that speaks the same language."""

    api = 1
    base_url = "https://api.cerebras.ai/v1"

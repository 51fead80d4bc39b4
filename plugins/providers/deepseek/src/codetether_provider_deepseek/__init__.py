"""DeepSeek. Reasoning goes back with every call it led to (models.json): the vendor refuses calls without it."""

from __future__ import annotations

from codetether_wire import WireProvider


class DeepSeek(WireProvider):
    """DeepSeek, or whatever the secret's `base_url` names that speaks the same language."""

    api = 1
    base_url = "https://api.deepseek.com"

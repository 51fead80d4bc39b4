"""Moonshot AI. What Kimi wants differently is in models.json."""

from __future__ import annotations

from codetether_wire import WireProvider


class MoonshotAI(WireProvider):
    """Moonshot AI, or whatever the secret's `base_url` names (such as its Chinese host) that speaks the same language."""

    api = 1
    base_url = "https://api.moonshot.ai/v1"

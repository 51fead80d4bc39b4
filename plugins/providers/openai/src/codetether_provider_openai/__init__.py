"""OpenAI, by chat completions or Responses as the model wants it. Everything particular is in models.json."""

from __future__ import annotations

from codetether_wire import WireProvider


class OpenAI(WireProvider):
    """OpenAI, or whatever the secret's `base_url` names that speaks the same language."""

    api = 1
    base_url = "https://api.openai.com/v1"
    organization = "OpenAI-Organization"

"""Novita AI. Everything particular is in models.json."""

from __future__ import annotations

from typing import Any

from codetether.api import ModelInfo
from codetether_wire import WireProvider
from codetether_wire.catalogue import listed_models


class Novita(WireProvider):
    """Novita, or whatever the secret's `base_url` names that speaks the same language."""

    api = 1
    base_url = "https://api.novita.ai/openai/v1"

    def listed(self, document: Any) -> list[ModelInfo]:
        """Its list says `context_size` and `title`."""
        rows = [
            {"context_length": row.get("context_size"), "name": row.get("title"), **row}
            for row in document["data"]
        ]
        return listed_models(rows, self.name)

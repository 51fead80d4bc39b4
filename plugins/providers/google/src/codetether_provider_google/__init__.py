"""Google's Gemini models, by the Generative Language API. Everything particular is in models.json."""

from __future__ import annotations

from typing import Any

import msgspec
from codetether.api import ModelInfo
from codetether_wire import Dialect, Endpoint, WireProvider


class Google(WireProvider):
    """Gemini with a key of Google AI Studio, which is sent in a header only."""

    api = 1
    base_url = "https://generativelanguage.googleapis.com/v1beta"
    auth = "x-goog-api-key: {key}"
    organization = "x-goog-user-project"
    models_path = "/models?pageSize=1000"

    def dialect_for(self, model: str) -> Dialect:
        """Google's own language."""
        from codetether_wire import GoogleDialect

        return GoogleDialect()

    async def endpoint(self, model: str, *, fresh: bool = False) -> Endpoint:
        """The secret's address. One that names Google's imitation of OpenAI, as was stored in earlier days, is taken
        for the API beside it.
        """
        endpoint = await super().endpoint(model, fresh=fresh)
        return msgspec.structs.replace(endpoint, base_url=endpoint.base_url.removesuffix("/openai"))

    def listed(self, document: Any) -> list[ModelInfo]:
        """The models that can answer, with Google's own limits."""
        return [
            ModelInfo(
                id=row["name"].removeprefix("models/"),
                provider=self.name,
                name=row.get("displayName", ""),
                context=row.get("inputTokenLimit"),
                output=row.get("outputTokenLimit"),
                reasoning=row.get("thinking"),
            )
            for row in document["models"]
            if "generateContent" in row.get("supportedGenerationMethods", ())
        ]

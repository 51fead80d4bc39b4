"""The base of providers that speak the Anthropic Messages dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from codetether.api import ModelInfo

from codetether_wire.catalogue import Traits
from codetether_wire.endpoint import Endpoint, endpoint_from_secret
from codetether_wire.provider import WireProvider

if TYPE_CHECKING:
    from codetether_wire.dialect import Dialect

VERSION = "2023-06-01"
"""Of the interface. Later ones take no `temperature`, which older models and other vendors still know."""
MOST_ASKED = 64_000
"""Tokens an answer may have when nobody said a limit: a step that needs more is better cut into several."""
UNKNOWN_MODEL = 32_000
"""The same for a model without data: every model of the vendor that is still served takes this."""


class AnthropicProvider(WireProvider):
    """A vendor that speaks the Messages dialect. The secret's `base_url` may end in `/v1` or `/v1/messages` or not; its
    `organization` names the workspace of a key that may act in several.
    """

    auth = "x-api-key: {key}"
    organization = "anthropic-workspace-id"
    models_path = ""

    def dialect_for(self, model: str) -> Dialect:
        """The Messages dialect."""
        from codetether_wire.anthropic_messages import AnthropicDialect

        return AnthropicDialect()

    def auth_for(self, key: str) -> str:
        """The header line that `key` goes in."""
        return self.auth

    async def endpoint(self, model: str, *, fresh: bool = False) -> Endpoint:
        """Where requests go, without the part of the path that the dialect adds. The secret's headers win."""
        secret = await self.secret(fresh=fresh)
        endpoint = endpoint_from_secret(
            secret,
            provider=self.name,
            base_url=self.base_url,
            auth=self.auth_for(str(secret.get("api_key") or "").strip()),
            organization=self.organization,
            redact=self.kernel.redact,
        )
        headers = dict(endpoint.headers)
        if not any(name.lower() == "anthropic-version" for name in headers):
            headers["anthropic-version"] = VERSION
        base = endpoint.base_url.removesuffix("/messages").removesuffix("/v1")
        return Endpoint(base, headers)

    def traits(self, model_id: str) -> Traits:
        """How to ask a model; the limits, which this vendor wants said, come from the facts about it."""
        traits = super().traits(model_id)
        output = self.known(model_id).output
        if traits.most_output is None and output is not None:
            traits = msgspec.structs.replace(traits, most_output=output)
        if traits.default_limit is None:
            limit = MOST_ASKED if output is not None else UNKNOWN_MODEL
            traits = msgspec.structs.replace(traits, default_limit=limit)
        return traits

    def listed(self, document: Any) -> list[ModelInfo]:
        """The models of a `/v1/models` answer that can still be asked."""
        rows = document["data"]
        return [_listed(row, self.name) for row in rows if row.get("lifecycle") != "retired"]


def _listed(row: dict[str, Any], provider: str) -> ModelInfo:
    able = row.get("capabilities") or {}
    return ModelInfo(
        id=str(row["id"]),
        provider=provider,
        name=str(row.get("display_name") or ""),
        context=row.get("max_input_tokens") or None,
        output=row.get("max_tokens") or None,
        images=_supported(able.get("image_input")),
        reasoning=_supported(able.get("thinking")),
    )


def _supported(capability: Any) -> bool | None:
    return bool(capability.get("supported")) if isinstance(capability, dict) else None

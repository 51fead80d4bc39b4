"""Claude models in Microsoft Foundry (Azure), by the Messages interface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codetether.api import CodetetherError
from codetether_wire import AnthropicProvider

_HINT = (
    "store base_url = https://<resource>.services.ai.azure.com/anthropic "
    "with: codetether auth login azure-anthropic"
)


class AzureAnthropic(AnthropicProvider):
    """A Foundry resource: the secret's `base_url` names it, and its deployments are the models.

    `api_key` is the resource's key, or a token of Entra ID, which is told from a key by its form.
    """

    api = 1

    async def secret(self, *, fresh: bool = False) -> Mapping[str, Any]:
        """The secret document, with an address. Raises CodetetherError when there is none."""
        secret = await super().secret(fresh=fresh)
        base = str(secret.get("base_url") or "").strip().rstrip("/")
        if not base:
            raise CodetetherError("the secret of azure-anthropic has no base_url", _HINT)
        if base.endswith(".services.ai.azure.com"):
            base += "/anthropic"
        return {**secret, "base_url": base}

    def auth_for(self, key: str) -> str:
        """A token of Entra ID is a JWT: three parts, and the first is JSON."""
        is_token = key.startswith("eyJ") and key.count(".") == 2
        return "Authorization: Bearer {key}" if is_token else "api-key: {key}"

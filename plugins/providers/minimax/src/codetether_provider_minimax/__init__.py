"""MiniMax, by the interface its documentation recommends: Anthropic's Messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codetether_wire import AnthropicProvider


class MiniMax(AnthropicProvider):
    """MiniMax, or whatever the secret's `base_url` names that speaks Messages.

    The address of MiniMax's other interface (`.../v1`), which earlier versions stored, is read as its host.
    """

    api = 1
    base_url = "https://api.minimax.io/anthropic"
    auth = "Authorization: Bearer {key}"

    async def secret(self, *, fresh: bool = False) -> Mapping[str, Any]:
        """The secret document; see the class for its `base_url`."""
        secret = await super().secret(fresh=fresh)
        base = str(secret.get("base_url") or "").strip().rstrip("/")
        host = base.removesuffix("/v1")
        if host.startswith("https://api.minimax") and host.count("/") == 2:
            return {**secret, "base_url": f"{host}/anthropic"}
        return secret

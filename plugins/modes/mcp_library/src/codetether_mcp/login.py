"""Logging in to a server that wants it (OAuth 2.1 as the protocol's authorization page has it, by the SDK)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2

from codetether_mcp.secrets import LoginNeeded

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class NoLogin(httpx2.Auth):
    """Says, instead of asking again, that a login is needed."""

    def __init__(self, name: str) -> None:
        self._name = name

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """One request; raises LoginNeeded when it is answered with 401."""
        response = yield request
        if response.status_code == 401:
            raise LoginNeeded(self._name)

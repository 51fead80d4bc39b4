"""GitHub Copilot: the models of a Copilot plan, with a person's sign-in in place of a key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import Annotated, Any

from codetether.api import (
    CodetetherError,
    Image,
    ModelInfo,
    ProviderStatus,
    Request,
    ToolResult,
    UsageError,
)
from codetether_wire import Endpoint, WireProvider, WireSettings, endpoint_from_secret
from msgspec import Meta

from codetether_provider_github_copilot.access import Exchange, status_of
from codetether_provider_github_copilot.hosts import PUBLIC, domain_in, domain_of, hosts_of
from codetether_provider_github_copilot.listing import listed


class CopilotSettings(WireSettings, frozen=True):
    """What signing in needs beside the limits of calls."""

    client_id: Annotated[
        str,
        Meta(
            description="Client id of the GitHub OAuth app that people sign in with",
            extra_json_schema={"env": "CODETETHER_COPILOT_OAUTH_CLIENT_ID"},
        ),
    ] = ""
    enterprise_url: Annotated[
        str, Meta(description="Domain of the company's own GitHub to sign in to, if it has one")
    ] = ""


class GitHubCopilot(WireProvider):
    """Copilot at github.com, or at the domain the secret's `enterpriseUrl` names. `api_key` is the person's token."""

    api = 1
    Settings = CopilotSettings

    def __init__(self, kernel: Any, key: str) -> None:
        super().__init__(kernel, key)
        self._exchange = Exchange(self)

    # --- calls ---
    async def endpoint(self, model: str, *, fresh: bool = False) -> Endpoint:
        """Where Copilot is for this person, with a token that holds. The secret's `base_url` goes before what Copilot
        says. Raises CodetetherError.
        """
        if fresh:
            self._exchange.forget()
        secret = await self.secret(fresh=fresh)
        try:
            return await self._reached(secret)
        except CodetetherError as exc:
            if fresh or status_of(exc) not in (401, 403):
                raise
            again = await self.secret(fresh=True)  # the token may have been replaced meanwhile
            if again.get("api_key") == secret.get("api_key"):
                raise CodetetherError(exc.message, self.key_hint) from exc
            return await self._reached(again)

    async def _reached(self, secret: Mapping[str, Any]) -> Endpoint:
        own = self._own(secret)
        key = own.headers["Authorization"].removeprefix("Bearer ")
        if key != str(secret.get("api_key")).strip():
            return own  # the secret's headers bring an authorization of their own
        exchange = hosts_of(domain_in(secret)).exchange
        access = await self._exchange.get(exchange, key, self._who)
        url = own.base_url if secret.get("base_url") else access.base_url or own.base_url
        return Endpoint(url, {**own.headers, "Authorization": f"Bearer {access.token}"})

    def _own(self, secret: Mapping[str, Any]) -> Endpoint:
        """What the secret alone says. Raises CodetetherError."""
        hosts = hosts_of(domain_in(secret))
        own = endpoint_from_secret(
            secret, provider=self.name, base_url=hosts.copilot, redact=self.kernel.redact
        )
        return Endpoint(own.base_url, {**self._who, **own.headers})

    def headers(self, request: Request) -> Mapping[str, str]:
        """Who speaks, a person or the agent, and whether there are pictures: Copilot's accounting goes by these."""
        last = next((m for m in reversed(request.messages) if m.role != "system"), None)
        sees = self.traits(request.model).images and any(
            isinstance(part, Image) or (isinstance(part, ToolResult) and part.images)
            for message in request.messages
            for part in message.parts
        )
        return {
            "Openai-Intent": "conversation-edits",
            "X-Initiator": "user" if last is None or last.role == "user" else "agent",
            **({"Copilot-Vision-Request": "true"} if sees else {}),
        }

    def listed(self, document: Any) -> list[ModelInfo]:
        """The chat models of the plan, with their limits."""
        return listed(document, self.name)

    async def status(self) -> ProviderStatus:
        """Usable when there is a sign-in that can be sent. Nobody is asked."""
        try:
            self._own(await self.secret())
        except CodetetherError as exc:
            return ProviderStatus(
                usable=False, model=self.default_model, why=exc.message, hint=exc.hint
            )
        return ProviderStatus(usable=True, model=self.default_model)

    @property
    def key_hint(self) -> str:
        """What to do about a sign-in that is missing or refused."""
        return f"sign in with: codetether auth login {self.name}"

    # --- signing in ---
    async def sign_in(self, show: Callable[[str], Awaitable[None]]) -> dict[str, str]:
        """Sign a person in; the fields to store in the secret. `show` is given one line that says what the person must
        do. Raises UsageError without a client id, CodetetherError when it was refused or ran out.
        """
        from codetether_provider_github_copilot.sign_in import DeviceFlow

        client_id = self.settings.client_id.strip()
        if not client_id:
            raise UsageError(
                "signing in to GitHub needs the client id of an OAuth app",
                "set CODETETHER_COPILOT_OAUTH_CLIENT_ID, or client_id of the plugin "
                f'"{self.key}" in the settings',
            )
        domain = domain_of(self.settings.enterprise_url)
        flow = DeviceFlow(self, hosts_of(domain).login, client_id, self._who)
        token = await flow.run(show)
        self.kernel.redact.add(token)
        return {"api_key": token} | ({} if domain == PUBLIC else {"enterpriseUrl": domain})

    @cached_property
    def _who(self) -> dict[str, str]:
        from importlib.metadata import version

        name = f"codetether-agent/{version('codetether-core')}"
        return {"User-Agent": name, "Editor-Version": name}

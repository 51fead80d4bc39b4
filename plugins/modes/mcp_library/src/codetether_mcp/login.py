"""Logging in to a server that wants it: OAuth 2.1 as the protocol's authorization page has it, done by the SDK.

The server names its authorization server (RFC 9728, RFC 8414), we register as a client there (RFC 7591) and the person
allows it in a browser, with PKCE and a redirect to this machine (RFC 8252). What comes of it is kept in Vault, the only
place for secrets, bound to the server's address.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

import httpx2
import msgspec
from codetether.api import CodetetherError, SecretMissing
from mcp.client.auth import OAuthClientProvider
from mcp.shared.auth import (
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthMetadata,
    OAuthToken,
    ProtectedResourceMetadata,
)

from codetether_mcp.entry import Wrong, check_address
from codetether_mcp.secrets import NO_VAULT, LoginNeeded, source, with_secrets

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from pathlib import Path

    from codetether.api import Kernel

    from codetether_mcp.configuration import Server

PERSON = 600.0  # seconds a person has to log in
NOWHERE = (
    "http://127.0.0.1/callback"  # where nobody is sent: only a login has an address that answers
)


class NoLogin(httpx2.Auth):
    """Says, instead of asking again, that a login is needed."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """One request; raises LoginNeeded when it is answered with 401."""
        response = yield request
        if response.status_code == 401:
            raise LoginNeeded(self._server)


def document(server: Server) -> str:
    """The name of the server's document in Vault."""
    mark = hashlib.sha256(server.name.encode()).hexdigest()[:8]
    return f"mcp-{re.sub('[^A-Za-z0-9]+', '-', server.name)[:40]}-{mark}"


class Stored(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a login brought, each as the SDK's JSON: tokens, who we are there, and where tokens are renewed.

    `until`: when the token is no longer good, seconds since 1970; 0 when that is unknown.
    """

    tokens: str = ""
    client: str = ""
    metadata: str = ""
    resource: str = ""
    issuer: str = ""
    until: float = 0.0


class Storage:
    """The SDK's storage of tokens, in Vault. `start`: what is there already."""

    def __init__(self, kernel: Kernel, server: Server, start: Stored) -> None:
        self._kernel = kernel
        self._server = server
        self._stored = start
        self.provider: OAuthClientProvider | None = None

    async def get_tokens(self) -> OAuthToken | None:
        """The tokens kept. Also says until when they are good and where to renew them, which the SDK does not keep."""
        kept = self._stored
        if not kept.tokens:
            return None
        assert self.provider is not None
        context = self.provider.context
        context.token_expiry_time = kept.until or None
        if kept.metadata:
            context.oauth_metadata = OAuthMetadata.model_validate_json(kept.metadata)
        if kept.resource:
            context.protected_resource_metadata = ProtectedResourceMetadata.model_validate_json(
                kept.resource
            )
        context.auth_server_url = kept.issuer or None
        return OAuthToken.model_validate_json(kept.tokens)

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        """Who we are to the authorization server: as the entry says, or as we were registered."""
        named = self._server.oauth
        if named:
            secret = named.get("clientSecret")
            return OAuthClientInformationFull(
                client_id=named["clientId"],
                client_secret=secret,
                redirect_uris=None,
                token_endpoint_auth_method="client_secret_post" if secret else "none",
            )
        kept = self._stored.client
        return OAuthClientInformationFull.model_validate_json(kept) if kept else None

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        """Kept with the tokens that are to come."""
        if client_info.client_secret:
            self._kernel.redact.add(client_info.client_secret)
        text = client_info.model_dump_json(exclude_none=True)
        self._stored = msgspec.structs.replace(self._stored, client=text)

    async def set_tokens(self, tokens: OAuthToken) -> None:
        """Keep new tokens. Raises CodetetherError when they cannot be kept; they are good for this run."""
        for secret in (tokens.access_token, tokens.refresh_token):
            if secret:
                self._kernel.redact.add(secret)
        assert self.provider is not None
        context = self.provider.context
        self._stored = msgspec.structs.replace(
            self._stored,
            tokens=tokens.model_dump_json(exclude_none=True),
            metadata=_json(context.oauth_metadata),
            resource=_json(context.protected_resource_metadata),
            issuer=context.auth_server_url or "",
            until=context.token_expiry_time or 0.0,
        )
        kept = msgspec.json.encode(self._stored).decode()
        # every text of a document is masked wherever it is shown, but for `base_url`
        fields = {"base_url": self._server.url, "login": kept}
        await source(self._kernel).put(document(self._server), fields)


def _json(model: Any) -> str:
    return str(model.model_dump_json(exclude_none=True)) if model is not None else ""


async def stored(kernel: Kernel, server: Server) -> Stored | None:
    """What an earlier login to this address brought, or None. Raises CodetetherError when Vault cannot be asked."""
    secrets = kernel.secrets()
    if secrets is None or not await secrets.configured():
        return None
    try:
        fields = await secrets.get(document(server))
        kept = msgspec.json.decode(str(fields.get("login", "")), type=Stored)
    except (SecretMissing, msgspec.DecodeError):
        return None
    if fields.get("base_url") != server.url or not kept.tokens:
        return None
    tokens = OAuthToken.model_validate_json(kept.tokens)
    for secret in (tokens.access_token, tokens.refresh_token):
        if secret:
            kernel.redact.add(secret)
    return kept


async def stored_login(kernel: Kernel, server: Server) -> httpx2.Auth:
    """What sends along what a login brought, and says when a person must log in (again)."""
    if server.project or server.authorized:  # a repository's server gets no tokens of ours
        return NoLogin(server)
    kept = await stored(kernel, server)
    if kept is None:
        return NoLogin(server)

    async def needed(_: str) -> None:
        raise LoginNeeded(server)

    return _provider(kernel, server, kept, NOWHERE, show=needed)


def _provider(
    kernel: Kernel,
    server: Server,
    start: Stored,
    redirect: str,
    *,
    show: Callable[[str], Awaitable[None]],
    wait: Callable[[], Awaitable[Any]] | None = None,
) -> OAuthClientProvider:
    storage = Storage(kernel, server, start)
    metadata = OAuthClientMetadata.model_validate(
        {
            "client_name": "CodeTether",
            "redirect_uris": [redirect],
            "grant_types": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_method": "none",
        }
    )
    storage.provider = OAuthClientProvider(server.url, metadata, storage, show, wait)
    return storage.provider


async def log_in(
    kernel: Kernel, server: Server, directory: Path, show: Callable[[str], Awaitable[None]]
) -> str:
    """Have the person log in: `show` is given the address to open. Returns how the server calls itself.

    Raises CodetetherError: no Vault, no login at that server, refused, or not done within ten minutes.
    """
    from codetether_mcp.callback import answering
    from codetether_mcp.connection import connected

    if server.kind != "http":
        raise CodetetherError(f"MCP server {server.name} is a program here: there is no login")
    if server.project:
        raise CodetetherError(
            f"MCP server {server.name} is a repository's: it gets no login of yours",
            "name it in your own mcp.json",
        )
    if not await source(kernel).configured():
        raise CodetetherError("there is no place to keep what a login brings", NO_VAULT)
    server = await with_secrets(kernel, server)
    port = int(server.oauth.get("callbackPort", "0"))
    async with answering(PERSON, port) as back:

        async def shown(address: str) -> None:
            try:
                check_address(address, server.url)
            except Wrong:
                raise CodetetherError(
                    f"MCP server {server.name} wants you to log in at an address that is not safe"
                ) from None
            back.expect(address)
            await show(address)

        provider = _provider(kernel, server, Stored(), back.address, show=shown, wait=back.wait)
        patient = msgspec.structs.replace(server, start_timeout=PERSON + server.start_timeout)
        async with connected(kernel, patient, directory, auth=provider) as connection:
            title = connection.title
    if provider.context.current_tokens is None:
        raise CodetetherError(
            f"MCP server {server.name} asks for no login", "it can be used as it is"
        )
    return title


async def log_out(kernel: Kernel, server: Server) -> bool:
    """Forget what a login brought; whether there was anything. Raises CodetetherError."""
    try:
        await source(kernel).remove(document(server))
    except SecretMissing:
        return False
    return True

"""A server of the protocol's official SDK, for tests.

mcp_official.py stdio LOG        speaks over its pipes
mcp_official.py http LOG         listens on loopback, and prints its port
mcp_official.py oauth LOG        the same, for those who logged in at its own authorization server
"""

import secrets
import socket
import sys
import time

import anyio
import uvicorn
from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    RefreshToken,
    construct_redirect_uri,
)
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken

KIND, LOG = sys.argv[1:3]


def log(line):
    with open(LOG, "a") as file:
        file.write(f"{line}\n")


class Known(OAuthClientInformationFull):
    """A client that was registered by hand, for any port of this machine (RFC 8252)."""

    def validate_redirect_uri(self, redirect_uri):
        assert redirect_uri.host == "127.0.0.1"
        return redirect_uri


class Authority:
    """An authorization server in memory: everybody is let in."""

    def __init__(self):
        self.codes, self.tokens, self.renewals = {}, {}, {}
        known = Known(
            client_id="known",
            client_secret="by hand",
            redirect_uris=None,
            token_endpoint_auth_method="client_secret_post",
        )
        self.clients = {"known": known}

    async def get_client(self, client_id):
        return self.clients.get(client_id)

    async def register_client(self, client_info):
        log("register")
        self.clients[client_info.client_id] = client_info

    async def authorize(self, client, params):
        log("authorize")
        code = secrets.token_urlsafe(32)
        self.codes[code] = AuthorizationCode(
            code=code,
            scopes=[],
            expires_at=time.time() + 300,
            client_id=client.client_id,
            **params.model_dump(
                include={
                    "code_challenge",
                    "redirect_uri",
                    "redirect_uri_provided_explicitly",
                    "resource",
                }
            ),
        )
        return construct_redirect_uri(str(params.redirect_uri), code=code, state=params.state)

    async def load_authorization_code(self, client, authorization_code):
        return self.codes.get(authorization_code)

    def issue(self, client, resource, seconds):
        token, renewal = (f"{kind}-{secrets.token_urlsafe(32)}" for kind in ("access", "refresh"))
        who = {"client_id": client.client_id, "scopes": [], "resource": resource}
        self.tokens[token] = AccessToken(token=token, **who)
        self.renewals[renewal] = RefreshToken(token=renewal, **who)
        return OAuthToken(access_token=token, refresh_token=renewal, expires_in=seconds)

    async def exchange_authorization_code(self, client, authorization_code):
        log("exchange")
        del self.codes[authorization_code.code]
        return self.issue(client, authorization_code.resource, 300)

    async def load_refresh_token(self, client, refresh_token):
        return self.renewals.get(refresh_token)

    async def exchange_refresh_token(self, client, refresh_token, scopes):
        log("refresh")
        del self.renewals[refresh_token.token]
        self.tokens.clear()
        return self.issue(client, refresh_token.resource, 3600)

    async def load_access_token(self, token):
        return self.tokens.get(token)

    async def revoke_token(self, token):
        pass


def tools(server):
    @server.tool()
    def add(a: int, b: int = 1) -> int:
        """Add two numbers."""
        return a + b

    @server.tool()
    async def slow(ctx: Context) -> str:
        """Never ends."""
        await ctx.report_progress(1, 4, "at it")
        try:
            await anyio.sleep_forever()
        finally:
            log("slow was stopped")

    @server.tool()
    async def grow(ctx: Context) -> str:
        """Bring a new tool."""
        server.add_tool(lambda: "new", name="grown", description="Came later.")
        await ctx.notify_tools_changed()
        return "grown"

    @server.resource("note://today")
    def today() -> str:
        """What is to be done."""
        return "buy milk"

    @server.resource("note://{day}/plan")
    def plan(day: str) -> str:
        return f"nothing on {day}"

    @server.prompt()
    def greet(name: str, how: str = "kindly") -> str:
        """Greet somebody."""
        return f"Greet {name} {how}."


def main():
    if KIND == "stdio":
        server = MCPServer("official", instructions="Add, do not subtract.")
        tools(server)
        server.run()
        return
    listener = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    more = {}
    if KIND == "oauth":
        more = {
            "auth_server_provider": Authority(),
            "auth": AuthSettings(
                issuer_url=address,
                resource_server_url=f"{address}/mcp",
                validate_token_resource=True,
                client_registration_options=ClientRegistrationOptions(enabled=True),
            ),
        }
    server = MCPServer("official", **more)
    tools(server)
    app = server.streamable_http_app()
    print(f"{address}/mcp", flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])


main()

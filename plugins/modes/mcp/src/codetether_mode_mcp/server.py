"""The protocol: what a client asks for, and the session that does it."""

from __future__ import annotations

from importlib.metadata import version
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import mcp_types as types
import trio
from codetether.api import CodetetherError, Question, one_line
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from codetether_mode_mcp import asking, results

if TYPE_CHECKING:
    from mcp.server.context import ServerRequestContext

    from codetether_mode_mcp.call import Ask, Call, Report
    from codetether_mode_mcp.client import Client
    from codetether_mode_mcp.clients import Clients

    Context = ServerRequestContext[Any, Any]

SESSION_HEADER = "mcp-session-id"
QUESTION = "question"
NAME_LENGTH = 100


def make_server(clients: Clients, *, may_ask: bool) -> Server[Any]:
    """The server over all transports. `may_ask`: questions go to the person in front of the client."""
    desk = _Desk(clients, may_ask)
    server: Server[Any] = Server(
        "codetether",
        version=version("codetether-mode-mcp"),
        instructions=files(__package__).joinpath("instructions.md").read_text("utf-8").strip(),
        get_tool_input_schema=lambda _: None,  # no parameter of ours travels as a header
        on_list_tools=desk.list_tools,
        on_call_tool=desk.call_tool,
    )
    server.middleware.clear()  # only tracing is there, which nobody here reads
    return server


class _Desk:
    def __init__(self, clients: Clients, may_ask: bool) -> None:
        self._clients = clients
        self._may_ask = may_ask

    async def list_tools(
        self, ctx: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        client = await self._client(ctx)
        return types.ListToolsResult(tools=results.tools(client.session))

    async def call_tool(
        self, ctx: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        client = await self._client(ctx)
        if params.request_state is not None:
            call = _answered(client, params, _reporter(ctx))
            if call is None:
                return results.refusal("Nobody waits for this answer any more. Call again.")
        else:
            if client.session.toolbox.find(params.name) is None:
                text = client.session.toolbox.unknown(params.name)
                raise MCPError(code=types.INVALID_PARAMS, message=text)
            await client.meet(_who(ctx))
            try:
                call = client.begin(
                    params.name, params.arguments or {}, _reporter(ctx), self._ask(ctx)
                )
            except CodetetherError as error:
                return results.refusal(f"{error.message}: {error.hint}")
        return await _outcome(client, call)

    def _ask(self, ctx: Context) -> Ask | None:
        if not self._may_ask or not asking.can_ask(ctx.session.client_capabilities):
            return asking.nobody
        if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
            return None
        return asking.by_request(ctx)

    async def _client(self, ctx: Context) -> Client:
        key = ctx.request.headers.get(SESSION_HEADER, "") if ctx.request is not None else ""
        try:
            return await self._clients.get(key)
        except CodetetherError as error:
            text = f"{error.message}\n{error.hint}".rstrip()
            raise MCPError(code=types.INTERNAL_ERROR, message=text) from None


async def _outcome(client: Client, call: Call) -> types.CallToolResult | types.InputRequiredResult:
    try:
        outcome = await call.outcome()
    except trio.EndOfChannel:
        raise MCPError(code=types.CONNECTION_CLOSED, message="the session has ended") from None
    if not isinstance(outcome, Question):
        return results.result(outcome)
    params = asking.form(outcome)
    if params is None:
        call.answer(None)
        return await _outcome(client, call)
    return types.InputRequiredResult(
        input_requests={QUESTION: types.ElicitRequest(params=params)},
        request_state=client.ask_by_retry(call, outcome),
    )


def _answered(client: Client, params: types.CallToolRequestParams, report: Report) -> Call | None:
    """The call that goes on with the answer in `params`; None when it waits no more."""
    found = client.asked(params.request_state or "")
    if found is None:
        return None
    call, question = found
    given = (params.input_responses or {}).get(QUESTION)
    answer = asking.meant(question, given) if isinstance(given, types.ElicitResult) else None
    call.report = report  # that of the first request leads nowhere any more
    try:
        call.answer(answer)
    except trio.BrokenResourceError:
        return None
    return call


def _reporter(ctx: Context) -> Report:
    count = 0

    async def report(text: str) -> None:
        nonlocal count
        count += 1
        await ctx.session.report_progress(count, None, text)

    return report


def _who(ctx: Context) -> str:
    """The client as it calls itself."""
    params = ctx.session.client_params
    if params is None:
        return "A client"
    return one_line(f"{params.client_info.name} {params.client_info.version}")[:NAME_LENGTH]

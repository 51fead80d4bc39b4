"""One connection to one server, from its start to its end. Everything it says is bounded and waited for no longer than
its limits; what goes wrong is a CodetetherError in words.
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec
import trio
from codetether.api import CodetetherError, told

from codetether_mcp.configuration import Server
from codetether_mcp.secrets import with_secrets

if TYPE_CHECKING:
    import mcp_types as types
    from codetether.api import Kernel
    from mcp import Client

PAGES = 50  # of one list
MOST = 1_000  # things in one list
LARGEST = 20_000_000  # bytes of one list, its pages together
LISTEN_AGAIN = 15.0  # seconds after a stream of news broke
AT_MOST = 10  # times its time limit that a call may last which tells of progress
GONE = "its connection ended"
_QUIET = ("mcp", "client", "httpx2", "httpcore2", "anyio")

Progress = Callable[[float, float | None, str | None], Awaitable[None]]
T = TypeVar("T")


class Listeners(msgspec.Struct, frozen=True):
    """Whom a connection tells what its server says by itself. `changed`: which list is another now: tools, prompts or
    resources. `elicit`: the SDK's `elicitation_callback`, asked when the server wants something of the person; None: it is
    told that nobody can be asked.
    """

    changed: Callable[[str], None] = lambda _: None
    elicit: Any = None


class Lost(CodetetherError):
    """The connection is no more; another may do."""


class Refused(CodetetherError):
    """The server answered with an error of the protocol; `code` is its JSON-RPC code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Way(NamedTuple):
    """How a server is reached: the SDK's transport, why it came to an end, and whether it did."""

    transport: Any
    why: Callable[[], CodetetherError | str]
    ended: Callable[[], bool]


class Connection:
    """A server that answers. Lists are whole, whatever their pages; every method raises Lost, Refused, LoginNeeded or
    CodetetherError, and cancelling one tells the server.
    """

    def __init__(self, server: Server, client: Client, way: Way) -> None:
        self.server = server
        self.client = client
        self._way = way
        self._running: list[trio.CancelScope] = []
        # The SDK would check results with the server's own schema, whose patterns can hold the interpreter for hours.
        client.session.validate_tool_result = _unchecked  # type: ignore[method-assign, assignment]

    @property
    def alive(self) -> bool:
        """False once it is known that nobody is at the other end; a request that is lost says so, too."""
        return not self._way.ended()

    @property
    def title(self) -> str:
        """How the server calls itself, with its version."""
        info = self.client.server_info
        return f"{info.name} {info.version}" if info is not None else self.server.name

    @property
    def instructions(self) -> str:
        """What the server tells those who use it."""
        return self.client.instructions or ""

    @property
    def protocol(self) -> str:
        """The version of the protocol that is spoken."""
        return self.client.protocol_version

    def offers(self, what: str) -> bool:
        """Whether it said that it has `tools`, `prompts` or `resources`."""
        return getattr(self.client.server_capabilities, what, None) is not None

    async def tools(self) -> list[types.Tool]:
        """Its tools, in its own order."""
        return await self._all("tools", self.client.list_tools)

    async def resources(self) -> list[types.Resource]:
        """Its resources."""
        return await self._all("resources", self.client.list_resources)

    async def templates(self) -> list[types.ResourceTemplate]:
        """Patterns of further resources."""
        if not self.offers("resources"):
            return []
        try:
            pages = await self._pages(self.client.list_resource_templates)
        except Refused:  # many servers have resources and no templates, and say so with an error
            return []
        return [each for page in pages for each in page.resource_templates][:MOST]

    async def prompts(self) -> list[types.Prompt]:
        """Its prompts."""
        return await self._all("prompts", self.client.list_prompts)

    async def call(
        self, name: str, arguments: Mapping[str, Any], tell: Progress | None = None
    ) -> types.CallToolResult:
        """Call a tool. A sign of progress gives it its time once more, up to ten times its time in all; `isError` is a
        result, not an exception.
        """
        limit = self.server.call_timeout
        last = trio.current_time() + AT_MOST * limit
        with trio.move_on_after(limit) as scope, self._clocks(scope):

            async def heard(
                progress: float, total: float | None = None, message: str | None = None
            ) -> None:
                if scope.deadline != math.inf:  # else a person is being asked
                    scope.deadline = min(trio.current_time() + limit, last)
                if tell is not None:
                    await tell(progress, total, message)

            return await self._said(
                self.client.call_tool(name, dict(arguments), progress_callback=heard)
            )
        raise CodetetherError(f"{self.server.name} did not answer within {limit:g} s")

    @contextmanager
    def _clocks(self, scope: trio.CancelScope) -> Iterator[None]:
        self._running.append(scope)
        try:
            yield
        finally:
            self._running.remove(scope)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """While a person is asked, what they are asked for has time."""
        now = trio.current_time()
        left = {scope: scope.deadline - now for scope in self._running}
        for scope in left:
            scope.deadline = math.inf
        try:
            yield
        finally:
            now = trio.current_time()
            for scope, seconds in left.items():
                if seconds != math.inf:  # else another question began before this one
                    scope.deadline = now + seconds

    async def read(self, uri: str) -> types.ReadResourceResult:
        """What a resource holds."""
        return await self._limited(lambda: self.client.read_resource(uri))

    async def prompt(self, name: str, arguments: Mapping[str, str]) -> types.GetPromptResult:
        """A prompt, filled in."""
        return await self._limited(lambda: self.client.get_prompt(name, dict(arguments)))

    async def follow(self, changed: Callable[[str], None]) -> None:
        """Call `changed` with the name of each list that becomes another, as long as the server tells. For the protocol
        of 2026 on, where that must be asked for; with older ones `Listeners` hear of it, and this returns at once.
        """
        from mcp import MCPError
        from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
        from mcp.shared.subscriptions import (
            PromptsListChanged,
            ResourcesListChanged,
            ToolsListChanged,
        )

        kinds = {
            ToolsListChanged: "tools",
            PromptsListChanged: "prompts",
            ResourcesListChanged: "resources",
        }
        if not any(map(self.offers, kinds.values())):
            return
        while True:
            try:
                async with self.client.listen(
                    tools_list_changed=self.offers("tools"),
                    prompts_list_changed=self.offers("prompts"),
                    resources_list_changed=self.offers("resources"),
                ) as events:
                    async for event in events:
                        if (name := kinds.get(type(event))) is not None:
                            changed(name)
                return
            except (ListenNotSupportedError, MCPError, TimeoutError):
                return
            except SubscriptionLost:
                await trio.sleep(LISTEN_AGAIN)
                changed("tools")  # what changed meanwhile nobody told us

    async def _all(self, what: str, ask: Callable[..., Awaitable[Any]]) -> list[Any]:
        if not self.offers(what):
            return []
        pages = await self._pages(ask)
        return [each for page in pages for each in getattr(page, what)][:MOST]

    async def _pages(self, ask: Callable[..., Awaitable[Any]]) -> list[Any]:
        pages: list[Any] = []
        cursor: str | None = None
        size = 0
        for _ in range(PAGES):
            at = cursor
            pages.append(await self._limited(lambda at=at: ask(cursor=at, cache_mode="bypass")))  # type: ignore[misc]
            size += len(pages[-1].model_dump_json())
            if size > LARGEST:
                raise CodetetherError(
                    f"MCP server {self.server.name}: a list of it is larger than {LARGEST} bytes"
                )
            cursor = pages[-1].next_cursor
            if cursor is None:
                break
        return pages

    async def _limited(self, ask: Callable[[], Awaitable[T]]) -> T:
        limit = self.server.start_timeout
        with trio.move_on_after(limit):
            return await self._said(ask())
        raise CodetetherError(f"{self.server.name} did not answer within {limit:g} s")

    async def _said(self, asking: Awaitable[T]) -> T:
        try:
            return await asking
        except Exception as error:
            raise in_words(self.server.name, error, self._way.why()) from None


def in_words(name: str, error: BaseException, why: CodetetherError | str = "") -> CodetetherError:
    """What went wrong between us and the server `name`; `why`: what is known of the end of the connection."""
    from mcp import MCPError
    from mcp.client.auth import OAuthFlowError
    from mcp_types import CONNECTION_CLOSED
    from pydantic import ValidationError

    error = first_leaf(error)
    if isinstance(error, CodetetherError):
        return error
    if isinstance(error, MCPError):
        if error.code == CONNECTION_CLOSED:
            if isinstance(why, CodetetherError):
                return why
            return Lost(f"MCP server {name}: {why or GONE}")
        return Refused(f"MCP server {name}: {error.message[:2000]}", error.code)
    if isinstance(error, OAuthFlowError):
        return CodetetherError(f"MCP server {name}: login failed: {error}"[:2000])
    if isinstance(error, ValidationError):
        return CodetetherError(f"MCP server {name}: it answered against the protocol")
    if isinstance(why, CodetetherError):
        return why
    return Lost(f"MCP server {name}: {why or told(error)}"[:2000])


def first_leaf(error: BaseException) -> BaseException:
    """The first error that is no group of others."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


@asynccontextmanager
async def connected(
    kernel: Kernel,
    server: Server,
    directory: Path,
    listeners: Listeners | None = None,
    auth: Any = None,
) -> AsyncIterator[Connection]:
    """A connection to `server`, held open within. `directory`: where a child runs whose entry says nothing. `auth`: an
    `httpx2.Auth` instead of what an earlier login brought.

    Raises CodetetherError when there is none within `start_timeout`, and Lost when it breaks while it is held.
    """
    await trio.to_thread.run_sync(_load)
    from mcp import Client
    from mcp_types import Implementation

    from codetether_mcp.hearing import hearing

    server = await with_secrets(kernel, server)
    listeners = listeners or Listeners()
    way = await _way(kernel, server, directory, auth)
    client = Client(
        way.transport,
        client_info=Implementation(name="codetether", version=version("codetether-mcp")),
        message_handler=hearing(listeners),
        elicitation_callback=listeners.elicit,
        list_roots_callback=_roots(directory) if server.kind == "stdio" else None,
        cache=None,
    )
    inside: BaseException | None = None
    try:
        with trio.CancelScope(deadline=trio.current_time() + server.start_timeout) as starting:
            async with client:
                starting.deadline = math.inf
                try:
                    yield Connection(server, client, way)
                except BaseException as error:
                    inside = error
                    raise
    except Exception as error:
        if inside is not None and first_leaf(error) is first_leaf(inside):
            raise inside from None
        raise in_words(server.name, error, way.why()) from None
    except BaseExceptionGroup as group:
        if group.split(Exception)[1] is not None:
            raise
        raise in_words(server.name, group, way.why()) from None
    if starting.cancelled_caught:
        text = f"it did not answer within {server.start_timeout:g} s"
        raise CodetetherError(f"MCP server {server.name}: {text}", str(way.why()))


async def _unchecked(_name: str, _result: object) -> None:
    """Every result will do."""


def _roots(directory: Path) -> Any:
    """Tells a server on this machine where the work is; older ones that work on files ask for it."""
    import mcp_types as types

    async def roots(_: object) -> types.ListRootsResult:
        root = types.Root(uri=directory.as_uri(), name=directory.name)  # type: ignore[arg-type]
        return types.ListRootsResult(roots=[root])

    return roots


async def _way(kernel: Kernel, server: Server, directory: Path, auth: Any) -> Way:
    if server.kind == "stdio":
        from codetether_mcp.stdio import child_of, stdio

        child = child_of(server, directory)
        return Way(stdio(kernel, child), lambda: child.why, child.ended.is_set)
    from codetether_mcp.http import LARGEST, Fate, http_client
    from codetether_mcp.login import stored_login

    fate = Fate()

    @asynccontextmanager
    async def asked() -> AsyncIterator[Any]:
        from mcp.client.streamable_http import streamable_http_client

        along = auth or await stored_login(kernel, server)
        async with (
            http_client(server, along, fate) as client,
            streamable_http_client(
                server.url, http_client=client, max_sse_event_size=LARGEST
            ) as streams,
        ):
            yield streams

    return Way(asked(), lambda: fate.why, lambda: False)


def _load() -> None:
    """Bring in the SDK; in a thread, since it takes a while on a slow machine."""
    import mcp
    import mcp.client.auth
    import mcp.client.streamable_http

    _hush()
    assert mcp


def _hush() -> None:
    """The SDK logs what servers send, with tracebacks, and Python prints what nobody handles: neither is for a screen."""
    for name in _QUIET:
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
            logger.propagate = False

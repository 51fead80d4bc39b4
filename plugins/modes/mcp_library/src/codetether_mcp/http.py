"""The HTTP client a server is asked with: no proxy and no environment, nothing in the clear, every answer bounded."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING

import httpx2
from codetether.api import CodetetherError, told

from codetether_mcp.entry import Wrong, check_address
from codetether_mcp.pace import Pace

if TYPE_CHECKING:
    from codetether_mcp.configuration import Server

LARGEST = 16_000_000  # bytes of one answer that is not a stream of events, and of one event
CONNECTING = 15.0
QUIET = 330.0  # seconds a stream may say nothing, at least: a call has its own, shorter limit
TOTAL_STREAM = 512_000_000  # bytes of one stream of events


class TooLarge(CodetetherError):
    """An answer beyond every reason."""


class Forbidden(CodetetherError):
    """An address that tokens must not be sent to."""


class Fate:
    """Why a connection came to its end: the SDK tells those who wait for an answer only that it did."""

    def __init__(self) -> None:
        self.why: CodetetherError | str = ""


class _Bounded(httpx2.AsyncByteStream):
    """A body that is given up when it is too long."""

    def __init__(
        self, body: httpx2.AsyncByteStream, limit: int, fate: Fate, pace: Pace | None
    ) -> None:
        self._body, self._limit, self._fate, self._pace = body, limit, fate, pace

    async def __aiter__(self) -> AsyncIterator[bytes]:
        total = 0
        try:
            async for piece in self._body:
                total += len(piece)
                if total <= self._limit:
                    if self._pace is not None:
                        await self._pace.take(piece.count(b"data:"))
                    yield piece
                else:  # closed and read on, which fails at once: so its generators, too, come to an end
                    await self._body.aclose()
        except Exception:
            if total <= self._limit:
                raise
        if total > self._limit:
            self._fate.why = f"it answered with more than {self._limit} bytes"
            raise TooLarge(self._fate.why)

    async def aclose(self) -> None:
        await self._body.aclose()


class Guarded(httpx2.AsyncBaseTransport):
    """Checks every address, also those the server or its authorization server names, and bounds every answer.

    `server`: the server's own address.
    """

    def __init__(self, inner: httpx2.AsyncBaseTransport, fate: Fate, server: str) -> None:
        self._inner = inner
        self._server = server
        self._fate = fate
        self._pace = Pace()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request. Raises Forbidden, TooLarge, or what httpx2 raises."""
        try:
            check_address(str(request.url), self._server)
        except Wrong:
            text = f"{request.url.host} is asked over https only, and not by word of a stranger"
            raise Forbidden(text) from None
        request.headers["Accept-Encoding"] = "identity"  # what is unpacked could be of any size
        try:
            response = await self._inner.handle_async_request(request)
        except httpx2.TransportError as error:
            self._fate.why = f"{request.url.host}: {told(error)}"
            raise
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.aclose()
            raise Forbidden(f"{request.url.host} packed its answer, which it was asked not to")
        events = response.headers.get("content-type", "").startswith("text/event-stream")
        limit = TOTAL_STREAM if events else LARGEST
        body = response.stream
        assert isinstance(body, httpx2.AsyncByteStream)
        response.stream = _Bounded(body, limit, self._fate, self._pace if events else None)
        return response

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


class Telling(httpx2.Auth):
    """An authentication whose failure is remembered."""

    def __init__(self, inner: httpx2.Auth, fate: Fate) -> None:
        self._inner = inner
        self._fate = fate

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """What the other does. Raises what it raises."""
        flow = self._inner.async_auth_flow(request)
        try:
            outgoing = await anext(flow)
            while True:
                outgoing = await flow.asend((yield outgoing))
        except StopAsyncIteration:
            return
        except CodetetherError as error:
            self._fate.why = error
            raise
        finally:
            await flow.aclose()


def http_client(server: Server, auth: httpx2.Auth, fate: Fate) -> httpx2.AsyncClient:
    """A client for one server."""
    limits = httpx2.Limits(max_connections=8)
    transport = Guarded(httpx2.AsyncHTTPTransport(trust_env=False, limits=limits), fate, server.url)
    return httpx2.AsyncClient(
        headers=server.headers,
        auth=Telling(auth, fate),
        timeout=httpx2.Timeout(CONNECTING, read=max(QUIET, server.call_timeout + CONNECTING)),
        follow_redirects=False,
        trust_env=False,
        transport=transport,
    )

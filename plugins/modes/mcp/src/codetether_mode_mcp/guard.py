"""What stands before every HTTP request: the token, the address it names, the page it comes from, its size and pace.

In this order nothing is read of a body, and nothing is told, before the token was right. RFC 6750 for the token; Host
and Origin are checked because a page in a browser reaches loopback too (DNS rebinding).
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import trio

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

LARGEST_BODY = 4 * 1024 * 1024
BODY_SECONDS = 15.0
MOST_REQUESTS = 256  # open at once, streams of events among them
PATH = "/mcp"


class Guard:
    """Lets through to `app` what may pass; everything else gets a status and one line."""

    def __init__(self, app: App, token: str, hosts: Iterable[str]) -> None:
        self._app = app
        self._open = 0
        self._token = f"Bearer {token}".encode()
        self._hosts = {host.lower() for host in hosts}
        self._origins = {f"{kind}://{host}" for kind in ("http", "https") for host in self._hosts}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "http":
            await self._request(scope, receive, send)
        else:
            await send({"type": "websocket.close"})

    async def _request(self, scope: Message, receive: Receive, send: Send) -> None:
        refused = self._refused(scope)
        if refused is not None:
            await _answer(send, *refused)
            return
        if self._open >= MOST_REQUESTS:
            await _answer(send, 503, "too many requests are open")
            return
        self._open += 1
        try:
            body = await _body(receive)
            if isinstance(body, int):
                await _answer(send, body, {408: "the body came too slowly", 413: "too large"}[body])
            else:
                await self._app(scope, _replay(body, receive), send)
        finally:
            self._open -= 1

    def _refused(self, scope: Message) -> tuple[int, str] | None:
        headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.lower(), []).append(value)
        given = headers.get(b"authorization", [b""])
        if len(given) != 1 or not hmac.compare_digest(_bearer(given[0]), self._token):
            return 401, "a bearer token is needed"
        if scope["http_version"] != "1.1":
            return 505, "HTTP/1.1 only"
        hosts = [host.decode("latin-1").lower() for host in headers.get(b"host", [])]
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return 403, "not addressed to this server"
        for origin in headers.get(b"origin", []):
            if origin.decode("latin-1").lower() not in self._origins:
                return 403, "pages of other origins may not call"
        if b"transfer-encoding" in headers and b"content-length" in headers:
            return 400, "two lengths"
        return None if scope["path"] == PATH else (404, "nothing here")


def _bearer(value: bytes) -> bytes:
    """The value with the scheme's word as we write it: it is not case-sensitive."""
    word, space, token = value.partition(b" ")
    return b"Bearer " + token.strip() if space and word.lower() == b"bearer" else b""


async def _body(receive: Receive) -> bytes | int:
    """All of the body, or the status that says why not."""
    pieces: list[bytes] = []
    size = 0
    with trio.move_on_after(BODY_SECONDS):
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return b"".join(pieces)
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > LARGEST_BODY:
                return 413
            if not message.get("more_body", False):
                return b"".join(pieces)
    return 408


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _answer(send: Send, status: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f"{text}\n".encode()})


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return

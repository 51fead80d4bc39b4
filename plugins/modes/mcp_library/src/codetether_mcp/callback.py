"""The address on this machine that a browser comes back to after a login: one answer, on a port of its own."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import trio
from codetether.api import CodetetherError

if TYPE_CHECKING:
    from mcp.shared.auth import AuthorizationCodeResult

PATH = "/callback"
LONGEST = 16_384  # bytes of a request's head
SLOW = 10.0  # seconds for one
PAGE = "<!doctype html><meta charset=utf-8><title>CodeTether</title><p>{text}</p>"
DONE = "You are logged in. You can close this page."
FAILED = "The login failed. Go back to the terminal."
OTHER = "There is nothing here."


class Back:
    """`address`: where the browser is sent back to. Only an answer that holds the state of the login counts: anybody's
    page can send a browser to an address on this machine.
    """

    def __init__(self, address: str, patience: float) -> None:
        self.address = address
        self._patience = patience
        self._state = ""
        self._given: dict[str, str] = {}
        self._came = trio.Event()

    def expect(self, login: str) -> None:
        """`login`: the address the person opens, with the state in it."""
        self._state = parse_qs(urlsplit(login).query).get("state", [""])[0]

    def expects(self, given: dict[str, str]) -> bool:
        """Whether this is an answer."""
        state = given.get("state", "").encode()
        return bool(self._state) and hmac.compare_digest(state, self._state.encode())

    def take(self, given: dict[str, str]) -> None:
        """The first answer counts."""
        if not self._came.is_set():
            self._given = given
            self._came.set()

    async def wait(self) -> AuthorizationCodeResult:
        """The answer. Raises CodetetherError when it is a refusal, or none comes in time."""
        from mcp.shared.auth import AuthorizationCodeResult

        with trio.move_on_after(self._patience):
            await self._came.wait()
            given = self._given
            if "code" not in given:
                why = given.get("error_description") or given.get("error", "no code came back")
                raise CodetetherError(f"the login was refused: {why[:300]}")
            return AuthorizationCodeResult(
                code=given["code"], state=given["state"], iss=given.get("iss")
            )
        raise CodetetherError(f"nobody logged in within {self._patience / 60:g} minutes")


@asynccontextmanager
async def answering(patience: float, port: int = 0) -> AsyncIterator[Back]:
    """Wait for a browser, at most `patience` seconds. `port` 0: any that is free.

    Raises CodetetherError when the port is taken.
    """
    failure: BaseException | None = None
    try:
        listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
    except OSError as error:
        raise CodetetherError(f"port {port} cannot be used: {error.strerror}") from None
    port = listeners[0].socket.getsockname()[1]
    back = Back(f"http://127.0.0.1:{port}{PATH}", patience)

    async def serve(stream: trio.SocketStream) -> None:
        with trio.move_on_after(SLOW):
            try:
                await _answer(stream, back)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        try:
            yield back
        except Exception as error:  # it comes out as it is: the nursery is our affair
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _answer(stream: trio.SocketStream, back: Back) -> None:
    head = b""
    while b"\r\n\r\n" not in head and len(head) < LONGEST:
        data = await stream.receive_some(4096)
        if not data:
            return
        head += data
    given = _given(head)
    if given is None or not back.expects(given):
        await _say(stream, "404 Not Found", OTHER)
        return
    await _say(stream, "200 OK", DONE if "code" in given else FAILED)
    back.take(given)


def _given(head: bytes) -> dict[str, str] | None:
    """What a redirect brought, or None when the request is none."""
    words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    if len(words) != 3 or words[0] != "GET":
        return None
    parts = urlsplit(words[1])
    if parts.path != PATH:
        return None
    given = {name: values[0] for name, values in parse_qs(parts.query).items()}
    return given if "code" in given or "error" in given else None


async def _say(stream: trio.SocketStream, status: str, text: str) -> None:
    body = PAGE.format(text=text).encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nConnection: close\r\n\r\n"
    )
    await stream.send_all(head.encode() + body)
    await stream.aclose()

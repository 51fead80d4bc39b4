"""One exchange over a connection of httpcore: its answer, read as it comes, and what can go wrong.

httpcore is what httpx sends with. Without httpx above it a call costs half the processor time (0.9 ms against 1.6), and
loading is 70 ms shorter; nothing that httpx adds is used here: no cookies, no redirects, no decoding.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import trio
from codetether.api import import_without

from codetether_wire.loading import without

with without("h2"):  # HTTP/2, 11 ms
    import_without("httpcore", "_api", "_sync")  # the same for threads
    import httpcore

# What it notes of each step has addresses and headers in it, which hold keys.
logging.getLogger("httpcore").setLevel(logging.WARNING)

if TYPE_CHECKING:
    Headers = Sequence[tuple[bytes, bytes]]


class NetworkError(Exception):
    """An exchange failed; the text says how."""


class NotReached(NetworkError):
    """There is no connection. `late`: making one took too long."""

    def __init__(self, why: str, *, late: bool = False) -> None:
        super().__init__(why)
        self.late = late


class Broken(NetworkError):
    """The connection broke, or what the server says is no HTTP."""


class Unsendable(NetworkError):
    """What was to be sent is no request."""


@contextmanager
def told() -> Iterator[None]:
    """Raises NetworkError for what httpcore raises."""
    try:
        yield
    except httpcore.ConnectTimeout:
        raise NotReached("it took too long", late=True) from None
    except (httpcore.ConnectError, httpcore.ProxyError) as error:
        raise NotReached(_words(error)) from None
    except (httpcore.LocalProtocolError, UnicodeEncodeError) as error:
        raise Unsendable(f"{error}") from None
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise Broken(_words(error)) from None


def _words(error: BaseException) -> str:
    """What the system said, without what the libraries put around it."""
    while True:
        inner = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__
        if inner is None:
            return getattr(error, "strerror", None) or f"{error}" or type(error).__name__
        error = inner


class Response:
    """The answer to a request: its status, its headers by their names in lower case, its body as it came."""

    def __init__(self, head: httpcore.Response, done: Callable[[], Awaitable[None]]) -> None:
        self.status_code = head.status
        self.headers = _headers(head.headers)
        self._head = head
        self._pieces = aiter(head.aiter_stream())
        self._done = done
        self._ended = self._closed = False

    async def read(self) -> bytes:
        """The next piece of the body; b"" at its end. Raises Broken."""
        with told():
            piece = await anext(self._pieces, b"")
        self._ended = not piece
        return piece

    async def aclose(self) -> None:
        """No more of it is wanted. Its connection serves again when it was read to the end."""
        if self._closed:
            return
        self._closed = True
        with trio.CancelScope(shield=True):
            if not self._ended:
                await abandon(self._pieces)
            await self._head.aclose()
            await self._done()


async def abandon(pieces: AsyncIterator[bytes]) -> None:
    """End the reading of a body at once, however far it got.

    httpcore and httpx nest generators, and closing the outer one leaves the inner ones to the garbage collector. A
    cancelled read ends all of them; only what is buffered comes before it.
    """
    with trio.CancelScope(shield=True) as scope, suppress(Exception):
        scope.cancel()
        async for _ in pieces:
            pass


def _headers(raw: Headers) -> dict[str, str]:
    headers: dict[str, str] = {}
    for key, value in raw:
        name, text = key.decode("ascii").lower(), value.decode("latin-1")
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    return headers

"""HTTP/1.1 over a stream of trio: a request out, its answer read as it comes, and what can go wrong.

httptools has Node.js's parser (llhttp). What httpcore and h11 do above theirs for connections of this kind took 0.5 ms of
processor time a call, and 32 ms to load.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import httptools
import trio

AT_ONCE = 64 << 10
# A body up to this size goes out with its head; a larger one is not copied for that.
TOGETHER = 1 << 20
# A head, trailers, what stands beside the sizes of chunks: all that is no body.
MOST_AROUND = 100 << 10
# httptools calls it dangerous, which it is for a server behind a proxy; a client reads such answers (RFC 9112, 2.2, 5.2,
# 6.3, 7.1.1).
_LENIENT = {
    "lenient_headers": True,  # lines that go on in the next, control characters
    "lenient_chunked_length": True,  # a length beside chunks, which count
    "lenient_optional_cr_before_lf": True,
    "lenient_spaces_after_chunk_size": True,
}
GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


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
def in_time(seconds: float) -> Iterator[None]:
    """What makes a connection may take so long. Raises NotReached."""
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError:
        raise NotReached("it took too long", late=True) from None


def words(error: BaseException) -> str:
    """What the system said, without what the libraries put around it."""
    while True:
        inner = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__
        if inner is None:
            return getattr(error, "strerror", None) or f"{error}" or type(error).__name__
        error = inner


async def send(stream: trio.abc.Stream, data: bytes | bytearray | memoryview) -> None:
    """A server may answer and close before it has read all: what it said can be read all the same."""
    try:
        await stream.send_all(data)
    except GONE:
        await trio.lowlevel.checkpoint_if_cancelled()


class Connection:
    """One connection to a server, or to a proxy that passes requests on: then `prefix` comes before the target of each,
    and the header lines `also` are sent with it.
    """

    def __init__(self, stream: trio.abc.Stream, socket: trio.socket.SocketType) -> None:
        self.stream = stream
        self.socket = socket
        self.prefix = ""
        self.also = b""

    @property
    def is_dead(self) -> bool:
        """Whether the other end has closed it, or said something nobody asked for."""
        return self.socket.is_readable()

    async def ask(self, method: str, target: str, fields: bytes, body: bytes = b"") -> Incoming:
        """Send a request; its answer, once the head is there. Raises Broken."""
        head = (
            f"{method} {self.prefix}{target} HTTP/1.1\r\n".encode() + fields + self.also + b"\r\n"
        )
        if len(body) <= TOGETHER:
            await send(self.stream, head + body)
        else:
            await send(self.stream, head)
            await send(self.stream, body)
        incoming = Incoming()
        while not incoming.has_head:
            await self.receive(incoming)
        return incoming

    async def receive(self, incoming: Incoming) -> None:
        """Wait for more of an answer. Raises Broken."""
        incoming.check()
        try:
            data = await self.stream.receive_some(AT_ONCE)
        except GONE as error:
            raise Broken(words(error)) from None
        if data:
            incoming.feed(bytes(data))
        else:
            incoming.end()

    async def has_more(self) -> bool:
        """Whether more came with an answer than was asked for, which the socket does not show any longer."""
        return False

    async def aclose(self) -> None:
        """Close it at once, also while cancelled."""
        with trio.CancelScope(shield=True) as scope:
            scope.cancel()
            await self.stream.aclose()


class Incoming:
    """What a server says to one request; what came before it went wrong can be read. The methods `on_...` are httptools'."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(**_LENIENT)
        self._around = 0
        self._wrong = ""
        self.status = 0
        self.reason = b""
        self.headers: dict[str, str] = {}
        self.pieces: deque[bytes] = deque()
        self.has_head = self.has_ended = self.keeps = False

    def feed(self, data: bytes) -> None:
        """Take what came."""
        self._around += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._wrong = "the server speaks another protocol"
        except httptools.HttpParserError as error:
            self.keeps = False
            self._wrong = f"what the server says is no HTTP: {error}"
        if self._around > MOST_AROUND:
            self._wrong = "the server says endless things around its answer"

    def check(self) -> None:
        """Raises Broken when nothing more can be read after what came."""
        if self._wrong:
            raise Broken(self._wrong)

    def end(self) -> None:
        """The server has closed the connection. Raises Broken when something is missing."""
        if not self.has_head:
            raise Broken("the server closed the connection without an answer")
        sized = "content-length" in self.headers or "chunked" in (
            self.headers.get("transfer-encoding", "").lower()
        )
        if sized:
            raise Broken("the server closed the connection in the midst of its answer")
        self.has_ended = True

    # --- httptools' ---
    def on_message_begin(self) -> None:
        if self.has_ended:  # nobody asked for a second one
            self.keeps = False

    def on_status(self, reason: bytes) -> None:
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.has_head:  # a trailer
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip()
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self.has_ended or 100 <= status < 200:
            return
        self.status, self.has_head, self._around = status, True, 0

    def on_body(self, piece: bytes) -> None:
        if not self.has_ended:
            self.pieces.append(piece)
            self._around = 0

    def on_message_complete(self) -> None:
        if self.has_ended:
            return
        if not self.has_head:  # only the announcement of the answer
            self.headers, self.reason = {}, b""
            return
        self.has_ended, self.keeps = True, self._parser.should_keep_alive()


class Response:
    """The answer to a request: its status, its headers by their names in lower case, its body as it came."""

    def __init__(
        self, connection: Connection, incoming: Incoming, keep: Callable[[], Awaitable[None]]
    ) -> None:
        self.status_code = incoming.status
        self.headers = incoming.headers
        self._connection = connection
        self._incoming = incoming
        self._keep = keep
        self._closed = False

    @property
    def is_over(self) -> bool:
        """Whether all of it was read."""
        return self._incoming.has_ended and not self._incoming.pieces

    async def read(self) -> bytes:
        """The next piece of the body; b"" at its end. Raises Broken."""
        incoming = self._incoming
        while not incoming.pieces and not incoming.has_ended:
            await self._connection.receive(incoming)
        piece = b"".join(incoming.pieces)
        incoming.pieces.clear()
        return piece

    async def aclose(self) -> None:
        """No more of it is wanted. Its connection serves again when it was read to the end."""
        if self._closed:
            return
        self._closed = True
        if self.is_over and self._incoming.keeps and not await self._connection.has_more():
            await self._keep()
        else:
            await self._connection.aclose()

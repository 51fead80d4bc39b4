"""Just enough HTTP/1.1 to read what a client sent and to write, byte for byte, what it shall get."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import trio

HEAD_LIMIT = 256 * 1024
BODY_LIMIT = 256 * 1024 * 1024
REASONS = {
    200: "OK", 201: "Created", 204: "No Content", 302: "Found", 307: "Temporary Redirect", 400: "Bad Request",
    401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 413: "Payload Too Large", 429: "Too Many Requests",
    500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable", 529: "Overloaded",
}  # fmt: skip


class Received(NamedTuple):
    """A request as it came. `headers` have lower-case names, the last of a repeated one counts; `at` is trio time."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def json(self) -> Any:
        """The body decoded. ValueError when it is not JSON."""
        return json.loads(self.body)


def response(
    body: bytes | str = b"",
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    content_type: str = "application/json",
) -> bytes:
    """A whole response with its length; the connection ends after it."""
    raw = body.encode() if isinstance(body, str) else body
    return head(status, {"content-length": str(len(raw)), **(headers or {})}, content_type) + raw


def head(
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    content_type: str = "text/event-stream",
) -> bytes:
    """Status line and headers only. Without a `content-length` the body goes on until the connection ends."""
    fields = {"content-type": content_type, "connection": "close", **(headers or {})}
    lines = [
        f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}",
        *(f"{k}: {v}" for k, v in fields.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def redirect(url: str, status: int = 307) -> bytes:
    """A response that sends the client elsewhere."""
    return response(status=status, headers={"location": url})


async def receive(stream: trio.abc.ReceiveStream) -> Received | None:
    """Read one request; None when the client closed without sending one. ValueError when it is not HTTP."""
    data = await _until(stream, b"", b"\r\n\r\n")
    if data is None:
        return None
    top, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = top.decode("latin-1").split("\r\n")
    method, path, _version = first.split(" ", 2)
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines)
    }
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = await _chunked(stream, rest)
    else:
        body = await _sized(stream, rest, int(headers.get("content-length", "0")))
    return Received(method, path, headers, body, trio.current_time())


async def _until(stream: trio.abc.ReceiveStream, data: bytes, mark: bytes) -> bytes | None:
    while mark not in data:
        more = await stream.receive_some(65536)
        if not more:
            if data:
                raise ValueError(f"the connection ended inside a request: {data[:80]!r}")
            return None
        data += more
        if len(data) > HEAD_LIMIT and mark not in data:
            raise ValueError("the request's head is too large")
    return data


async def _sized(stream: trio.abc.ReceiveStream, data: bytes, size: int) -> bytes:
    if size > BODY_LIMIT:
        raise ValueError(f"a body of {size} bytes is too large")
    parts: list[bytes | bytearray] = [data]
    have = len(data)
    while have < size:
        more = await stream.receive_some(65536)
        if not more:
            raise ValueError(f"the body ended after {have} of {size} bytes")
        parts.append(more)
        have += len(more)
    return b"".join(parts)[:size]


async def _chunked(stream: trio.abc.ReceiveStream, data: bytes) -> bytes:
    body = b""
    while True:
        line = await _until(stream, data, b"\r\n")
        if line is None:
            raise ValueError("the connection ended inside a chunked body")
        size_text, _, data = line.partition(b"\r\n")
        size = int(size_text.split(b";")[0], 16)
        data = await _at_least(stream, data, size + 2)
        body += data[:size]
        data = data[size + 2 :]
        if size == 0:
            return body


async def _at_least(stream: trio.abc.ReceiveStream, data: bytes, size: int) -> bytes:
    while len(data) < size:
        more = await stream.receive_some(65536)
        if not more:
            raise ValueError("the connection ended inside a chunk")
        data += more
    return data

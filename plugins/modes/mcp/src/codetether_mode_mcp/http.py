"""The protocol over streamable HTTP: on loopback, for those who know the token, several clients at once."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import socket
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
from codetether.api import CodetetherError, UsageError, clean
from hypercorn.config import Config
from hypercorn.trio import serve
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from codetether_mode_mcp.clients import IDLE_SECONDS, MOST_CLIENTS
from codetether_mode_mcp.guard import LARGEST_BODY, PATH, Guard, Message, Receive, Send
from codetether_mode_mcp.server import SESSION_HEADER
from codetether_mode_mcp.token import new_token, token_of

if TYPE_CHECKING:
    from codetether.api import Kernel
    from mcp.server.lowlevel import Server

    from codetether_mode_mcp.clients import Clients

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
GRACE = 1.0  # seconds for answers on their way, once serving ends
HEADERS = 16 * 1024


async def serve_http(
    kernel: Kernel, server: Server[Any], present: Clients, args: Namespace, stop: trio.Event
) -> None:
    """Listen, say where, and serve until `stop`. Raises CodetetherError when that address cannot be had."""
    address = _address(args)
    token, told = _token(args)
    kernel.redact.add(token)
    sessions = StreamableHTTPSessionManager(
        server, max_sessions=MOST_CLIENTS, session_idle_timeout=IDLE_SECONDS,
        max_request_body_size=LARGEST_BODY,
    )  # fmt: skip
    with _listening(address, args.port) as (listener, port):
        shown = f"[{address}]" if ":" in address else address
        local = {f"{name}:{port}" for name in (*LOOPBACK, shown)}
        guard = Guard(_Leaving(sessions, present), token, local | _named(args.allow_host, port))
        _say(f"http://{shown}:{port}{PATH}", told)
        async with sessions.run():
            await serve(guard, _config(listener), shutdown_trigger=stop.wait, mode="asgi")  # type: ignore[arg-type]


class _Leaving:
    """The SDK's application, watched for clients that leave."""

    def __init__(self, sessions: StreamableHTTPSessionManager, present: Clients) -> None:
        self._sessions = sessions
        self._present = present

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        await self._sessions.handle_request(scope, receive, send)
        if scope["method"] == "DELETE":
            for name, value in scope["headers"]:
                if name.lower() == SESSION_HEADER.encode():
                    self._present.leave(value.decode("latin-1"))


def _address(args: Namespace) -> str:
    """The address to listen on. Raises UsageError for one that is no loopback, unless that is wished."""
    host = "127.0.0.1" if args.host == "localhost" else args.host
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise UsageError(
            f"{clean(host)} is not an address", "write numbers, such as 127.0.0.1"
        ) from None
    if not address.is_loopback and not (args.allow_remote and args.token_file):
        raise UsageError(
            f"{address} can be reached from elsewhere, and what is sent is not encrypted",
            "if that is meant: --allow-remote --token-file FILE, behind something that speaks TLS",
        )
    return str(address)


def _token(args: Namespace) -> tuple[str, str]:
    """The token, and what a person is told of it."""
    if not args.token_file:
        token = new_token()
        return token, f"token: {token}"
    path = Path(args.token_file).expanduser()
    token, made = token_of(path)
    return token, f"token: {'written to' if made else 'in'} {clean(str(path))}"


def _named(names: list[str], port: int) -> set[str]:
    """Names as a request may give them: with this port, or as they are, for what stands before us."""
    return {spelt for name in names for spelt in (name, f"{name}:{port}")}


@contextlib.contextmanager
def _listening(address: str, port: int) -> Iterator[tuple[socket.socket, int]]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address, port))
        except OSError as error:
            raise CodetetherError(
                f"cannot listen on {address} port {port}: {error.strerror}"
            ) from None
        listener.listen()  # whoever reads the address may connect at once
        yield listener, listener.getsockname()[1]


def _config(listener: socket.socket) -> Config:
    config = Config()
    config.bind = [f"fd://{os.dup(listener.fileno())}"]  # the server closes what it is given
    config.accesslog = None
    quiet = logging.getLogger("codetether_mode_mcp.http")
    quiet.setLevel(logging.ERROR)
    config.errorlog = quiet
    config.graceful_timeout = GRACE
    config.h11_max_incomplete_size = HEADERS
    config.include_server_header = False
    return config


def _say(url: str, token: str) -> None:
    print(f"codetether: serving {url}\n  {token}", file=sys.stderr, flush=True)

"""Requests to the private Vault over its socket. http.client follows nothing and obeys no proxy."""

from __future__ import annotations

import http.client
import os
import socket
from typing import Any, NamedTuple

import msgspec
import trio
from codetether.api import CodetetherError

from codetether_mode_vault.house import House

SECONDS = 15.0
LARGEST = 1_000_000_000
ACTIVE, UNINITIALISED = 200, 501  # of sys/health
LONGEST = 100  # bytes that surely fit into the kernel's structure for an address


class Reply(NamedTuple):
    """A status (0: nobody answered) and what came with it."""

    status: int
    data: bytes

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object; empty when it is none."""
        try:
            return msgspec.json.decode(self.data, type=dict[str, Any])
        except msgspec.MsgspecError:
            return {}


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        if len(os.fsencode(self._path)) <= LONGEST:
            self.sock.connect(self._path)
            return
        folder = os.open(os.path.dirname(self._path), os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.sock.connect(f"/proc/self/fd/{folder}/{os.path.basename(self._path)}")
        finally:
            os.close(folder)


async def ask(
    house: House, method: str, path: str, body: dict[str, Any] | None = None, token: str = ""
) -> Reply:
    """One request, at most 15 s; Reply(0) when nobody answers."""
    data = None if body is None else msgspec.json.encode(body)
    return await _within(house, method, path, data, token)


async def upload(house: House, path: str, data: bytes, token: str) -> Reply:
    """Give the server these bytes."""
    return await _within(house, "POST", path, data, token)


async def _within(house: House, method: str, path: str, data: bytes | None, token: str) -> Reply:
    with trio.move_on_after(SECONDS):
        return await trio.to_thread.run_sync(
            _ask, str(house.socket), method, path, data, token, abandon_on_cancel=True
        )
    return Reply(0, b"")


async def ordered(
    house: House, method: str, path: str, body: dict[str, Any] | None = None, token: str = ""
) -> dict[str, Any]:
    """`ask` for what must succeed: the JSON it answered. Raises CodetetherError."""
    reply = await ask(house, method, path, body, token)
    if reply.status not in (200, 204):
        errors = reply.body.get("errors")
        why = "; ".join(map(str, errors)) if isinstance(errors, list) and errors else "no answer"
        raise CodetetherError(
            f"the private Vault refused {path} ({reply.status}: {why[:200]})",
            f"look at {house.log}, then try again: codetether vault up",
        )
    return reply.body


def _ask(path: str, method: str, what: str, data: bytes | None, token: str) -> Reply:
    connection = _Connection(path)
    headers = {"X-Vault-Token": token} if token else {}
    try:
        connection.request(method, f"/v1/{what}", data, headers)
        answer = connection.getresponse()
        return Reply(answer.status, answer.read(LARGEST))
    except (OSError, http.client.HTTPException):
        return Reply(0, b"")
    finally:
        connection.close()

"""The makers' client with three words more: it says nothing in the clear that was to be encrypted, goes nowhere it was not
sent to, and waits for no connection that is given up.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import nats.errors
from nats.aio.client import Client

if TYPE_CHECKING:
    from nats.aio.client import Server, Srv

FIRST_WAIT, LONGEST_WAIT = 0.05, 5.0  # seconds between attempts to reach the broker


class NotEncrypted(nats.errors.Error):
    """The server does not offer TLS, and was not to be spoken to without."""


class StrictClient(Client):
    """The library encrypts when the server asks for it. Whoever sits between could take that word out of the server's
    greeting and be told the password: with `encrypted` nothing is said then.

    It also connects, in time, to whatever other servers a greeting names. `anywhere`: let it. Without, these are left out:
    they may be on other machines, where the credentials must not go unencrypted.
    """

    encrypted = False
    anywhere = False
    complaint = ""  # the server's last one

    async def _process_err(self, err_msg: str) -> None:
        """The library forgets why the server ended the connection."""
        self.complaint = err_msg
        await super()._process_err(err_msg)

    def cut(self) -> None:
        """End the connection now, whatever it had still to say."""
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()

    async def _attempt_reconnect(self) -> None:
        """The library waits until the old connection has said all it had to say. One that nobody reads never does."""
        self.cut()
        await super()._attempt_reconnect()

    async def _connect_to_server(self, server: Srv) -> None:
        """The library leaves a connection open on which it was refused."""
        self.cut()
        await super()._connect_to_server(server)

    def _connect_command(self) -> bytes:
        if self.encrypted and not self._server_info.get("tls_required"):
            raise NotEncrypted("the server does not offer TLS")
        return super()._connect_command()

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        known = info if self.anywhere else {**info, "connect_urls": []}
        await super()._process_info(known, initial_connection)


def patience(known: list[Server], _: dict[str, Any]) -> tuple[Server, float]:
    """Which server to try next, and in how many seconds: the one tried least, later each time, never all at once."""
    server = min(known, key=lambda each: each.reconnects)
    wait = min(FIRST_WAIT * 2 ** min(server.reconnects, 10), LONGEST_WAIT)
    return server, wait * random.uniform(0.5, 1.0)  # noqa: S311 - to spread attempts, not to keep a secret

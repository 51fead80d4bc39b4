"""TLS over a connection, and whom it believes."""

from __future__ import annotations

import os
import ssl
from contextlib import suppress

import trio

from codetether_wire.connection import GONE, Connection, NotReached, in_time, send, words


class _UnderTls(trio.abc.Stream):
    """What TLS is spoken over. A send that failed would have it read no more. `only_here`: nothing is waited for."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.only_here = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await send(self._stream, data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self.only_here:
            raise trio.WouldBlock
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Encrypted(Connection):
    """A connection over TLS, which reads from its socket what it does not hand out yet."""

    def __init__(self, plain: Connection, tls: ssl.SSLContext, host: str) -> None:
        self._under = _UnderTls(plain.stream)
        self.tls = trio.SSLStream(self._under, tls, server_hostname=host, https_compatible=True)
        super().__init__(self.tls, plain.socket)

    async def has_more(self) -> bool:
        """Whether TLS holds something."""
        self._under.only_here = True
        with trio.CancelScope(shield=True), suppress(*GONE):
            try:
                await self.stream.receive_some(1)
            except trio.WouldBlock:
                self._under.only_here = False
                return False
        return True


async def encrypted(
    plain: Connection, tls: ssl.SSLContext, host: str, seconds: float
) -> Connection:
    """`plain` with TLS over it, for the server `host`. Raises NotReached."""
    secure = _Encrypted(plain, tls, host)
    try:
        with in_time(seconds):
            await secure.tls.do_handshake()
    except BaseException as error:
        await plain.aclose()
        if isinstance(error, trio.BrokenResourceError):
            raise NotReached(words(error)) from None
        raise
    return secure


async def trust(trust_env: bool) -> ssl.SSLContext:
    """Whom to believe: the authorities certifi knows; with `trust_env` those that SSL_CERT_FILE or SSL_CERT_DIR names.
    Raises NotReached when these cannot be read.
    """
    return await trio.to_thread.run_sync(_trust, trust_env)


def _trust(trust_env: bool) -> ssl.SSLContext:
    import certifi

    file = os.environ.get("SSL_CERT_FILE") if trust_env else None
    folder = os.environ.get("SSL_CERT_DIR") if trust_env else None
    if not file and not folder:
        file = certifi.where()
    try:
        context = ssl.create_default_context(cafile=file or None, capath=None if file else folder)
    except OSError as error:
        raise NotReached(
            f"the certificates of {file or folder} cannot be read: {words(error)}"
        ) from None
    context.set_alpn_protocols(["http/1.1"])
    return context

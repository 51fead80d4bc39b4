"""One HTTP exchange with a provider: under deadlines, bounded, and every failure a WireFault."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import trio
from codetether.api import Finish, StreamEvent

from codetether_wire.body import BODY_LIMIT, Inflater, read_bounded
from codetether_wire.connection import NetworkError, NotReached, Response, Unsendable
from codetether_wire.dialect import Dialect, Outgoing, Refuses
from codetether_wire.endpoint import Endpoint, is_loopback
from codetether_wire.faults import WireFault, classify, error_text, excerpt, page_title
from codetether_wire.pool import Pool

ERROR_LIMIT = 64 << 10
_HEADERS = {
    "Content-Type": "application/json",
    "Accept": "*/*",
    "Accept-Encoding": "gzip, identity",
    "User-Agent": "codetether",
}
_AFTER_COMPLETE = 5.0
_DRAIN = 0.05


class Deadlines:
    """The two clocks of an exchange: `idle` seconds since anything meaningful, and an absolute end."""

    def __init__(self, idle: float, end: float) -> None:
        self._idle = idle
        self._end = end

    def scope(self) -> trio.CancelScope:
        """The scope to wait in for something meaningful, from now on."""
        return self.within(self._idle)

    def within(self, seconds: float) -> trio.CancelScope:
        """A scope for so many seconds at most."""
        return trio.CancelScope(deadline=min(trio.current_time() + seconds, self._end))

    def closing(self) -> None:
        """All that matters is here."""
        self._end = min(trio.current_time() + _AFTER_COMPLETE, self._end)

    def fault(self) -> WireFault:
        """What to raise when the scope ran out."""
        if trio.current_time() >= self._end:
            return WireFault.of("timeout", "the model call took longer than its total time limit")
        return WireFault.of("timeout", f"nothing came for {self._idle:.0f} s", retry=True)


@asynccontextmanager
async def opened(
    pool: Pool,
    endpoint: Endpoint,
    outgoing: Outgoing,
    deadlines: Deadlines,
    *,
    method: str = "POST",
    connect: float,
    trust_env: bool = False,
) -> AsyncIterator[Response]:
    """Send a request, give the response once its head is there, close it in any case. Raises WireFault."""
    url = endpoint.base_url + outgoing.path
    headers = {**_HEADERS, **endpoint.headers, **outgoing.headers}
    response: Response | None = None
    try:
        with deadlines.scope():
            response = await pool.ask(
                method, url, headers, outgoing.body, connect=connect, trust_env=trust_env
            )
        if response is None:
            raise deadlines.fault()
        yield response
    except NetworkError as exc:
        raise network_fault(exc, endpoint, started=response is not None) from exc
    finally:
        if response is not None:
            await response.aclose()


class Exchange:
    """A model's answer, read as it is wanted: while nobody asks for more, nothing is read, and no clock runs but the
    absolute one.
    """

    def __init__(self, response: Response, dialect: Dialect, deadlines: Deadlines) -> None:
        self._response = response
        self._deadlines = deadlines
        self._decoder = dialect.decoder()
        self._inflater = Inflater(response.headers.get("content-encoding", ""))
        self._pieces: deque[bytes] = deque()
        self._ended = False
        self._kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        self._more = self._streamed
        if self._kind == "application/json" or self._kind.endswith("+json"):
            self._more = self._whole
        elif self._kind not in ("", dialect.content_type):
            self._more = self._foreign

    async def read(self) -> list[StreamEvent]:
        """What the answer says next; empty at its end. Raises WireFault when it is cut, stalls, or is no answer."""
        if self._ended:
            return []
        said: list[StreamEvent] = []
        with self._deadlines.scope() as scope:
            said = await self._more()
        if scope.cancelled_caught:
            self._ended = True
            if not self._decoder.complete:
                raise self._deadlines.fault()
        return said

    def finish(self) -> Finish:
        """The end, once `read` came to it. Raises WireFault when it is missing."""
        if not self._decoder.complete:
            raise WireFault.of(
                "incomplete", "the stream ended before the answer was complete", retry=True
            )
        return self._decoder.finish()

    async def _streamed(self) -> list[StreamEvent]:
        decoder = self._decoder
        try:
            while not decoder.over:
                if self._pieces:
                    if said := decoder.feed(self._pieces.popleft()):
                        self._ended = decoder.over and self._response.is_over
                        return said
                elif not await self._received():
                    self._ended = True
                    return decoder.close()
        except (NetworkError, WireFault):
            if not decoder.complete:  # what comes after the vendor's own end cannot spoil it
                raise
        else:
            await self._drain()
        self._ended = True
        return []

    async def _received(self) -> bool:
        """Wait for bytes; False when there will be none."""
        raw = b""
        if not self._decoder.complete:
            raw = await self._response.read()
        else:  # only the end mark or the token counts can be missing
            self._deadlines.closing()
            with self._deadlines.scope():
                raw = await self._response.read()
        if raw:
            self._pieces.extend(self._inflater.feed(raw))
        return bool(raw)

    async def _drain(self) -> None:
        """Read the few bytes behind the end mark, so that the connection can serve the next call."""
        with self._deadlines.within(_DRAIN), suppress(NetworkError):
            for _ in range(8):
                if not await self._response.read():
                    return

    async def _whole(self) -> list[StreamEvent]:
        self._ended = True
        return self._decoder.whole(await read_bounded(self._response, BODY_LIMIT))

    async def _foreign(self) -> list[StreamEvent]:
        await wrong_type(self._response, self._kind)
        return []


async def check_status(response: Response, deadlines: Deadlines, dialect: object = None) -> None:
    """Nothing for 200; else WireFault with the vendor's own words, as `dialect` reads them if it can."""
    if response.status_code == 200:
        return
    if 300 <= response.status_code < 400:
        place = excerpt(response.headers.get("location", "").partition("?")[0], 200)
        raise WireFault.of(
            "other",
            f"the server redirects to {place or 'nowhere'}; keys are never sent along",
            status=response.status_code,
            hint="correct base_url in the provider's secret",
        )
    body = b""
    with deadlines.scope():
        body = await read_bounded(response, ERROR_LIMIT, cut=True)
    if isinstance(dialect, Refuses):
        fault = dialect.refused(response.status_code, body, response.headers)
        if fault is not None:
            raise fault
    message, code = error_words(body, response.headers.get("content-type", ""))
    raise classify(
        response.status_code, message or f"HTTP {response.status_code}", code, response.headers
    )


def error_words(body: bytes, content_type: str) -> tuple[str, str]:
    """(message, code) of an error body: JSON of any vendor, HTML, or plain words."""
    import msgspec

    text = body.decode("utf-8", "replace")
    try:
        message, code = error_text(msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        message, code = "", ""
    if message or code:
        return message or code, code
    is_page = "html" in content_type or text.lstrip()[:1] == "<"
    return (f"a web page: {page_title(text)}" if is_page and text.strip() else text.strip()), ""


async def wrong_type(response: Response, kind: str) -> None:
    """Raise the fault for an answer that is no answer, such as the page of a proxy."""
    with trio.move_on_after(5):
        body = await read_bounded(response, ERROR_LIMIT, cut=True)
        message, code = error_words(body, kind)
        raise WireFault.of(
            "other",
            f"the server answered with {kind[:60]} instead of a model's answer: {message or code}",
            status=response.status_code,
            hint="is base_url right, and no proxy in between?",
        )
    raise WireFault.of("other", f"the server answered with {kind[:60]} instead of a model's answer")


def network_fault(exc: NetworkError, endpoint: Endpoint, *, started: bool) -> WireFault:
    """The fault for what went wrong on the way. A server on this machine that is not there is not waited for."""
    host = endpoint.base_url.partition("://")[2].partition("/")[0]
    if isinstance(exc, NotReached):
        if exc.late:
            return WireFault.of("network", f"could not connect to {host} in time", retry=True)
        if "CERTIFICATE" in f"{exc}".upper():
            hint = "a proxy in between? trust_env takes the certificates of SSL_CERT_FILE"
            return WireFault.of("network", f"{host} cannot prove who it is: {exc}", hint=hint)
        here = is_loopback(endpoint.base_url)
        hint = "is the server running?" if here else "is this machine online?"
        return WireFault.of(
            "network", f"could not connect to {host}: {exc}", retry=not here, hint=hint
        )
    if isinstance(exc, Unsendable):
        return WireFault.of("invalid", f"the request cannot be sent: {exc}")
    kind: Any = "incomplete" if started else "network"
    return WireFault.of(kind, f"the connection to {host} broke: {exc}", retry=True)

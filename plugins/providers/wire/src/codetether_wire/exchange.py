"""One HTTP exchange with a provider: under deadlines, bounded, and every failure a WireFault."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import trio
from codetether.api import Finish

from codetether_wire.body import BODY_LIMIT, Inflater, read_bounded
from codetether_wire.connection import NetworkError, NotReached, Response, Unsendable
from codetether_wire.dialect import Decoder, Outgoing, Refuses
from codetether_wire.endpoint import Endpoint, is_loopback
from codetether_wire.faults import WireFault, classify, error_text, excerpt, page_title
from codetether_wire.outlet import Outlet
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
_STEP = 0.5


class Deadlines:
    """The two clocks of an exchange: `idle` seconds since anything meaningful, and an absolute end."""

    def __init__(self, idle: float, end: float) -> None:
        self.idle = idle
        self.end = end
        self._scope = trio.CancelScope()
        self._touched = 0.0

    def scope(self) -> trio.CancelScope:
        """The scope to wait in, from now on."""
        self._touched = trio.current_time()
        self._scope = trio.CancelScope(deadline=min(self._touched + self.idle, self.end))
        return self._scope

    def touch(self) -> None:
        """Something meaningful happened: comments and pings are not. Moving a deadline costs more than a delta may, so
        it is moved twice a second, and half a second further.
        """
        now = trio.current_time()
        if now - self._touched > _STEP:
            self._touched = now
            self._scope.deadline = min(now + self.idle + _STEP, self.end)

    def pause(self) -> None:
        """Our own listener is slow: that is not the vendor's silence. Until the next `touch`."""
        self._touched = -math.inf
        self._scope.deadline = self.end

    def closing(self) -> None:
        """All that matters is here."""
        self._scope.deadline = min(trio.current_time() + _AFTER_COMPLETE, self.end)
        self._touched = math.inf

    def draining(self) -> None:
        """The vendor said that this was all."""
        self._scope.deadline = min(trio.current_time() + _DRAIN, self.end)

    def fault(self) -> WireFault:
        """What to raise when the scope ran out."""
        if trio.current_time() >= self.end:
            return WireFault.of("timeout", "the model call took longer than its total time limit")
        return WireFault.of("timeout", f"nothing came for {self.idle:.0f} s", retry=True)


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


async def exchange(
    response: Response,
    decoder: Decoder,
    content_type: str,
    deadlines: Deadlines,
    outlet: Outlet,
) -> Finish:
    """Read a streamed answer to its end. Raises WireFault when it is cut, stalls, or is no answer."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in ("", content_type):
        await _streamed(response, decoder, deadlines, outlet)
    elif kind == "application/json" or kind.endswith("+json"):
        with deadlines.scope() as scope:
            body = await read_bounded(response, BODY_LIMIT)
        if scope.cancelled_caught:
            raise deadlines.fault()
        outlet.put(decoder.whole(body))
    else:
        await wrong_type(response, kind)
    if not decoder.complete:
        raise WireFault.of(
            "incomplete", "the stream ended before the answer was complete", retry=True
        )
    return decoder.finish()


async def _streamed(
    response: Response, decoder: Decoder, deadlines: Deadlines, outlet: Outlet
) -> None:
    inflater = Inflater(response.headers.get("content-encoding", ""))
    with deadlines.scope() as scope:
        try:
            await _read(response, inflater, decoder, deadlines, outlet)
            if not decoder.over:
                outlet.put(decoder.close())
        except (NetworkError, WireFault):
            if not decoder.complete:  # what comes after the vendor's own end cannot spoil it
                raise
        if decoder.over:
            deadlines.draining()
            await _drain(response)
    if scope.cancelled_caught and not decoder.complete and not decoder.over:
        raise deadlines.fault()


async def _read(
    response: Response,
    inflater: Inflater,
    decoder: Decoder,
    deadlines: Deadlines,
    outlet: Outlet,
) -> None:
    closing = False
    while raw := await response.read():
        for piece in inflater.feed(raw):
            said = decoder.feed(piece)
            if said:
                if not outlet.put(said):
                    deadlines.pause()
                    await outlet.drained()
                deadlines.touch()
        if decoder.over:
            return
        if decoder.complete and not closing:  # only the end mark or the token counts can be missing
            closing = True
            deadlines.closing()


async def _drain(response: Response) -> None:
    """Read the few bytes behind the end mark, so that the connection can serve the next call."""
    with suppress(NetworkError):
        for _ in range(8):
            if not await response.read():
                return


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

"""One answer from the web, bounded in time, size and redirects, from an address that was checked."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import msgspec
import trio
from codetether.api import ToolError, one_line, told

from codetether_web.client import load_httpx, raw_chunks
from codetether_web.policy import Policy, checked, parse, port_of

if TYPE_CHECKING:
    import httpx

AGENT = "CodeTether-Agent/1.0"
BYTES = 5_000_000
SECONDS = 30.0
REDIRECTS = 5
CONNECT_SECONDS = 10.0
_PACKED = 1024  # bytes unpacked at a time: gzip makes at most 1 MB of them
_MOVED = frozenset({301, 302, 303, 307, 308})

Cut = Literal["", "size", "time", "connection"]


class Page(msgspec.Struct):
    """An answer. `url` is where it came from in the end, `cut` why `body` is not all of it. When a redirect leads to
    another site and the caller wanted to know, `moved` is that address and there is no body.
    """

    url: str
    status: int = 0
    headers: dict[str, str] = {}
    body: bytes = b""
    cut: Cut = ""
    moved: str = ""


async def fetch(
    url: str,
    policy: Policy,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    content: bytes = b"",
    limit: int = BYTES,
    seconds: float = SECONDS,
    redirects: int = REDIRECTS,
    same_site: bool = False,
) -> Page:
    """The answer to one request, of whatever status; at most `limit` bytes, unpacked, within `seconds` in all.

    Every hop is checked before it is asked. `same_site`: stop where a redirect leaves the host (see `Page.moved`).
    Raises ToolError: INVALID_ARGUMENT, NOT_FOUND, DENIED, TIMEOUT, EXECUTION_FAILED.
    """
    load_httpx()
    pieces: list[bytes] = []
    page = Page(url)
    with trio.move_on_after(seconds) as scope:
        target = parse(url)
        async with await _client() as client:
            for hop in range(redirects + 1):
                request = _request(client, method, target, headers or {}, content)
                response = await _send(client, request, await checked(target, policy))
                page.url = str(target.copy_with(fragment=None))
                try:
                    onward = _onward(response, target)
                    if onward is None:
                        page.headers = dict(response.headers)
                        page.status = response.status_code
                        page.cut = await _read(response, pieces, limit)
                        break
                finally:
                    await response.aclose()
                if same_site and not _same_site(target, onward):
                    page.status, page.moved = response.status_code, str(onward)
                    break
                if hop == redirects:
                    raise ToolError(f"More than {redirects} redirects.", "EXECUTION_FAILED")
                target = onward
    if scope.cancelled_caught:
        if not page.status:
            raise ToolError(f"No answer within {seconds:g} s.", "TIMEOUT")
        page.cut = "time"
    page.body = b"".join(pieces)[:limit]
    return page


async def _client() -> httpx.AsyncClient:
    """A client for one fetch: no cookie, connection or proxy is shared with any other request."""
    import httpx

    for name in ("httpx", "httpcore"):  # at INFO they write whole addresses
        logger = logging.getLogger(name)
        if logger.level < logging.WARNING:
            logger.setLevel(logging.WARNING)
    tls = await trio.to_thread.run_sync(trust)
    timeout = httpx.Timeout(None, connect=CONNECT_SECONDS)
    return httpx.AsyncClient(verify=tls, trust_env=False, follow_redirects=False, timeout=timeout)


_trust: list[ssl.SSLContext] = []


def trust() -> ssl.SSLContext:
    """Whose certificates are believed; loaded once."""
    import httpx

    if not _trust:
        _trust.append(httpx.create_ssl_context(trust_env=False))
    return _trust[0]


def _request(
    client: httpx.AsyncClient,
    method: str,
    target: httpx.URL,
    headers: Mapping[str, str],
    content: bytes,
) -> httpx.Request:
    own = {
        "User-Agent": AGENT,
        "Accept": "text/html, text/markdown;q=0.9, text/plain;q=0.8, */*;q=0.5",
        "Accept-Encoding": "gzip, identity",
        "Connection": "close",
    }
    own |= dict(headers)
    return client.build_request(method, target, headers=own, content=content or None)


async def _send(
    client: httpx.AsyncClient, request: httpx.Request, addresses: list[str]
) -> httpx.Response:
    """The answer of the first address that can be reached. Name and certificate stay those of the host."""
    import httpx

    target = request.url
    request.headers["Host"] = target.netloc.decode("ascii")
    request.extensions["sni_hostname"] = target.raw_host.decode("ascii")
    failed: Exception = httpx.ConnectError("no address")
    for address in addresses:
        request.url = target.copy_with(host=address, port=port_of(target))
        try:
            return await client.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            failed = error
        except httpx.HTTPError as error:
            failed = error
            break
    raise ToolError(
        f"{target.host} could not be asked: {_reason(failed)}", "EXECUTION_FAILED"
    ) from None


def _reason(error: BaseException) -> str:
    """What lies at the bottom of it, such as the certificate's fault: httpx often says nothing itself."""
    said = told(error)
    inner: BaseException | None = error
    while inner is not None:
        said = told(inner) if str(inner) else said
        inner = inner.__cause__ or inner.__context__
    return one_line(said, 200)


def _onward(response: httpx.Response, target: httpx.URL) -> httpx.URL | None:
    """Where a redirect leads, checked to be an address."""
    location = response.headers.get("location", "")
    if response.status_code not in _MOVED or not location:
        return None
    import httpx

    try:
        return parse(str(target.join(location)))
    except (httpx.InvalidURL, ValueError):
        raise ToolError("It redirects to something that is no URL.", "EXECUTION_FAILED") from None


def _same_site(one: httpx.URL, other: httpx.URL) -> bool:
    if one.scheme == "https" and other.scheme == "http":
        return False
    names = (url.host.removeprefix("www.").rstrip(".") for url in (one, other))
    usual = all(port_of(url) in (80, 443) for url in (one, other))
    return len(set(names)) == 1 and (usual or port_of(one) == port_of(other))


async def _read(response: httpx.Response, pieces: list[bytes], limit: int) -> Cut:
    """The plain body into `pieces`; why it ended early, if it did."""
    import httpx
    from codetether_wire import Inflater, WireFault

    size = 0
    try:
        inflater = Inflater(response.headers.get("content-encoding", ""), limit + (4 << 20))
        async with raw_chunks(response) as chunks:
            async for raw in chunks:
                for start in range(0, len(raw), _PACKED):
                    for piece in inflater.feed(raw[start : start + _PACKED]):
                        pieces.append(piece)
                        size += len(piece)
                        if size > limit:
                            return "size"
    except WireFault as fault:
        if not pieces:
            raise ToolError(f"Not readable: {fault.fault.message}", "EXECUTION_FAILED") from None
        return "connection"
    except httpx.HTTPError:
        return "connection"
    return ""

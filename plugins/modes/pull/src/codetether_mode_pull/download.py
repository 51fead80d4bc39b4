"""The transfer: redirects looked at one by one, a broken one taken up again, nothing joined that may not belong together."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import trio
from codetether.api import CodetetherError

from codetether_mode_pull.partial import Known, Partial
from codetether_mode_pull.source import refuse_unsafe

if TYPE_CHECKING:
    from codetether_wire import Pool, Response

    from codetether_mode_pull.progress import Progress

REDIRECTS = 10
TRIES = 6  # in a row without a byte gained
AT_ONCE = 1 << 20
IDLE_SECONDS = 60.0
CONNECT_SECONDS = 20.0
REDIRECT_CODES = (301, 302, 303, 307, 308)
SHA256 = re.compile(r"[0-9a-f]{64}")


class Broken(Exception):
    """The transfer ended early; it may go on where it ended."""


class Download:
    """One file. `said`: the checksum the hub itself names for it, when it does."""

    def __init__(
        self, pool: Pool, url: str, partial: Partial, progress: Progress, *, trust_env: bool
    ) -> None:
        self._pool = pool
        self._url = url
        self._partial = partial
        self._progress = progress
        self._trust_env = trust_env
        self.said = ""

    async def run(self) -> None:
        """Until the partial file is whole. Raises CodetetherError."""
        failures = 0
        while not self._whole():
            before = self._partial.length
            try:
                await self._once()
                return
            except Broken as exc:
                failures = 1 if self._partial.length > before else failures + 1
                if failures >= TRIES:
                    raise CodetetherError(
                        f"the download broke off: {exc}",
                        "the same command goes on where it ended",
                    ) from None
                wait = min(2.0 ** (failures - 1), 30.0)
                self._progress.note(f"{exc}; trying again in {wait:.0f} s")
                await trio.sleep(wait)

    async def _once(self) -> None:
        from codetether_wire import NetworkError

        try:
            async with AsyncExitStack() as stack:
                response = await self._opened(stack)
                await self._begin(response)
                self._progress.start(self._partial.length, self._size())
                await self._receive(response)
        except (NetworkError, trio.TooSlowError) as exc:
            raise Broken(f"{exc}" or type(exc).__name__) from None
        size = self._size()
        if size is not None and self._partial.length != size:
            raise Broken(f"{self._partial.length} of {size} bytes came")

    def _whole(self) -> bool:
        """All came in an earlier run that ended before it was proved."""
        known = self._partial.known
        if known is None or known.url != self._url or not known.validator:
            return False
        return known.size == self._partial.length > 0

    def _size(self) -> int | None:
        known = self._partial.known
        return known.size if known else None

    # --- asking ---
    async def _opened(self, stack: AsyncExitStack) -> Response:
        """The answer with the file in it, after all redirects. Raises CodetetherError, Broken."""
        url = self._url
        for _ in range(REDIRECTS):
            response = await self._ask(stack, url)
            self._note_checksum(response)
            if response.status_code not in REDIRECT_CODES:
                return response
            following = urljoin(url, response.headers.get("location", ""))
            refuse_unsafe(following, before=url)
            url = following
        raise CodetetherError(f"more than {REDIRECTS} redirects", "is the address right?")

    async def _ask(self, stack: AsyncExitStack, url: str) -> Response:
        from codetether_wire import Unsendable

        headers = {"User-Agent": "codetether", "Accept-Encoding": "identity", **self._going_on()}
        try:
            with trio.fail_after(IDLE_SECONDS):
                response = await self._pool.ask(
                    "GET", url, headers, connect=CONNECT_SECONDS, trust_env=self._trust_env
                )
        except Unsendable as exc:
            raise CodetetherError(f"not an address: {exc}") from None
        stack.push_async_callback(response.aclose)
        return response

    def _going_on(self) -> dict[str, str]:
        """Only with a validator, and only for the address it came from, may the rest be asked for."""
        known = self._partial.known
        if (
            known is None
            or not known.validator
            or known.url != self._url
            or not self._partial.length
        ):
            return {}
        return {"Range": f"bytes={self._partial.length}-", "If-Range": known.validator}

    def _note_checksum(self, response: Response) -> None:
        """Model hubs name the file's SHA-256 in a header of the answer that leads to it."""
        named = response.headers.get("x-linked-etag", "").strip('"').lower()
        if SHA256.fullmatch(named):
            self.said = self.said or named

    # --- the answer ---
    async def _begin(self, response: Response) -> None:
        """Decide where its bytes go."""
        headers, status = response.headers, response.status_code
        partial = self._partial
        if status == 416:
            await trio.to_thread.run_sync(partial.begin, Known(self._url, "", None))
            raise Broken("the server's file has changed")
        if status >= 500 or status in (408, 425, 429):
            raise Broken(f"the server answered with {status}")
        if status not in (200, 206):
            raise CodetetherError(f"the server answered with {status}", _meaning(status))
        if headers.get("content-encoding", "identity") != "identity":
            raise CodetetherError("the server packs the file, which was not asked for")
        if status == 206:
            span = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", headers.get("content-range", ""))
            if span is None or int(span[1]) != partial.length or int(span[2]) != self._size():
                await trio.to_thread.run_sync(partial.begin, Known(self._url, "", None))
                raise Broken("the server sent another part than was asked for")
        else:
            known = Known(self._url, _validator(headers), _length(headers))
            await trio.to_thread.run_sync(partial.begin, known)
        await trio.to_thread.run_sync(partial.room)

    async def _receive(self, response: Response) -> None:
        """Write what comes, a mebibyte at a time; what came before a break or a cancellation too."""
        came = bytearray()
        try:
            while data := await _next(response):
                came += data
                if len(came) >= AT_ONCE:
                    await self._write(came)
        finally:
            with trio.CancelScope(shield=True):
                await self._write(came)

    async def _write(self, came: bytearray) -> None:
        partial, most = self._partial, self._size()
        if most is not None and partial.length + len(came) > most:
            raise CodetetherError(f"the server sends more than the {most} bytes it promised")
        try:
            await trio.to_thread.run_sync(partial.append, bytes(came))
        except OSError as exc:
            raise CodetetherError(
                f"cannot write {partial.path}: {exc.strerror}",
                "make room; the same command goes on where it ended",
            ) from None
        came.clear()
        self._progress.at(partial.length)


async def _next(response: Response) -> bytes:
    with trio.fail_after(IDLE_SECONDS):
        return await response.read()


def _validator(headers: Any) -> str:
    """A strong ETag, else the date; a weak one does not say that the bytes are the same."""
    etag = str(headers.get("etag", ""))
    return etag if etag.startswith('"') else str(headers.get("last-modified", ""))


def _length(headers: Any) -> int | None:
    length = str(headers.get("content-length", ""))
    return int(length) if length.isdigit() else None


def _meaning(status: int) -> str:
    if status in (401, 403):
        return "the file needs an account there; download it in a browser and name it: gguf//path/to/file.gguf"
    return "is the address right?" if status in (404, 410) else ""

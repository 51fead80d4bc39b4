"""The short-lived token that Copilot wants in place of a person's own, and where it is good."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import trio
from codetether.api import CodetetherError
from codetether_wire import Endpoint, WireFault, WireProvider
from codetether_wire.endpoint import address, is_loopback

PATH = "/copilot_internal/v2/token"
SECONDS = 20.0
MARGIN = 120.0  # renewed this long before it ends
SHORTEST = 30.0


class Access(msgspec.Struct, frozen=True):
    """What to call Copilot with. `base_url` is "" when the answer named none; times are trio's."""

    token: str
    base_url: str
    renew_at: float
    ends_at: float

    def __repr__(self) -> str:
        return f"Access(***, {self.base_url!r})"


class Exchange:
    """Gets tokens and keeps the latest. One at a time, however many calls want it."""

    def __init__(self, provider: WireProvider) -> None:
        self._provider = provider
        self._lock = trio.Lock()
        self._kept: tuple[tuple[str, str], Access] | None = None

    def forget(self) -> None:
        """The token was refused: get another one."""
        self._kept = None

    async def get(self, host: str, key: str, headers: dict[str, str]) -> Access:
        """Access for the person's token `key` at `host`. A token that still holds is used when no newer one can be had.

        Raises CodetetherError; its cause is the WireFault that says what kind of failure it was.
        """
        async with self._lock:
            whose = (host, key)
            kept = self._kept[1] if self._kept and self._kept[0] == whose else None
            if kept is not None and trio.current_time() < kept.renew_at:
                return kept
            try:
                access = await self._ask(host, key, headers)
            except CodetetherError as exc:
                if kept is None or trio.current_time() >= kept.ends_at or not passing(exc):
                    raise
                return kept
            self._kept = (whose, access)
            return access

    async def _ask(self, host: str, key: str, headers: dict[str, str]) -> Access:
        self._provider.kernel.redact.add(key)
        asking = {**headers, "Authorization": f"token {key}", "Accept": "application/json"}
        try:
            told = await self._provider.fetch(Endpoint(host, asking), PATH, seconds=SECONDS)
        except CodetetherError as exc:
            if status_of(exc) != 404:
                raise
            # Only some OAuth apps may exchange; the tokens of the others are good at Copilot as they are.
            later = trio.current_time() + 3600
            return Access(key, "", later, later)
        token = told.get("token") if isinstance(told, dict) else None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise CodetetherError(f"{self._provider.name}: the answer holds no token for Copilot")
        self._provider.kernel.redact.add(token)
        left = _left(told)
        now = trio.current_time()
        return Access(
            token, _api(told, host), now + max(left - MARGIN, SHORTEST), now + max(left, SHORTEST)
        )


def _left(told: dict[str, Any]) -> float:
    """Seconds the token is good. The vendor's own count comes first: our clock may be wrong."""
    count = told.get("refresh_in")
    if isinstance(count, int | float) and not isinstance(count, bool) and count > 0:
        return float(count) + MARGIN
    end = told.get("expires_at")
    return float(end) - time.time() if isinstance(end, int | float) else 600.0


def _api(told: dict[str, Any], host: str) -> str:
    places = told.get("endpoints")
    url = places.get("api") if isinstance(places, dict) else None
    if not isinstance(url, str) or not url:
        return ""
    url = address(url)
    if url.startswith("http://") and not (is_loopback(url) and is_loopback(host)):
        raise CodetetherError(f"Copilot's address is not safe: {url[:100]}")
    return url


def status_of(exc: CodetetherError) -> int:
    """The HTTP status behind a failed fetch; 0 when there is none."""
    return exc.__cause__.fault.status if isinstance(exc.__cause__, WireFault) else 0


def passing(exc: CodetetherError) -> bool:
    """Whether the failure may be over soon."""
    return isinstance(exc.__cause__, WireFault) and exc.__cause__.retry

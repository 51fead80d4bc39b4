"""Signing a person in by GitHub's device flow (RFC 8628): a code is shown, the person enters it in a browser."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import trio
from codetether.api import CodetetherError
from codetether_wire import Endpoint, WireProvider, excerpt

from codetether_provider_github_copilot.access import passing

SCOPE = "read:user"
GRANT = "urn:ietf:params:oauth:grant-type:device_code"
SECONDS = 20.0
SLACK = 3.0  # GitHub slows down those who ask on the second
LONGEST = 900.0
MOST_TROUBLE = 5
AGAIN = "run the sign-in again"


class DeviceFlow:
    """One sign-in with the OAuth app `client_id` at `login` (a base address)."""

    def __init__(
        self, provider: WireProvider, login: str, client_id: str, headers: dict[str, str]
    ) -> None:
        self._provider = provider
        self._endpoint = Endpoint(login, {"Accept": "application/json", **headers})
        self._client_id = client_id

    async def run(self, show: Callable[[str], Awaitable[None]]) -> str:
        """The person's token. Raises CodetetherError when it was refused, ran out or cannot be had."""
        asked = {"client_id": self._client_id, "scope": SCOPE}
        begun = await self._post("/login/device/code", asked)
        if begun.get("error"):
            self._refused(begun)
        code, shown = _text(begun, "device_code"), _text(begun, "user_code")
        page = _text(begun, "verification_uri_complete") or _text(begun, "verification_uri")
        if not code or not shown or not page.startswith(("https://", self._endpoint.base_url)):
            raise CodetetherError("the server's answer is no invitation to sign in", AGAIN)
        self._provider.kernel.redact.add(code)
        await show(
            f"Open {excerpt(page, 200)} in a browser and enter the code {excerpt(shown, 40)}"
        )
        with trio.move_on_after(_seconds(begun, "expires_in", LONGEST)):
            return await self._wait(code, _seconds(begun, "interval", 5.0))
        raise CodetetherError("the code ran out before it was entered", AGAIN)

    async def _wait(self, code: str, interval: float) -> str:
        asked = {"client_id": self._client_id, "device_code": code, "grant_type": GRANT}
        trouble = 0
        while True:
            await trio.sleep(interval + SLACK)
            try:
                told = await self._post("/login/oauth/access_token", asked)
            except CodetetherError as exc:  # a person at a browser outlasts a short failure
                trouble += 1
                if trouble >= MOST_TROUBLE or not passing(exc):
                    raise
                continue
            if token := _text(told, "access_token"):
                return token
            match told.get("error"):
                case "authorization_pending":
                    pass
                case "slow_down":
                    interval = max(_seconds(told, "interval", interval + 5), interval)
                case "expired_token":
                    raise CodetetherError("the code ran out before it was entered", AGAIN)
                case "access_denied":
                    raise CodetetherError("the sign-in was refused in the browser", AGAIN)
                case _:
                    self._refused(told)

    async def _post(self, path: str, fields: dict[str, str]) -> dict[str, Any]:
        told = await self._provider.fetch(self._endpoint, path, seconds=SECONDS, post=fields)
        if not isinstance(told, dict):
            raise CodetetherError("the server's answer is not what a sign-in is answered with")
        return told

    def _refused(self, told: dict[str, Any]) -> NoReturn:
        what = _text(told, "error_description") or _text(told, "error") or "without a reason"
        message = excerpt(self._provider.redacted(f"the sign-in failed: {what}"), 300)
        raise CodetetherError(message, "is the client id that of an OAuth app with device flow?")


def _text(row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    return value.strip() if isinstance(value, str) else ""


def _seconds(row: dict[str, Any], name: str, default: float) -> float:
    value = row.get(name)
    good = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
    return min(float(value), LONGEST) if good and value is not None else default

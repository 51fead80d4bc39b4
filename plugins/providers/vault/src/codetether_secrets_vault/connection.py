"""Asking Vault: one address, the token of the moment, time limits, and a diagnosis for every refusal."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import trio

from codetether_secrets_vault.place import Place
from codetether_secrets_vault.tokens import Tokens
from codetether_secrets_vault.trouble import Trouble

if TYPE_CHECKING:
    from codetether_secrets_vault.client import Answer, Client

THREADS = 4


class Connection:
    """One server. `hide` is called with every token before it is used, so that it is never shown."""

    def __init__(self, place: Place, hide: Callable[[str], None]) -> None:
        self.place = place
        self.at = "the private Vault" if place.private else place.address
        self.tokens = Tokens(place, self._send, hide)
        self._client: Client | None = None
        self._version = 0
        self._threads = trio.CapacityLimiter(THREADS)
        self._finding = trio.Lock()

    def close(self) -> None:
        """Give back the connections."""
        if self._client is not None:
            self._client.close()

    def path(self, folder: str, version: int, provider: str = "") -> str:
        """A path under /v1/; `folder` (data, metadata) exists in version 2 only."""
        parts = [self.place.mount, folder if version == 2 else "", self.place.path, provider]
        return "/".join(quote(part.strip("/")) for part in parts if part.strip("/"))

    # --- which KV ---
    async def kv_version(self) -> int:
        """1 or 2, found out once. Raises Trouble when that cannot be told."""
        async with self._finding:
            if not self._version:
                self._version = await self._find_version()
            return self._version

    async def _find_version(self) -> int:
        answer = await self.ask(
            "GET", f"sys/internal/ui/mounts/{quote(self.place.mount.strip('/'))}", probe=True
        )
        if answer.status == 200 and isinstance(answer.data, dict):
            options = answer.data.get("options")
            return 2 if isinstance(options, dict) and str(options.get("version")) == "2" else 1
        # the token may not look at mounts, or a proxy hides them: the paths themselves tell
        listed = await self.ask("LIST", self.path("metadata", 2), probe=True)
        if listed.status == 200:
            return 2
        flat = await self.ask("LIST", self.path("", 1), probe=True)
        if flat.status == 200:
            return 1
        if "no handler for route" in listed.errors:
            raise Trouble("mount", self.at, self.place.mount)
        if listed.status == 403 and flat.status == 403:
            raise await self._why_denied(self.path("metadata", 2))
        # a version 2 engine warns about version 1 paths
        warned = bool((flat.body or {}).get("warnings"))
        return 2 if warned or listed.status in (404, 403) else 1

    # --- asking ---
    async def ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, probe: bool = False
    ) -> Answer:
        """One request, its refusals diagnosed. On 403 the token is got once more: an agent may have renewed it.

        `probe`: 403 and 404 are answers too. A 400 to a write is an answer: a check-and-set may have failed.
        Raises Trouble.
        """
        answer = await self._asked(method, path, body)
        if "namespace not found" in answer.errors:
            raise Trouble("namespace", self.at)
        if (
            answer.status in (200, 204)
            or (answer.status == 404 and not answer.errors)
            or (answer.status == 400 and body is not None)
            or (probe and answer.status in (403, 404))
        ):
            if (answer.body or {}).get("wrap_info") and answer.data is None:
                raise Trouble("wrapped", self.at)
            return answer
        raise await self._diagnose(answer, path)

    async def _asked(self, method: str, path: str, body: dict[str, Any] | None) -> Answer:
        try:
            token = await self.tokens.current()
            answer = await self._send(method, path, body, token)
            if answer.status == 403 and await self.tokens.another(token):
                answer = await self._send(method, path, body, await self.tokens.current())
        except Trouble as trouble:
            if trouble.kind == "unavailable":
                raise await self._why_sealed(trouble) from None
            if trouble.kind == "refused" and self.place.private:
                raise Trouble("stopped") from None
            raise
        return answer

    async def _send(
        self, method: str, path: str, body: dict[str, Any] | None, token: str
    ) -> Answer:
        """One request in a thread, within the time limit whatever the server does."""
        seconds = self.place.settings.timeout
        try:
            with trio.fail_after(seconds):
                return await trio.to_thread.run_sync(
                    self._send_now,
                    method,
                    path,
                    body,
                    token,
                    abandon_on_cancel=True,
                    limiter=self._threads,
                )
        except trio.TooSlowError:
            raise Trouble("timeout", self.at, more=f"{seconds:g}") from None

    def _send_now(self, method: str, path: str, body: dict[str, Any] | None, token: str) -> Answer:
        if self._client is None:
            from codetether_secrets_vault.client import Client

            place = self.place
            self._client = Client(
                place.address,
                token,
                "" if place.private else place.settings.namespace.strip(),
                place.authority or True,
                place.settings.timeout,
            )
        self._client = client = self._client.with_token(token)
        return client.ask(method, path, body)

    # --- diagnoses ---
    async def _diagnose(self, answer: Answer, path: str) -> Trouble:
        status = answer.status
        if status == 403:
            return await self._why_denied(path)
        if status == 404:
            return Trouble("mount", self.at, path)
        if status in (412, 472, 473):
            return Trouble("standby", self.at)
        if status == 429:
            return Trouble("rate", self.at)
        kind = "unavailable" if status >= 500 else "unexpected"
        trouble = Trouble(kind, self.at, path, str(status))
        return await self._why_sealed(trouble) if status == 503 else trouble

    async def _why_denied(self, path: str) -> Trouble:
        """No token, a bad one, or one that may not: `lookup-self` tells them apart."""
        token = await self.tokens.current()
        if not token:
            return Trouble("no_token", self.at)
        own = await self._send("GET", "auth/token/lookup-self", None, token)
        return Trouble("denied" if own.status == 200 else "bad_token", self.at, path)

    async def _why_sealed(self, otherwise: Trouble) -> Trouble:
        state = await self._seal()
        if state.get("initialized") is False:
            return Trouble("uninitialised", self.at)
        if state.get("sealed") is True:
            return Trouble("sealed_private" if self.place.private else "sealed", self.at)
        return otherwise

    async def _seal(self) -> dict[str, Any]:
        try:
            answer = await self._send("GET", "sys/seal-status", None, "")
        except Trouble:
            return {}
        return answer.body or {}

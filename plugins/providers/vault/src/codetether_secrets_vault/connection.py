"""Asking Vault: one address, the token of the moment, time limits, and a diagnosis for every refusal."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import trio

from codetether_secrets_vault.trouble import Trouble

if TYPE_CHECKING:
    from codetether_secrets_vault import Settings
    from codetether_secrets_vault.client import Answer, Client

THREADS = 4


class Connection:
    """One server. `hide` is called with every token before it is used, so that it is never shown."""

    def __init__(self, settings: Settings, hide: Callable[[str], None]) -> None:
        self.settings = settings
        self._hide = hide
        self._client: Client | None = None
        self._token = ""
        self._version = 0
        self._threads = trio.CapacityLimiter(THREADS)
        self._finding = trio.Lock()

    @property
    def at(self) -> str:
        """The address. Raises Trouble when it is malformed."""
        return address(self.settings.address)

    def close(self) -> None:
        """Give back the connections."""
        if self._client is not None:
            self._client.close()

    def place(self, folder: str, version: int, provider: str = "") -> str:
        """A path under /v1/; `folder` (data, metadata) exists in version 2 only."""
        parts = [self.settings.mount, folder if version == 2 else "", self.settings.path, provider]
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
            "GET", f"sys/internal/ui/mounts/{quote(self.settings.mount.strip('/'))}", probe=True
        )
        if answer.status == 200 and isinstance(answer.data, dict):
            options = answer.data.get("options")
            return 2 if isinstance(options, dict) and str(options.get("version")) == "2" else 1
        # the token may not look at mounts, or a proxy hides them: the paths themselves tell
        listed = await self.ask("LIST", self.place("metadata", 2), probe=True)
        if listed.status == 200:
            return 2
        flat = await self.ask("LIST", self.place("", 1), probe=True)
        if flat.status == 200:
            return 1
        if "no handler for route" in listed.errors:
            raise Trouble("mount", self.at, self.settings.mount)
        if listed.status == 403 and flat.status == 403:
            await self._denied(self.place("metadata", 2))
        warned = bool(
            (flat.body or {}).get("warnings")
        )  # a version 2 engine warns about version 1 paths
        return 2 if warned or listed.status in (404, 403) else 1

    # --- asking ---
    async def ask(self, method: str, path: str, *, probe: bool = False) -> Answer:
        """One request, its refusals diagnosed. On 403 the token is read once more: an agent may have renewed it.

        `probe`: 403 and 404 are answers too. Raises Trouble.
        """
        answer = await self._send(method, path)
        if answer.status == 403 and self._read_token() != self._token:
            self._client = None
            answer = await self._send(method, path)
        if (
            answer.status == 200
            or (answer.status == 404 and not answer.errors)
            or (probe and answer.status in (403, 404))
        ):
            if "namespace not found" in answer.errors:
                raise Trouble("namespace", self.at)
            return answer
        raise await self._diagnose(answer, path)

    async def _send(self, method: str, path: str) -> Answer:
        """One request in a thread, within the time limit whatever the server does."""
        seconds = self.settings.timeout
        try:
            with trio.fail_after(seconds):
                return await trio.to_thread.run_sync(
                    self._send_now, method, path, abandon_on_cancel=True, limiter=self._threads
                )
        except trio.TooSlowError:
            raise Trouble("timeout", self.at, more=f"{seconds:g}") from None

    def _send_now(self, method: str, path: str) -> Answer:
        from codetether_secrets_vault.client import Client

        client = self._client
        if client is None:
            self._token = self._read_token()
            self._hide(self._token)
            authority = os.path.expanduser(self.settings.ca_cert.strip())
            namespace = self.settings.namespace.strip()
            client = Client(
                self.at, self._token, namespace, authority or True, self.settings.timeout
            )
            self._client = client
        return client.ask(method, path)

    async def _diagnose(self, answer: Answer, path: str) -> Trouble:
        status, errors = answer.status, answer.errors
        if status == 403:
            return await self._why_denied(path)
        if status == 404:
            kind = "namespace" if "namespace not found" in errors else "mount"
            return Trouble(kind, self.at, path)
        if status == 503 and await self._sealed("initialized", expected=False):
            return Trouble("uninitialised", self.at)
        if status == 503 and ("sealed" in errors or await self._sealed("sealed", expected=True)):
            return Trouble("sealed", self.at)
        if status in (412, 472, 473):
            return Trouble("standby", self.at)
        if status == 429:
            return Trouble("rate", self.at)
        kind = "unavailable" if status >= 500 else "unexpected"
        return Trouble(kind, self.at, path, str(status))

    async def _denied(self, path: str) -> None:
        raise await self._why_denied(path)

    async def _why_denied(self, path: str) -> Trouble:
        """No token, a bad one, or one that may not: `lookup-self` tells them apart."""
        if not self._token:
            return Trouble("no_token", self.at)
        own = await self._send("GET", "auth/token/lookup-self")
        if own.status == 200:
            return Trouble("denied", self.at, path)
        return Trouble("bad_token", self.at)

    async def _sealed(self, field: str, *, expected: bool) -> bool:
        try:
            answer = await self._send("GET", "sys/seal-status")
        except Trouble:
            return False
        return (answer.body or {}).get(field) is expected

    # --- the token ---
    def _read_token(self) -> str:
        """VAULT_TOKEN, else the token file, else nothing (a proxy may add one). Raises Trouble for an odd one."""
        token = os.environ.get("VAULT_TOKEN", "").strip()
        if not token:
            try:
                token = Path(self.settings.token_file).expanduser().read_text("ascii").strip()
            except (FileNotFoundError, NotADirectoryError, PermissionError, RuntimeError):
                return ""
            except (OSError, UnicodeError):
                raise Trouble("token_form") from None
        if not token.isascii() or not token.isprintable() or " " in token:
            raise Trouble("token_form")
        return token

    def token_note(self) -> tuple[str, str]:
        """What is odd about where the token is, and what to do; empty texts when nothing is."""
        if os.environ.get("VAULT_TOKEN", "").strip():
            return "", ""
        file = Path(self.settings.token_file).expanduser()
        try:
            loose = (
                stat.S_IMODE(file.stat().st_mode) & 0o077
                and stat.S_IMODE(file.parent.stat().st_mode) & 0o077
            )
        except OSError:
            return (
                "there is no token: neither VAULT_TOKEN nor a token file",
                "set VAULT_TOKEN, or run `vault login`",
            )
        return (f"others may read the token in {file}", f"chmod 600 {file}") if loose else ("", "")


def address(text: str) -> str:
    """The address, checked. Raises Trouble: it never quotes what may hold a password."""
    text = text.strip().rstrip("/")
    try:
        split = urlsplit(text)
        bad = split.scheme not in ("http", "https") or not split.hostname or split.port == 0
    except ValueError:
        bad = True
    if bad or not text.isprintable() or " " in text:
        raise Trouble("address")
    if "@" in split.netloc or split.query or split.fragment:
        raise Trouble("address", more=": it holds more than a server")
    return text

"""The token of the moment: given, read from a file that an agent may renew, or got by a login; renewed in time.

Nothing runs in the background. What is due is done when a token is next used: a session that asks for nothing needs
no token, and the keys it has are in memory.
"""

from __future__ import annotations

import math
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from codetether_secrets_vault.place import Place
from codetether_secrets_vault.trouble import Trouble

if TYPE_CHECKING:
    from codetether_secrets_vault.client import Answer

Send = Callable[..., Awaitable["Answer"]]
LOOK_AFTER = 300.0  # seconds until a token that was given is asked how long it lives
AGAIN = 60.0  # seconds until a renewal that failed is tried again


class Tokens:
    """`send(method, path, body, token)` asks the server; `hide` is told every token before it is used."""

    def __init__(self, place: Place, send: Send, hide: Callable[[str], None]) -> None:
        self._place = place
        self._send = send
        self._hide = hide
        self._lock = trio.Lock()
        self._token = ""
        self._renew_at = math.inf
        self._ends = math.inf
        self._lease = 0.0

    async def current(self) -> str:
        """The token to use now; empty when there is none (a proxy may add one). Raises Trouble."""
        async with self._lock:
            now = trio.current_time()
            if not self._token or now >= self._ends:
                await self._first()
            elif now >= self._renew_at:
                await self._renew()
            return self._token

    async def another(self, refused: str) -> bool:
        """Whether there is another token than the one just refused: the file has changed, or a login gave one."""
        async with self._lock:
            if self._token != refused:
                return True  # somebody else was refused with it before us
            if self._place.method == "token":
                self._token = ""
                await self._first()
                return self._token != refused
            own = await self._send("GET", "auth/token/lookup-self", None, refused)
            if own.status == 200:
                return False  # it is valid: a policy says no
            await self._login()
            return True

    # --- getting one ---
    async def _first(self) -> None:
        if self._place.method == "token":
            token = await trio.to_thread.run_sync(read_token, self._place.settings.token_file)
            self._take(token, math.inf)
            self._renew_at = trio.current_time() + LOOK_AFTER if token else math.inf
        else:
            await self._login()

    async def _login(self) -> None:
        method = self._place.method
        proof = await trio.to_thread.run_sync(self._place.proof)
        for value in proof.values():
            self._hide(value)
        mount = self._place.settings.auth_mount.strip("/ ")
        mount = method if self._place.private or not mount else mount
        answer = await self._send("POST", f"auth/{mount}/login", proof, "")
        auth = (answer.body or {}).get("auth")
        if answer.status == 200 and isinstance(auth, dict) and auth.get("client_token"):
            self._take(str(auth["client_token"]), _seconds(auth.get("lease_duration")))
            self._lease = self._ends - trio.current_time()
            return
        if answer.status in (400, 403, 404, 500) and "sealed" not in answer.errors:
            raise Trouble(
                f"login_{'private' if self._place.private else method}", self._place.address
            )
        raise Trouble("unavailable", self._place.address, more=str(answer.status))

    def _take(self, token: str, lease: float) -> None:
        self._hide(token)
        now = trio.current_time()
        self._token = token
        self._ends = now + lease
        self._renew_at = now + lease * 2 / 3

    # --- keeping it ---
    async def _renew(self) -> None:
        """Renew; where that is cut short or refused and we can log in, log in. What fails here is told by the
        request that follows.
        """
        self._renew_at = trio.current_time() + AGAIN
        try:
            if self._place.method == "token":
                await self._renew_given()
                return
            lease = await self._renew_self()
            if lease < self._lease / 2:  # near the end of its life
                await self._login()
        except Trouble:
            return

    async def _renew_given(self) -> None:
        """A token that was given is renewed past two thirds of its life, if it can be."""
        own = await self._send("GET", "auth/token/lookup-self", None, self._token)
        data: dict[str, Any] = own.data if isinstance(own.data, dict) else {}
        whole = _seconds(data.get("creation_ttl"))
        left = min(_seconds(data.get("ttl") or 0.1), whole)  # 0 is what is left of its last second
        if own.status == 200 and (not data.get("renewable") or whole == math.inf):
            self._renew_at = math.inf
        elif own.status == 200 and left > whole / 3:
            self._renew_at = trio.current_time() + left - whole / 3
        elif own.status == 200:
            await self._renew_self()

    async def _renew_self(self) -> float:
        """The new lease in seconds, 0 when there is none. The server cuts it silently at the token's greatest age."""
        answer = await self._send("POST", "auth/token/renew-self", {}, self._token)
        auth = (answer.body or {}).get("auth")
        if answer.status != 200 or not isinstance(auth, dict):
            return 0.0
        lease = _seconds(auth.get("lease_duration"))
        self._renew_at = trio.current_time() + lease * 2 / 3
        if self._place.method != "token":
            self._ends = trio.current_time() + lease
        return lease


def _seconds(value: Any) -> float:
    """A time to live; 0 and what is no number mean: for ever."""
    known = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
    return float(value) if known else math.inf


def read_token(token_file: str) -> str:
    """VAULT_TOKEN, else the token file, else nothing. Blocking. Raises Trouble for an odd one, which is not quoted."""
    token = os.environ.get("VAULT_TOKEN", "").strip()
    if not token:
        try:
            token = Path(token_file).expanduser().read_text("ascii").strip()
        except (FileNotFoundError, NotADirectoryError, PermissionError, RuntimeError):
            return ""
        except (OSError, UnicodeError):
            raise Trouble("token_form") from None
    if not token.isascii() or not token.isprintable() or " " in token:
        raise Trouble("token_form")
    return token


def token_note(place: Place) -> tuple[str, str]:
    """What is odd about where the token is, and what to do; empty texts when nothing is. Blocking."""
    if place.method != "token" or os.environ.get("VAULT_TOKEN", "").strip():
        return "", ""
    file = Path(place.settings.token_file).expanduser()
    try:
        loose = file.stat().st_mode & 0o077 and file.parent.stat().st_mode & 0o077
    except OSError:
        return (
            "there is no token: neither VAULT_TOKEN nor a token file",
            "set VAULT_TOKEN, or run `vault login`",
        )
    return (f"others may read the token in {file}", f"chmod 600 {file}") if loose else ("", "")

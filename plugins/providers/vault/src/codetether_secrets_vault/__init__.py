"""Keys of providers from HashiCorp Vault or OpenBao: read when needed, kept in memory only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import trio
from codetether.api import CodetetherError, Finding, Kernel, SecretMissing, Secrets

from codetether_secrets_vault.connection import Connection
from codetether_secrets_vault.document import check_name, checked, secrets_in
from codetether_secrets_vault.place import Settings, find_place
from codetether_secrets_vault.tokens import token_note
from codetether_secrets_vault.trouble import Trouble

AWAY = 30.0  # seconds a kept key is used before a Vault that was away is asked again
TRIES = 5


class _Kept(NamedTuple):
    document: dict[str, Any]
    until: float


class _Stored(NamedTuple):
    """A document as it is in Vault (None: none, or its version was deleted), and the number of its version."""

    document: dict[str, Any] | None
    version: int


class Vault(Secrets):
    """The one source of keys. A key is read once, kept in memory for a while, and still used if Vault goes away."""

    api = 1
    Settings = Settings

    def __init__(self, kernel: Kernel, key: str) -> None:
        super().__init__(kernel, key)
        self._kept: dict[str, _Kept] = {}
        self._connection: Connection | None = None
        self._locks: dict[str, trio.Lock] = {}

    # --- the port ---
    async def configured(self) -> bool:
        """Whether VAULT_ADDR or `codetether vault up` says where keys are."""
        return await self._found() is not None

    async def get(self, provider: str) -> Mapping[str, Any]:
        """The provider's document. Raises SecretMissing, or Trouble with the diagnosis."""
        async with self._lock(provider):
            kept = self._kept.get(provider)
            if kept is not None and trio.current_time() < kept.until:
                return kept.document
            try:
                document = await self._usable(provider)
            except Trouble as trouble:
                if kept is None or not trouble.passing:
                    raise
                again = trio.current_time() + min(AWAY, self.settings.keep)
                self._kept[provider] = kept._replace(until=again)
                return kept.document
            self._kept[provider] = _Kept(document, trio.current_time() + self.settings.keep)
            return document

    def forget(self, provider: str) -> None:
        """Read this provider's document again when it is next asked for."""
        self._kept.pop(provider, None)

    async def providers(self) -> Sequence[str]:
        """The providers that have a document; of those that were deleted none. Raises Trouble with the diagnosis."""
        vault = await self._found()
        if vault is None:
            return ()
        version = await vault.kv_version()
        answer = await vault.ask("LIST", vault.path("metadata", version))
        if answer.status == 404:
            return ()
        keys = answer.data.get("keys") if isinstance(answer.data, dict) else None
        if not isinstance(keys, list):
            raise Trouble("not_vault", vault.at, more=" (its list has no keys)")
        names = [key for key in keys if isinstance(key, str) and not key.endswith("/")]
        gone: set[str] = set()
        async with trio.open_nursery() as nursery:
            for name in names if version == 2 else ():
                nursery.start_soon(self._look_for, name, gone)
        return sorted(name for name in names if name not in gone)

    async def put(self, provider: str, fields: Mapping[str, Any]) -> None:
        """Store `fields` in the provider's document: None takes a field out, fields not named stay as they are.

        Read, changed and written under check-and-set: what somebody else stores meanwhile is not lost (version 1 of
        the engine cannot promise that). A document with nothing left in it is removed. Raises Trouble.
        """
        check_name(provider)
        async with self._lock(provider):
            for secret in secrets_in(fields):
                self.kernel.redact.add(secret)
            vault = await self._needed()
            for _ in range(TRIES):
                stored = await self._stored(provider)
                document = {**(stored.document or {}), **fields}
                document = {name: value for name, value in document.items() if value is not None}
                if not document:
                    await self._delete(provider)
                    return
                if await self._write(provider, document, stored.version):
                    self._kept.pop(provider, None)
                    return
            raise Trouble("conflict", vault.at, self._where(vault, provider))

    async def remove(self, provider: str) -> None:
        """Delete the provider's document; in version 2 its newest version, which `vault kv undelete` brings back.

        Raises SecretMissing when there is none, or Trouble.
        """
        check_name(provider)
        async with self._lock(provider):
            if (await self._stored(provider)).document is None:
                raise SecretMissing(f"there is no key for {provider} in Vault", "")
            await self._delete(provider)

    async def check(self) -> Sequence[Finding]:
        """Every step a first use takes, each with its outcome; stops at the first that fails."""
        found: list[Finding] = []
        try:
            vault = await self._needed()
            text, hint = await trio.to_thread.run_sync(token_note, vault.place)
            found += [Finding("warning", self.key, text, hint)] if text else []
            version = await vault.kv_version()
            told = f"{vault.at} answers; {vault.place.mount} is KV version {version}"
            found.append(Finding("ok", self.key, told))
            names = await self.providers()
            found.append(self._about(names, f"{vault.place.mount}/{vault.place.path}"))
            for name in names:
                found += await self._unusable(name)
        except CodetetherError as error:
            unset = isinstance(error, Trouble) and error.kind == "unset"
            level = "warning" if unset else "error"
            found.append(Finding(level, self.key, error.message, error.hint))
        return found

    async def aclose(self) -> None:
        """Give back the connections."""
        if self._connection is not None:
            self._connection.close()

    # --- where ---
    async def _found(self) -> Connection | None:
        if self._connection is None:
            file = self.kernel.dirs.config / "vault.json"
            place = await trio.to_thread.run_sync(find_place, self.settings, file)
            if place is not None and self._connection is None:
                self._connection = Connection(place, self.kernel.redact.add)
        return self._connection

    async def _needed(self) -> Connection:
        vault = await self._found()
        if vault is None:
            raise Trouble("unset")
        return vault

    def _lock(self, provider: str) -> trio.Lock:
        return self._locks.setdefault(provider, trio.Lock())

    @staticmethod
    def _where(vault: Connection, provider: str) -> str:
        return f"{vault.place.mount}/{vault.place.path}/{provider}"

    # --- one document ---
    async def _usable(self, provider: str) -> dict[str, Any]:
        vault = await self._found()
        if vault is None:
            unset = Trouble("unset")
            raise SecretMissing(f"there is no key for {provider}: {unset.message}", unset.hint)
        check_name(provider)
        stored = await self._stored(provider)
        where = self._where(vault, provider)
        if stored.document is None:
            raise SecretMissing(
                f"there is no key for {provider} in Vault",
                f"store it with: codetether auth login {provider} (it is kept at {where})",
            )
        document = checked(stored.document, provider, where)
        for secret in secrets_in(document):
            self.kernel.redact.add(secret)
        return document

    async def _stored(self, provider: str) -> _Stored:
        vault = await self._needed()
        version = await vault.kv_version()
        answer = await vault.ask("GET", vault.path("data", version, provider))
        document, number = answer.data, 0
        if version == 2:
            envelope = document if isinstance(document, dict) else {}
            document = envelope.get("data")
            about = envelope.get("metadata")
            number = about.get("version", 0) if isinstance(about, dict) else 0
        if answer.status == 404 or document is None:
            return _Stored(None, number if isinstance(number, int) else 0)
        if not isinstance(document, dict):
            raise Trouble("not_vault", vault.at, more=" (its document is no object)")
        return _Stored(document, number if isinstance(number, int) else 0)

    async def _write(self, provider: str, document: dict[str, Any], number: int) -> bool:
        """False when somebody else was faster. `number`: the version that is replaced."""
        vault = await self._needed()
        version = await vault.kv_version()
        body = document if version == 1 else {"options": {"cas": number}, "data": document}
        answer = await vault.ask("POST", vault.path("data", version, provider), body)
        if answer.status == 400 and "check-and-set" in answer.errors and version == 2:
            return False
        if answer.status == 400:
            more = self.kernel.redact.text(answer.errors)[:200]
            raise Trouble("refused_write", vault.at, self._where(vault, provider), more)
        return True

    async def _delete(self, provider: str) -> None:
        vault = await self._needed()
        version = await vault.kv_version()
        await vault.ask("DELETE", vault.path("data", version, provider))
        self._kept.pop(provider, None)

    async def _look_for(self, provider: str, gone: set[str]) -> None:
        """Version 2 lists a document whose newest version is deleted. One we may not read is there."""
        try:
            check_name(provider)
            if (await self._stored(provider)).document is None:
                gone.add(provider)
        except CodetetherError:
            return

    # --- check ---
    async def _unusable(self, name: str) -> list[Finding]:
        try:
            await self.get(name)
        except SecretMissing as error:
            return [Finding("error", self.key, error.message, error.hint)]
        return []

    def _about(self, names: Sequence[str], where: str) -> Finding:
        if not names:
            return Finding(
                "warning",
                self.key,
                f"no provider has a key under {where}",
                "store one with: codetether auth login PROVIDER",
            )
        return Finding("ok", self.key, f"keys for {', '.join(names)} under {where}")

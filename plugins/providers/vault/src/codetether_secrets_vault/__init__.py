"""Keys of providers from HashiCorp Vault or OpenBao: read when needed, kept in memory only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import msgspec
import trio
from codetether.api import CodetetherError, Finding, Kernel, SecretMissing, Secrets

from codetether_secrets_vault.connection import Connection
from codetether_secrets_vault.trouble import Trouble

NOT_SECRET = frozenset({"base_url", "organization", "region", "enterpriseUrl", "enterprise_url"})
SETTINGS_ONLY = frozenset({"organization", "headers", "region"})
NEXT = "set VAULT_ADDR and VAULT_TOKEN (docs/vault.md)"


def _env(name: str, description: str) -> msgspec.Meta:
    return msgspec.Meta(description=description, extra_json_schema={"env": name})


class Settings(msgspec.Struct, frozen=True):
    """Where Vault is and where the keys are in it. The token is never a setting."""

    address: Annotated[
        str, _env("VAULT_ADDR", "Address of the server, such as https://vault.example.org:8200")
    ] = ""
    namespace: Annotated[str, _env("VAULT_NAMESPACE", "Namespace, if the server has them")] = ""
    ca_cert: Annotated[
        str, _env("VAULT_CACERT", "File with the certificate of the server's authority")
    ] = ""
    mount: Annotated[str, _env("VAULT_MOUNT", "Where the KV engine is mounted")] = "secret"
    path: Annotated[
        str, _env("VAULT_SECRETS_PATH", "Path under the mount that holds one document per provider")
    ] = "codetether/providers"
    token_file: Annotated[
        str,
        msgspec.Meta(
            description="File with the token, when VAULT_TOKEN is not set; may change while we run"
        ),
    ] = "~/.vault-token"  # noqa: S105 - where it is, not what it is
    timeout: Annotated[
        float, msgspec.Meta(gt=0, le=60, description="Seconds one answer may take, in all")
    ] = 5.0
    keep: Annotated[
        float,
        msgspec.Meta(ge=0, description="Seconds a key is kept in memory before it is read again"),
    ] = 900.0


class _Kept(NamedTuple):
    document: dict[str, Any]
    until: float


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
    async def get(self, provider: str) -> Mapping[str, Any]:
        """The provider's document. Raises SecretMissing, or Trouble with the diagnosis."""
        async with self._locks.setdefault(provider, trio.Lock()):
            kept = self._kept.get(provider)
            if kept is not None and trio.current_time() < kept.until:
                return kept.document
            try:
                document = await self._read(provider)
            except Trouble as trouble:
                if kept is not None and trouble.passing:
                    return kept.document
                raise
            self._register(document)
            self._kept[provider] = _Kept(document, trio.current_time() + self.settings.keep)
            return document

    def forget(self, provider: str) -> None:
        """Read this provider's document again when it is next asked for."""
        self._kept.pop(provider, None)

    async def providers(self) -> Sequence[str]:
        """The providers that have a document. Raises Trouble with the diagnosis."""
        if not self.settings.address.strip():
            return ()
        version = await self._vault.kv_version()
        answer = await self._vault.ask(
            "LIST", self._vault.place("metadata" if version == 2 else "", version)
        )
        if answer.status == 404:
            return ()
        keys = answer.data.get("keys") if isinstance(answer.data, dict) else None
        if not isinstance(keys, list):
            raise Trouble("not_vault", self._vault.at, more=" (its list has no keys)")
        return sorted(key for key in keys if isinstance(key, str) and not key.endswith("/"))

    async def check(self) -> Sequence[Finding]:
        """Every step a first use takes, each with its outcome; stops at the first that fails."""
        found: list[Finding] = []
        try:
            if not self.settings.address.strip():
                return [Finding("warning", self.key, "no Vault is configured", NEXT)]
            text, hint = self._vault.token_note()
            found += [Finding("warning", self.key, text, hint)] if text else []
            version = await self._vault.kv_version()
            found.append(
                Finding(
                    "ok",
                    self.key,
                    f"{self._vault.at} answers; {self.settings.mount} is KV version {version}",
                )
            )
            names = await self.providers()
            found.append(self._about(names))
            for name in names:
                await self.get(name)
        except CodetetherError as error:
            found.append(Finding("error", self.key, error.message, error.hint))
        return found

    async def aclose(self) -> None:
        """Give back the connections."""
        if self._connection is not None:
            self._connection.close()

    @property
    def _vault(self) -> Connection:
        if self._connection is None:
            self._connection = Connection(self.settings, self.kernel.redact.add)
        return self._connection

    # --- one document ---
    async def _read(self, provider: str) -> dict[str, Any]:
        where = f"{self.settings.mount}/{self.settings.path}/{provider}"
        if not self.settings.address.strip():
            raise SecretMissing(f"there is no key for {provider}: no Vault is configured", NEXT)
        if (
            not provider
            or provider.strip(".") == ""
            or not all(ch.isalnum() or ch in "._-" for ch in provider)
        ):
            raise SecretMissing(
                f"{provider!r} cannot be a provider's name", "see `codetether models`"
            )
        version = await self._vault.kv_version()
        answer = await self._vault.ask(
            "GET", self._vault.place("data" if version == 2 else "", version, provider)
        )
        document = answer.data
        if version == 2:
            document = document.get("data") if isinstance(document, dict) else None
        if answer.status == 404 or document is None:
            raise SecretMissing(
                f"there is no key for {provider} in Vault",
                f"put it there: vault kv put -mount={self.settings.mount} {self.settings.path}/{provider} api_key=-",
            )
        if not isinstance(document, dict):
            raise Trouble("not_vault", self._vault.at, more=" (its document is no object)")
        return _checked(document, provider, where)

    def _register(self, document: Mapping[str, Any]) -> None:
        for name, value in document.items():
            values = value.values() if isinstance(value, Mapping) else (value,)
            for secret in values:
                if isinstance(secret, str) and name not in NOT_SECRET:
                    self.kernel.redact.add(secret)

    def _about(self, names: Sequence[str]) -> Finding:
        where = f"{self.settings.mount}/{self.settings.path}"
        if not names:
            return Finding(
                "warning", self.key, f"no provider has a key under {where}", "see docs/vault.md"
            )
        return Finding("ok", self.key, f"keys for {', '.join(names)} under {where}")


def _checked(document: dict[str, Any], provider: str, where: str) -> dict[str, Any]:
    """The document, its `headers` decoded; raises SecretMissing when there is nothing in it to use."""
    hint = f"put a text in its field api_key: {where}"
    key = document.get("api_key")
    if "api_key" in document and not isinstance(key, str):
        raise SecretMissing(f"the api_key of {provider} in Vault is not a text", hint)
    if isinstance(key, str) and not key.strip():
        raise SecretMissing(f"the api_key of {provider} in Vault is empty", hint)
    if not set(document) - SETTINGS_ONLY:
        raise SecretMissing(f"the document of {provider} in Vault has no api_key", hint)
    checked = dict(document)
    if isinstance(key, str):
        checked["api_key"] = key.strip()
    if isinstance(checked.get("headers"), str):
        try:
            checked["headers"] = json.loads(checked["headers"])
        except ValueError:
            checked["headers"] = None
    if not isinstance(checked.get("headers", {}), Mapping):
        raise SecretMissing(
            f"the headers of {provider} in Vault are not an object", f"correct them: {where}"
        )
    return checked

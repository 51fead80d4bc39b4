"""A provider's document: which names it may have, what must be in it, and what in it is secret."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from codetether.api import SecretMissing

NOT_SECRET = frozenset({"base_url", "organization", "region", "enterpriseUrl", "enterprise_url"})
SETTINGS_ONLY = frozenset({"organization", "headers", "region"})


def check_name(provider: str) -> None:
    """Raises SecretMissing for a name that would leave the folder of documents."""
    fits = all(ch.isalnum() or ch in "._-" for ch in provider)
    if not provider or not provider.strip(".") or not fits:
        raise SecretMissing(f"{provider!r} cannot be a provider's name", "see `codetether models`")


def checked(document: Mapping[str, Any], provider: str, where: str) -> dict[str, Any]:
    """The document, its `headers` decoded; raises SecretMissing when there is nothing in it to use."""
    hint = f"store it with: codetether auth login {provider} (it is kept at {where})"
    key = document.get("api_key")
    if "api_key" in document and not isinstance(key, str):
        raise SecretMissing(f"the api_key of {provider} in Vault is not a text", hint)
    if isinstance(key, str) and not key.strip():
        raise SecretMissing(f"the api_key of {provider} in Vault is empty", hint)
    if not set(document) - SETTINGS_ONLY:
        raise SecretMissing(f"the document of {provider} in Vault has no api_key", hint)
    found = dict(document)
    if isinstance(key, str):
        found["api_key"] = key.strip()
    if isinstance(found.get("headers"), str):
        try:
            found["headers"] = json.loads(found["headers"])
        except ValueError:
            found["headers"] = None
    if not isinstance(found.get("headers", {}), Mapping):
        raise SecretMissing(
            f"the headers of {provider} in Vault are not an object", f"correct them: {where}"
        )
    return found


def secrets_in(document: Mapping[str, Any]) -> Iterator[str]:
    """The texts that must not be shown, however deep they are."""
    for name, value in document.items():
        if name not in NOT_SECRET:
            yield from _texts(value)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)

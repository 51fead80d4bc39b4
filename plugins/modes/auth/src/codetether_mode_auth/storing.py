"""A new key: stored, tried out, and what was there before put back when the vendor does not take it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from codetether.api import CodetetherError, Kernel, SecretMissing, Secrets, one_line

from codetether_mode_auth.trial import try_out


async def store(
    kernel: Kernel, secrets: Secrets, provider: str, fields: Mapping[str, Any], *, test: bool
) -> int:
    """Store `fields`. A key that the vendor refuses is taken back; after any other trouble it stays.

    Raises CodetetherError.
    """
    before = await _before(secrets, provider)
    await secrets.put(provider, fields)
    _tell(f"the key of {provider} is stored")
    if not test or provider not in kernel.host.names("providers"):
        return 0
    _tell("trying it out ...")
    verdict = await try_out(kernel, provider)
    text = one_line(kernel.redact.text(verdict.text))
    if verdict.outcome == "works":
        _tell(text)
        return 0
    if verdict.outcome == "refused":
        await secrets.put(provider, {name: before.get(name) for name in fields})
        kept = "the one before is kept" if before else "nothing is kept"
        raise CodetetherError(f"{text}; {kept}", "check the key; or store it untried: --no-test")
    raise CodetetherError(f"the key is stored, but it could not be tried out: {text}", verdict.hint)


async def _before(secrets: Secrets, provider: str) -> Mapping[str, Any]:
    """What is stored now; empty when nothing that can be used is."""
    secrets.forget(provider)
    try:
        return dict(await secrets.get(provider))
    except SecretMissing:
        return {}


def _tell(text: str) -> None:
    print(f"auth: {text}", file=sys.stderr, flush=True)

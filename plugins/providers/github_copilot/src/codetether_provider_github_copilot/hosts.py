"""Which machines belong to a GitHub: the public one, or a company's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from codetether.api import CodetetherError
from codetether_wire.endpoint import is_loopback

PUBLIC = "github.com"
_DOMAIN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,250}[A-Za-z0-9])?(:\d{1,5})?")


class Hosts(msgspec.Struct, frozen=True):
    """Base addresses: `login` signs people in, `exchange` hands out tokens, `copilot` has the models."""

    login: str
    exchange: str
    copilot: str


def hosts_of(domain: str) -> Hosts:
    """The addresses of a domain as `domain_of` gives it; an address on this machine has all three.

    Raises CodetetherError when it is no domain.
    """
    if domain.startswith("http://"):
        return Hosts(domain, domain, domain)
    if domain == PUBLIC:
        return Hosts(f"https://{PUBLIC}", f"https://api.{PUBLIC}", "https://api.githubcopilot.com")
    return Hosts(f"https://{domain}", f"https://api.{domain}", f"https://copilot-api.{domain}")


def domain_of(text: str) -> str:
    """A domain as people write it, without scheme and slashes; "" is the public GitHub. Plain http is kept for this
    machine only. Raises CodetetherError when it is no domain.
    """
    bare = text.strip().rstrip("/")
    if bare.startswith("http://") and is_loopback(bare):
        return bare
    bare = bare.removeprefix("https://").removeprefix("http://")
    if not bare:
        return PUBLIC
    if not _DOMAIN.fullmatch(bare):
        raise CodetetherError(
            f"not a domain: {bare[:100]!r}", "write the company's GitHub as company.ghe.com"
        )
    return bare


def domain_in(secret: Mapping[str, Any]) -> str:
    """The domain a secret document names. Raises CodetetherError when it is none."""
    return domain_of(str(secret.get("enterpriseUrl") or secret.get("enterprise_url") or ""))

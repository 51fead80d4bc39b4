"""Where a request goes: an address taken apart once, however often it is asked."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, urlsplit

_PORTS = {"http": 80, "https": 443}
_PLAIN = re.compile(r"[!-~]+")
_KEPT = "!#$%&'()*+,/:;=?@[]~"  # what stands in a target as it is


class Place(NamedTuple):
    """A server, and what is asked of it: `name` as it stands in the Host header, `target` as in the first line."""

    secure: bool
    host: str
    port: int
    name: str
    target: str


@lru_cache(256)
def place_of(url: str) -> Place:
    """The place that `url` names. Raises ValueError for what is no http address, and for control characters."""
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in url):
        raise ValueError("the address holds control characters")
    split = urlsplit(url)
    if split.scheme not in _PORTS or not split.hostname:
        raise ValueError("not an http address")
    host = split.hostname
    if not host.isascii():
        host = host.encode("idna").decode()
    labels = host.removesuffix(".").split(".")
    if not _PLAIN.fullmatch(host) or not all(0 < len(label) < 64 for label in labels):
        raise ValueError("the address names no host")
    usual = _PORTS[split.scheme]
    port = usual if split.port is None else split.port
    name = f"[{host}]" if ":" in host else host
    target = f"{split.path or '/'}{'?' if split.query else ''}{split.query}"
    return Place(
        split.scheme == "https",
        host,
        port,
        name if port == usual else f"{name}:{port}",
        target if _PLAIN.fullmatch(target) else quote(target, safe=_KEPT),
    )

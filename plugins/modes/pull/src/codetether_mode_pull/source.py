"""What is to be fetched, and under which name it is kept: an address, or a file of a model hub by its path."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, urlsplit

import msgspec
from codetether.api import UsageError

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,199}\.(gguf|bin)")
HINT = "write https://host/path/NAME.gguf, or OWNER/REPOSITORY/NAME.gguf of the hub"


class Source(msgspec.Struct, frozen=True):
    """Where a file comes from and its name in the models folder."""

    url: str
    name: str


def source(given: str, hub: str, name: str = "") -> Source:
    """Read what a person wrote. Raises UsageError."""
    if "://" in given:
        url = given
    else:
        parts = given.strip("/").split("/")
        if len(parts) < 3 or any(part in ("", ".", "..") for part in parts):
            raise UsageError(f"{given!r} names no file", HINT)
        owner, repository, *path = (quote(part) for part in parts)
        url = f"{hub.rstrip('/')}/{owner}/{repository}/resolve/main/{'/'.join(path)}"
    refuse_unsafe(url)
    kept = name or unquote(urlsplit(url).path.rpartition("/")[2])
    if not NAME.fullmatch(kept):
        raise UsageError(f"{kept!r} is no name for a model file", "give it one: --name MODEL.gguf")
    return Source(url, kept)


def refuse_unsafe(url: str, before: str = "") -> None:
    """Raise UsageError unless `url` is https without a user in it; http only to this machine itself, and only when what
    redirected here (`before`) was so too: a website must not lead us to a server of this machine.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise UsageError(f"not an address: {url[:100]!r}", HINT) from None
    shown = f"{parts.scheme}://{host}"
    if not host:
        raise UsageError(f"not an address: {url[:100]!r}", HINT)
    if parts.username is not None or parts.password is not None:
        raise UsageError(f"the address on {shown} holds a user name or a password")
    here = host in ("127.0.0.1", "::1", "localhost")
    if before and here and urlsplit(before).hostname not in ("127.0.0.1", "::1", "localhost"):
        raise UsageError(f"{urlsplit(before).hostname} redirects to this machine itself: {shown}")
    if parts.scheme != "https" and not (here and parts.scheme == "http"):
        raise UsageError(f"only https is fetched, not {shown}", HINT)

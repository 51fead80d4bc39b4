"""What is sent: the head of a request, checked once for all that is sent alike."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from codetether_wire.connection import Unsendable
from codetether_wire.place import Place

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t -~]*")
# Where a request ends. Said twice, a proxy may read another request than the server behind it.
_OURS = frozenset({"content-length", "transfer-encoding"})


def fields_of(place: Place, method: str, headers: Mapping[str, str], size: int) -> bytes:
    """The header lines of a request whose body has `size` bytes. Raises Unsendable."""
    lines = _lines(place.name, tuple(headers.items()))
    return lines + b"Content-Length: %d\r\n" % size if size or method == "POST" else lines


@lru_cache(64)
def _lines(host: str, headers: tuple[tuple[str, str], ...]) -> bytes:
    names = [name.lower() for name, _ in headers]
    fields = headers if "host" in names else (("Host", host), *headers)
    for name, value in fields:
        sendable = _TOKEN.fullmatch(name) and _VALUE.fullmatch(value)
        if not sendable or name.lower() in _OURS or names.count("host") > 1:
            raise Unsendable(f"the header {name!r} cannot be sent")
    return "".join(f"{name}: {value}\r\n" for name, value in fields).encode()

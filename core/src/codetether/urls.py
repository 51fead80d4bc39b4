"""Addresses in permission rules: compared part by part, because text alone is easily fooled."""

from __future__ import annotations

from typing import NamedTuple, Self

from codetether.globs import matches

PORTS = {"http": 80, "https": 443}


class Address(NamedTuple):
    """A plain http or https address: no user name, no dots to climb with, no odd characters."""

    scheme: str
    host: str
    port: int
    rest: str

    @classmethod
    def read(cls, url: str) -> Self | None:
        """The parts of `url`, or None when it is not plainly an address."""
        from urllib.parse import urlsplit

        if "\\" in url or not url.isprintable() or " " in url:
            return None
        try:
            split = urlsplit(url)
            port = split.port
        except ValueError:
            return None
        scheme, host = split.scheme.lower(), (split.hostname or "").rstrip(".")
        if (
            scheme not in PORTS
            or not host
            or "@" in split.netloc
            or not host.isascii()
            or "%" in host
        ):
            return None
        rest = (split.path or "/") + (f"?{split.query}" if split.query else "")
        if any(
            name in (".", "..")
            for name in split.path.lower().replace("%2e", ".").replace("%2f", "/").split("/")
        ):
            return None
        return cls(scheme, host.lower(), port or PORTS[scheme], rest)

    @property
    def site(self) -> str:
        """Scheme, host and, unless it is the usual one, port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + (
            "" if self.port == PORTS[self.scheme] else f":{self.port}"
        )

    def allowed_by(self, pattern: str) -> bool:
        """Whether a rule's pattern covers this address. Without a scheme it means https; without a path, all paths;
        without a port, the usual one. A `*` in the host stays in the host.
        """
        if pattern == "*":
            return True
        scheme, _, rest = pattern.partition("://") if "://" in pattern else ("https", "", pattern)
        place, slash, path = rest.partition("/")
        host, colon, port = (
            place.rpartition(":") if place.rpartition(":")[2].isdigit() else (place, "", "")
        )
        wanted = int(port) if colon else PORTS.get(self.scheme)
        return (
            matches(scheme.lower(), self.scheme)
            and matches(host.lower(), self.host)
            and self.port == wanted
            and (not slash or matches(f"/{path}", self.rest))
        )

    @classmethod
    def touches(cls, pattern: str, url: str) -> bool:
        """Whether a rule that denies or asks is about `url`: by its text, or by its host on any port and path."""
        if matches(pattern.lower(), url.lower()):
            return True
        address = cls.read(url)
        if address is None:
            return True
        return address.allowed_by(pattern) or cls(
            address.scheme, address.host, PORTS[address.scheme], address.rest
        ).allowed_by(pattern)
